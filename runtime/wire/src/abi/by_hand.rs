//! What passes with every call, read and written by hand: the same bytes as postcard's for a fraction of the instructions,
//! of which each replica executes all, and most of them metered.
//!
//! Only a plain call and its plain answer are done so. All else, and what is malformed, is left to postcard.

use crate::abi::{Answer, Invocation, Outcome, Reply, Trigger};
use crate::codec::BYTES_ONE_BY_ONE;
use crate::{CallId, Position, SessionId, Slot, Timestamp, codec};

/// A byte has this bit when another byte of the same number follows.
const MORE: u8 = 0x80;
/// The same in each byte of a word.
const MORE_OF_WORD: u64 = 0x8080_8080_8080_8080;
/// Most bytes of a number of 64 bits.
const NUMBER_BYTES_MAX: usize = 10;
/// Most bytes of a plain call without its method: eight numbers, and whether there are those that need not be there.
const CALL_BYTES_MAX: usize = 8 * NUMBER_BYTES_MAX + 4;

// Postcard's numbers of the variants.
const NONE: u8 = 0;
const SOME: u8 = 1;
const TRIGGER_CALL: u8 = 1;
const REPLY_NOW: u8 = 1;
const ANSWER_RETURNED: u8 = 0;
/// Nobody answered, no events, no timers, no lines.
const NOTHING_ELSE: [u8; 4] = [0; 4];
/// Bytes of a plain answer besides its result.
pub const RETURNED_BYTES: usize = 3 + NOTHING_ELSE.len();

impl<'a> Invocation<'a> {
    /// Appends the encoding.
    pub fn append(&self, out: &mut Vec<u8>) {
        let Trigger::Call { method } = self.trigger else { return codec::append(self, out) };
        if method.len() >= usize::from(MORE) {
            return codec::append(self, out);
        }
        out.reserve(CALL_BYTES_MAX + method.len());
        for number in [self.position.0, self.now.0, self.seed] {
            append_number(number, out);
        }
        match self.call {
            None => out.push(NONE),
            Some(CallId { session, sequence }) => {
                append_session(session, out);
                append_number(sequence, out);
            }
        }
        match self.caller {
            None => out.push(NONE),
            Some(session) => append_session(session, out),
        }
        out.extend_from_slice(&[TRIGGER_CALL, method.len() as u8]);
        out.extend_from_slice(method.as_bytes());
    }

    /// Reads one from the beginning of an input; what follows it are the arguments.
    ///
    /// # Errors
    /// As postcard's.
    pub fn take(input: &'a [u8]) -> Result<(Invocation<'a>, &'a [u8]), postcard::Error> {
        match plain_call(input) {
            Some(taken) => Ok(taken),
            None => postcard::take_from_bytes(input),
        }
    }
}

impl Outcome {
    /// Appends the encoding.
    pub fn append(&self, out: &mut Vec<u8>) {
        let Outcome { reply, answered, events, timers, log } = self;
        match reply {
            Reply::Now(Answer::Returned(result))
                if result.len() < MORE.into()
                    && answered.is_empty()
                    && events.is_empty()
                    && timers.is_empty()
                    && log.is_empty() =>
            {
                let start = out.len();
                out.resize(start + RETURNED_BYTES + result.len(), 0);
                Outcome::write_returned(result, &mut out[start..]).expect("there is room");
            }
            _ => codec::append(self, out),
        }
    }

