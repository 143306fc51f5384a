//! The known replicas and what each last said.

use std::net::SocketAddr;

use concoord_wire::ClusterId;
use concoord_wire::member::Roster;

use crate::addresses::Resolved;
use crate::error::Tried;
use crate::limits::LEARNED_MAX;

/// What a replica last said.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    Line(String),
    OtherCluster { expected: ClusterId, actual: ClusterId },
}

/// How an address is known, the most lasting first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum From {
    /// Given by the user, so never forgotten.
    Given,
    /// A name that the user gave leads there, so kept until it leads elsewhere.
    Named,
    /// A replica told of it.
    Learned,
}

#[derive(Debug)]
struct Entry {
    address: SocketAddr,
    from: From,
    said: Said,
}

/// The known replicas. The given ones come first and stay for ever, then come those of names, as long as names lead there;
/// those of rosters and redirects come and go.
#[derive(Debug, Default)]
pub(crate) struct Book {
    entries: Vec<Entry>,
}

/// A replica of another cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stranger {
    pub(crate) address: SocketAddr,
    pub(crate) expected: ClusterId,
    pub(crate) actual: ClusterId,
}

impl Book {
    /// With what was found at first.
    pub(crate) fn new(found: &Resolved) -> Book {
        let given = &found.addresses[..found.addresses.len() - found.named];
        let entry = |address: &SocketAddr| Entry { address: *address, from: From::Given, said: Said::Nothing };
        let mut book = Book { entries: given.iter().map(entry).collect() };
        book.find_named(found);
        book
    }

    /// Takes over where names lead now, in that order. Nothing found is no news.
    pub(crate) fn find_named(&mut self, found: &Resolved) {
        let named = &found.addresses[found.addresses.len() - found.named..];
        if named.is_empty() {
            return;
        }
        for entry in self.entries.iter_mut().filter(|entry| entry.from == From::Named) {
            entry.from = From::Learned;
        }
        for &address in named {
            let place = self.entries.iter().position(|entry| entry.address == address);
            let known = place.map(|place| self.entries.remove(place));
            let said = known.map_or(Said::Nothing, |entry| entry.said);
            self.entries.push(Entry { address, from: From::Named, said });
        }
        self.entries.sort_by_key(|entry| entry.from);
    }

    /// Remembers an address that a replica named.
    pub(crate) fn learn(&mut self, address: SocketAddr) {
        let usable = !address.ip().is_unspecified() && address.port() != 0;
        if usable && self.entries.iter().all(|entry| entry.address != address) {
            let learned = self.entries.iter().filter(|entry| entry.from == From::Learned).count();
            if learned >= LEARNED_MAX
                && let Some(oldest) = self.entries.iter().position(|entry| entry.from == From::Learned)
            {
                self.entries.remove(oldest);
            }
            self.entries.push(Entry { address, from: From::Learned, said: Said::Nothing });
        }
    }

    /// Remembers who is a member, and forgets who is not.
    pub(crate) fn learn_roster(&mut self, roster: &Roster) {
        let member = |address| roster.members.iter().any(|member| member.address == address);
        self.entries.retain(|entry| entry.from != From::Learned || member(entry.address));
        roster.members.iter().for_each(|member| self.learn(member.address));
    }

    /// Notes what a replica said, or what became of trying it.
    pub(crate) fn note(&mut self, address: SocketAddr, said: impl Into<String>) {
        self.set(address, Said::Line(said.into()));
    }

    /// Notes that a replica belongs to another cluster.
    pub(crate) fn note_stranger(&mut self, stranger: Stranger) {
        let Stranger { address, expected, actual } = stranger;
        self.set(address, Said::OtherCluster { expected, actual });
    }

    /// Notes that a replica is being tried, unless it has said something before.
    pub(crate) fn begin(&mut self, address: SocketAddr) {
        let mut entries = self.entries.iter_mut();
        if let Some(entry) = entries.find(|entry| entry.address == address && entry.said == Said::Nothing) {
            entry.said = Said::Line("does not answer".into());
        }
    }

