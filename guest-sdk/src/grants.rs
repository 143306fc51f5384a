//! What sessions hold, by fencing tokens.

use concoord_wire::SessionId;
use serde::{Deserialize, Serialize};

use crate::Context;

/// Something that a session holds, for operators to see.
#[crate::data]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The token that it was granted with.
    pub token: u64,
    /// Who holds it.
    pub session: String,
}

/// Why nothing was given back.
#[crate::data]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// What is meant is not held by this token, not by the session that calls, or by nobody.
    #[error("it is not held by this token, not by this session, or by nobody")]
    NotHeld,
}

/// One of [`Grants`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant<X = ()> {
    /// The fencing token.
    pub token: u64,
    /// Who holds it.
    pub session: SessionId,
    /// What the object keeps with it.
    pub with: X,
}

/// What was granted to whom, each grant with an `X` that the object keeps with it.
///
/// A token is the position of the input that granted it, or one more than the last where an input grants several. So each is
/// larger than all before it, for as long as the object lives, over upgrades and restores too.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grants<X = ()> {
    last: u64,
    held: Vec<Grant<X>>,
}

impl<X> Default for Grants<X> {
    fn default() -> Grants<X> {
        Grants { last: 0, held: Vec::new() }
    }
}

impl<X> Grants<X> {
    /// Grants something to a session. Gives the token.
    pub fn add(&mut self, cx: &Context, session: SessionId, with: X) -> u64 {
        self.last = cx.position().0.max(self.last + 1);
        self.held.push(Grant { token: self.last, session, with });
        self.last
    }

    /// Takes the grant of this token back from the session that calls, or its oldest one.
    ///
    /// # Errors
    /// [`GrantError::NotHeld`].
    pub fn release(&mut self, cx: &Context, token: Option<u64>) -> Result<Grant<X>, GrantError> {
        self.take(|grant| is_own(grant, cx, token))
    }

    /// Takes the grant of this token back from whoever has it, or the oldest of all.
    ///
    /// # Errors
    /// [`GrantError::NotHeld`].
    pub fn revoke(&mut self, token: Option<u64>) -> Result<Grant<X>, GrantError> {
        self.take(|grant| is(grant, token))
    }

    /// Takes everything back from a session.
    pub fn end(&mut self, session: SessionId) -> Vec<Grant<X>> {
        self.held.extract_if(.., |grant| grant.session == session).collect()
    }

    /// The grant of this token of the session that calls, or its oldest one.
    ///
    /// # Errors
    /// [`GrantError::NotHeld`].
    pub fn own(&mut self, cx: &Context, token: Option<u64>) -> Result<&mut Grant<X>, GrantError> {
        self.held.iter_mut().find(|grant| is_own(grant, cx, token)).ok_or(GrantError::NotHeld)
    }

    /// All, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Grant<X>> {
        self.held.iter()
    }

    /// All, oldest first, to change what the object keeps with them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Grant<X>> {
        self.held.iter_mut()
    }

    /// Tokens and sessions, oldest first: for operators.
    #[must_use]
    pub fn list(&self) -> Vec<Held> {
        self.iter().map(|grant| Held { token: grant.token, session: grant.session.to_string() }).collect()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether nothing is granted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    fn take(&mut self, which: impl FnMut(&Grant<X>) -> bool) -> Result<Grant<X>, GrantError> {
        let at = self.held.iter().position(which).ok_or(GrantError::NotHeld)?;
        Ok(self.held.remove(at))
    }
}

/// Whether the session that calls has it, and by this token.
fn is_own<X>(grant: &Grant<X>, cx: &Context, token: Option<u64>) -> bool {
    cx.caller() == Some(grant.session) && is(grant, token)
}

/// Whether it is the one of this token. Any is, if there is none.
fn is<X>(grant: &Grant<X>, token: Option<u64>) -> bool {
    token.is_none_or(|token| grant.token == token)
}
