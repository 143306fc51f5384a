//! An election: one of those who campaign leads, and others see who.

use concoord::prelude::*;

/// Who leads, and who would.
#[concoord::object]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Election {
    /// With the leader's value.
    held: Grants<String>,
    candidates: WaitQueue<u64, String>,
    /// With the token that is too old for them.
    observers: WaitQueue<Leader, u64>,
}

/// Who leads.
#[concoord::data]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// The fencing token, which is larger than those of all leaders before.
    pub token: u64,
    /// Who it is.
    pub session: String,
    /// What it says of itself.
    pub value: String,
}

#[concoord::methods]
impl Election {
    /// Waits until nobody leads and nobody came before, and leads until it resigns or its session ends. Gives the token.
    pub fn campaign(&mut self, cx: &mut Context, value: String, waiter: Waiter<u64>) {
        self.candidates.push_with(waiter, value);
        self.elect(cx);
    }

    /// Leads no more, by its token where one is given.
    pub fn resign(&mut self, cx: &mut Context, token: Option<u64>) -> Result<(), GrantError> {
        self.held.release(cx, token).map(|_| self.elect(cx))
    }

    /// Puts `value` in the place of what the leader said of itself. Only the leader may.
    pub fn proclaim(&mut self, cx: &mut Context, value: String) -> Result<(), GrantError> {
        self.held.own(cx, None)?.with = value;
        Ok(())
    }

    /// Who leads, if anybody does.
    pub fn leader(&self) -> Option<Leader> {
        let grant = self.held.iter().next()?;
        Some(Leader { token: grant.token, session: grant.session.to_string(), value: grant.with.clone() })
    }

    /// Waits until somebody leads by a token above `after`. Gives who.
    pub fn observe(&mut self, cx: &mut Context, after: u64, waiter: Waiter<Leader>) {
        self.observers.push_with(waiter, after);
        self.elect(cx);
    }

    /// The session that leads, if one does.
    pub fn holders(&self) -> Vec<Held> {
        self.held.list()
    }

    /// The sessions that would lead, in order.
    pub fn waiters(&self) -> Vec<String> {
        self.candidates.sessions()
    }

    /// Ends the leading of whoever leads by this token.
    pub fn revoke(&mut self, cx: &mut Context, token: u64) -> Result<(), GrantError> {
        self.held.revoke(Some(token)).map(|_| self.elect(cx))
    }

    fn session_closed(&mut self, cx: &mut Context, session: SessionId) {
        self.held.end(session);
        self.elect(cx);
    }

    fn timer(&mut self, cx: &mut Context, _: u64) {
        self.elect(cx);
    }

    fn elect(&mut self, cx: &mut Context) {
        self.candidates
            .serve(cx, |cx, session, value| self.held.is_empty().then(|| self.held.add(cx, session, value.clone())));
        let leader = self.leader();
        self.observers.serve_any(cx, |_, after| leader.clone().filter(|leader| leader.token > *after));
    }
}

#[cfg(test)]
mod tests {
    use concoord::testing::{Step, Table, id};
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn no_leader(step: &Step) {
        assert_eq!(step.failed::<GrantError>(), GrantError::NotHeld);
    }

    fn leader(token: u64, session: u64, value: &str) -> Leader {
        Leader { token, session: id(session).to_string(), value: value.into() }
    }

    #[test]
    fn they_lead_one_after_the_other_and_say_what_they_are() {
        let mut table = Table::new(Election::default());
        assert_eq!(table.object.leader(), None);
        assert_eq!(table.call(1, "campaign", &"a").returned::<u64>(), 1);
        for (of, value) in [(2, "b"), (3, "c")] {
            assert!(table.call(of, "campaign", &value).waits());
        }
        assert_eq!((table.object.leader(), table.object.waiters().len()), (Some(leader(1, 1, "a")), 2));
        no_leader(&table.call(2, "proclaim", &"z"));
        no_leader(&table.call(2, "resign", &Some(1_u64)));
        table.call(1, "proclaim", &"aa").returned::<()>();
        assert_eq!(table.object.leader(), Some(leader(1, 1, "aa")));
        assert_eq!(table.call(1, "resign", &None::<u64>).woken::<u64>(), [(2, 7)]);
        assert_eq!(table.object.leader(), Some(leader(7, 2, "b")), "what it campaigned with");
        no_leader(&table.call(9, "revoke", &1_u64));
        assert_eq!(table.call(9, "revoke", &7_u64).woken::<u64>(), [(3, 10)]);
        assert_eq!(table.object.holders(), [Held { token: 10, session: "3-0".into() }]);
        table.close(3);
        assert_eq!(table.object.leader(), None);
    }

