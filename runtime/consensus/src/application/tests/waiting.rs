//! Calls that wait: whatever ends a wait ends it once, and their object hears of it before anything else.

use super::*;

impl Cluster {
    /// Calls a method that waits, for at most so long.
    fn wait(&mut self, sequence: u64, wait_us: u64) -> Vec<Completed> {
        let mut command = call(self.id(sequence), 0, COUNTER, "wait");
        if let Command::Call { wait_us: field, .. } = &mut command {
            *field = wait_us;
        }
        self.apply(vec![command]).replies
    }

    /// An empty batch so much later.
    fn later(&mut self, microseconds: u64) -> Applied {
        self.stamp = Timestamp(self.stamp.0 + microseconds);
        self.apply(vec![])
    }

    fn waiters(&self) -> Vec<u64> {
        self.counter().waiters.iter().map(|waiter| waiter.sequence).collect()
    }
}

fn answered(call: CallId, result: CallResult) -> Completed {
    Completed::Call { call, result, waited: true }
}

fn in_vain(wait_us: u64) -> CallResult {
    Err(CallError::WaitedInVain { object: "counter".into(), wait_us })
}

#[test]
fn each_answer_takes_a_position_so_tokens_of_one_input_are_never_given_again() {
    let mut cluster = Cluster::new();
    (1..=3).for_each(|sequence| drop(cluster.wait(sequence, 0)));
    let before = cluster.application.position();
    let wake = call(cluster.id(4), 0, COUNTER, "wake");
    assert_eq!(cluster.apply(vec![wake]).replies.len(), 1 + 3);
    assert_eq!(cluster.application.position().0, before.0 + 1 + 3);
    let input = cluster.counter().inputs.last().unwrap().0;
    cluster.call(5, 0, concoord_wire::interface::REINITIALIZE).unwrap();
    assert_eq!(input.0 + 3 + 1, cluster.counter().inputs[0].0.0, "above what the three may have been given");
}

#[test]
fn a_parked_call_is_answered_by_another_one_and_a_retry_gets_the_same() {
    let mut cluster = Cluster::new();
    let (first, second) = (cluster.id(1), cluster.id(2));
    assert_eq!(cluster.wait(1, 0), [Completed::Parked { call: first }]);
    assert_eq!(cluster.wait(2, 0), [Completed::Parked { call: second }]);
    assert_eq!(cluster.wait(1, 0), [Completed::Parked { call: first }], "a retry waits too, and is not executed");
    assert_eq!(cluster.waiters(), [1, 2]);
    let wakes = cluster.apply(vec![call(cluster.id(3), 0, COUNTER, "wake")]).replies;
    let woken = Completed::Call { call: cluster.id(3), result: returned(3), waited: false };
    assert_eq!(wakes, [woken, answered(first, returned(3)), answered(second, returned(3))]);
    assert_eq!(cluster.wait(1, 0), [answered(first, returned(3))]);
    assert_eq!(cluster.call(4, 0, "wake"), returned(4), "nobody waits any more");
}

#[test]
fn a_call_may_be_answered_by_its_own_session_below_its_floor() {
    let mut cluster = Cluster::new();
    let waits = cluster.id(1);
    cluster.wait(1, 0);
    assert_eq!(cluster.call(2, 1, "add"), returned(2));
    assert_eq!(cluster.wait(1, 0), [Completed::Parked { call: waits }]);
    assert_eq!(cluster.apply(vec![call(cluster.id(3), 2, COUNTER, "wake")]).replies[1], answered(waits, returned(3)));
    assert_eq!(cluster.wait(1, 0), [answered(waits, returned(3))]);
    let mut last = call(cluster.id(4), 3, COUNTER, "add");
    if let Command::Call { received, .. } = &mut last {
        *received = Some(1);
    }
    cluster.apply(vec![last]);
    assert!(matches!(cluster.call(1, 0, "wait"), Err(CallError::Acknowledged { floor: 3, .. })));
}

#[test]
fn a_wait_ends_at_its_time_and_its_object_answers_it_no_more() {
    let mut cluster = Cluster::new();
    let (short, long) = (cluster.id(1), cluster.id(2));
    cluster.wait(1, 300);
    cluster.wait(2, 600);
    assert_eq!(cluster.application.due(), Some(Timestamp(cluster.stamp.0 + 300)));
    assert_eq!(cluster.later(299).replies, []);
    let ended = cluster.later(1);
    assert_eq!(ended.replies, [answered(short, in_vain(300))]);
    assert_eq!((cluster.waiters(), ended.due), (vec![2], Some(Timestamp(cluster.stamp.0 + 300))));
    // Together with a call that would answer it: time comes first.
    cluster.stamp = Timestamp(cluster.stamp.0 + 300);
    let replies = cluster.apply(vec![call(cluster.id(3), 0, COUNTER, "wake")]).replies;
    assert_eq!(replies[0], answered(long, in_vain(600)));
    assert_eq!(replies.len(), 2, "{replies:?}");
    assert_eq!(cluster.wait(1, 300), [answered(short, in_vain(300))], "a retry gets the same");
}

