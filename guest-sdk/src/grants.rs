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
    pub fn release(&mut self, cx: &Context, token: Option<u64>) -> Option<Grant<X>> {
        let caller = cx.caller()?;
        self.take(|grant| grant.session == caller && is(grant, token))
    }

    /// Takes the grant of this token back from whoever has it, or the oldest of all.
    pub fn revoke(&mut self, token: Option<u64>) -> Option<Grant<X>> {
        self.take(|grant| is(grant, token))
    }

    /// Takes everything back from a session.
    pub fn end(&mut self, session: SessionId) -> Vec<Grant<X>> {
        self.held.extract_if(.., |grant| grant.session == session).collect()
    }

    /// The grant of this token of the session that calls, or its oldest one.
    pub fn own(&mut self, cx: &Context, token: Option<u64>) -> Option<&mut Grant<X>> {
        let caller = cx.caller()?;
        self.held.iter_mut().find(|grant| grant.session == caller && is(grant, token))
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

    fn take(&mut self, which: impl FnMut(&Grant<X>) -> bool) -> Option<Grant<X>> {
        let at = self.held.iter().position(which)?;
        Some(self.held.remove(at))
    }
}

/// Whether it is the one of this token. Any is, if there is none.
fn is<X>(grant: &Grant<X>, token: Option<u64>) -> bool {
    token.is_none_or(|token| grant.token == token)
}
