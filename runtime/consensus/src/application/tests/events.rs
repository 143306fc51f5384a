//! What objects emit, and who is told.

use super::*;
use crate::limits::{EVENT_BYTES_OF_OBJECT_MAX, EVENTS_OF_OBJECT_MAX};
use concoord_wire::client::{EmittedEvent, Events as Told};
use concoord_wire::interface::REINITIALIZE;

const LOUD: ObjectId = ObjectId(2);

fn loud() -> Cluster {
    let mut cluster = Cluster::new();
    cluster.apply(vec![load("loud", b"loud")]);
    cluster
}

impl Cluster {
    /// Emits one event of this topic, and gives what the batch came to.
    fn emit(&mut self, sequence: u64, topic: &str) -> Applied {
        let id = CallId { session: self.session, sequence };
        let mut command = call(id, sequence - 1, LOUD, "emit");
        if let Command::Call { arguments, .. } = &mut command {
            *arguments = Bytes::copy_from_slice(topic.as_bytes());
        }
        self.apply(vec![command])
    }

    /// Emits an event with almost a megabyte of payload.
    fn emit_large(&mut self, sequence: u64) -> Applied {
        let id = CallId { session: self.session, sequence };
        self.apply(vec![call(id, sequence - 1, LOUD, "shout")])
    }

    fn watch(&mut self, request: u64, topic: Option<&str>, after: Option<u64>) -> Option<Result<Told, CallError>> {
        let ask = Ask::Watch { object: LOUD, topic: topic.map(Into::into), after: after.map(Position) };
        self.ask(request, ask).map(|response| match response {
            Response::Watched { request: of, result } if of == request => result,
            other => panic!("{other:?}"),
        })
    }

    /// Everything after a position, in as many answers as it takes.
    fn all_after(&mut self, topic: Option<&str>, mut after: u64) -> Vec<EmittedEvent> {
        let mut all = Vec::new();
        while let Some(told) = self.watch(77, topic, Some(after)) {
            let Told { events, upto } = told.unwrap();
            assert!(upto.0 >= after);
            let ended = events.is_empty();
            all.extend(events);
            after = upto.0;
            if ended {
                break;
            }
        }
        self.ask(77, Ask::Unwatch { request: Some(77) });
        all
    }
}

fn counts(events: &[EmittedEvent]) -> Vec<(String, i64)> {
    events.iter().map(|event| (event.topic.clone(), codec::from_bytes(&event.payload).unwrap())).collect()
}

fn told(watched: &[(ClientToken, Response)]) -> Vec<(u64, Vec<(String, i64)>)> {
    let each = |(_, response): &(ClientToken, Response)| match response {
        Response::Watched { request, result: Ok(told) } => (*request, counts(&told.events)),
        other => panic!("{other:?}"),
    };
    watched.iter().map(each).collect()
}

#[test]
fn a_watcher_waits_is_told_and_goes_on_after_what_it_was_told() {
    let mut cluster = loud();
    let Some(Ok(Told { events, upto: begin })) = cluster.watch(1, None, None) else { panic!("it is told at once") };
    assert_eq!((events, begin), (vec![], cluster.application.position()));
    assert_eq!(cluster.watch(1, None, Some(begin.0)), None, "nothing was emitted");
    assert_eq!(cluster.watch(2, Some("b"), Some(begin.0)), None);
    let first = cluster.emit(1, "a");
    assert_eq!(told(&first.watched), [(1, vec![("a".into(), 1)])], "only who watches all topics");
    assert_eq!(cluster.emit(2, "a").watched, [], "nobody waits for that");
    assert_eq!(told(&cluster.emit(3, "b").watched), [(2, vec![("b".into(), 3)])]);
    let all = cluster.all_after(None, begin.0);
    assert_eq!(counts(&all), [("a".into(), 1), ("a".into(), 2), ("b".into(), 3)]);
    assert!(all.is_sorted_by(|one, other| one.revision < other.revision), "{all:?}");
    assert_eq!(counts(&cluster.all_after(None, all[0].revision.0)), [("a".into(), 2), ("b".into(), 3)]);
    assert_eq!(counts(&cluster.all_after(Some("a"), 0)), [("a".into(), 1), ("a".into(), 2)]);
    assert_eq!(cluster.all_after(None, all[2].revision.0), []);
}