#[test]
fn what_is_decided_first_counts() {
    let mut cluster = Cluster::new();
    let (one, two) = (cluster.id(1), cluster.id(2));
    let wake = |cluster: &Cluster, sequence| call(cluster.id(sequence), 0, COUNTER, "wake");
    let cancelled = Err(CallError::Cancelled { object: "counter".into() });
    cluster.wait(1, 0);
    let replies = cluster.apply(vec![Command::Cancel { call: one }, wake(&cluster, 3)]).replies;
    assert_eq!((&replies[0], replies.len()), (&answered(one, cancelled), 2));
    cluster.wait(2, 0);
    let replies = cluster.apply(vec![wake(&cluster, 4), Command::Cancel { call: two }]).replies;
    assert_eq!((&replies[1], replies.len()), (&answered(two, returned(4)), 2));
    let unknown = CallId { session: SessionId { slot: Slot(77), index: 7 }, sequence: 1 };
    assert_eq!(cluster.apply(vec![Command::Cancel { call: unknown }]).replies, []);
}

#[test]
fn the_end_of_a_session_or_of_the_object_ends_its_waits() {
    let mut cluster = Cluster::new();
    let (session, call_1) = (cluster.session, cluster.id(1));
    cluster.wait(1, 0);
    let replies = cluster.apply(vec![Command::CloseSession { session }]).replies;
    let gone = Err(CallError::SessionGone { session });
    assert_eq!(replies, [Completed::Call { call: call_1, result: gone, waited: false }]);
    assert_eq!(cluster.waiters(), [0; 0], "the object was told");

    cluster.session = cluster.open(2);
    let (silent, call_1) = (cluster.session, cluster.id(1));
    cluster.wait(1, 0);
    let replies = cluster.later(TTL_US + SECOND_US).replies;
    let gone = Err(CallError::SessionGone { session: silent });
    assert_eq!(replies, [Completed::Call { call: call_1, result: gone, waited: false }]);

    cluster.session = cluster.open(3);
    let call_1 = cluster.id(1);
    cluster.wait(1, 5);
    let replies = cluster.apply(vec![operate(9, ObjectAction::Remove { object: COUNTER })]).replies;
    assert_eq!(replies[0], answered(call_1, Err(CallError::Cancelled { object: "counter".into() })));
    assert_eq!(cluster.later(10).replies, []);
}

#[test]
fn an_object_is_told_who_is_gone_before_it_is_given_what_might_answer_them() {
    let mut cluster = Cluster::new();
    let gone = cluster.session;
    cluster.wait(1, 0);
    cluster.session = cluster.open(2);
    let wake = call(cluster.id(1), 0, COUNTER, "wake");
    cluster.apply(vec![Command::CloseSession { session: gone }, wake.clone()]);
    let callers = |cluster: &Cluster| -> Vec<_> {
        cluster.counter().inputs.iter().rev().map(|input| (input.3, input.4)).take(2).collect()
    };
    let (first, session) = (cluster.id(1), cluster.session);
    assert_eq!(callers(&cluster), [(Some(first), Some(session)), (None, Some(gone))]);
    let inputs = cluster.counter().inputs.len();
    cluster.later(0);
    assert_eq!(cluster.counter().inputs.len(), inputs, "it is told once");

    // So it is with one that fell silent, in the batch that finds it out.
    let silent = cluster.open(3);
    let waits = call(CallId { session: silent, sequence: 1 }, 0, COUNTER, "wait");
    cluster.apply(vec![waits]);
    cluster.stamp = Timestamp(cluster.stamp.0 + TTL_US - SECOND_US);
    cluster.apply(vec![Command::KeepAlive { session }]);
    cluster.stamp = Timestamp(cluster.stamp.0 + 2 * SECOND_US);
    let wake = call(cluster.id(2), 1, COUNTER, "wake");
    cluster.apply(vec![wake]);
    assert_eq!(callers(&cluster), [(Some(cluster.id(2)), Some(session)), (None, Some(silent))]);
}

