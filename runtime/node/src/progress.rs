//! How far a replica has come: what it tells its log as the membership changes, when it loads its object, and when it
//! is ready. Nothing here decides anything; the roster and the applied slots do.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use concoord_consensus::io::Input;
use concoord_wire::member::{Role, Roster, RosterMember};
use concoord_wire::{NodeId, ObjectId};

use crate::error::NodeError;
use crate::options::{ObjectSource, Ready};

/// Called once, when the replica serves.
pub(crate) type OnReady = Box<dyn FnOnce(Ready) + Send + Sync>;

/// How far the object that a new cluster starts with has come.
enum Load {
    /// To be loaded as soon as this replica leads.
    Wanted(ObjectSource),
    /// Proposed. It stays here for the case that this replica stops leading before it is decided.
    Proposed(ObjectSource),
    /// Loaded, or never asked for.
    Done,
}

pub(crate) struct Progress {
    node: NodeId,
    /// Whether this replica started the cluster.
    first: bool,
    load: Load,
    on_ready: Option<OnReady>,
    ready: bool,
    roster: Option<Arc<Roster>>,
    /// Who led last, so that a leader that goes on leading after a view change is no news.
    led_by: Option<NodeId>,
    /// Who was said to be silent.
    silent: BTreeSet<NodeId>,
}

impl Progress {
    /// `first` says that this replica has just started the cluster, `object` what is to be loaded should it lead.
    pub(crate) fn new(node: NodeId, first: bool, object: Option<ObjectSource>, on_ready: Option<OnReady>) -> Progress {
        let load = object.map_or(Load::Done, Load::Wanted);
        let (ready, roster, led_by, silent) = (false, None, None, BTreeSet::new());
        Progress { node, first, load, on_ready, ready, roster, led_by, silent }
    }

    pub(crate) fn on_roster(&mut self, roster: &Arc<Roster>) {
        self.trace(roster);
        self.roster = Some(Arc::clone(roster));
        if !self.leads() {
            self.load = match mem::replace(&mut self.load, Load::Done) {
                Load::Proposed(object) => Load::Wanted(object),
                other => other,
            };
        }
    }

    /// What a slot loaded, here or elsewhere.
    ///
    /// # Errors
    /// [`NodeError::ObjectRefused`] when it is this replica's object that did not load.
    pub(crate) fn on_loaded(&mut self, loaded: Vec<(String, Result<ObjectId, String>)>) -> Result<(), NodeError> {
        for (name, result) in loaded {
            let ours = match &self.load {
                Load::Wanted(object) | Load::Proposed(object) => object.name == name,
                Load::Done => false,
            };
            match result {
                Ok(object) => tracing::info!("object '{name}' is loaded, number {object}"),
                Err(why) if ours => return Err(NodeError::ObjectRefused { object: name, why }),
                Err(why) => tracing::warn!("object '{name}' can't be loaded: {why}"),
            }
            if ours {
                self.load = Load::Done;
            }
        }
        Ok(())
    }

    /// The load to propose, if it is time for that.
    pub(crate) fn due_load(&mut self) -> Option<Input> {
        if !self.leads() {
            return None;
        }
        match mem::replace(&mut self.load, Load::Done) {
            Load::Wanted(object) => {
                let load = Input::Load {
                    name: object.name.clone(),
                    module: Bytes::from(object.module.clone()),
                    arguments: Bytes::from(object.arguments.clone()),
                };
                self.load = Load::Proposed(object);
                Some(load)
            }
            other => {
                self.load = other;
                None
            }
        }
    }

    /// Tells whoever waits for it that the replica serves, once it does.
    pub(crate) fn tell_if_ready(&mut self) {
        if self.ready || !matches!(self.load, Load::Done) {
            return;
        }
        let Some(roster) = &self.roster else { return };
        let Some(me) = roster.members.iter().find(|member| member.id == self.node) else { return };
        let serves = if self.first { self.leads() } else { me.role != Role::Learner && roster.leader.is_some() };
        if serves {
            self.ready = true;
            let ready = Ready { node: self.node, cluster: roster.cluster, address: me.address };
            tracing::debug!("ready: replica {} of cluster {} serves on {}", ready.node, ready.cluster, ready.address);
            if let Some(on_ready) = self.on_ready.take() {
                on_ready(ready);
            }
        }
    }

    /// Whether this is a first replica that nobody has joined: it may be what is left of one that lost its state.
    pub(crate) fn is_lone_first(&self) -> bool {
        self.first && self.roster.as_ref().is_none_or(|roster| roster.members.len() <= 1)
    }

    fn leads(&self) -> bool {
        self.roster.as_ref().is_some_and(|roster| roster.leader == Some(self.node))
    }

    /// Says what is new in a roster.
    fn trace(&mut self, new: &Roster) {
        let old = self.roster.take();
        let before = by_id(old.as_deref());
        let now = by_id(Some(new));
        for (id, member) in &now {
            let name = self.name(member);
            match before.get(id) {
                None if old.is_some() => tracing::info!("view {}: {name} joined as {}", new.view, member.role),
                None => tracing::info!("view {}: {name} is a {}", new.view, member.role),
                Some(was) if was.role != member.role => {
                    tracing::info!("view {}: {name} is a {} now", new.view, member.role);
                }
                Some(was) => self.trace_liveness(was.live, member),
            }
        }
        for member in before.iter().filter(|(id, _)| !now.contains_key(*id)).map(|(_, member)| member) {
            tracing::info!("view {}: {} left", new.view, self.name(member));
            self.silent.remove(&member.id);
        }
        match new.leader.and_then(|leader| now.get(&leader)) {
            Some(member) if self.led_by != new.leader => {
                tracing::info!("{} leads", self.name(member));
                self.led_by = new.leader;
            }
            Some(_) => {}
            None => tracing::debug!("nobody leads"),
        }
    }

