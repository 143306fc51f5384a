//! Groups that know who belongs to them, each at an epoch that tells one state of a group from another.

use std::collections::{BTreeMap, BTreeSet};

use concoord::prelude::*;

/// Groups by name; there are none at first.
#[concoord::object]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct MeshMembership {
    epoch: u64,
    groups: BTreeMap<String, GroupState>,
    /// With the group, and the epoch that is too old for them.
    waiting: WaitQueue<GroupState, (String, u64)>,
}

/// What a group is.
#[concoord::data]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupState {
    /// Rises with each change of the members.
    pub epoch: u64,
    /// Who belongs to it.
    pub members: BTreeSet<String>,
    /// How many are enough.
    pub min_size: u32,
    /// Whether there are enough.
    pub complete: bool,
}

/// Why a group is as it was.
#[concoord::data]
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MeshMembershipError {
    /// There is no group of this name.
    #[error("there is no group of this name")]
    NoGroup,
    /// There is a group of this name already.
    #[error("there is a group of this name already")]
    GroupExists,
    /// It is a member already.
    #[error("it is a member already")]
    AlreadyAMember,
    /// It is no member.
    #[error("it is no member")]
    NotAMember,
}

#[concoord::methods]
impl MeshMembership {
    /// Who belongs to `group`.
    pub fn get_group_members(&self, group: String) -> Result<BTreeSet<String>, MeshMembershipError> {
        self.get_group_state(group).map(|state| state.members)
    }

    /// The epoch of `group`.
    pub fn get_group_epoch(&self, group: String) -> Result<u64, MeshMembershipError> {
        self.get_group_state(group).map(|state| state.epoch)
    }

    /// All that is known of `group`.
    pub fn get_group_state(&self, group: String) -> Result<GroupState, MeshMembershipError> {
        self.groups.get(&group).cloned().ok_or(MeshMembershipError::NoGroup)
    }

    /// Makes a group, for which `min_size` members are enough, and returns its epoch.
    pub fn add_group(
        &mut self,
        cx: &mut Context,
        group: String,
        members: BTreeSet<String>,
        min_size: Option<u32>,
    ) -> Result<u64, MeshMembershipError> {
        if self.groups.contains_key(&group) {
            return Err(MeshMembershipError::GroupExists);
        }
        let min_size = min_size.unwrap_or(0);
        self.groups.insert(group.clone(), GroupState { members, min_size, ..GroupState::default() });
        Ok(self.changed(cx, &group))
    }

    /// Removes `group`. Who waits for a change of it is told that it has no members.
    pub fn remove_group(&mut self, cx: &mut Context, group: String) -> Result<(), MeshMembershipError> {
        self.groups.remove(&group).ok_or(MeshMembershipError::NoGroup)?;
        self.changed(cx, &group);
        Ok(())
    }

    /// Makes `member` one of `group`, and returns the new epoch.
    pub fn approve_join(
        &mut self,
        cx: &mut Context,
        group: String,
        member: String,
    ) -> Result<u64, MeshMembershipError> {
        let joined = self.members(&group)?.insert(member);
        joined.then(|| self.changed(cx, &group)).ok_or(MeshMembershipError::AlreadyAMember)
    }

    /// Waits until the epoch of `group` is above `epoch`. Gives its state then.
    pub fn wait(
        &mut self,
        cx: &mut Context,
        group: String,
        epoch: u64,
        waiter: Waiter<GroupState>,
    ) -> Result<(), MeshMembershipError> {
        self.members(&group)?;
        self.waiting.push_with(waiter, (group, epoch));
        self.tell(cx);
        Ok(())
    }

    /// Whether `member` is one of `group`.
    pub fn check_member(&self, group: String, member: String) -> Result<bool, MeshMembershipError> {
        self.get_group_state(group).map(|state| state.members.contains(&member))
    }

    /// Takes `member`, which failed, out of `group`, and returns the new epoch.
    pub fn notify_failure(
        &mut self,
        cx: &mut Context,
        group: String,
        member: String,
    ) -> Result<u64, MeshMembershipError> {
        let left = self.members(&group)?.remove(&member);
        left.then(|| self.changed(cx, &group)).ok_or(MeshMembershipError::NotAMember)
    }