#[test]
fn what_is_told_of_a_session_that_is_gone_on_with_is_the_same_however_often_it_is_put_off() {
    let resumed = |hurries: bool| {
        let mut cluster = Cluster::new();
        (1..=30).for_each(|sequence| drop(cluster.wait(sequence, 0)));
        let resume = Command::ResumeSession { session: cluster.session, secret: 1, nonce: 9 };
        let batch = codec::to_bytes(&Batch { stamp: cluster.stamp, commands: vec![resume] });
        let (slot, mut put_off) = (cluster.slot(), 0);
        // What takes long is put off, and done in full when it is its turn again.
        loop {
            cluster.application.hurry(hurries.then_some(GAS_MAX / 2).filter(|_| put_off % 2 == 0));
            match cluster.application.apply(slot, &batch, true) {
                Err(HostFault::Later) => put_off += 1,
                applied => break drop(applied.unwrap()),
            }
        }
        let inputs = cluster.counter().inputs.clone();
        (put_off, cluster.application.state_hash(), inputs)
    };
    let ((_, state, inputs), (put_off, state_again, inputs_again)) = (resumed(false), resumed(true));
    assert!(put_off > 0, "something took long");
    assert_eq!(inputs.iter().rev().take_while(|input| input.3.is_none()).count(), 30, "told of each");
    assert_eq!((state, inputs), (state_again, inputs_again));
}

#[test]
fn what_ends_while_the_object_is_suspended_is_told_before_anything_else() {
    let mut cluster = Cluster::empty();
    cluster.apply(vec![load("deaf", b"deaf")]);
    cluster.session = cluster.open(1);
    let (first, second) = (cluster.id(1), cluster.id(2));
    cluster.wait(1, 10);
    cluster.wait(2, 20);
    // It traps when it is told of the first.
    let ended = cluster.later(10);
    assert!(matches!(ended.notices[..], [Notice::Suspended { .. }]), "{ended:?}");
    let in_vain = |wait_us| Err(CallError::WaitedInVain { object: "deaf".into(), wait_us });
    assert_eq!(ended.replies, [answered(first, in_vain(10))]);
    assert_eq!(cluster.later(10).replies, [answered(second, in_vain(20))], "clients do not wait for it");
    assert_eq!(cluster.waiters(), [1, 2]);
    let upgrade = ObjectAction::Upgrade {
        object: COUNTER,
        based_on: 1,
        module: Bytes::from_static(b"counter"),
        limits: None,
        allow_breaking: true,
    };
    let wake = call(cluster.id(3), 0, COUNTER, "wake");
    let replies = cluster.apply(vec![operate(5, upgrade), wake]).replies;
    assert_eq!((replies.len(), cluster.waiters()), (2, vec![]), "{replies:?}");
}

#[test]
fn timers_fire_in_their_order_and_once() {
    let mut cluster = Cluster::new();
    let waits = cluster.id(1);
    cluster.wait(1, 0);
    assert_eq!(cluster.call(2, 0, "alarm"), returned(2));
    // Moves both.
    cluster.stamp = Timestamp(cluster.stamp.0 + 1);
    assert_eq!(cluster.call(3, 0, "alarm"), returned(3));
    assert_eq!(cluster.later(4999).replies, []);
    let fired = cluster.later(1);
    assert_eq!(fired.replies, [answered(waits, returned(13))], "3 calls and a timer of 10");
    assert_eq!(fired.due, Some(Timestamp(cluster.stamp.0 - 5000 + SECOND_US)));
    cluster.later(SECOND_US);
    assert_eq!(cluster.query(COUNTER, "read"), returned(15), "and the timer of 1; a query counts itself");
    cluster.later(SECOND_US);
    assert_eq!(cluster.query(COUNTER, "read"), returned(15));
}

#[test]
fn a_slot_deals_with_a_bounded_number_of_ends_and_the_next_goes_on() {
    let mut cluster = Cluster::new();
    let many = DUE_PER_SLOT_MAX as u64 + 7;
    for sequence in 1..=many {
        cluster.wait(sequence, 50);
    }
    assert_eq!(cluster.later(50).replies.len(), DUE_PER_SLOT_MAX);
    assert!(cluster.application.due().is_some_and(|due| due <= cluster.stamp), "there is more to do at once");
    assert_eq!(cluster.later(0).replies.len(), 7);
}

#[test]
fn what_is_not_a_state_of_waits_is_refused() {
    let mut cluster = Cluster::new();
    cluster.wait(1, 50);
    let bytes = cluster.application.snapshot().unwrap();
    assert!(Application::restore(ClusterId(7), Native::default(), &bytes).is_ok());
    cluster.application.sessions.close(cluster.session, &BTreeSet::new());
    let bytes = cluster.application.snapshot().unwrap();
    let refused = Application::restore(ClusterId(7), Native::default(), &bytes);
    assert!(matches!(refused, Err(RestoreError::Damaged { what: "a parked call of no session or for no object", .. })));
}