    fn trace_liveness(&mut self, was_live: bool, member: &RosterMember) {
        if was_live && !member.live {
            tracing::info!("{} is silent", self.name(member));
            self.silent.insert(member.id);
        } else if member.live && self.silent.remove(&member.id) {
            tracing::info!("{} is heard again", self.name(member));
        }
    }

    fn name(&self, member: &RosterMember) -> String {
        let whose = if member.id == self.node { "this replica" } else { "replica" };
        format!("{whose} {} at {}", member.id, member.address)
    }
}

fn by_id(roster: Option<&Roster>) -> BTreeMap<NodeId, &RosterMember> {
    roster.iter().flat_map(|roster| &roster.members).map(|member| (member.id, member)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use concoord_wire::member::Services;
    use concoord_wire::{ClusterId, Slot, ViewId};

    use super::*;

    const ME: NodeId = NodeId(1);
    const OTHER: NodeId = NodeId(2);

    fn roster(leader: Option<NodeId>, members: &[(NodeId, Role)]) -> Arc<Roster> {
        let member = |&(id, role): &(NodeId, Role)| RosterMember {
            id,
            address: ([127, 0, 0, 1], 14000 + u16::try_from(id.0).expect("small ids")).into(),
            role,
            services: Services::default(),
            live: true,
            silent: false,
            volatile: false,
            full: false,
            differs: None,
            supports: None,
        };
        Arc::new(Roster {
            cluster: ClusterId(7),
            view: ViewId(1),
            leader,
            members: members.iter().map(member).collect(),
            revision: Slot(1),
            decided: Slot(1),
            reporter: ME,
            version: None,
            plugins: vec![],
        })
    }

    fn object() -> ObjectSource {
        ObjectSource { name: "counter".into(), module: vec![0], arguments: vec![] }
    }

    fn counted() -> (Arc<AtomicUsize>, Option<OnReady>) {
        let calls = Arc::new(AtomicUsize::new(0));
        let counting = Arc::clone(&calls);
        (calls, Some(Box::new(move |_| _ = counting.fetch_add(1, Ordering::Relaxed))))
    }

    #[test]
    fn a_first_replica_loads_when_it_leads_and_is_ready_when_that_is_done() {
        let (calls, on_ready) = counted();
        let mut progress = Progress::new(ME, true, Some(object()), on_ready);
        progress.on_roster(&roster(None, &[(ME, Role::Replica)]));
        assert!(progress.due_load().is_none(), "nobody leads yet");
        progress.on_roster(&roster(Some(ME), &[(ME, Role::Replica)]));
        assert!(matches!(progress.due_load(), Some(Input::Load { name, .. }) if name == "counter"));
        assert!(progress.due_load().is_none(), "proposed once");
        progress.tell_if_ready();
        assert_eq!(calls.load(Ordering::Relaxed), 0, "not loaded yet");
        progress.on_loaded(vec![("counter".into(), Ok(ObjectId(1)))]).expect("it loaded");
        progress.tell_if_ready();
        progress.tell_if_ready();
        assert_eq!(calls.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_load_is_proposed_again_after_leadership_was_lost() {
        let mut progress = Progress::new(ME, true, Some(object()), None);
        let both = [(ME, Role::Replica), (OTHER, Role::Replica)];
        progress.on_roster(&roster(Some(ME), &both));
        assert!(progress.due_load().is_some());
        progress.on_roster(&roster(Some(OTHER), &both));
        assert!(progress.due_load().is_none());
        progress.on_roster(&roster(Some(ME), &both));
        assert!(progress.due_load().is_some());
    }

    #[test]
    fn an_object_that_does_not_load_ends_the_replica_that_brought_it_and_no_other() {
        let failed = || vec![("counter".to_owned(), Err("it traps".to_owned()))];
        let mut first = Progress::new(ME, true, Some(object()), None);
        let error = first.on_loaded(failed()).expect_err("its own object");
        assert_eq!(error.to_string(), "object 'counter' can't be loaded: it traps");
        Progress::new(ME, false, None, None).on_loaded(failed()).expect("a joiner brings none");
    }

    #[test]
    fn a_joiner_is_ready_when_it_votes_under_a_leader() {
        let (calls, on_ready) = counted();
        let mut progress = Progress::new(ME, false, None, on_ready);
        for (leader, role) in [(Some(OTHER), Role::Learner), (None, Role::Replica)] {
            progress.on_roster(&roster(leader, &[(ME, role), (OTHER, Role::Replica)]));
            progress.tell_if_ready();
            assert_eq!(calls.load(Ordering::Relaxed), 0);
        }
        progress.on_roster(&roster(Some(OTHER), &[(ME, Role::Replica), (OTHER, Role::Replica)]));
        progress.tell_if_ready();
        assert_eq!(calls.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn only_a_first_replica_that_nobody_joined_may_have_lost_its_state() {
        let mut first = Progress::new(ME, true, None, None);
        first.on_roster(&roster(Some(ME), &[(ME, Role::Replica)]));
        assert!(first.is_lone_first());
        first.on_roster(&roster(Some(ME), &[(ME, Role::Replica), (OTHER, Role::Learner)]));
        assert!(!first.is_lone_first());
        assert!(!Progress::new(ME, false, None, None).is_lone_first());
    }
}
