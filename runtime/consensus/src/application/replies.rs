//! What a session's calls came to, for as long as its client may ask again.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::sessions::CallResult;

/// Room that is kept for replies that come, however few are there.
const ROOM_KEPT: usize = 16;

/// Results by the sequence of their call. Nearly all come and go in order: so they stand in a row, at whose ends that costs
/// next to nothing. Encoded it is what a map is.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Replies {
    kept: VecDeque<Kept>,
    /// Of all of them together.
    #[serde(skip)]
    bytes: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    sequence: u64,
    result: CallResult,
    /// Encoded bytes of the result.
    #[serde(skip)]
    bytes: usize,
}

impl Replies {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Encoded bytes of all of them.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn get(&self, sequence: u64) -> Option<&CallResult> {
        self.find(sequence).ok().map(|index| &self.kept[index].result)
    }

    /// The one of the newest call.
    pub(super) fn newest(&self) -> Option<&CallResult> {
        self.kept.back().map(|kept| &kept.result)
    }

    /// Keeps one. False when there is one of this call already, which stays.
    pub(super) fn insert(&mut self, sequence: u64, result: CallResult) -> bool {
        let Err(index) = self.find(sequence) else { return false };
        let bytes = encoded_bytes(&result);
        self.bytes += bytes;
        let kept = Kept { sequence, result, bytes };
        if index == self.kept.len() {
            self.kept.push_back(kept)
        } else {
            self.kept.insert(index, kept)
        }
        true
    }

    pub(super) fn remove(&mut self, sequence: u64) {
        if let Ok(index) = self.find(sequence) {
            self.bytes -= self.kept.remove(index).map_or(0, |kept| kept.bytes);
        }
    }

    /// Forgets those up to a sequence, but for the calls that `stay` holds.
    pub(super) fn forget_up_to(&mut self, sequence: u64, stay: impl Fn(u64) -> bool) {
        let mut index = 0;
        while let Some(kept) = self.kept.get(index).filter(|kept| kept.sequence <= sequence) {
            if stay(kept.sequence) {
                index += 1;
            } else {
                self.bytes -= kept.bytes;
                _ = if index == 0 { self.kept.pop_front() } else { self.kept.remove(index) };
            }
        }
        // A client that was busy once does not take the room for ever.
        let room = self.kept.capacity();
        if room > ROOM_KEPT && self.kept.len() < room / 4 {
            self.kept.shrink_to(room / 2);
        }
    }

    /// The calls up to a sequence.
    pub(super) fn up_to(&self, sequence: u64) -> impl Iterator<Item = u64> {
        self.kept.iter().map(|kept| kept.sequence).take_while(move |of| *of <= sequence)
    }

    /// What they take, for those that were just decoded. False when they are not in order.
    pub(super) fn count_bytes(&mut self) -> bool {
        self.kept.iter_mut().for_each(|kept| kept.bytes = encoded_bytes(&kept.result));
        self.bytes = self.kept.iter().map(|kept| kept.bytes).sum();
        self.kept.iter().is_sorted_by(|one, next| one.sequence < next.sequence)
    }

    #[cfg(test)]
    pub(super) fn pretend_bytes(&mut self, bytes: usize) {
        self.bytes = bytes;
    }

    pub(super) fn clear(&mut self) {
        *self = Replies::default();
    }

    /// Where one is, or would be.
    fn find(&self, sequence: u64) -> Result<usize, usize> {
        if self.kept.back().is_none_or(|newest| newest.sequence < sequence) {
            return Err(self.kept.len());
        }
        self.kept.binary_search_by_key(&sequence, |kept| kept.sequence)
    }
}

fn encoded_bytes(result: &CallResult) -> usize {
    postcard::experimental::serialized_size(result).expect("a call's result has a size")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use concoord_wire::abi::Answer;

    use super::super::digest::mix;
    use super::*;

    fn result(bytes: usize) -> CallResult {
        Ok(Answer::Returned(vec![7; bytes]))
    }

    #[test]
    fn they_are_what_a_map_of_them_is() {
        let stay = |sequence: u64| sequence % 7 == 3;
        let (mut replies, mut map) = (Replies::default(), BTreeMap::new());
        for step in 0..20_000 {
            let random = mix(step);
            let (act, sequence, bytes) = (random % 4, (random >> 8) % 40, (random >> 16) as usize % 5);
            match act {
                0 | 1 => {
                    let is_new = !map.contains_key(&sequence);
                    map.entry(sequence).or_insert_with(|| result(bytes));
                    assert_eq!(replies.insert(sequence, result(bytes)), is_new);
                }
                2 => {
                    replies.remove(sequence);
                    map.remove(&sequence);
                }
                _ => {
                    replies.forget_up_to(sequence / 2, stay);
                    map.retain(|of, _| *of > sequence / 2 || stay(*of));
                }
            }
            assert_eq!((replies.len(), replies.get(sequence)), (map.len(), map.get(&sequence)));
            assert_eq!(replies.bytes(), map.values().map(encoded_bytes).sum::<usize>());
            assert_eq!(replies.newest(), map.values().next_back());
            assert!(replies.up_to(20).eq(map.range(..=20).map(|(of, _)| *of)));
            let encoded = postcard::to_allocvec(&replies).unwrap();
            assert_eq!(encoded, postcard::to_allocvec(&map).unwrap());
            let mut decoded: Replies = postcard::from_bytes(&encoded).unwrap();
            assert!(decoded.count_bytes());
            assert_eq!(decoded.bytes(), replies.bytes());
        }
    }

    #[test]
    fn those_out_of_order_are_noticed() {
        for sequences in [[2, 1], [1, 1]] {
            let pairs: Vec<(u64, CallResult)> = sequences.map(|sequence| (sequence, result(1))).into();
            let mut replies: Replies = postcard::from_bytes(&postcard::to_allocvec(&pairs).unwrap()).unwrap();
            assert!(!replies.count_bytes());
        }
    }

    #[test]
    fn the_room_of_many_is_given_back() {
        let mut replies = Replies::default();
        (0..1000).for_each(|sequence| _ = replies.insert(sequence, result(0)));
        (0..1000).for_each(|sequence| replies.forget_up_to(sequence, |_| false));
        assert!(replies.kept.capacity() <= ROOM_KEPT, "{}", replies.kept.capacity());
    }
}
