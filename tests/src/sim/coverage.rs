//! What a run exercised: a kind of fault that never came up proves nothing.

/// Something that goes wrong on purpose, or that clients do beside plain calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A crash that lost what was not synced.
    Crash,
    /// All machines that lost power at once.
    Blackout,
    /// A process killed, its machine alive.
    Kill,
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
    /// A leader whose words come late while it still hears the others for as long as it may lead.
    LateLeader,
    /// A leader whose words come late from the moment on at which it knows its seal as decided.
    LateSeal,
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
    /// A replica that was asked to stop and started again with its disk.
    CleanRestart,
    /// A bit flipped, a sector zeroed, cut off or overwritten by another one, in what a disk had for sure.
    Damage,
    /// Data that was refused for its damage.
    RefusedData,
    /// An operation of the disk that failed.
    DiskError,
    /// A process that ended because its disk failed.
    DiskFailure,
    /// A disk without room.
    FullDisk,
    /// A snapshot that was made.
    Snapshot,
    /// A snapshot that was fetched from a peer.
    Transfer,
    /// A flipped bit of what a member has applied.
    Flip,
    /// A member that found out that its state differs.
    Quarantine,
    /// A member that keeps nothing on disk.
    Volatile,
    /// A member that votes and runs no objects.
    Witness,
    /// A member marked as silent.
    Silence,
    /// A member that offers another service than before.
    Services,
    /// A member evicted for its silence.
    Eviction,
    /// A member that came back after it was evicted or left.
    Return,
    /// A member or a joiner of a newer build.
    Upgrade,
    /// A version that a cluster went on to.
    Version,
    /// A joiner that was refused since it could not apply what is decided.
    TooOld,
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
    /// A call that waited.
    Parked,
    /// A call that waited for as long as it might.
    WaitedInVain,
    /// A call that its client did not want any more.
    Cancel,
    /// A client that fell silent for longer than its session may live.
    SilentSession,
    /// A session that ended though its client did not close it.
    ExpiredSession,
    /// A session that another life of its client went on with.
    Resume,
    /// An object that failed where nobody waited, as one replica applied it.
    Suspension,
    /// A proposal that a voter was sent in no hurry.
    LateVoter,
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
const KINDS: [(Kind, &str); 59] = [
    (Kind::Crash, "crashes"),
    (Kind::Blackout, "blackouts"),
    (Kind::Kill, "kills"),
    (Kind::LostDisk, "lost disks"),
    (Kind::Partition, "partitions"),
    (Kind::OneWayPartition, "one-way partitions"),
    (Kind::LinkCut, "link cuts"),
    (Kind::QuorumLoss, "quorum losses"),
    (Kind::ConstrainedElection, "constrained elections"),
    (Kind::Chain, "chains"),
    (Kind::ClientCut, "client cuts"),
    (Kind::Clog, "clogs"),
    (Kind::LateLeader, "leaders heard late"),
    (Kind::LateSeal, "seals heard of late"),
    (Kind::BadNetwork, "bad networks"),
    (Kind::Pause, "pauses"),
    (Kind::SlowDisk, "slow disks"),
    (Kind::SlowApplication, "slow applications"),
    (Kind::ClockRate, "clock rates"),
    (Kind::ClockAhead, "clock jumps ahead"),
    (Kind::ClockBack, "clock jumps back"),
    (Kind::Stop, "stops"),
    (Kind::CleanRestart, "clean restarts"),
    (Kind::Damage, "damaged disks"),
    (Kind::RefusedData, "data refused"),
    (Kind::DiskError, "disk errors drawn"),
    (Kind::DiskFailure, "disk failures"),
    (Kind::FullDisk, "full disks"),
    (Kind::Snapshot, "snapshots"),
    (Kind::Transfer, "snapshots fetched"),
    (Kind::Flip, "flipped bits of state"),
    (Kind::Quarantine, "members in quarantine"),
    (Kind::Volatile, "volatile members"),
    (Kind::Witness, "witnesses"),
    (Kind::Silence, "members marked silent"),
    (Kind::Services, "members with other services"),
    (Kind::Eviction, "evictions"),
    (Kind::Return, "members taken back"),
    (Kind::Upgrade, "upgrades"),
    (Kind::Version, "versions decided"),
    (Kind::TooOld, "builds that were too old"),
    (Kind::Reconnect, "reconnects"),
    (Kind::ClientCrash, "client crashes"),
    (Kind::Heal, "heals"),
    (Kind::Join, "joins and replacements"),
    (Kind::ClosedSession, "sessions closed in use"),
    (Kind::Parked, "calls parked"),
    (Kind::WaitedInVain, "waits in vain"),
    (Kind::Cancel, "calls cancelled"),
    (Kind::SilentSession, "silent clients"),
    (Kind::ExpiredSession, "sessions expired"),
    (Kind::Resume, "sessions resumed"),
    (Kind::Suspension, "suspensions applied"),
    (Kind::LateVoter, "proposals sent late"),
    (Kind::DownForGood, "members down for good"),
    (Kind::DeafForGood, "members deaf for good"),
    (Kind::MuteForGood, "members mute for good"),
    (Kind::CutForGood, "members cut for good"),
    (Kind::PartlyCutForGood, "members partly cut"),
];

/// How often each kind came up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coverage([u64; KINDS.len()]);

impl Default for Coverage {
    fn default() -> Coverage {
        Coverage([0; KINDS.len()])
    }
}

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
