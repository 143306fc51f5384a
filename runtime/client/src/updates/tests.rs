//! How updates are numbered, sent, parked, acknowledged and given up.

use bytes::Bytes;
use rand::SeedableRng;
use tokio::sync::{oneshot, watch};

use super::*;
use crate::places::Places;

const SESSION: SessionId = SessionId { slot: Slot(4), index: 2 };

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

type Answered = oneshot::Receiver<Result<Answer, ClientError>>;

fn invocation(deadline: Instant) -> (Invocation, Answered) {
    let (reply, answered) = oneshot::channel();
    let place = Places::new(1).take().unwrap();
    let caller = Caller { reply, deadline, after: seconds(1), place };
    let (method, arguments) = ("increment".into(), Bytes::new());
    (Invocation { kind: Kind::Update, object: None, method, arguments, caller }, answered)
}

/// Updates with an open session, and one answered call.
fn opened(now: Instant) -> Updates {
    let signs = Signs::new(seconds(60), Duration::ZERO, now, watch::channel(0).0);
    let mut updates = Updates::new(StdRng::seed_from_u64(1), signs, None);
    let (update, mut answered) = invocation(now + seconds(100));
    updates.push(ObjectId(1), true, update);
    let [Request::OpenSession { nonce, .. }] = sent(&mut updates, now)[..] else { panic!("no session was asked for") };
    updates.on_session_opened(now, nonce, Ok(SESSION));
    let [Request::Call { call, .. }] = sent(&mut updates, now)[..] else { panic!("no call was sent") };
    assert_eq!(call, CallId { session: SESSION, sequence: 1 });
    updates.on_called(now, call, Ok(Answer::Returned(Vec::new())), false);
    assert!(answered.try_recv().unwrap().is_ok());
    updates
}

fn sent(updates: &mut Updates, now: Instant) -> Vec<Request> {
    let mut requests = Vec::new();
    let push = &mut |request: &Request| {
        requests.push(request.clone());
        Ok(())
    };
    updates.send(now, push).unwrap();
    requests
}

#[test]
fn a_session_is_kept_alive_whether_it_is_busy_or_not() {
    let start = Instant::now();
    let mut updates = opened(start);
    assert_eq!(updates.wakes_at(), Some(start + seconds(20)));
    assert_eq!(sent(&mut updates, start + seconds(19)), []);
    assert_eq!(sent(&mut updates, start + seconds(20)), [Request::KeepAlive { session: SESSION }]);
    let (update, _answered) = invocation(start + seconds(100));
    updates.push(ObjectId(1), true, update);
    assert!(matches!(sent(&mut updates, start + seconds(39))[..], [Request::Call { .. }]));
    assert_eq!(sent(&mut updates, start + seconds(40)), [Request::KeepAlive { session: SESSION }]);
}

#[test]
fn what_a_full_connection_did_not_take_is_sent_later() {
    let start = Instant::now();
    let mut updates = opened(start);
    let waiting = (0..3).map(|_| invocation(start + seconds(100))).collect::<Vec<_>>();
    let mut answers = Vec::new();
    for (update, answered) in waiting {
        updates.push(ObjectId(1), true, update);
        answers.push(answered);
    }
    let mut room = 1;
    let full = SendError::Full { limit: 1 };
    let result = updates.send(start, &mut |_| {
        if room == 0 {
            return Err(full.clone());
        }
        room -= 1;
        Ok(())
    });
    assert_eq!(result, Err(full.clone()));
    let rest = sent(&mut updates, start);
    let sequences = rest.iter().map(|request| match request {
        Request::Call { call, .. } => call.sequence,
        other => panic!("{other:?}"),
    });
    assert_eq!(sequences.collect::<Vec<_>>(), [3, 4]);
    assert_eq!(updates.sent(), 3);
}

