//! View plugins: whoever wants to know the members, such as a DNS server. They are told, they never decide.
//!
//! Each plugin runs on a task of its own and is handed the newest roster; rosters that are no longer newest when it
//! gets to them are skipped. A plugin that fails is asked again with growing pauses, and nothing waits for it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use concoord_wire::NodeId;
use concoord_wire::member::{PluginState, Roster};
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{self, Instant};

use crate::limits::{CONFIRM_WAIT_MAX, PUBLISH_BACKOFF_MAX, PUBLISH_BACKOFF_MIN, PUBLISH_WAIT_MAX};

/// What a plugin did with a roster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// It is published, or will be once [`ViewPlugin::confirm`] says so.
    Here,
    /// That member publishes for all.
    LeftTo(NodeId),
    /// There is nothing to tell in it, such as while nobody leads: what was published stays.
    Nothing,
}

/// What [`ViewPlugin::publish`] gives: what it did, or one line that says why it could not.
pub type Publishing<'a> = Pin<Box<dyn Future<Output = Result<Published, String>> + Send + 'a>>;
/// What [`ViewPlugin::confirm`] gives: done, or one line that says why not.
pub type Confirming<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

/// Publishes the membership somewhere.
pub trait ViewPlugin: Send + 'static {
    /// What it is called in logs.
    fn name(&self) -> &str;

    /// For how long there shall be no newer roster before one is published, and the longest time that rosters which
    /// change all the while are held back for this. No time by default.
    fn settle(&self) -> (Duration, Duration) {
        (Duration::ZERO, Duration::ZERO)
    }

    /// Makes `roster` what the outside sees. Called with the newest roster, never twice at a time; again with the same
    /// one after an error. It is given up after a minute and then asked again.
    fn publish(&mut self, roster: Arc<Roster>) -> Publishing<'_>;

    /// Waits until everybody sees what was published, where that takes time. Given up as soon as there is a newer roster
    /// to publish.
    fn confirm(&mut self) -> Confirming<'_> {
        Box::pin(async { Ok(()) })
    }
}

/// A plugin at work; it stops when this is dropped.
#[derive(Debug)]
pub struct RunningPlugin {
    /// How it is doing.
    pub status: watch::Receiver<PluginState>,
    task: JoinHandle<()>,
}

impl Drop for RunningPlugin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts a plugin on its own task. It waits for the first roster, and ends when there will be no more.
#[must_use]
pub fn start(plugin: Box<dyn ViewPlugin>, rosters: watch::Receiver<Option<Arc<Roster>>>) -> RunningPlugin {
    let fresh = PluginState { name: plugin.name().to_owned(), published: None, left_to: None, failure: None };
    let (report, status) = watch::channel(fresh);
    let task = tokio::spawn(publish_each(plugin, rosters, report));
    RunningPlugin { status, task }
}

type Rosters = watch::Receiver<Option<Arc<Roster>>>;

async fn publish_each(mut plugin: Box<dyn ViewPlugin>, mut rosters: Rosters, report: watch::Sender<PluginState>) {
    let mut pauses = Pauses::new();
    loop {
        settled(&mut rosters, plugin.settle()).await;
        let newest = rosters.borrow_and_update().clone();
        let outcome = match newest {
            Some(roster) => publish_once(plugin.as_mut(), roster, &mut rosters, &report).await,
            None => Outcome::Done,
        };
        let more = match outcome {
            Outcome::Failed => newer_or_later(&mut rosters, pauses.next()).await,
            Outcome::Outdated => rosters.has_changed().is_ok(),
            Outcome::Done => {
                pauses = Pauses::new();
                rosters.changed().await.is_ok()
            }
        };
        if !more {
            return;
        }
    }
}

/// Whether there will be more rosters: waits for a newer one, but no longer than `pause`.
async fn newer_or_later(rosters: &mut Rosters, pause: Duration) -> bool {
    time::timeout(pause, rosters.changed()).await.map_or(true, |changed| changed.is_ok())
}

/// Waits until there was no newer roster for the first of these times, but no longer than the second.
async fn settled(rosters: &mut Rosters, (quiet, longest): (Duration, Duration)) {
    let last = Instant::now() + longest;
    // What is there when this begins may have come just now.
    rosters.mark_unchanged();
    while Instant::now() < last {
        let pause = quiet.min(last - Instant::now());
        if !time::timeout(pause, rosters.changed()).await.is_ok_and(|changed| changed.is_ok()) {
            return;
        }
    }
}

