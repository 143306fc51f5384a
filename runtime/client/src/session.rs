//! A session from outside: the token with which another client goes on with it, and whether the cluster still has it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use concoord_wire::SessionId;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::limits::KEEP_ALIVES;

/// What it takes to go on with a session: see [`Options::session`](crate::Options::session). As text it is
/// the session, a dot and the secret. Who has it has everything that the session holds, so it is to be kept like a password.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SessionToken {
    /// The session.
    pub session: SessionId,
    pub(crate) secret: u128,
}

impl SessionToken {
    /// The token of this session, which was opened under this nonce.
    #[must_use]
    pub fn from_parts(session: SessionId, secret: u128) -> SessionToken {
        SessionToken { session, secret }
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionToken").field("session", &self.session).finish_non_exhaustive()
    }
}

impl fmt::Display for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:032x}", self.session, self.secret)
    }
}

/// A text is no [`SessionToken`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a session's token: one looks like 17-0.00112233445566778899aabbccddeeff")]
pub struct SessionTokenError;

impl FromStr for SessionToken {
    type Err = SessionTokenError;

    fn from_str(text: &str) -> Result<SessionToken, SessionTokenError> {
        let parse = || {
            let (session, secret) = text.trim().split_once('.')?;
            let session = session.parse().ok()?;
            let is_hex = secret.len() == 32 && secret.bytes().all(|byte| byte.is_ascii_hexdigit());
            Some(SessionToken { session, secret: u128::from_str_radix(secret, 16).ok().filter(|_| is_hex)? })
        };
        parse().ok_or(SessionTokenError)
    }
}

/// The session's signs of life, and whether the cluster said that it has them.
///
/// A session lives for its time to live after a sign, at least. So what was granted to it may be granted to others no sooner
/// than that after the last sign *was sent* which the cluster is known to have: then whoever holds something has to stop.
#[derive(Debug)]
pub(crate) struct Signs {
    pub(crate) ttl: Duration,
    /// By how much earlier it is said to be lost.
    lost_before: Duration,
    /// When the last one was sent.
    last: Instant,
    /// When the first one was sent that is not confirmed.
    open: Option<Instant>,
    /// When one was sent that is confirmed; `None` once the session was said to be lost.
    confirmed: Option<Instant>,
    /// How often one was lost.
    lost: watch::Sender<u64>,
}

impl Signs {
    pub(crate) fn new(ttl: Duration, lost_before: Duration, now: Instant, lost: watch::Sender<u64>) -> Signs {
        Signs { ttl, lost_before, last: now, open: None, confirmed: None, lost }
    }

    /// When the next is due.
    pub(crate) fn due(&self) -> Instant {
        self.last + self.ttl / KEEP_ALIVES
    }

    pub(crate) fn doubted_at(&self) -> Option<Instant> {
        self.confirmed.map(|confirmed| confirmed + self.ttl.saturating_sub(self.lost_before))
    }

    pub(crate) fn on_sent(&mut self, now: Instant) {
        self.last = now;
        self.open.get_or_insert(now);
    }

    /// Which of several is confirmed nobody knows, so it is the first.
    pub(crate) fn on_kept(&mut self) {
        self.confirmed = self.open.take().or(self.confirmed);
    }

    /// What was not confirmed on the old connection is sent again at once.
    pub(crate) fn on_connection_changed(&mut self) {
        if let Some(sent) = self.open.take() {
            self.last = sent.checked_sub(self.ttl).unwrap_or(sent);
        }
    }

    pub(crate) fn on_lost(&mut self) {
        if self.confirmed.take().is_some() {
            self.lost.send_modify(|times| *times += 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use concoord_wire::Slot;

    use super::*;

    #[test]
    fn a_token_is_read_as_it_is_written_and_does_not_show_its_secret() {
        let session = SessionId { slot: Slot(1 << 40), index: 7 };
        let token = SessionToken { session, secret: 0x1234 };
        assert_eq!(token.to_string(), "1099511627776-7.00000000000000000000000000001234");
        assert_eq!(token.to_string().parse(), Ok(token));
        assert!(!format!("{token:?}").contains("1234") && !format!("{token:?}").contains("4660"));
        for bad in ["", "1-2", "1.2-3", "1-2.+0000000000000000000000000001234", "1-2.12", "a-2.00", "1-2."] {
            assert_eq!(bad.parse::<SessionToken>(), Err(SessionTokenError), "{bad}");
        }
    }

    #[test]
    fn a_session_is_doubted_its_time_to_live_after_the_first_sign_of_those_that_are_confirmed() {
        let (sender, lost) = watch::channel(0);
        let (ttl, start) = (Duration::from_secs(9), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut signs = Signs::new(ttl, Duration::ZERO, start, sender);
        signs.on_sent(start);
        assert_eq!(signs.doubted_at(), None, "it is not open yet");
        signs.on_kept();
        assert_eq!((signs.due(), signs.doubted_at()), (at(3), Some(at(9))));
        [3, 6].map(at).into_iter().for_each(|now| signs.on_sent(now));
        signs.on_kept();
        assert_eq!(signs.doubted_at(), Some(at(12)), "the second may have been lost");
        signs.on_kept();
        assert_eq!(signs.doubted_at(), Some(at(12)), "nothing more was sent");
        signs.on_sent(at(10));
        signs.on_connection_changed();
        assert!(signs.due() <= at(10), "once more, over the new one");
        signs.on_lost();
        signs.on_lost();
        assert_eq!((*lost.borrow(), signs.doubted_at()), (1, None), "said once");
    }
}
