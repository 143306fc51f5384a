//! How far a replica has come: what it tells its log as membership and objects change, when it loads its object, whether
//! the cluster's object is its own, and when it is ready. Nothing here decides anything; the roster and the applied slots
//! do.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use concoord_consensus::application::module_hash;
use concoord_consensus::io::{Input, Notice, Verb};
use concoord_consensus::limits::VERSIONS_KEPT_MAX;
use concoord_wire::client::{CallError, Consistency, Request, Response};
use concoord_wire::member::{Role, Roster, RosterMember};
use concoord_wire::objects::{ObjectAction, ObjectError, ObjectList, Operated};
use concoord_wire::{ModuleHash, NodeId, ObjectId};

use crate::error::NodeError;
use crate::options::{ObjectSource, Ready};

/// Called once, when the replica serves.
pub(crate) type OnReady = Box<dyn FnOnce(Ready) + Send + Sync>;

/// How far the object has come that this replica was given.
enum Given {
    /// The cluster is asked what it has, as soon as this replica serves: what is on its own disk may be old.
    Asks(ObjectSource, About),
    /// The cluster was asked.
    Asked(ObjectSource, About),
    /// To be loaded as soon as this replica leads.
    Wanted(ObjectSource),
    /// Proposed. It stays here for the case that this replica stops leading before it is decided.
    Proposed(ObjectSource),
    /// Loaded, or compared, or there is none.
    Done,
}

/// What the cluster is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum About {
    /// Which objects it has, if it ever had any.
    All,
    /// Which modules the object of the given one's name had.
    Versions,
}

pub(crate) struct Progress {
    node: NodeId,
    /// Whether this replica has just started the cluster.
    first: bool,
    /// Whether this replica began the cluster, now or in an earlier life.
    begins: bool,
    given: Given,
    on_ready: Option<OnReady>,
    ready: bool,
    roster: Option<Arc<Roster>>,
    /// Who led last, so that a leader that goes on leading after a view change is no news.
    led_by: Option<NodeId>,
    /// Who was said to be silent.
    silent: BTreeSet<NodeId>,
}

impl Progress {
    /// `first` says that this replica has just started the cluster, `begins` that it did so in any of its lives: then the
    /// cluster is to have `object`, if it never had one.
    pub(crate) fn new(
        node: NodeId,
        first: bool,
        begins: bool,
        object: Option<ObjectSource>,
        on_ready: Option<OnReady>,
    ) -> Progress {
        let given = match object {
            Some(object) if first => Given::Wanted(object),
            Some(object) if begins || !object.by_name => Given::Asks(object, About::All),
            Some(_) | None => Given::Done,
        };
        let (ready, roster, led_by, silent) = (false, None, None, BTreeSet::new());
        Progress { node, first, begins, given, on_ready, ready, roster, led_by, silent }
    }

    pub(crate) fn on_roster(&mut self, roster: &Arc<Roster>) {
        self.trace(roster);
        self.roster = Some(Arc::clone(roster));
        if !self.leads() {
            self.given = match mem::replace(&mut self.given, Given::Done) {
                Given::Proposed(object) => Given::Wanted(object),
                other => other,
            };
        }
    }

    /// What became of objects, here or elsewhere.
    ///
    /// # Errors
    /// [`NodeError::ObjectRefused`] when it is this replica's object that did not load.
    pub(crate) fn on_notices(&mut self, notices: Vec<Notice>) -> Result<(), NodeError> {
        for notice in notices {
            match notice {
                Notice::Operated { verb, object, result } => self.on_operated(verb, object, result)?,
                Notice::Suspended { object, why } => {
                    tracing::warn!("object '{object}' is suspended: {why}; resume or upgrade it");
                }
            }
        }
        Ok(())
    }