/// Pauses between failed tries: each twice as long as the one before, less a random part of up to half, so that those who
/// failed together do not try again together.
#[derive(Debug)]
struct Pauses {
    longest: Duration,
    random: StdRng,
}

impl Pauses {
    fn new() -> Pauses {
        Pauses { longest: PUBLISH_BACKOFF_MIN, random: rand::make_rng() }
    }

    fn next(&mut self) -> Duration {
        let pause = self.longest.mul_f64(self.random.random_range(0.5..=1.0));
        self.longest = (self.longest * 2).min(PUBLISH_BACKOFF_MAX);
        pause
    }
}

/// What became of one try.
enum Outcome {
    Done,
    /// There is a newer roster.
    Outdated,
    Failed,
}

async fn publish_once(
    plugin: &mut dyn ViewPlugin,
    roster: Arc<Roster>,
    rosters: &mut Rosters,
    report: &watch::Sender<PluginState>,
) -> Outcome {
    let revision = roster.revision;
    let published = match time::timeout(PUBLISH_WAIT_MAX, plugin.publish(roster)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("not done within {} s", PUBLISH_WAIT_MAX.as_secs())),
    };
    let confirmed = match published {
        Ok(Published::Here) => {
            tokio::select! {
                // What is confirmed already counts, whatever is newer.
                biased;
                confirmed = time::timeout(CONFIRM_WAIT_MAX, plugin.confirm()) => match confirmed {
                    Ok(confirmed) => confirmed.map(|()| Published::Here),
                    Err(_) => Err(format!("not confirmed within {} s", CONFIRM_WAIT_MAX.as_secs())),
                },
                // Also when there will be no more.
                _ = rosters.changed() => return Outcome::Outdated,
            }
        }
        other => other,
    };
    match confirmed {
        Ok(Published::Here) => {
            tracing::debug!(plugin = plugin.name(), %revision, "published");
            report.send_modify(|state| {
                (state.published, state.left_to, state.failure) = (Some(revision), None, None);
            });
            Outcome::Done
        }
        Ok(Published::LeftTo(member)) => {
            tracing::debug!(plugin = plugin.name(), %revision, "left to {member}");
            report.send_modify(|state| (state.left_to, state.failure) = (Some(member), None));
            Outcome::Done
        }
        Ok(Published::Nothing) => Outcome::Done,
        Err(why) => {
            // One line for each reason, not for each try.
            if report.borrow().failure.as_ref() == Some(&why) {
                tracing::debug!(plugin = plugin.name(), %revision, "still not published: {why}");
            } else {
                tracing::warn!(plugin = plugin.name(), %revision, "not published, will be tried again: {why}");
            }
            report.send_modify(|state| (state.left_to, state.failure) = (None, Some(why)));
            Outcome::Failed
        }
    }
}

#[cfg(test)]
mod tests {
    use concoord_wire::{ClusterId, NodeId, Slot, ViewId};
    use tokio::sync::mpsc;

    use super::*;

    fn roster(revision: u64) -> Arc<Roster> {
        Arc::new(Roster {
            cluster: ClusterId(1),
            view: ViewId(1),
            leader: None,
            members: vec![],
            revision: Slot(revision),
            decided: Slot(revision),
            reporter: NodeId(1),
            version: None,
            plugins: vec![],
        })
    }

    /// Says which roster it is asked to publish, and answers as it is told.
    struct Scripted {
        asked: mpsc::UnboundedSender<Slot>,
        answers: mpsc::UnboundedReceiver<Result<(), String>>,
        settle: (Duration, Duration),
        slow_to_confirm: bool,
    }

    impl ViewPlugin for Scripted {
        fn name(&self) -> &str {
            "scripted"
        }

        fn settle(&self) -> (Duration, Duration) {
            self.settle
        }

        fn publish(&mut self, roster: Arc<Roster>) -> Publishing<'_> {
            Box::pin(async move {
                self.asked.send(roster.revision).expect("the test listens");
                self.answers.recv().await.expect("the test answers").map(|()| Published::Here)
            })
        }

