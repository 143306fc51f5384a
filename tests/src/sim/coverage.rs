//! What a run exercised: a kind of fault that never came up proves nothing.

/// Something that goes wrong on purpose, or that clients do beside plain calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A crash that lost what was not synced.
    Crash,
    /// A disk lost for good; a new replica takes the address.
    LostDisk,
    /// Both ways cut between two halves.
    Partition,
    /// One way cut between two halves.
    OneWayPartition,
    /// One way cut between two replicas, or one pair cut.
    LinkCut,
    /// All replicas have a link to one of them only (OmniPaxos, section 2: quorum loss).
    QuorumLoss,
    /// Only one replica has a majority, it lags, and the leader has nobody (constrained election).
    ConstrainedElection,
    /// Each replica has links to its neighbours only (chained).
    Chain,
    /// A client cut from some replicas.
    ClientCut,
    /// A link that held everything for a while and then delivered it.
    Clog,
    /// A spell of loss, duplication and long delay.
    BadNetwork,
    /// A process that stood still.
    Pause,
    /// A spell of slow syncs.
    SlowDisk,
    /// A spell of slow applying.
    SlowApplication,
    /// A monotonic clock that runs up to a tenth too fast or too slow.
    ClockRate,
    /// A wall clock that jumped ahead.
    ClockAhead,
    /// A wall clock that jumped back.
    ClockBack,
    /// A replica that was asked to stop and left.
    Stop,
    /// Clients that lost their connections.
    Reconnect,
    /// A client that crashed, and with it all that it knew.
    ClientCrash,
    /// A network that was healed.
    Heal,
    /// A replica that joined or replaced another.
    Join,
    /// A session that was closed over calls that were not answered.
    ClosedSession,
    /// In the liveness phase: a member that is down for good.
    DownForGood,
    /// In the liveness phase: a member that hears nobody of the majority any more.
    DeafForGood,
    /// In the liveness phase: a member that nobody of the majority hears any more.
    MuteForGood,
    /// In the liveness phase: a member cut from the majority both ways.
    CutForGood,
    /// In the liveness phase: a member that has lost some links in some directions.
    PartlyCutForGood,
}

/// All kinds, with the words for them.
const KINDS: [(Kind, &str); 28] = [
    (Kind::Crash, "crashes"),
    (Kind::LostDisk, "lost disks"),
    (Kind::Partition, "partitions"),
    (Kind::OneWayPartition, "one-way partitions"),
    (Kind::LinkCut, "link cuts"),
    (Kind::QuorumLoss, "quorum losses"),
    (Kind::ConstrainedElection, "constrained elections"),
    (Kind::Chain, "chains"),
    (Kind::ClientCut, "client cuts"),
    (Kind::Clog, "clogs"),
    (Kind::BadNetwork, "bad networks"),
    (Kind::Pause, "pauses"),
    (Kind::SlowDisk, "slow disks"),
    (Kind::SlowApplication, "slow applications"),
    (Kind::ClockRate, "clock rates"),
    (Kind::ClockAhead, "clock jumps ahead"),
    (Kind::ClockBack, "clock jumps back"),
    (Kind::Stop, "stops"),
    (Kind::Reconnect, "reconnects"),
    (Kind::ClientCrash, "client crashes"),
    (Kind::Heal, "heals"),
    (Kind::Join, "joins and replacements"),
    (Kind::ClosedSession, "sessions closed in use"),
    (Kind::DownForGood, "members down for good"),
    (Kind::DeafForGood, "members deaf for good"),
    (Kind::MuteForGood, "members mute for good"),
    (Kind::CutForGood, "members cut for good"),
    (Kind::PartlyCutForGood, "members partly cut"),
];

/// How often each kind came up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage([u64; KINDS.len()]);

impl Coverage {
    /// It came up once more.
    pub fn count(&mut self, kind: Kind) {
        self.0[kind as usize] += 1;
    }

    /// Name and count of each kind.
    pub fn kinds(&self) -> impl Iterator<Item = (&'static str, u64)> {
        KINDS.into_iter().map(|(kind, name)| (name, self.0[kind as usize]))
    }

    /// How many faults there were in the safety phase; what is a part of working is none.
    #[must_use]
    pub fn faults(&self) -> u64 {
        KINDS.iter().filter(|(kind, _)| *kind < Kind::Heal).map(|(kind, _)| self.0[*kind as usize]).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_one_name() {
        for (index, (kind, _)) in KINDS.iter().enumerate() {
            assert_eq!(*kind as usize, index);
        }
        let mut coverage = Coverage::default();
        coverage.count(Kind::PartlyCutForGood);
        coverage.count(Kind::Crash);
        assert_eq!(coverage.kinds().last(), Some(("members partly cut", 1)));
        assert_eq!(coverage.faults(), 1);
    }
}
