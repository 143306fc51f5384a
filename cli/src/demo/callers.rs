//! Clients that increment the counter without pause, and remember what they were told.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use concoord_client::{Client, Consistency};
use concoord_wire::abi::Answer;
use concoord_wire::codec;
use tokio::task::JoinSet;

use crate::connect;
use crate::print::Progress;

/// How often the progress is told.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// Clients at work.
pub(super) struct Callers {
    tasks: JoinSet<anyhow::Result<()>>,
    stop: Rc<Cell<bool>>,
    tally: Rc<RefCell<Tally>>,
}

/// What all clients were told together.
#[derive(Default)]
struct Tally {
    acknowledged: u64,
    longest_wait: Duration,
}

impl Callers {
    /// Connects `clients` clients, each with a connection of its own, and lets them call.
    ///
    /// # Errors
    /// When one can't connect.
    pub(super) async fn start(addresses: &str, clients: u16) -> anyhow::Result<Callers> {
        let mut callers = Callers { tasks: JoinSet::new(), stop: Rc::default(), tally: Rc::default() };
        let mut connected = Vec::new();
        for _ in 0..clients {
            connected.push(connect::client(addresses).await?);
        }
        for client in connected {
            let (stop, tally) = (Rc::clone(&callers.stop), Rc::clone(&callers.tally));
            callers.tasks.spawn_local(increment_until(client, stop, tally));
        }
        Ok(callers)
    }

    /// Lets them call for `time`.
    ///
    /// # Errors
    /// When one of them had a call that ended without a result.
    pub(super) async fn watch(&mut self, time: Duration, progress: &mut Progress) -> anyhow::Result<()> {
        let tally = Rc::clone(&self.tally);
        let until = Instant::now() + time;
        self.alongside(async {
            while let Some(left) = until.checked_duration_since(Instant::now()) {
                progress.update(|| format!("{} increments acknowledged", tally.borrow().acknowledged));
                tokio::time::sleep(left.min(PROGRESS_INTERVAL)).await;
            }
            Ok(())
        })
        .await
    }

    /// Waits for `other` while they call.
    ///
    /// # Errors
    /// Those of `other`, and when a call ended without a result.
    pub(super) async fn alongside<T>(&mut self, other: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        tokio::select! {
            result = other => result,
            Some(ended) = self.tasks.join_next() => {
                ended.context("a client ended")??;
                bail!("a client ended before it was told to")
            }
        }
    }

    /// Lets each finish the call that it is in. Gives the number of acknowledged increments and the longest wait of a
    /// client from one to its next.
    ///
    /// # Errors
    /// When one of the last calls ended without a result.
    pub(super) async fn stop(mut self) -> anyhow::Result<(u64, Duration)> {
        self.stop.set(true);
        while let Some(ended) = self.tasks.join_next().await {
            ended.context("a client ended")??;
        }
        let tally = self.tally.borrow();
        Ok((tally.acknowledged, tally.longest_wait))
    }
}

async fn increment_until(client: Client, stop: Rc<Cell<bool>>, tally: Rc<RefCell<Tally>>) -> anyhow::Result<()> {
    let mut last = Instant::now();
    while !stop.get() {
        let answer = client.call(None, "increment", Vec::new()).await;
        let Answer::Returned(_) = answer.context("an increment ended without a result, so the count can't be known")?
        else {
            return Err(anyhow!("the counter refused to increment"));
        };
        let now = Instant::now();
        let mut tally = tally.borrow_mut();
        tally.acknowledged += 1;
        tally.longest_wait = tally.longest_wait.max(now - last);
        last = now;
    }
    client.close().await;
    Ok(())
}

/// The counter's value.
///
/// # Errors
/// When nobody tells it.
pub(super) async fn value(client: &Client) -> anyhow::Result<i64> {
    let answer = client.query(None, "getvalue", Vec::new(), Consistency::Linearizable).await;
    match answer.context("the counter can't be read")? {
        Answer::Returned(bytes) => Ok(codec::from_bytes(&bytes)?),
        other => bail!("the counter has no value: {other:?}"),
    }
}