        fn confirm(&mut self) -> Confirming<'_> {
            let slow = self.slow_to_confirm;
            Box::pin(async move { if slow { std::future::pending().await } else { Ok(()) } })
        }
    }

    /// A scripted plugin, what it is asked, and its answers.
    type Script = (Scripted, mpsc::UnboundedReceiver<Slot>, mpsc::UnboundedSender<Result<(), String>>);

    fn scripted() -> Script {
        let (asked, asks) = mpsc::unbounded_channel();
        let (answer, answers) = mpsc::unbounded_channel();
        (Scripted { asked, answers, settle: Default::default(), slow_to_confirm: false }, asks, answer)
    }

    #[tokio::test]
    async fn a_plugin_gets_the_newest_roster_and_is_asked_again_after_a_failure() {
        let (plugin, mut asks, answer) = scripted();
        let (rosters, newest) = watch::channel(None);
        let mut running = start(Box::new(plugin), newest);

        rosters.send_replace(Some(roster(1)));
        assert_eq!(asks.recv().await, Some(Slot(1)));
        rosters.send_replace(Some(roster(2)));
        rosters.send_replace(Some(roster(3)));
        answer.send(Ok(())).expect("the plugin waits");
        assert_eq!(asks.recv().await, Some(Slot(3)), "2 was no longer newest");

        answer.send(Err("no route".into())).expect("the plugin waits");
        assert_eq!(asks.recv().await, Some(Slot(3)), "asked again");
        let state = |published, failure: Option<&str>| PluginState {
            name: "scripted".into(),
            published: Some(Slot(published)),
            left_to: None,
            failure: failure.map(str::to_owned),
        };
        assert_eq!(*running.status.borrow_and_update(), state(1, Some("no route")));
        answer.send(Ok(())).expect("the plugin waits");
        running.status.changed().await.expect("the plugin goes on");
        assert_eq!(*running.status.borrow(), state(3, None));
    }
    /// Sends newer rosters every 10 ms, so many or until it is dropped.
    async fn change(rosters: &watch::Sender<Option<Arc<Roster>>>, revisions: impl Iterator<Item = u64>) {
        for revision in revisions {
            rosters.send_replace(Some(roster(revision)));
            time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn rosters_are_held_back_until_they_settle() {
        let (mut plugin, mut asks, _answer) = scripted();
        let quiet = Duration::from_secs(1);
        plugin.settle = (quiet, 10 * quiet);
        let (rosters, newest) = watch::channel(None);
        let _running = start(Box::new(plugin), newest);
        change(&rosters, 1..=10).await;
        let last = Instant::now();
        assert_eq!(asks.recv().await, Some(Slot(10)));
        assert!(last.elapsed() > quiet / 2, "{:?}", last.elapsed());
    }

    #[tokio::test]
    async fn rosters_that_never_settle_are_held_back_only_so_long() {
        let (mut plugin, mut asks, _answer) = scripted();
        let (quiet, longest) = (Duration::from_secs(20), Duration::from_millis(500));
        plugin.settle = (quiet, longest);
        let (rosters, newest) = watch::channel(None);
        let _running = start(Box::new(plugin), newest);
        let began = Instant::now();
        tokio::select! {
            () = change(&rosters, 1..) => {}
            asked = asks.recv() => assert!(asked.is_some()),
        }
        assert!(began.elapsed() >= longest && began.elapsed() < quiet, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn a_newer_roster_does_not_wait_for_the_last_one_to_be_seen_everywhere() {
        let (mut plugin, mut asks, answer) = scripted();
        plugin.slow_to_confirm = true;
        let (rosters, newest) = watch::channel(Some(roster(1)));
        let running = start(Box::new(plugin), newest);
        assert_eq!(asks.recv().await, Some(Slot(1)));
        answer.send(Ok(())).expect("the plugin waits");
        assert_eq!(running.status.borrow().published, None, "nobody has confirmed it");
        rosters.send_replace(Some(roster(2)));
        assert_eq!(asks.recv().await, Some(Slot(2)));
    }

    #[test]
    fn pauses_grow_to_a_limit_and_differ() {
        let mut pauses = Pauses::new();
        let taken = (0..20).map(|_| pauses.next()).collect::<Vec<_>>();
        assert!(taken[0] >= PUBLISH_BACKOFF_MIN / 2 && taken[0] <= PUBLISH_BACKOFF_MIN, "{taken:?}");
        assert!(taken[5..].iter().all(|pause| *pause >= PUBLISH_BACKOFF_MAX / 2 && *pause <= PUBLISH_BACKOFF_MAX));
        assert!(taken[5..].iter().any(|pause| *pause != taken[5]), "{taken:?}");
    }
}
