//! View plugins: whoever wants to know the members, such as a DNS server. They are told, they never decide.
//!
//! Each plugin runs on a task of its own and is handed the newest roster; rosters that are no longer newest when it
//! gets to them are skipped. A plugin that fails is asked again with growing pauses, and nothing waits for it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use concoord_wire::member::{PluginState, Roster};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time;

use crate::limits::{PUBLISH_BACKOFF_MAX, PUBLISH_BACKOFF_MIN, PUBLISH_WAIT_MAX};

/// What [`ViewPlugin::publish`] gives: done, or one line that says why not.
pub type Publishing<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

/// Publishes the membership somewhere.
pub trait ViewPlugin: Send + 'static {
    /// What it is called in logs.
    fn name(&self) -> &str;

    /// Makes `roster` what the outside sees. Called with the newest roster, never twice at a time; again with the same
    /// one after an error. It is given up after a minute and then asked again.
    fn publish(&mut self, roster: Arc<Roster>) -> Publishing<'_>;
}

/// A plugin at work; it stops when this is dropped.
#[derive(Debug)]
pub(crate) struct RunningPlugin {
    pub(crate) status: watch::Receiver<PluginState>,
    task: JoinHandle<()>,
}

impl Drop for RunningPlugin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts a plugin on its own task. It waits for the first roster.
pub(crate) fn start(plugin: Box<dyn ViewPlugin>, rosters: watch::Receiver<Option<Arc<Roster>>>) -> RunningPlugin {
    let fresh = PluginState { name: plugin.name().to_owned(), published: None, failure: None };
    let (report, status) = watch::channel(fresh);
    let task = tokio::spawn(publish_each(plugin, rosters, report));
    RunningPlugin { status, task }
}

async fn publish_each(
    mut plugin: Box<dyn ViewPlugin>,
    mut rosters: watch::Receiver<Option<Arc<Roster>>>,
    report: watch::Sender<PluginState>,
) {
    let mut pause = PUBLISH_BACKOFF_MIN;
    loop {
        let newest = rosters.borrow_and_update().clone();
        let failed = match newest {
            Some(roster) => publish_once(plugin.as_mut(), roster, &report).await.is_err(),
            None => false,
        };
        let changed = if failed {
            let changed = newer_or_later(&mut rosters, pause).await;
            pause = (pause * 2).min(PUBLISH_BACKOFF_MAX);
            changed
        } else {
            pause = PUBLISH_BACKOFF_MIN;
            rosters.changed().await.is_ok()
        };
        if !changed {
            return;
        }
    }
}

/// Whether there will be more rosters: waits for a newer one, but no longer than `pause`.
async fn newer_or_later(rosters: &mut watch::Receiver<Option<Arc<Roster>>>, pause: Duration) -> bool {
    time::timeout(pause, rosters.changed()).await.map_or(true, |changed| changed.is_ok())
}

async fn publish_once(
    plugin: &mut dyn ViewPlugin,
    roster: Arc<Roster>,
    report: &watch::Sender<PluginState>,
) -> Result<(), ()> {
    let revision = roster.revision;
    let outcome = match time::timeout(PUBLISH_WAIT_MAX, plugin.publish(roster)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("not done within {} s", PUBLISH_WAIT_MAX.as_secs())),
    };
    match outcome {
        Ok(()) => {
            tracing::debug!(plugin = plugin.name(), %revision, "published");
            report.send_modify(|state| (state.published, state.failure) = (Some(revision), None));
            Ok(())
        }
        Err(why) => {
            // One line for each reason, not for each try.
            if report.borrow().failure.as_ref() == Some(&why) {
                tracing::debug!(plugin = plugin.name(), %revision, "still not published: {why}");
            } else {
                tracing::warn!(plugin = plugin.name(), %revision, "not published, will be tried again: {why}");
            }
            report.send_modify(|state| state.failure = Some(why));
            Err(())
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
            plugins: vec![],
        })
    }

    /// Says which roster it is asked to publish, and answers as it is told.
    struct Scripted {
        asked: mpsc::UnboundedSender<Slot>,
        answers: mpsc::UnboundedReceiver<Result<(), String>>,
    }

    impl ViewPlugin for Scripted {
        fn name(&self) -> &str {
            "scripted"
        }

        fn publish(&mut self, roster: Arc<Roster>) -> Publishing<'_> {
            Box::pin(async move {
                self.asked.send(roster.revision).expect("the test listens");
                self.answers.recv().await.expect("the test answers")
            })
        }
    }

    #[tokio::test]
    async fn a_plugin_gets_the_newest_roster_and_is_asked_again_after_a_failure() {
        let (asked, mut asks) = mpsc::unbounded_channel();
        let (answer, answers) = mpsc::unbounded_channel();
        let (rosters, newest) = watch::channel(None);
        let mut running = start(Box::new(Scripted { asked, answers }), newest);

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
            failure: failure.map(str::to_owned),
        };
        assert_eq!(*running.status.borrow_and_update(), state(1, Some("no route")));
        answer.send(Ok(())).expect("the plugin waits");
        running.status.changed().await.expect("the plugin goes on");
        assert_eq!(*running.status.borrow(), state(3, None));
    }
}
