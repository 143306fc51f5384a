//! The life of a replica from its options to its end.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::thread;

use concoord_consensus::io::{Ask, Question};
use concoord_consensus::{Config, Policy, Replica};
use concoord_transport::{Endpoint, Outbox};
use concoord_wire::client::Response;
use concoord_wire::join::Welcome;
use concoord_wire::member::{Member, PluginState, Roster, Services, Standing, View};
use concoord_wire::version::Versions;
use concoord_wire::{ClusterId, NodeId};
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time;

use crate::applying::Applying;
use crate::clients::Clients;
use crate::clock::Clock;
use crate::counters::Counters;
use crate::driver::{Driver, Exit, OWN, Work};
use crate::error::NodeError;
use crate::events::{self, Receivers};
use crate::gate::{self, Gate};
use crate::home::{Furnished, Home, Life, executor, native_code};
use crate::join::Joiner;
use crate::limits::{CLOSE_WAIT_MAX, STACK_BYTES};
use crate::links::Links;
use crate::options::{ObjectSource, Options, Storage};
use crate::pieces::Pieces;
use crate::plugin::{self, RunningPlugin, ViewPlugin};
use crate::progress::Progress;
use crate::trials::Trials;

/// Runs a replica until `stop` is done, and hands leadership over before it ends.
///
/// Everything but the application and the view plugins' own work runs on the calling task's tokio runtime: best one of
/// a single thread, made for this alone, because a call then changes threads only to be applied. Short calls run on it
/// too, so it needs [`STACK_BYTES`](crate::STACK_BYTES) of stack.
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
    let mut random: StdRng = rand::make_rng();
    let home = Home::open(&options.storage)?;
    let compiler = native_code(&options.storage, options.compiler)?;
    let options = Options { compiler, ..options };
    if options.policy.witness && home.identity().is_none() && options.bootstrap.is_empty() {
        return Err(NodeError::WitnessFirst);
    }
    let node = home.identity().map_or_else(|| NodeId(random.random()), |identity| identity.node);
    let endpoint = Endpoint::server(options.listen)?;
    let address = match options.advertise {
        Some(advertised) if advertised.port() == 0 => SocketAddr::new(advertised.ip(), endpoint.local_address().port()),
        Some(advertised) => advertised,
        None => endpoint.local_address(),
    };
    let (senders, receivers) = events::queues();
    let counters = Arc::new(Counters::default());
    let gate = Arc::new(Gate::new(endpoint, node, address, senders, Arc::clone(&counters)));
    let accepting = gate::accept(Arc::clone(&gate));
    let mut stop = pin!(stop);
    let started = tokio::select! {
        biased;
        () = &mut stop => None,
        started = start(&gate, home, &options, &mut random) => Some(started?),
    };
    let ended = match started {
        Some(started) => serve(&gate, receivers, options, started, random.random(), plugins, stop).await,
        None => Ok(Exit::Stopped),
    };
    drop(accepting);
    // What the other ends have not heard by then, they find out by themselves.
    let _ = time::timeout(CLOSE_WAIT_MAX, gate.endpoint.close()).await;
    tracing::info!("counted: {counters}");
    ended
}

/// Finds out before anything starts whether a module may run.
fn check(object: &ObjectSource) -> Result<(), NodeError> {
    concoord_executor::check(&object.module).map(drop).map_err(|refusal| module_refused(object, &refusal))
}

/// Finds out before it is proposed whether an object's module can be compiled within the bounds, and its constructor makes one.
/// Compiling can take as long as they say, so a thread of its own waits for that; a process that ends meanwhile does not.
async fn try_out(options: &Options) -> Result<(), NodeError> {
    let Some(object) = &options.object else { return Ok(()) };
    let (module, compiler) = (object.module.clone(), Arc::clone(&options.compiler));
    let (limits, arguments) = (object.limits, object.arguments.clone());
    let (tell, told) = oneshot::channel();
    let thread = thread::Builder::new().name("concoord-try-out".into()).stack_size(STACK_BYTES);
    let try_out = move || {
        // Whoever wants to know may have been stopped.
        let _ = tell.send(concoord_executor::try_out(&module, &*compiler, limits, &arguments));
    };
    thread.spawn(try_out).map_err(|error| NodeError::HostFault { why: format!("a thread can't start: {error}") })?;
    let tried = told.await.map_err(|_| module_refused(object, &"trying it out panicked"))?;
    tried.map_err(|error| module_refused(object, &error))
}

fn module_refused(object: &ObjectSource, why: &dyn fmt::Display) -> NodeError {
    NodeError::ModuleRefused { object: object.name.clone(), why: why.to_string() }
}

/// What a replica starts with.
struct Started {
    furnished: Furnished,
    /// The members that it was told of.
    members: Vec<(NodeId, SocketAddr)>,
    /// Whether it has just started the cluster.
    first: bool,
    /// Whether it started the cluster in this life or an earlier one, and may have to load the object that it was given.
    begins: bool,
}

/// Goes on with an earlier life, starts a cluster, or joins one.
async fn start(gate: &Gate, home: Home, options: &Options, random: &mut StdRng) -> Result<Started, NodeError> {
    let home = match home {
        Home::Lived(life) => return go_on(gate, *life, options).await,
        home => home,
    };
    let first = options.bootstrap.is_empty();
    let Welcome { cluster, genesis, members } = if first {
        try_out(options).await?;
        let genesis = View::first([member(gate, options, Standing::Voter)]);
        Welcome { cluster: ClusterId(random.random()), genesis, members: Vec::new() }
    } else {
        tracing::info!("replica {} on {} asks to join", gate.node, gate.address);
        let member = member(gate, options, Standing::Learner { replaces: None });
        Joiner { gate, member, bootstrap: &options.bootstrap, boot_wait: options.boot_wait }.join().await?
    };
    let furnished = home.furnish(cluster, gate.node, genesis, &options.compiler)?;
    Ok(Started { furnished, members, first, begins: first })
}