    fn set(&mut self, address: SocketAddr, said: Said) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.address == address) {
            entry.said = said;
        }
    }

    /// Every address, the ones after `behind` first and `behind` itself last.
    pub(crate) fn candidates(&self, behind: Option<SocketAddr>) -> Vec<SocketAddr> {
        let mut addresses = self.entries.iter().map(|entry| entry.address).collect::<Vec<_>>();
        if let Some(at) = addresses.iter().position(|address| Some(*address) == behind) {
            addresses.rotate_left(at + 1);
        }
        addresses
    }

    /// Everyone and what they said.
    pub(crate) fn tried(&self) -> Vec<Tried> {
        let said = |said: &Said| match said {
            Said::Nothing => "not tried yet".into(),
            Said::Line(line) => line.clone(),
            Said::OtherCluster { expected, actual } => {
                format!("it belongs to cluster {actual}, not to {expected}")
            }
        };
        self.entries.iter().map(|entry| Tried { address: entry.address, said: said(&entry.said) }).collect()
    }

    /// A replica of another cluster, if one was met; `true` beside it when all of them are.
    pub(crate) fn stranger(&self) -> Option<(Stranger, bool)> {
        let mut strangers = self.entries.iter().filter_map(|entry| match entry.said {
            Said::OtherCluster { expected, actual } => Some(Stranger { address: entry.address, expected, actual }),
            _ => None,
        });
        let first = strangers.next()?;
        Some((first, strangers.count() + 1 == self.entries.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn given(addresses: &[SocketAddr]) -> Resolved {
        Resolved::given(addresses.to_vec())
    }

    fn named(addresses: &[SocketAddr]) -> Resolved {
        Resolved { named: addresses.len(), ..given(addresses) }
    }

    #[test]
    fn where_names_lead_is_kept_in_order_until_they_lead_elsewhere() {
        let mut book = Book::new(&Resolved { named: 2, ..given(&[at(9), at(1), at(2)]) });
        book.learn(at(3));
        assert_eq!(book.candidates(None), [at(9), at(1), at(2), at(3)]);
        book.find_named(&named(&[at(3), at(2)]));
        assert_eq!(book.candidates(None), [at(9), at(3), at(2), at(1)], "the new leader first, who left last");
        book.find_named(&Resolved::default());
        assert_eq!(book.candidates(None), [at(9), at(3), at(2), at(1)], "no answer is no news");
    }

    #[test]
    fn given_addresses_come_first_and_are_never_forgotten() {
        let mut book = Book::new(&given(&[at(1), at(2)]));
        (3..3 + LEARNED_MAX as u16 + 5).for_each(|port| book.learn(at(port)));
        let candidates = book.candidates(None);
        assert_eq!(candidates[..2], [at(1), at(2)]);
        assert_eq!(candidates.len(), 2 + LEARNED_MAX);
        assert!(!candidates.contains(&at(3)), "the oldest learned one went");
    }

    #[test]
    fn the_one_just_lost_is_tried_last() {
        let book = Book::new(&given(&[at(1), at(2), at(3)]));
        assert_eq!(book.candidates(Some(at(1))), [at(2), at(3), at(1)]);
        assert_eq!(book.candidates(Some(at(9))), [at(1), at(2), at(3)]);
    }

    #[test]
    fn strangers_are_counted_against_all() {
        let mut book = Book::new(&given(&[at(1), at(2)]));
        assert_eq!(book.stranger(), None);
        let stranger = |port| Stranger { address: at(port), expected: ClusterId(1), actual: ClusterId(2) };
        book.note_stranger(stranger(2));
        assert_eq!(book.stranger(), Some((stranger(2), false)));
        book.note_stranger(stranger(1));
        assert_eq!(book.stranger(), Some((stranger(1), true)));
    }
}