    fn on_operated(
        &mut self,
        verb: Verb,
        name: String,
        result: Result<Operated, ObjectError>,
    ) -> Result<(), NodeError> {
        let ours = match &self.given {
            Given::Wanted(object) | Given::Proposed(object) => verb == Verb::Load && object.name == name,
            Given::Asks(..) | Given::Asked(..) | Given::Done => false,
        };
        match result {
            Ok(Operated { object, generation, .. }) => match verb {
                Verb::Load => tracing::info!("object '{name}' is loaded, number {object}"),
                Verb::Remove => tracing::info!("object '{name}' is removed"),
                Verb::Upgrade => tracing::info!("object '{name}' is upgraded to generation {generation}"),
                Verb::Rollback => tracing::info!("object '{name}' is rolled back, in generation {generation}"),
                Verb::Resume => tracing::info!("object '{name}' is resumed"),
            },
            Err(ObjectError::NameTaken { .. }) if ours => {}
            Err(ObjectError::Refused { why }) if ours => return Err(NodeError::ObjectRefused { object: name, why }),
            Err(error) if ours => return Err(NodeError::ObjectRefused { object: name, why: error.to_string() }),
            Err(error) => {
                let done = match verb {
                    Verb::Load => "loaded",
                    Verb::Remove => "removed",
                    Verb::Upgrade => "upgraded",
                    Verb::Rollback => "rolled back",
                    Verb::Resume => "resumed",
                };
                tracing::warn!("object '{name}' can't be {done}: {error}");
            }
        }
        if ours {
            self.given = Given::Done;
        }
        Ok(())
    }

    /// The load to propose, if it is time for that.
    pub(crate) fn due_load(&mut self) -> Option<Input> {
        if !self.leads() {
            return None;
        }
        let cluster = self.roster.as_ref()?.cluster;
        match mem::replace(&mut self.given, Given::Done) {
            Given::Wanted(object) => {
                let ModuleHash(hash) = module_hash(&object.module);
                let (half, _) = hash.split_first_chunk().expect("a hash has 32 bytes");
                // The same whenever this replica starts again, and another one for another module.
                let nonce = cluster.0 ^ u128::from_le_bytes(*half);
                let action = ObjectAction::Load {
                    name: object.name.clone(),
                    module: Bytes::from(object.module.clone()),
                    arguments: Bytes::from(object.arguments.clone()),
                    limits: object.limits,
                };
                self.given = Given::Proposed(object);
                Some(Input::Operate { nonce, action })
            }
            other => {
                self.given = other;
                None
            }
        }
    }

    /// What to ask the cluster, if it is time for that.
    pub(crate) fn due_question(&mut self) -> Option<Request> {
        if !self.serves() {
            return None;
        }
        match mem::replace(&mut self.given, Given::Done) {
            Given::Asks(object, about) => {
                let name = (about == About::Versions).then(|| object.name.clone());
                self.given = Given::Asked(object, about);
                Some(Request::Objects { request: 0, name, consistency: Consistency::Linearizable })
            }
            other => {
                self.given = other;
                None
            }
        }
    }

    /// What the cluster says to that.
    ///
    /// # Errors
    /// [`NodeError::NeverAVersion`].
    pub(crate) fn on_answer(&mut self, response: &Response) -> Result<(), NodeError> {
        let Response::Objects { result, .. } = response else { return Ok(()) };
        let Given::Asked(object, about) = mem::replace(&mut self.given, Given::Done) else { return Ok(()) };
        match result {
            Ok(list) if about == About::All => self.on_objects(object, list),
            Ok(list) => return compare(&object, list),
            // It was removed between the two questions.
            Err(CallError::UnknownObject { .. }) => {}
            Err(error) => {
                tracing::debug!(%error, "asks again which objects there are");
                self.given = Given::Asks(object, about);
            }
        }
        Ok(())
    }

    fn on_objects(&mut self, object: ObjectSource, list: &ObjectList) {
        if list.last == ObjectId::default() && self.begins {
            // It ended before its object was decided.
            self.given = Given::Wanted(object);
        } else if !list.objects.iter().any(|listed| listed.name == object.name) {
            let name = object.name;
            tracing::warn!("this cluster has no object '{name}' (any more): concoord object load adds one");
        } else if !object.by_name {
            self.given = Given::Asks(object, About::Versions);
        }
    }

    /// Tells whoever waits for it that the replica serves, once it does.
    pub(crate) fn tell_if_ready(&mut self) {
        if self.ready || !matches!(self.given, Given::Done) || !self.serves() {
            return;
        }
        let Some((roster, me)) = self.listed() else { return };
        let ready = Ready { node: self.node, cluster: roster.cluster, address: me.address };
        tracing::debug!("ready: replica {} of cluster {} serves on {}", ready.node, ready.cluster, ready.address);
        self.ready = true;
        if let Some(on_ready) = self.on_ready.take() {
            on_ready(ready);
        }
    }

