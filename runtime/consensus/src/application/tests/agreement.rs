//! What replicas compare, and which way of applying they have agreed on.

use concoord_wire::check::Check;

use super::*;
use crate::application::snapshot::RestoreError;
use crate::limits::CHECK_SLOTS;

/// Applies additions up to `slot`, the first of number `sequence`, with or without replies; gives the last check.
fn add_up_to(cluster: &mut Cluster, slot: u64, replies: bool) -> Option<Check> {
    let mut check = None;
    while cluster.application.applied().0 < slot {
        let slot = cluster.slot();
        let id = CallId { session: cluster.session, sequence: slot.0 };
        let commands = vec![call(id, slot.0 - 1, COUNTER, "add")];
        let batch = codec::to_bytes(&Batch { stamp: cluster.stamp, commands });
        check = cluster.application.apply(slot, &batch, replies).unwrap().check.or(check);
    }
    check
}

#[test]
fn a_check_follows_from_the_decided_batches_alone() {
    let (mut leads, mut follows) = (Cluster::new(), Cluster::new());
    assert_eq!(add_up_to(&mut leads, CHECK_SLOTS - 1, true), None);
    let first = add_up_to(&mut leads, CHECK_SLOTS, true).unwrap();
    assert_eq!(first.slot, Slot(CHECK_SLOTS));
    add_up_to(&mut follows, CHECK_SLOTS / 2, false);
    // Neither a query nor what is undone leaves anything.
    follows.query(COUNTER, "read").unwrap();
    follows.query(COUNTER, "read_trap").unwrap_err();
    let bytes = follows.application.snapshot().unwrap();
    follows.application = Application::restore(ClusterId(7), Native::default(), &bytes).unwrap();
    assert_eq!(add_up_to(&mut follows, CHECK_SLOTS, false), Some(first));
    let second = add_up_to(&mut leads, 2 * CHECK_SLOTS, true);
    assert_ne!(second.map(|check| (check.replies, check.state)), Some((first.replies, first.state)));
    assert_eq!(add_up_to(&mut follows, 2 * CHECK_SLOTS, false), second);
}

#[test]
fn a_state_that_differs_shows_and_so_does_a_reply_for_ever() {
    let (mut right, mut wrong) = (Cluster::new(), Cluster::new());
    add_up_to(&mut right, CHECK_SLOTS - 1, false);
    add_up_to(&mut wrong, CHECK_SLOTS - 1, false);
    let value = |cluster: &mut Cluster| cluster.application.objects_mut().counters.get_mut(&COUNTER).unwrap().value;
    wrong.application.objects_mut().counters.get_mut(&COUNTER).unwrap().value ^= 4;
    let (one, other) =
        (add_up_to(&mut right, CHECK_SLOTS, false).unwrap(), add_up_to(&mut wrong, CHECK_SLOTS, false).unwrap());
    assert_eq!(one.difference(&other), "replies and state");
    // The state is the same again, and what was replied is not.
    let restored = value(&mut right);
    wrong.application.objects_mut().counters.get_mut(&COUNTER).unwrap().value = restored;
    let next = 2 * CHECK_SLOTS;
    let (one, other) = (add_up_to(&mut right, next, false).unwrap(), add_up_to(&mut wrong, next, false).unwrap());
    assert_eq!(one.difference(&other), "replies");
}

const fn versions(first: u16, last: u16) -> Versions {
    Versions { first: ClusterVersion(first), last: ClusterVersion(last) }
}

/// The same cluster as a build runs it that applies `supports`.
fn run_by(cluster: Cluster, supports: Versions) -> Cluster {
    Cluster { application: Application { supports, ..cluster.application }, ..cluster }
}

#[test]
fn a_version_rises_and_never_falls() {
    let mut cluster = run_by(Cluster::new(), versions(1, 3));
    let before = cluster.application.state_hash();
    assert_eq!(cluster.application.version(), ClusterVersion::FIRST);
    let applied = cluster.apply(vec![Command::Version(ClusterVersion(2))]);
    assert_eq!((applied.version, applied.replies), (ClusterVersion(2), vec![]));
    assert_ne!(cluster.application.state_hash(), before);
    cluster.apply(vec![Command::Version(ClusterVersion(1)), Command::Version(ClusterVersion(2))]);
    assert_eq!(cluster.application.version(), ClusterVersion(2));
}

#[test]
fn a_build_that_lacks_the_decided_version_executes_nothing_and_says_what_to_do() {
    let mut cluster = run_by(Cluster::new(), versions(1, 2));
    let id = CallId { session: cluster.session, sequence: 1 };
    let commands = vec![Command::Version(ClusterVersion(3)), call(id, 0, COUNTER, "add")];
    let batch = codec::to_bytes(&Batch { stamp: cluster.stamp, commands });
    let fault = cluster.application.apply(Slot(3), &batch, true).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "the cluster runs version 3 from slot 3 on, and this build applies 1 to 2: upgrade it"
    );
    assert_eq!(cluster.counter().value, 0, "nothing was executed");
}

#[test]
fn a_snapshot_has_its_version_and_is_refused_where_that_is_not_applied() {
    let mut cluster = run_by(Cluster::new(), versions(1, 2));
    cluster.apply(vec![Command::Version(ClusterVersion(2))]);
    let bytes = cluster.application.snapshot().unwrap();
    let restore = |supports| Application::restore_supporting(ClusterId(7), Native::default(), supports, &bytes);
    assert_eq!(restore(versions(2, 3)).unwrap().version(), ClusterVersion(2));
    let refused = |supports| restore(supports).map(|application| application.version()).unwrap_err();
    let found = ClusterVersion(2);
    for supports in [versions(1, 1), versions(3, 4)] {
        assert_eq!(refused(supports), RestoreError::ClusterVersion { found, supports });
    }
    assert!(refused(versions(3, 4)).to_string().ends_with("applies 3 to 4: use an older one"));
}