    /// Writes the encoding of the outcome of a call that returned and wants nothing else to the beginning of `out`; gives
    /// its length. `None` when it is not written: `out` or a length of one byte is too short for it.
    pub fn write_returned(result: &[u8], out: &mut [u8]) -> Option<usize> {
        let length = RETURNED_BYTES + result.len();
        let ([reply, answer, result_length, rest @ ..], true) = (out.get_mut(..length)?, result.len() < MORE.into())
        else {
            return None;
        };
        (*reply, *answer, *result_length) = (REPLY_NOW, ANSWER_RETURNED, result.len() as u8);
        let (for_result, nothing_else) = rest.split_at_mut(result.len());
        match result.len() {
            0..=BYTES_ONE_BY_ONE => for_result.iter_mut().zip(result).for_each(|(to, from)| *to = *from),
            _ => for_result.copy_from_slice(result),
        }
        nothing_else.iter_mut().zip(NOTHING_ELSE).for_each(|(to, from)| *to = from);
        Some(length)
    }

    /// Reads one that must use up `bytes`.
    ///
    /// # Errors
    /// As [`codec::from_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Outcome, codec::FrameError> {
        if let [REPLY_NOW, ANSWER_RETURNED, length, rest @ ..] = bytes
            && *length < MORE
            && let Some(result) = rest.strip_suffix(&NOTHING_ELSE)
            && result.len() == usize::from(*length)
        {
            return Ok(Outcome { reply: Reply::Now(Answer::Returned(result.to_vec())), ..Outcome::default() });
        }
        codec::from_bytes(bytes)
    }
}

fn append_session(session: SessionId, out: &mut Vec<u8>) {
    out.push(SOME);
    append_number(session.slot.0, out);
    append_number(session.index.into(), out);
}

fn append_number(mut number: u64, out: &mut Vec<u8>) {
    while number >= MORE.into() {
        out.push(number as u8 | MORE);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A call by a session, and what follows it. `None` where it is something else, or there may be something wrong with it.
fn plain_call(input: &[u8]) -> Option<(Invocation<'_>, &[u8])> {
    let mut unread = Unread(input);
    let position = Position(unread.number()?);
    let now = Timestamp(unread.number()?);
    let seed = unread.number()?;
    unread.is(SOME)?;
    let call = CallId { session: unread.session()?, sequence: unread.number()? };
    unread.is(SOME)?;
    let caller = unread.session()?;
    unread.is(TRIGGER_CALL)?;
    let length = unread.byte().filter(|length| *length < MORE)?;
    let (method, arguments) = unread.0.split_at_checked(length.into())?;
    let method = text(method)?;
    let trigger = Trigger::Call { method };
    Some((Invocation { position, now, seed, call: Some(call), caller: Some(caller), trigger }, arguments))
}

/// A name: most are ASCII, which is told eight bytes at once. In a guest, the check of the standard library takes a tenth of a
/// small call's instructions.
#[inline]
#[allow(unsafe_code, reason = "no safe function takes bytes of which each was looked at")]
fn text(bytes: &[u8]) -> Option<&str> {
    let (words, rest) = bytes.as_chunks::<8>();
    let others = words.iter().any(|word| u64::from_le_bytes(*word) & MORE_OF_WORD != 0);
    if others || rest.iter().any(|byte| *byte >= MORE) {
        return core::str::from_utf8(bytes).ok();
    }
    // SAFETY: each byte is below 0x80, so all are ASCII, which is UTF-8.
    Some(unsafe { core::str::from_utf8_unchecked(bytes) })
}

/// What is still to be read.
struct Unread<'a>(&'a [u8]);

impl Unread<'_> {
    #[inline(always)]
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    #[inline(always)]
    fn is(&mut self, expected: u8) -> Option<()> {
        self.byte().filter(|byte| *byte == expected).map(|_| ())
    }

    #[inline(always)]
    fn session(&mut self) -> Option<SessionId> {
        let slot = Slot(self.number()?);
        let index = u32::try_from(self.number()?).ok()?;
        Some(SessionId { slot, index })
    }

    /// A number in the variable length of postcard, eight of its bytes at once. `None` also for one of several bytes near the
    /// end of the input.
    #[inline(always)]
    fn number(&mut self) -> Option<u64> {
        let (first, rest) = self.0.split_first()?;
        if *first < MORE {
            self.0 = rest;
            return Some((*first).into());
        }
        let (word, rest) = self.0.split_first_chunk::<8>()?;
        let word = u64::from_le_bytes(*word);
        // The lowest of its bits is that of the last byte.
        let ends = !word & MORE_OF_WORD;
        if ends != 0 {
            self.0 = &self.0[ends.trailing_zeros() as usize / 8 + 1..];
            return Some(packed(word & (ends ^ (ends - 1))));
        }
        let low = packed(word);
        let (ninth, rest) = rest.split_first()?;
        if *ninth < MORE {
            self.0 = rest;
            return Some(low | u64::from(*ninth) << 56);
        }
        // One bit is left for the tenth.
        let (tenth, rest) = rest.split_first().filter(|(tenth, _)| **tenth <= 1)?;
        self.0 = rest;
        Some(low | u64::from(*ninth & !MORE) << 56 | u64::from(*tenth) << 63)
    }
}