    /// This replica in the newest roster.
    fn listed(&self) -> Option<(&Roster, &RosterMember)> {
        let roster = self.roster.as_deref()?;
        Some((roster, roster.members.iter().find(|member| member.id == self.node)?))
    }

    fn serves(&self) -> bool {
        let votes_under_a_leader =
            |(roster, me): (&Roster, &RosterMember)| me.role != Role::Learner && roster.leader.is_some();
        if self.first { self.leads() } else { self.listed().is_some_and(votes_under_a_leader) }
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

/// Whether the object ever had the module that was given for it.
fn compare(given: &ObjectSource, list: &ObjectList) -> Result<(), NodeError> {
    let hash = module_hash(&given.module);
    match list.objects.first() {
        // Where some versions are forgotten, it may have been one of those.
        Some(object) if !object.versions.contains(&hash) && object.versions.len() < VERSIONS_KEPT_MAX => {
            Err(NodeError::NeverAVersion { object: given.name.clone(), given: hash, has: object.module })
        }
        Some(_) | None => Ok(()),
    }
}

fn by_id(roster: Option<&Roster>) -> BTreeMap<NodeId, &RosterMember> {
    roster.iter().flat_map(|roster| &roster.members).map(|member| (member.id, member)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use concoord_wire::abi::ObjectLimits;
    use concoord_wire::member::Services;
    use concoord_wire::objects::ObjectState;
    use concoord_wire::{ClusterId, ObjectId, Slot, ViewId};

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
        ObjectSource {
            name: "counter".into(),
            module: vec![0],
            arguments: vec![],
            limits: ObjectLimits::default(),
            by_name: false,
        }
    }

    fn notices(result: Result<Operated, ObjectError>) -> Vec<Notice> {
        vec![Notice::Operated { verb: Verb::Load, object: "counter".into(), result }]
    }

    fn counted() -> (Arc<AtomicUsize>, Option<OnReady>) {
        let calls = Arc::new(AtomicUsize::new(0));
        let counting = Arc::clone(&calls);
        (calls, Some(Box::new(move |_| _ = counting.fetch_add(1, Ordering::Relaxed))))
    }

    #[test]
    fn a_first_replica_loads_when_it_leads_and_is_ready_when_that_is_done() {
        let (calls, on_ready) = counted();
        let mut progress = Progress::new(ME, true, true, Some(object()), on_ready);
        progress.on_roster(&roster(None, &[(ME, Role::Replica)]));
        assert!(progress.due_load().is_none(), "nobody leads yet");
        progress.on_roster(&roster(Some(ME), &[(ME, Role::Replica)]));
        let due = progress.due_load();
        assert!(
            matches!(due, Some(Input::Operate { action: ObjectAction::Load { name, .. }, .. }) if name == "counter")
        );
        assert!(progress.due_load().is_none(), "proposed once");
        progress.tell_if_ready();
        assert_eq!(calls.load(Ordering::Relaxed), 0, "not loaded yet");
        let loaded = Operated { object: ObjectId(1), generation: 1, changes: vec![], more_changes: 0 };
        progress.on_notices(notices(Ok(loaded))).expect("it loaded");
        progress.tell_if_ready();
        progress.tell_if_ready();
        assert_eq!(calls.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_load_is_proposed_again_after_leadership_was_lost() {
        let mut progress = Progress::new(ME, true, true, Some(object()), None);
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
        let failed = || notices(Err(ObjectError::Refused { why: "it traps".to_owned() }));
        let mut first = Progress::new(ME, true, true, Some(object()), None);
        let error = first.on_notices(failed()).expect_err("its own object");
        assert_eq!(error.to_string(), "object 'counter' can't be loaded: it traps");
        Progress::new(ME, false, false, None, None).on_notices(failed()).expect("a joiner brings none");
    }

    #[test]
    fn a_joiner_is_ready_when_it_votes_under_a_leader() {
        let (calls, on_ready) = counted();
        let mut progress = Progress::new(ME, false, false, None, on_ready);
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
        let mut first = Progress::new(ME, true, true, None, None);
        first.on_roster(&roster(Some(ME), &[(ME, Role::Replica)]));
        assert!(first.is_lone_first());
        first.on_roster(&roster(Some(ME), &[(ME, Role::Replica), (OTHER, Role::Learner)]));
        assert!(!first.is_lone_first());
        assert!(!Progress::new(ME, false, false, None, None).is_lone_first());
    }

    /// What is said of a cluster with one counter, which had these modules; without any, it had no object at all.
    fn had(versions: &[&[u8]]) -> Response {
        let versions: Vec<_> = versions.iter().map(|module| module_hash(module)).collect();
        let object = versions.last().map(|module| ObjectState {
            object: ObjectId(1),
            name: "counter".into(),
            interface_name: "Counter".into(),
            interface_version: "1.0.0".into(),
            module: *module,
            module_bytes: 1,
            generation: 1,
            loaded: Slot(1),
            changed: Slot(1),
            limits: ObjectLimits::default(),
            suspended: None,
            waiting: 0,
            previous: None,
            versions: versions.clone(),
        });
        let last = object.as_ref().map_or(ObjectId::default(), |object| object.object);
        let list = ObjectList { last, objects: object.into_iter().collect(), failures: vec![] };
        Response::Objects { request: 0, result: Ok(list) }
    }

    fn serving() -> Arc<Roster> {
        roster(Some(OTHER), &[(ME, Role::Replica), (OTHER, Role::Replica)])
    }

    /// What is asked, by the name of the object.
    fn asks(progress: &mut Progress) -> Option<Option<String>> {
        match progress.due_question() {
            Some(Request::Objects { name, consistency: Consistency::Linearizable, .. }) => Some(name),
            None => None,
            Some(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_file_has_to_be_a_version_that_the_object_had() {
        let given_a_file = || {
            let (calls, on_ready) = counted();
            let mut progress = Progress::new(ME, false, false, Some(object()), on_ready);
            assert_eq!(asks(&mut progress), None, "it does not serve yet");
            progress.on_roster(&serving());
            assert_eq!(asks(&mut progress), Some(None));
            assert_eq!(asks(&mut progress), None, "asked once");
            progress.tell_if_ready();
            assert_eq!(calls.load(Ordering::Relaxed), 0, "it may have to end");
            (progress, calls)
        };
        let (mut was_one, calls) = given_a_file();
        was_one.on_answer(&had(&[&[0], &[1]])).expect("there is one");
        assert_eq!(asks(&mut was_one), Some(Some("counter".into())));
        let busy = CallError::NotLeader { leader: None };
        was_one.on_answer(&Response::Objects { request: 0, result: Err(busy) }).expect("no answer yet");
        assert_eq!(asks(&mut was_one), Some(Some("counter".into())));
        was_one.on_answer(&had(&[&[0], &[1]])).expect("an earlier version");
        was_one.tell_if_ready();
        assert_eq!(calls.load(Ordering::Relaxed), 1);

        let (mut never, _) = given_a_file();
        never.on_answer(&had(&[&[1]])).expect("there is one");
        assert!(asks(&mut never).is_some());
        let error = never.on_answer(&had(&[&[1]])).expect_err("another module").to_string();
        let hash = module_hash(&[0]).to_string();
        assert!(error.contains(&hash) && error.contains("'counter'"), "{error}");

        let (mut removed, calls) = given_a_file();
        let list = ObjectList { last: ObjectId(4), ..ObjectList::default() };
        removed.on_answer(&Response::Objects { request: 0, result: Ok(list) }).expect("an operator removed it");
        removed.tell_if_ready();
        assert_eq!((asks(&mut removed), calls.load(Ordering::Relaxed)), (None, 1));
    }

    #[test]
    fn who_began_a_cluster_loads_its_object_in_a_later_life_if_there_never_was_one() {
        let again = |answer: &Response| {
            let by_name = ObjectSource { by_name: true, ..object() };
            let mut progress = Progress::new(ME, false, true, Some(by_name), None);
            progress.on_roster(&roster(Some(ME), &[(ME, Role::Replica)]));
            assert!(progress.due_load().is_none(), "what is on its disk may be old");
            assert_eq!(asks(&mut progress), Some(None));
            progress.on_answer(answer).expect("any version will do");
            assert_eq!(asks(&mut progress), None);
            progress.due_load().is_some()
        };
        assert!(again(&had(&[])));
        assert!(!again(&had(&[&[1]])));
        let list = ObjectList { last: ObjectId(4), ..ObjectList::default() };
        assert!(!again(&Response::Objects { request: 0, result: Ok(list) }), "an operator removed it");
        let mut joiner = Progress::new(ME, false, false, Some(ObjectSource { by_name: true, ..object() }), None);
        joiner.on_roster(&serving());
        assert_eq!(asks(&mut joiner), None);
    }
}