#[test]
fn a_busy_answer_delays_and_a_new_connection_does_not_wait_for_it() {
    let start = Instant::now();
    let mut updates = opened(start);
    let (update, _answered) = invocation(start + seconds(100));
    updates.push(ObjectId(1), true, update);
    let [Request::Call { call, .. }] = sent(&mut updates, start)[..] else { panic!("no call was sent") };
    let busy = CallError::Busy { what: "it".into(), limit: 1 };
    assert!(matches!(updates.on_called(start, call, Err(busy), false), Hint::Busy(_)));
    assert_eq!((sent(&mut updates, start), updates.sent()), (Vec::new(), 0));
    let at = updates.wakes_at().unwrap();
    assert!(at >= start + BACKOFF_MIN && at <= start + BACKOFF_MAX);
    updates.on_connection_changed();
    assert_eq!(sent(&mut updates, start).len(), 1);
    assert_eq!(sent(&mut updates, at), [], "it is on its way already");
}

fn waiting(updates: &mut Updates, now: Instant, wait: Option<Duration>) -> (CallId, Answered) {
    let (mut update, answered) = invocation(now + seconds(30));
    update.kind = Kind::Waiting(wait);
    updates.push(ObjectId(1), true, update);
    let [Request::Call { call, .. }] = sent(updates, now)[..] else { panic!("no call was sent") };
    (call, answered)
}

/// The floor and the acknowledgement of the next call.
fn told(updates: &mut Updates, now: Instant) -> (u64, Option<u64>) {
    let (update, _answered) = invocation(now + seconds(100));
    updates.push(ObjectId(1), true, update);
    let [Request::Call { call, floor, received, .. }] = sent(updates, now)[..] else { panic!("no call was sent") };
    updates.on_called(now, call, Ok(Answer::Returned(Vec::new())), false);
    (floor, received)
}

#[test]
fn the_floor_passes_what_is_known_to_be_parked_and_its_answer_is_acknowledged() {
    let start = Instant::now();
    let mut updates = opened(start);
    let (call, mut answered) = waiting(&mut updates, start, None);
    assert_eq!(told(&mut updates, start), (1, None), "not known to be parked");
    updates.on_parked(start, call);
    assert_eq!(told(&mut updates, start), (3, None));
    updates.expire(start + seconds(1000), &|_, _| ClientError::Closed);
    assert!(answered.try_recv().is_err(), "it may wait for ever");
    updates.on_called(start, call, Ok(Answer::Returned(vec![7])), true);
    assert_eq!(answered.try_recv().unwrap().unwrap(), Answer::Returned(vec![7]));
    assert_eq!(told(&mut updates, start), (4, Some(2)));
    assert_eq!(told(&mut updates, start), (5, None));
    assert_eq!(updates.sent(), 0);
}

#[test]
fn a_parked_call_is_sent_again_over_a_new_connection_and_ended_when_it_was_dropped() {
    let start = Instant::now();
    let mut updates = opened(start);
    let (call, answered) = waiting(&mut updates, start, Some(seconds(5)));
    updates.on_parked(start, call);
    updates.on_connection_changed();
    let again = sent(&mut updates, start);
    assert!(matches!(again[..], [Request::Call { call: again, wait_us: 5_000_000, .. }] if again == call), "{again:?}");
    updates.cancel_dropped();
    assert_eq!(sent(&mut updates, start), [], "somebody waits");
    drop(answered);
    updates.cancel_dropped();
    let ends = sent(&mut updates, start);
    assert!(matches!(ends[..], [Request::Call { .. }, Request::Cancel { call: ended }] if ended == call), "{ends:?}");
    updates.on_called(start, call, Err(CallError::Cancelled { object: "lock".into() }), true);
    assert!(updates.is_empty() && updates.sent() == 0);
}

#[test]
fn a_parked_call_that_is_not_answered_in_time_is_given_up() {
    let start = Instant::now();
    let mut updates = opened(start);
    let (call, mut answered) = waiting(&mut updates, start, Some(seconds(5)));
    updates.on_parked(start + seconds(3), call);
    let late = |after, _| ClientError::Timeout { after, call: None, tried: Vec::new() };
    // What it may wait and what any call may take, which is a second here.
    updates.expire(start + seconds(8), &late);
    assert!(answered.try_recv().is_err());
    updates.expire(start + seconds(9), &late);
    assert!(matches!(answered.try_recv(), Ok(Err(ClientError::Timeout { .. }))));
}