/// The seven low bits of each byte, side by side.
fn packed(word: u64) -> u64 {
    let word = word & !MORE_OF_WORD;
    let pairs = word & 0x007f_007f_007f_007f | (word & 0x7f00_7f00_7f00_7f00) >> 1;
    let fours = pairs & 0x0000_3fff_0000_3fff | (pairs & 0x3fff_0000_3fff_0000) >> 2;
    fours & 0x0fff_ffff | (fours & 0x0fff_ffff_0000_0000) >> 4
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::{Event, Rejection, Timer};

    /// Numbers around each length of their encoding.
    fn numbers() -> impl Iterator<Item = u64> {
        let edges = (0..64).flat_map(|bits| [(1 << bits) - 1, 1 << bits, (1 << bits) + 1]);
        edges.chain([u64::MAX - 1, u64::MAX, 0x9e37_79b9_7f4a_7c15, 0x0123_4567_89ab_cdef])
    }

    fn invocations() -> Vec<Invocation<'static>> {
        let long: &'static str = "m".repeat(200).leak();
        let mut invocations = Vec::new();
        for (index, number) in numbers().enumerate() {
            let other = number.rotate_left(29);
            let session = SessionId { slot: Slot(other), index: number as u32 };
            let call = CallId { session, sequence: number };
            let methods = ["", "increment", "gr\u{fc}n", &long[..127], &long[..128], long];
            let trigger = match index % 10 {
                0 => Trigger::Init,
                1 => Trigger::Cancelled { call },
                2 => Trigger::SessionClosed { session },
                3 => Trigger::Timer { token: other },
                _ => Trigger::Call { method: methods[index % methods.len()] },
            };
            invocations.extend(
                [(Some(call), Some(session)), (None, Some(session)), (Some(call), None), (None, None)].map(
                    |(call, caller)| Invocation {
                        position: Position(number),
                        now: Timestamp(other),
                        seed: !number,
                        call,
                        caller,
                        trigger,
                    },
                ),
            );
        }
        invocations
    }

    #[test]
    fn invocations_are_written_and_read_as_by_postcard() {
        for invocation in invocations() {
            let expected = codec::to_bytes(&invocation);
            let mut written = b"before".to_vec();
            invocation.append(&mut written);
            assert_eq!(written, [b"before", &expected[..]].concat(), "{invocation:?}");
            for arguments in [&[][..], &[0], &[0xff; 20]] {
                let input = [&expected, arguments].concat();
                assert_eq!(Invocation::take(&input), Ok((invocation.clone(), arguments)));
            }
        }
    }

    #[test]
    fn whatever_is_malformed_is_refused_or_read_as_by_postcard() {
        for invocation in invocations().iter().step_by(7) {
            let whole = [&codec::to_bytes(invocation)[..], &[0xff; 3]].concat();
            for cut in 0..whole.len() {
                assert_eq!(Invocation::take(&whole[..cut]), postcard::take_from_bytes(&whole[..cut]));
                for byte in [0, 1, 2, 0x7f, 0x80, 0xff] {
                    let mut changed = whole.clone();
                    changed[cut] = byte;
                    assert_eq!(Invocation::take(&changed), postcard::take_from_bytes(&changed), "{changed:?}");
                }
            }
        }
    }

    #[test]
    fn plain_calls_are_read_by_hand() {
        let session = SessionId { slot: Slot(70_000), index: 3 };
        for method in ["increment", "get"] {
            let invocation = Invocation {
                position: Position(1 << 20),
                now: Timestamp(1_790_000_000_000_000),
                seed: u64::MAX,
                call: Some(CallId { session, sequence: 1000 }),
                caller: Some(session),
                trigger: Trigger::Call { method },
            };
            let input = codec::to_bytes(&invocation);
            assert_eq!(plain_call(&input), Some((invocation, &[][..])));
        }
    }

    #[test]
    fn a_plain_answer_is_written_where_there_is_room_and_its_length_takes_one_byte() {
        for length in [0, 1, 16, 17, 127] {
            let result = vec![9; length];
            let mut out = vec![0xff; RETURNED_BYTES + length + 2];
            assert_eq!(Outcome::write_returned(&result, &mut out), Some(RETURNED_BYTES + length));
            let expected = Outcome { reply: Reply::Now(Answer::Returned(result.clone())), ..Outcome::default() };
            assert_eq!(out.split_off(RETURNED_BYTES + length), [0xff; 2]);
            assert_eq!(out, codec::to_bytes(&expected));
            out.pop();
            assert_eq!(Outcome::write_returned(&result, &mut out), None);
        }
        assert_eq!(Outcome::write_returned(&[9; 128], &mut [0; 1000]), None);
    }

    #[test]
    fn outcomes_are_written_and_read_as_by_postcard() {
        let call = CallId { session: SessionId { slot: Slot(1), index: 2 }, sequence: 3 };
        let returned = |length| Reply::Now(Answer::Returned(vec![7; length]));
        let mut outcomes: Vec<Outcome> = [
            returned(0),
            returned(3),
            returned(127),
            returned(128),
            returned(1000),
            Reply::None,
            Reply::Parked,
            Reply::Now(Answer::Failed(vec![1])),
            Reply::Now(Answer::Rejected(Rejection::UnknownMethod)),
        ]
        .map(|reply| Outcome { reply, ..Outcome::default() })
        .into();
        let with = |change: fn(&mut Outcome, CallId)| {
            let mut outcome = Outcome { reply: returned(3), ..Outcome::default() };
            change(&mut outcome, call);
            outcome
        };
        outcomes.extend([
            with(|outcome, call| outcome.answered.push((call, Answer::Returned(vec![])))),
            with(|outcome, _| outcome.events.push(Event { topic: "t".into(), payload: vec![] })),
            with(|outcome, _| outcome.timers.push(Timer { token: 1, due: Timestamp(2) })),
            with(|outcome, _| outcome.log.push(String::new())),
        ]);
        for outcome in outcomes {
            let expected = codec::to_bytes(&outcome);
            let mut written = b"before".to_vec();
            outcome.append(&mut written);
            assert_eq!(written, [b"before", &expected[..]].concat(), "{outcome:?}");
            assert_eq!(Outcome::from_bytes(&expected).as_ref(), Ok(&outcome));
            for cut in 0..expected.len() {
                assert_eq!(Outcome::from_bytes(&expected[..cut]), codec::from_bytes(&expected[..cut]));
                let mut changed = expected.clone();
                for byte in [0, 1, 2, 0x7f, 0x80, 0xff] {
                    changed[cut] = byte;
                    assert_eq!(Outcome::from_bytes(&changed), codec::from_bytes(&changed), "{changed:?}");
                }
            }
            let longer = [&expected[..], &[0]].concat();
            assert_eq!(Outcome::from_bytes(&longer), codec::from_bytes(&longer));
        }
    }
}