async fn go_on(gate: &Gate, life: Life, options: &Options) -> Result<Started, NodeError> {
    let mut furnished = life.go_on(options)?;
    let base = &furnished.base;
    let others = base.view.members.values().filter(|member| member.id != gate.node);
    let members = others.map(|member| (member.id, member.address)).collect();
    let begins = base.genesis.voters().eq([gate.node]);
    // A first replica that ended before its object was decided still has to load it.
    let first = Question { client: OWN, request: 0, ask: Ask::Describe { name: None } };
    let described =
        furnished.application.ask(&first).map_err(|fault| NodeError::HostFault { why: fault.to_string() })?;
    if begins && matches!(described, Some(Response::Described { result: Err(_), .. })) {
        try_out(options).await?;
    }
    Ok(Started { furnished, members, first: false, begins })
}

/// This replica as it wants to be listed.
fn member(gate: &Gate, options: &Options, standing: Standing) -> Member {
    Member {
        id: gate.node,
        address: gate.address,
        services: if options.policy.witness { options.services.with(Services::WITNESS) } else { options.services },
        volatile: matches!(options.storage, Storage::Memory(_)),
        standing,
        silent: false,
        supports: Versions::OF_BUILD,
    }
}

/// Runs the replica of a cluster, and lets everybody hear its last words.
async fn serve(
    gate: &Arc<Gate>,
    receivers: Receivers,
    options: Options,
    started: Started,
    seed: u64,
    plugins: Vec<Box<dyn ViewPlugin>>,
    stop: impl Future<Output = ()>,
) -> Result<Exit, NodeError> {
    let (rosters, newest) = watch::channel(None);
    let plugins = plugins.into_iter().map(|plugin| plugin::start(plugin, newest.clone())).collect::<Vec<_>>();
    let mut driver = assemble(gate, receivers, options, started, seed, rosters, plugins)?;
    let ended = driver.run(stop).await;
    match &ended {
        Ok(Exit::Stopped) => tracing::info!("stopped"),
        Ok(Exit::GaveUp) => tracing::warn!("stopped without having handed over"),
        Err(error) => tracing::debug!("ends: {error}"),
    }
    trace(&driver.plugins);
    let (outboxes, store) = driver.into_parts();
    say_last_words(outboxes).await;
    let closed = store.close();
    if ended.is_ok() {
        closed?;
    }
    ended
}

fn assemble(
    gate: &Arc<Gate>,
    receivers: Receivers,
    options: Options,
    started: Started,
    seed: u64,
    rosters: watch::Sender<Option<Arc<Roster>>>,
    plugins: Vec<RunningPlugin>,
) -> Result<Driver, NodeError> {
    let Started { furnished, members, first, begins } = started;
    let Furnished { store, events, application, base, past, lived } = furnished;
    let volatile = matches!(options.storage, Storage::Memory(_));
    let (cluster, version) = (base.cluster, application.version());
    let compiler = Arc::clone(&options.compiler);
    let applying = Applying::start(application, move || executor(&compiler).map_err(|error| error.to_string()))?;
    let clock = Clock::start();
    let config = Config {
        node: gate.node,
        member: member(gate, &options, Standing::Learner { replaces: None }),
        version,
        base,
        contacts: members.iter().map(|(node, _)| *node).filter(|node| *node != gate.node).collect(),
        timing: options.timing,
        policy: Policy { volatile, ..options.policy },
        seed,
    };
    let durable = past.position;
    let mut effects = Vec::new();
    let replica = Replica::recover(config, clock.now(), past, &mut effects);
    if replica.view().expelled.contains(&gate.node) {
        let view = replica.view().id;
        return Err(NodeError::Removed { reason: format!("an operator took it out, as it knows since view {view}") });
    }
    if let Some(lived) = lived {
        lived.check(replica.view(), gate.address, options.policy.witness)?;
    }
    let mut links = Links::new(Arc::clone(gate));
    for (node, address) in members {
        links.on_heard(node, address);
    }
    let kept = if volatile { ", memory only" } else { "" };
    tracing::info!("replica {} of cluster {cluster} on {}{kept}", gate.node, gate.address);
    gate.open(cluster);
    let mut work = Work::from(durable);
    work.begin(effects);
    Ok(Driver {
        gate: Arc::clone(gate),
        clock,
        replica,
        store,
        log_events: events,
        pieces: Pieces::new(),
        trials: Trials::by(Arc::clone(&options.compiler)),
        receivers,
        applying,
        links,
        clients: Clients::new(Arc::clone(&gate.counters)),
        progress: Progress::new(
            gate.node,
            first,
            begins,
            options.object.filter(|_| !options.policy.witness),
            options.on_ready,
        ),
        rosters,
        plugins,
        counters: Arc::clone(&gate.counters),
        work,
    })
}

fn trace(plugins: &[RunningPlugin]) {
    for plugin in plugins {
        let PluginState { name, published, left_to, failure } = &*plugin.status.borrow();
        match (failure, left_to, published) {
            (Some(why), _, _) => tracing::warn!("{name} ends behind: {why}"),
            (None, None, Some(revision)) => tracing::info!("{name} has published revision {revision}"),
            (None, _, _) => {}
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