    fn timer(&mut self, cx: &mut Context, _: u64) {
        self.tell(cx);
    }

    fn members(&mut self, group: &str) -> Result<&mut BTreeSet<String>, MeshMembershipError> {
        self.groups.get_mut(group).map(|state| &mut state.members).ok_or(MeshMembershipError::NoGroup)
    }

    /// The epochs of all groups are numbers of one count, so that a group that is removed and made again goes on behind its last.
    fn changed(&mut self, cx: &mut Context, group: &str) -> u64 {
        self.epoch += 1;
        if let Some(state) = self.groups.get_mut(group) {
            state.epoch = self.epoch;
            state.complete = state.members.len() >= state.min_size as usize;
        }
        self.tell(cx);
        self.epoch
    }

    fn tell(&mut self, cx: &mut Context) {
        self.waiting.serve_any(cx, |_, (group, epoch)| match self.groups.get(group) {
            None => Some(GroupState { epoch: self.epoch, ..GroupState::default() }),
            Some(state) => (state.epoch > *epoch).then(|| state.clone()),
        });
    }
}

#[cfg(test)]
mod tests {
    use concoord::testing::{Step, Table, id};
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn failed(step: &Step) -> MeshMembershipError {
        step.failed()
    }

    fn state(epoch: u64, members: &[&str], min_size: u32, complete: bool) -> GroupState {
        GroupState { epoch, members: members.iter().map(|member| (*member).into()).collect(), min_size, complete }
    }

    #[test]
    fn each_change_of_the_members_raises_the_epoch() {
        let mut table = Table::new(MeshMembership::default());
        assert_eq!(table.call(1, "add_group", &("g", ["a", "a"].to_vec(), Some(2_u32))).returned::<u64>(), 1);
        let group = |table: &Table<MeshMembership>| table.object.get_group_state("g".into());
        assert_eq!(group(&table), Ok(state(1, &["a"], 2, false)));
        assert_eq!(table.call(1, "approve_join", &("g", "b")).returned::<u64>(), 2);
        assert_eq!(group(&table), Ok(state(2, &["a", "b"], 2, true)));
        assert_eq!(table.call(1, "notify_failure", &("g", "a")).returned::<u64>(), 3);
        assert_eq!(table.object.get_group_members("g".into()), Ok(BTreeSet::from(["b".into()])));
        assert_eq!(table.object.get_group_epoch("g".into()), Ok(3));
        assert_eq!(["a", "b"].map(|m| table.object.check_member("g".into(), m.into())), [Ok(false), Ok(true)]);
    }

    #[test]
    fn what_is_refused_changes_nothing() {
        let mut table = Table::new(MeshMembership::default());
        let none = Vec::<String>::new();
        table.call(1, "add_group", &("g", ["a"].to_vec(), None::<u32>)).returned::<u64>();
        let again = table.call(1, "add_group", &("g", none, None::<u32>));
        assert_eq!(failed(&again), MeshMembershipError::GroupExists);
        for (method, expected) in
            [("approve_join", MeshMembershipError::NoGroup), ("notify_failure", MeshMembershipError::NoGroup)]
        {
            assert_eq!(failed(&table.call(1, method, &("h", "a"))), expected);
        }
        assert_eq!(failed(&table.call(1, "remove_group", &"h")), MeshMembershipError::NoGroup);
        assert_eq!(failed(&table.call(1, "wait", &("h", 0_u64))), MeshMembershipError::NoGroup);
        assert_eq!(failed(&table.call(1, "approve_join", &("g", "a"))), MeshMembershipError::AlreadyAMember);
        assert_eq!(failed(&table.call(1, "notify_failure", &("g", "b"))), MeshMembershipError::NotAMember);
        assert_eq!(table.object.get_group_state("h".into()), Err(MeshMembershipError::NoGroup));
        assert_eq!(table.object.get_group_state("g".into()), Ok(state(1, &["a"], 0, true)));
    }