    #[test]
    fn observers_see_the_next_leader_and_none_that_they_know() {
        let mut table = Table::new(Election::default());
        let early = table.call(8, "observe", &0_u64).call();
        let elected = table.call(1, "campaign", &"a");
        assert_eq!((elected.returned::<u64>(), elected.woken()), (2, vec![(8, leader(2, 1, "a"))]));
        assert_eq!(table.call(8, "observe", &1_u64).returned::<Leader>(), leader(2, 1, "a"));
        let waits = table.call(8, "observe", &2_u64).call();
        assert!(early != waits && table.call(2, "campaign", &"b").waits());
        let resigned = table.call(1, "resign", &Some(2_u64));
        let second = table.object.leader().expect("it leads");
        assert_eq!(resigned.answer_to(waits), Some(second.clone()));
        assert_eq!((second.value, second.token), ("b".into(), 7));
    }

    /// The proposed values differ, so that a wrong one is seen.
    #[test]
    fn generated_schedules_have_one_leader_at_a_time_that_all_observers_see() {
        for seed in 0..300 {
            let mut chance = StdRng::seed_from_u64(seed);
            let (mut table, mut last, mut number) = (Table::new(Election::default()), 0, 0);
            let (mut candidates, mut observers) = (Vec::<(CallId, String)>::new(), Vec::<(CallId, u64)>::new());
            let mut leads: Option<(u64, u64, String)> = None;
            for _ in 0..60 {
                let of = chance.random_range(1..5);
                number += 1;
                let value = number.to_string();
                let step = match chance.random_range(0..8) {
                    0 => {
                        candidates.retain(|(call, _)| call.session != id(of));
                        observers.retain(|(call, _)| call.session != id(of));
                        leads = leads.filter(|(session, ..)| *session != of);
                        table.close(of)
                    }
                    1 if !candidates.is_empty() => {
                        let (call, _) = candidates.remove(chance.random_range(0..candidates.len()));
                        table.cancel(call)
                    }
                    2 if leads.is_some() => {
                        let (_, token, _) = leads.take().expect("one");
                        table.call(9, "revoke", &token)
                    }
                    3 if leads.is_some() => {
                        let (session, ..) = leads.take().expect("one");
                        table.call(session, "resign", &None::<u64>)
                    }
                    4 => {
                        let step = table.call(of, "proclaim", &value);
                        match &mut leads {
                            Some((session, _, said)) if *session == of => *said = value,
                            _ => no_leader(&step),
                        }
                        step
                    }
                    5 => {
                        let after = if chance.random_bool(0.5) { last } else { chance.random_range(0..=last) };
                        let step = table.call(of, "observe", &after);
                        observers.push((step.call(), after));
                        step
                    }
                    _ => {
                        let step = table.call(of, "campaign", &value);
                        candidates.push((step.call(), value));
                        step
                    }
                };
                if leads.is_none() && !candidates.is_empty() {
                    let (call, value) = candidates.remove(0);
                    let token = step.answer_to::<u64>(call).expect("it is elected");
                    assert!(token > last, "seed {seed}: {token} after {last}");
                    (leads, last) = (Some((call.session.slot.0, token, value)), token);
                }
                let expected = leads.as_ref().map(|(session, token, value)| leader(*token, *session, value));
                assert_eq!(table.object.leader(), expected, "seed {seed}");
                let sees = |after: u64| expected.clone().filter(|leader| leader.token > after);
                for (call, after) in observers.extract_if(.., |(_, after)| sees(*after).is_some()) {
                    assert_eq!(step.answer_to(call), sees(after), "seed {seed}");
                }
                let waiting: Vec<_> = table.parked().collect();
                assert_eq!(waiting.len(), candidates.len() + observers.len(), "seed {seed}: and nobody else");
            }
        }
    }
}
