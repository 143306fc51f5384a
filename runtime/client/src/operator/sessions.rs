//! What operators do with sessions.

use concoord_wire::client::{Consistency, Request, Response, SessionList, SessionState};
use concoord_wire::{SessionId, Slot};
use tokio::time::Instant;

use super::line::Line;
use super::{Operator, OperatorError, Step, objects, unexpected};

impl Operator {
    /// The open sessions behind `after`, at most [`SESSIONS_LISTED_MAX`](concoord_wire::limits::SESSIONS_LISTED_MAX).
    ///
    /// # Errors
    /// [`OperatorError::NoAnswer`].
    pub async fn sessions(&self, after: Option<SessionId>) -> Result<SessionList, OperatorError> {
        let request = Request::Sessions { request: 1, after, consistency: Consistency::Linearizable };
        self.asking(self.addresses.clone())
            .ask(&self.endpoint, &request, |answer| match answer {
                Ok(Response::Sessions { result: Ok(list), .. }) => Step::Done(list),
                Ok(Response::Sessions { result: Err(error), .. }) => objects::not_done(error.into()),
                other => unexpected(other),
            })
            .await
    }

    /// Ends a session, as its client would by closing it: what it holds is given up. Gives how it was before.
    ///
    /// # Errors
    /// [`OperatorError::NoSession`] when it is not open, [`OperatorError::NoAnswer`].
    pub async fn end_session(&self, session: SessionId) -> Result<SessionState, OperatorError> {
        let before = self.sessions(before(session)).await?.sessions.into_iter().find(|state| state.session == session);
        let before = before.ok_or(OperatorError::NoSession { session })?;
        let mut asking = self.asking(self.addresses.clone());
        loop {
            let address = asking.next();
            let step = match asking.dial(&self.endpoint, address).await {
                Ok(mut line) => end(&mut line, session, asking.deadline).await,
                Err(error) => unexpected(Err(error)),
            };
            match step {
                Step::Done(()) => return Ok(before),
                Step::Never(error) => return Err(error),
                Step::Elsewhere { leader, said } => asking.go_on(address, leader, said).await?,
            }
        }
    }
}

/// Ends a session over one connection, if its replica leads: others don't answer a sign of life.
async fn end(line: &mut Line, session: SessionId, deadline: Instant) -> Step<()> {
    let roster = match line.ask(&Request::View { request: 1 }, deadline).await {
        Ok(Response::View { roster, .. }) => roster,
        other => return unexpected(other),
    };
    if roster.leader != Some(roster.reporter) {
        let leader = roster.members.iter().find(|member| Some(member.id) == roster.leader);
        return Step::Elsewhere { leader: leader.map(|leader| leader.address), said: "does not lead".into() };
    }
    let closed = line.tell(&Request::CloseSession { session });
    match closed.and(line.tell(&Request::KeepAlive { session })) {
        Ok(()) => {}
        Err(error) => return unexpected(Err(error)),
    }
    match line.hear(deadline).await {
        Ok(Response::SessionGone { .. }) => Step::Done(()),
        other => unexpected(other),
    }
}

/// A session of whose followers `session` is the first.
fn before(session: SessionId) -> Option<SessionId> {
    match session {
        SessionId { slot, index: 1.. } => Some(SessionId { slot, index: session.index - 1 }),
        SessionId { slot, .. } => Some(SessionId { slot: Slot(slot.0.checked_sub(1)?), index: u32::MAX }),
    }
}