#[test]
fn whoever_watches_an_object_that_starts_anew_is_told_that_what_was_before_is_kept_no_longer() {
    let mut cluster = loud();
    let begin = cluster.application.position().0;
    cluster.emit(1, "a");
    let seen = cluster.application.position().0;
    assert_eq!((cluster.watch(1, None, Some(seen)), cluster.watch(2, Some("b"), Some(seen))), (None, None));
    assert_eq!(cluster.call_object(LOUD, 2, 1, REINITIALIZE), Ok(Answer::Returned(vec![])));
    let anew = cluster.application.position();
    let compacted = Some(Err(CallError::Compacted { oldest: anew.next() }));
    for after in [begin, seen] {
        assert_eq!(cluster.watch(3, None, Some(after)), compacted);
    }
    assert_eq!(cluster.watch(3, None, Some(anew.0)), None, "that is where it starts");
    assert_eq!(told(&cluster.emit(3, "a").watched), [(3, vec![("a".into(), 1)])]);
    assert_eq!(counts(&cluster.all_after(None, anew.0)), [("a".into(), 1)]);

    let seen = cluster.application.position().0;
    assert_eq!((cluster.watch(1, None, Some(seen)), cluster.watch(2, Some("b"), Some(seen))), (None, None));
    let waits = cluster.id(4);
    let watched = cluster.apply(vec![call(waits, 3, LOUD, REINITIALIZE)]).watched;
    let compacted = CallError::Compacted { oldest: cluster.application.position().next() };
    let of = |(_, response): &(ClientToken, Response)| match response {
        Response::Watched { request, result } => (*request, result.clone()),
        other => panic!("{other:?}"),
    };
    assert_eq!(watched.iter().map(of).collect::<Vec<_>>(), [(1, Err(compacted.clone())), (2, Err(compacted))]);
}

#[test]
fn asking_again_under_the_same_number_is_answered_at_once_and_gone_watchers_are_told_nothing() {
    let mut cluster = loud();
    let now = cluster.application.position();
    assert_eq!(cluster.watch(1, None, Some(now.0)), None);
    cluster.call(1, 0, "add").unwrap();
    let mut upto = cluster.application.position();
    assert_eq!(cluster.watch(1, None, Some(now.0)), Some(Ok(Told { events: vec![], upto })));
    for (gone, ask) in [(1, Ask::Unwatch { request: Some(1) }), (2, Ask::Unwatch { request: None })] {
        assert_eq!(cluster.watch(1, None, Some(upto.0)), None);
        assert_eq!(cluster.ask(0, ask), None);
        assert_eq!(cluster.emit(1 + gone, "a").watched, [], "{gone}");
        let Some(Ok(told)) = cluster.watch(1, None, Some(upto.0)) else { panic!("it was emitted") };
        assert_eq!(told.events.len(), 1);
        upto = told.upto;
    }
}

#[test]
fn whoever_is_ahead_of_this_replica_waits_until_it_is_there() {
    let mut cluster = loud();
    let ahead = cluster.application.position().0 + 5;
    assert_eq!(cluster.watch(1, None, Some(ahead)), None);
    // Two positions each: the input and its event.
    assert_eq!(cluster.emit(1, "a").watched, []);
    assert_eq!(cluster.emit(2, "a").watched, []);
    assert_eq!(told(&cluster.emit(3, "a").watched), [(1, vec![("a".into(), 3)])]);
}