    #[test]
    fn who_waits_is_told_of_the_next_change_of_that_group() {
        let mut table = Table::new(MeshMembership::default());
        for group in ["g", "h"] {
            table.call(1, "add_group", &(group, Vec::<String>::new(), None::<u32>)).returned::<u64>();
        }
        assert_eq!(table.call(2, "wait", &("g", 0_u64)).returned::<GroupState>(), state(1, &[], 0, true));
        assert!(table.call(2, "wait", &("g", 1_u64)).waits() && table.call(3, "wait", &("h", 2_u64)).waits());
        assert_eq!(table.call(1, "approve_join", &("g", "a")).woken(), [(2, state(3, &["a"], 0, true))]);
        assert!(table.call(2, "wait", &("g", 3_u64)).waits());
        assert_eq!(table.call(1, "remove_group", &"g").woken(), [(2, state(4, &[], 0, false))]);
        table.close(3);
        assert!(table.call(1, "approve_join", &("h", "a")).answered.is_empty());
        assert_eq!(table.call(1, "add_group", &("g", ["b"].to_vec(), None::<u32>)).returned::<u64>(), 6, "above");
    }

    #[test]
    fn generated_schedules_tell_everybody_who_waits_of_each_change() {
        for seed in 0..300 {
            let mut chance = StdRng::seed_from_u64(seed);
            let mut table = Table::new(MeshMembership::default());
            let (mut groups, mut epoch) = (BTreeMap::<String, (u64, BTreeSet<String>)>::new(), 0);
            let mut waiting = Vec::<(CallId, String, u64)>::new();
            for _ in 0..60 {
                let (of, group) = (chance.random_range(1..5), ["g", "h"][chance.random_range(0..2)].to_owned());
                let member = ["a", "b", "c"][chance.random_range(0..3)].to_owned();
                let (before, mut removed) = (epoch, None);
                let step = match chance.random_range(0..9) {
                    0 => {
                        waiting.retain(|(call, ..)| call.session != id(of));
                        table.close(of)
                    }
                    1 => {
                        removed = groups.remove(&group).map(|_| group.clone());
                        epoch += u64::from(removed.is_some());
                        table.call(of, "remove_group", &group)
                    }
                    2 => {
                        if !groups.contains_key(&group) {
                            epoch += 1;
                            groups.insert(group.clone(), (epoch, [member.clone()].into()));
                        }
                        table.call(of, "add_group", &(&group, [&member].to_vec(), None::<u32>))
                    }
                    3 | 4 => {
                        let known = groups.get(&group).map_or(0, |(epoch, _)| *epoch);
                        let step = table.call(of, "wait", &(&group, known));
                        if known > 0 {
                            waiting.push((step.call(), group, known));
                        } else {
                            assert_eq!(failed(&step), MeshMembershipError::NoGroup, "seed {seed}");
                        }
                        step
                    }
                    other => {
                        let joins = other > 6;
                        if let Some((at, members)) = groups.get_mut(&group) {
                            let changed = if joins { members.insert(member.clone()) } else { members.remove(&member) };
                            epoch += u64::from(changed);
                            *at = if changed { epoch } else { *at };
                        }
                        table.call(of, if joins { "approve_join" } else { "notify_failure" }, &(&group, &member))
                    }
                };
                let is_refused =
                    matches!(step.reply, concoord::wire::abi::Reply::Now(concoord::wire::abi::Answer::Failed(_)));
                assert!(epoch == before || !is_refused, "seed {seed}: {step:?}");
                let told = waiting.extract_if(.., |(_, group, known)| {
                    removed.as_ref() == Some(group) || groups.get(group).is_some_and(|(at, _)| at > known)
                });
                let mut count = 0;
                for (call, group, _) in told {
                    let told: GroupState = step.answer_to(call).expect("it is told");
                    let (at, members) = groups.get(&group).cloned().unwrap_or((epoch, BTreeSet::new()));
                    assert_eq!((told.epoch, told.members), (at, members), "seed {seed}");
                    count += 1;
                }
                assert_eq!(step.answered.len(), count, "seed {seed}: and nobody else");
                for (group, (at, members)) in &groups {
                    let known = table.object.get_group_state(group.clone()).expect("it is there");
                    assert_eq!((known.epoch, &known.members), (*at, members), "seed {seed}");
                }
            }
        }
    }
}
