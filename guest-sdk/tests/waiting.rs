//! Many callers that wait, and what they are granted.

#![allow(missing_docs, reason = "an object for tests")]

use concoord::prelude::*;
use concoord::testing::Table;

/// Callers wait for a number, some in order and some in any.
#[concoord::object]
#[derive(Default, Serialize, Deserialize)]
pub struct Hall {
    reached: u64,
    word: String,
    queue: WaitQueue<String, u64>,
    crowd: WaitQueue<String, u64>,
    held: Grants,
}

#[concoord::methods]
impl Hall {
    pub fn queue(&mut self, number: u64, waiter: Waiter<String>) {
        self.queue.push_with(waiter, number);
    }

    pub fn stand(&mut self, number: u64, waiter: Waiter<String>) {
        self.crowd.push_with(waiter, number);
    }

    pub fn reach(&mut self, cx: &mut Context, number: u64, word: String) {
        (self.reached, self.word) = (number, word);
        self.serve(cx);
    }

    pub fn take(&mut self, cx: &mut Context, count: u64) -> Vec<u64> {
        let caller = cx.caller().expect("a session calls");
        (0..count).map(|_| self.held.add(cx, caller, ())).collect()
    }

    pub fn give(&mut self, cx: &mut Context, token: Option<u64>) -> Option<u64> {
        self.held.release(cx, token).ok().map(|grant| grant.token)
    }

    pub fn held(&self) -> Vec<Held> {
        self.held.list()
    }

    fn session_closed(&mut self, _: &mut Context, session: SessionId) {
        self.held.end(session);
    }

    fn timer(&mut self, cx: &mut Context, token: u64) {
        assert_eq!(token, concoord::SERVE_AGAIN, "no other was set");
        self.serve(cx);
    }

    fn serve(&mut self, cx: &mut Context) {
        self.queue.serve(cx, |_, _, number| (*number <= self.reached).then(|| self.word.clone()));
        self.crowd.serve_any(cx, |_, number| (*number <= self.reached).then(|| self.word.clone()));
    }
}

#[test]
fn in_a_queue_nobody_overtakes_and_in_a_crowd_everybody_does() {
    let mut table = Table::new(Hall::default());
    for (of, number) in [(1, 1_u64), (2, 3), (3, 1)] {
        table.call(of, "queue", &number);
        table.call(10 + of, "stand", &number);
    }
    let sessions = |step: concoord::testing::Step| -> Vec<u64> {
        step.woken::<String>().into_iter().map(|(session, _)| session).collect()
    };
    assert_eq!(sessions(table.call(9, "reach", &(1_u64, ""))), [1, 11, 13]);
    assert_eq!(sessions(table.call(9, "reach", &(3_u64, ""))), [2, 3, 12]);
}

/// By their number, and by the bytes that they get.
#[test]
fn one_input_answers_not_too_many_and_the_next_go_on_in_order() {
    for (waiters, bytes) in [(1500, 1), (20, 300_000)] {
        for method in ["queue", "stand"] {
            let mut table = Table::new(Hall::default());
            for of in 0..waiters {
                table.call(of, method, &0_u64);
            }
            let first = table.call(9999, "reach", &(0_u64, "w".repeat(bytes)));
            let size: usize =
                first.answered.iter().map(|(call, _)| first.answer_to::<String>(*call).map_or(0, |w| w.len())).sum();
            assert!(!first.answered.is_empty() && first.answered.len() < waiters as usize, "{}", first.answered.len());
            assert!(size < 2 << 20, "{size}");
            let mut answered = first.answered;
            answered.extend(table.advance(100_000).answered);
            let order = answered.iter().map(|(call, _)| call.session.slot.0);
            assert!(order.eq(0..waiters), "{method}: all, in order");
        }
    }
}

#[test]
fn no_token_is_granted_twice() {
    let mut table = Table::new(Hall::default());
    let mut all = Vec::new();
    for (of, count) in [(1, 3), (2, 1), (1, 5), (3, 2), (1, 0), (1, 1)] {
        all.extend(table.call(of, "take", &(count as u64)).returned::<Vec<u64>>());
        table.close(of);
    }
    assert!(all.is_sorted_by(|a, b| a < b), "{all:?}");
}

#[test]
fn a_session_gives_back_what_it_has_and_nothing_else() {
    let mut table = Table::new(Hall::default());
    assert_eq!(table.call(1, "take", &2_u64).returned::<Vec<u64>>(), [1, 2]);
    assert_eq!(table.call(2, "take", &1_u64).returned::<Vec<u64>>(), [3]);
    assert_eq!(table.call(1, "give", &Some(3_u64)).returned::<Option<u64>>(), None);
    assert_eq!(table.call(1, "give", &Some(2_u64)).returned::<Option<u64>>(), Some(2));
    assert_eq!(table.call(1, "give", &None::<u64>).returned::<Option<u64>>(), Some(1));
    assert_eq!(table.call(1, "give", &None::<u64>).returned::<Option<u64>>(), None);
    assert_eq!(table.object.held(), [Held { token: 3, session: "2-0".into() }]);
}