#[test]
fn the_oldest_events_go_and_who_asks_for_them_is_told_from_where_there_are_some() {
    let mut cluster = loud();
    let begin = cluster.application.position().0;
    for sequence in 1..=EVENTS_OF_OBJECT_MAX as u64 + 3 {
        cluster.emit(sequence, "a");
    }
    let Some(Err(CallError::Compacted { oldest })) = cluster.watch(1, None, Some(begin)) else { panic!("compacted") };
    assert_eq!(oldest.0, begin + 2 * 4, "the first three are gone");
    let all = cluster.all_after(None, oldest.0 - 1);
    assert_eq!((all.len(), all[0].revision), (EVENTS_OF_OBJECT_MAX, oldest));
    assert!(matches!(cluster.watch(1, None, Some(oldest.0 - 3)), Some(Err(CallError::Compacted { .. }))));

    // A large topic takes the place of many.
    let large = "x".repeat(TOPIC_BYTES_MAX);
    let sequence = EVENTS_OF_OBJECT_MAX as u64 + 4;
    for sequence in sequence..sequence + 100 {
        cluster.emit(sequence, &large);
    }
    // And few large ones take the place of many small ones.
    (sequence + 100..sequence + 120).for_each(|sequence| drop(cluster.emit_large(sequence)));
    let bytes: usize = cluster.application.events.freeze().iter().map(|frozen| frozen.bytes()).sum();
    assert!(bytes <= EVENT_BYTES_OF_OBJECT_MAX, "{bytes}");
}

#[test]
fn events_survive_snapshots_and_go_with_the_object() {
    let mut cluster = loud();
    let begin = cluster.application.position().0;
    (1..=3).for_each(|sequence| drop(cluster.emit(sequence, "a")));
    let before = cluster.all_after(None, begin);
    let snapshot = cluster.application.snapshot().unwrap();
    let mut restored = Application::restore(ClusterId(7), Native::default(), &snapshot).unwrap();
    assert_eq!(restored.state_hash(), cluster.application.state_hash());
    assert_eq!(restored.snapshot().unwrap(), snapshot);
    assert_eq!(cluster.watch(9, None, Some(before[2].revision.0)), None);
    let mut first = std::mem::replace(&mut cluster.application, restored);
    first.objects.counters.get_mut(&LOUD).unwrap().value = 7;
    assert_eq!(cluster.application.take_watchers(first), [], "nothing new");
    assert_eq!(cluster.all_after(None, begin), before);
    assert_eq!(told(&cluster.emit(4, "a").watched), [(9, vec![("a".into(), 4)])], "the same watcher");

    assert_eq!(cluster.watch(9, None, Some(cluster.application.position().0)), None);
    let removed = cluster.apply(vec![operate(8, ObjectAction::Remove { object: LOUD })]);
    let [(_, Response::Watched { request: 9, result: Err(CallError::UnknownObject { .. }) })] = &removed.watched[..]
    else {
        panic!("{:?}", removed.watched)
    };
    assert!(matches!(cluster.watch(9, None, Some(0)), Some(Err(CallError::UnknownObject { .. }))));
}

#[test]
fn who_watches_an_object_that_is_not_loaded_here_yet_waits_for_it() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.watch(1, None, Some(0)), None);
    cluster.apply(vec![load("loud", b"loud")]);
    assert_eq!(told(&cluster.emit(1, "a").watched), [(1, vec![("a".into(), 1)])]);
}

#[test]
fn a_topic_is_short_and_only_who_says_so_emits() {
    let mut cluster = loud();
    let too_long = cluster.emit(1, &"x".repeat(TOPIC_BYTES_MAX + 1));
    let [Completed::Call { result: Err(CallError::Misbehaved { why, .. }), .. }] = &too_long.replies[..] else {
        panic!("{too_long:?}")
    };
    assert_eq!(why, "an event's topic has 257 bytes, and may have 256");
    let Err(CallError::Misbehaved { why, .. }) = cluster.call(2, 1, "emit") else { panic!("it may not") };
    assert_eq!(why, "it emitted events (1), but its interface names no type of them");
}
