//! The life of a replica from its options to its end.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use concoord_consensus::{Application, Config, Replica, Timing};
use concoord_executor::Executor;
use concoord_transport::{Endpoint, Outbox};
use concoord_wire::join::Welcome;
use concoord_wire::member::{Member, Roster, Services, Standing, View};
use concoord_wire::{ClusterId, NodeId, ViewId};
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time;

use crate::applying::Applying;
use crate::clients::Clients;
use crate::clock::Clock;
use crate::counters::Counters;
use crate::driver::{Driver, Exit, Work};
use crate::error::NodeError;
use crate::events::{self, Receivers};
use crate::gate::{self, Gate};
use crate::join::Joiner;
use crate::limits::CLOSE_WAIT_MAX;
use crate::links::Links;
use crate::options::{ObjectSource, Options};
use crate::plugin::{self, RunningPlugin, ViewPlugin};
use crate::progress::Progress;
use crate::store::MemoryStore;

/// Runs a replica until `stop` is done, and hands leadership over before it ends.
///
/// Everything but the application and the view plugins' own work runs on the calling task's tokio runtime: best one of
/// a single thread, made for this alone, because a call then changes threads only to be applied.
///
/// # Errors
/// [`NodeError`] when it can't start, or can't go on.
///
/// # Panics
/// At a bug of its own; the process should end then, which is why nothing catches it.
pub async fn run(
    options: Options,
    stop: impl Future<Output = ()>,
    plugins: Vec<Box<dyn ViewPlugin>>,
) -> Result<Exit, NodeError> {
    options.check_address()?;
    if let Some(object) = &options.object {
        check(object)?;
    }
    let endpoint = Endpoint::server(options.listen)?;
    let (senders, receivers) = events::queues();
    let mut random: StdRng = rand::make_rng();
    let counters = Arc::new(Counters::default());
    let gate = Arc::new(Gate::new(endpoint, NodeId(random.random()), senders, Arc::clone(&counters)));
    if let Some(directory) = &options.data_dir {
        tracing::info!("memory only: --data-dir is not used yet, nothing is kept in {}", directory.display());
    }
    let accepting = gate::accept(Arc::clone(&gate));
    let mut stop = pin!(stop);
    let welcome = tokio::select! {
        biased;
        () = &mut stop => None,
        welcome = enter(&gate, &options.bootstrap, options.boot_wait, &mut random) => Some(welcome?),
    };
    let ended = match welcome {
        Some(welcome) => serve(&gate, receivers, options, welcome, random.random(), plugins, stop).await,
        None => Ok(Exit::Stopped),
    };
    drop(accepting);
    // What the other ends have not heard by then, they find out by themselves.
    let _ = time::timeout(CLOSE_WAIT_MAX, gate.endpoint.close()).await;
    tracing::info!("counted: {counters}");
    ended
}

/// Finds out before anything starts whether a module can run.
fn check(object: &ObjectSource) -> Result<(), NodeError> {
    concoord_executor::check(&object.module)
        .map(drop)
        .map_err(|refusal| NodeError::ModuleRefused { object: object.name.clone(), why: refusal.to_string() })
}

/// Starts a cluster or joins one.
async fn enter(
    gate: &Gate,
    bootstrap: &[SocketAddr],
    boot_wait: Duration,
    random: &mut StdRng,
) -> Result<Welcome, NodeError> {
    let member = |standing| Member {
        id: gate.node,
        address: gate.address,
        services: Services::default(),
        volatile: true,
        standing,
    };
    if bootstrap.is_empty() {
        let members = BTreeMap::from([(gate.node, member(Standing::Voter))]);
        return Ok(Welcome {
            cluster: ClusterId(random.random()),
            genesis: View { id: ViewId(1), members },
            members: Vec::new(),
        });
    }
    tracing::info!("replica {} on {} asks to join, memory only", gate.node, gate.address);
    let member = member(Standing::Learner { replaces: None });
    Joiner { gate, member, bootstrap, boot_wait }.join().await
}

/// Runs the replica of a cluster, and lets everybody hear its last words.
async fn serve(
    gate: &Arc<Gate>,
    receivers: Receivers,
    options: Options,
    welcome: Welcome,
    seed: u64,
    plugins: Vec<Box<dyn ViewPlugin>>,
    stop: impl Future<Output = ()>,
) -> Result<Exit, NodeError> {
    let (rosters, newest) = watch::channel(None);
    let plugins = plugins.into_iter().map(|plugin| plugin::start(plugin, newest.clone())).collect::<Vec<_>>();
    let mut driver = assemble(gate, receivers, options, welcome, seed, rosters)?;
    let ended = driver.run(stop).await;
    match &ended {
        Ok(Exit::Stopped) => tracing::info!("stopped"),
        Ok(Exit::GaveUp) => tracing::warn!("stopped without having handed over"),
        Err(error) => tracing::debug!("ends: {error}"),
    }
    trace(&plugins);
    say_last_words(driver.into_outboxes()).await;
    ended
}

fn assemble(
    gate: &Arc<Gate>,
    receivers: Receivers,
    options: Options,
    welcome: Welcome,
    seed: u64,
    rosters: watch::Sender<Option<Arc<Roster>>>,
) -> Result<Driver<MemoryStore>, NodeError> {
    let Welcome { cluster, genesis, members } = welcome;
    let first = options.bootstrap.is_empty();
    let executor = Executor::new().map_err(|error| NodeError::HostFault { why: error.to_string() })?;
    let applying = Applying::start(Application::new(cluster, executor))?;
    let clock = Clock::start();
    let contacts = members.iter().map(|(node, _)| *node).filter(|node| *node != gate.node).collect();
    let config = Config { cluster, node: gate.node, genesis, contacts, timing: Timing::default(), seed };
    let replica = Replica::new(config, clock.now());
    let mut links = Links::new(Arc::clone(gate));
    for (node, address) in members {
        links.on_heard(node, address);
    }
    tracing::info!("replica {} of cluster {cluster} on {}, memory only", gate.node, gate.address);
    gate.open(cluster);
    Ok(Driver {
        gate: Arc::clone(gate),
        clock,
        replica,
        store: MemoryStore::default(),
        receivers,
        applying,
        links,
        clients: Clients::new(Arc::clone(&gate.counters)),
        progress: Progress::new(gate.node, first, options.object, options.on_ready),
        rosters,
        counters: Arc::clone(&gate.counters),
        work: Work::default(),
    })
}

fn trace(plugins: &[RunningPlugin]) {
    for plugin in plugins {
        let status = plugin.status.borrow();
        match (&status.failure, status.published) {
            (Some(why), _) => tracing::warn!("{} ends behind: {why}", plugin.name),
            (None, Some(revision)) => tracing::info!("{} has published revision {revision}", plugin.name),
            (None, None) => {}
        }
    }
}

/// Waits, not for long, until what was said has arrived.
async fn say_last_words(outboxes: Vec<Outbox>) {
    let mut leaving = outboxes
        .into_iter()
        .map(|outbox| async move { outbox.finish(CLOSE_WAIT_MAX).await })
        .collect::<JoinSet<bool>>();
    while leaving.join_next().await.is_some() {}
}
