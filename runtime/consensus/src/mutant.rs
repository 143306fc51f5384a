//! Bugs that are put in on purpose, one at a time, to prove that the simulation would find them.
//!
//! A test that never failed says little. So the rules that keep a replica right have each a *mutant* here: the rule left out, or
//! got slightly wrong, the way a person might get it wrong. `tests/tests/mutants.rs` runs the simulation with each and
//! wants to see it fail.
//!
//! `mutated!` stands where the bug goes in. Without the feature `mutants`, which nothing but that test turns on, it is
//! the constant `false`, and there is no switch in what users run. With it, a bug is on for one thread, which is what one
//! run of the simulation has.

#[cfg(feature = "mutants")]
pub use switched::{Mutant, is_on, on, with};

/// Whether a bug is on, by the name of its `Mutant`.
#[cfg(feature = "mutants")]
#[macro_export]
macro_rules! mutated {
    ($mutant:ident) => {
        $crate::mutant::is_on($crate::mutant::Mutant::$mutant)
    };
}

/// Whether a bug is on: never, without the feature `mutants`.
#[cfg(not(feature = "mutants"))]
#[macro_export]
macro_rules! mutated {
    ($mutant:ident) => {
        false
    };
}

#[cfg(feature = "mutants")]
mod switched {
    use std::cell::Cell;

    thread_local! {
        static ON: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Whether a bug is on in this thread.
    #[must_use]
    pub fn is_on(mutant: Mutant) -> bool {
        ON.get() == Some(mutant)
    }

    /// The bug that is on in this thread.
    #[must_use]
    pub fn on() -> Option<Mutant> {
        ON.get()
    }

    /// Runs `run` with a bug, or with none, in this thread.
    pub fn with<T>(mutant: Option<Mutant>, run: impl FnOnce() -> T) -> T {
        /// Puts back what was on before, also after a panic.
        struct Before(Option<Mutant>);
        impl Drop for Before {
            fn drop(&mut self) {
                ON.set(self.0);
            }
        }
        let _before = Before(ON.replace(mutant));
        run()
    }

    /// Makes the enum, and of each variant's documentation what is printed of it.
    macro_rules! mutants {
        ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
            /// A bug.
            #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
            pub enum Mutant {
                $($(#[doc = $doc])+ $name,)+
            }

            impl Mutant {
                /// All of them.
                pub const ALL: &[Mutant] = &[$(Mutant::$name,)+];

                /// What is wrong with it.
                #[must_use]
                pub fn what(self) -> &'static str {
                    match self {
                        $(Mutant::$name => concat!($($doc),+).trim_ascii(),)+
                    }
                }
            }
        };
    }

    mutants! {
        /// A leader decides with one acceptance less than a majority.
        SmallAcceptQuorum,
        /// A candidate leads with one promise less than a majority.
        SmallPromiseQuorum,
        /// A read round counts as confirmed by whoever confirmed it first.
        SmallReadQuorum,
        /// A replica that starts again does not know what it promised.
        PromiseForgotten,
        /// A promise is sent before it is durable.
        PromiseSentEarly,
        /// An acceptance is sent before it is durable.
        AcceptanceSentEarly,
        /// A leader counts its own acceptance before it is durable.
        OwnAcceptanceEarly,
        /// A candidate asks others, and counts itself, before its own promise is durable.
        OwnPromiseEarly,
        /// A replica says that it knows a change of view as decided before a restart would know it.
        KnownEarly,
        /// An acceptor takes values of a ballot below its promise.
        AcceptsBelowPromise,
        /// A follower takes what it accepts as decided.
        AcceptedIsDecided,
        /// A follower takes what it accepted in another ballot for what the leader says is decided.
        DecidedOfOtherBallot,
        /// A promise does not list what was accepted.
        PromiseOmitsAccepted,
        /// A new leader proposes nothing of what promises listed.
        IgnoresAccepted,
        /// Of the values that promises listed for a slot, a new leader takes that of the lowest ballot.
        LowestBallotWins,
        /// A candidate leads though a promise told of decided slots that it does not know.
        LeadsBehind,
        /// A replica that campaigns again uses the ballot that it had.
        BallotUsedTwice,
        /// The leader goes on in the next view without asking its voters.
        LeadsAfterSeal,
        /// Whoever is handed leadership leads without asking the other voters.
        HandedOverWithoutPromises,
        /// A witness campaigns.
        WitnessLeads,
        /// A replica campaigns against a leader that a majority hears.
        CampaignsAgainstLeader,
        /// A leader proposes values behind a change of view that is not decided.
        ProposesBeyondSeal,
        /// A leader does not send again what was not answered.
        NoResend,
        /// A batch is stamped with the wall clock of its leader.
        WallClockStamp,
        /// A leader answers reads without asking whether it still leads.
        ReadWithoutRound,
        /// A read at the leader joins a round that was sent before it arrived.
        ReadJoinsSentRound,
        /// A read that may be stale up to a bound is answered however stale it is.
        BoundIgnored,
        /// A follower counts the age of what its leader said from when it heard it.
        FreshSinceAnswer,
        /// A follower answers linearizable reads from what it has.
        FollowerReadsAtOnce,
        /// A follower answers a read before it has decided up to the index that the leader gave.
        FollowerReadsEarly,
        /// A new leader answers reads before it has decided a slot of its own.
        ReadsBeforeFirstSlot,
        /// A value that is learned from a peer is not written down.
        LearnedNotPersisted,
        /// What a loss on disk hides is not written down again where it is learned to be the same.
        HiddenNotPersisted,
        /// A mark of what is decided that a loss on disk has made useless is not written down again.
        DecidedNotPersistedAgain,
        /// A replica that starts again takes what its disk lost for what it never accepted.
        UnknownIgnored,
        /// The log is truncated when a snapshot is begun, not when it is durable.
        TruncatedBeforeSnapshot,
        /// A witness truncates its log below a snapshot that another replica has.
        WitnessTruncatesOnOffer,
        /// A snapshot says that it holds one slot more than it does.
        SnapshotSlotTooHigh,
        /// A snapshot says that it holds one slot less than it does.
        SnapshotSlotTooLow,
        /// A snapshot carries the view as it was at the beginning.
        SnapshotOfOldView,
        /// A replica that takes a snapshot over forgets what it promised.
        SnapshotLowersPromise,
        /// A replica that takes a snapshot over does not write that what it accepted below is void.
        VoidNotPersisted,
        /// A call that was executed is executed again when it arrives again.
        NoDedup,
        /// A call that its client acknowledged is executed when it arrives again.
        FloorExecutes,
        /// A call that arrives again is answered with the reply of the session's newest call.
        ReplyOfAnotherCall,
        /// Replies are recorded only where a client waits for them.
        RepliesOfLeaderOnly,
        /// A snapshot does not hold the replies of its sessions.
        SnapshotWithoutReplies,
        /// A session that is asked for twice with one nonce is opened twice.
        NonceOpensAgain,
        /// An object is not told of the end of a call that waits for it.
        WaitEndsUntold,
        /// The floor that a client sends passes what is parked for good: it is forgotten.
        FloorForgetsParked,
        /// What a parked call is answered with is not kept for retries.
        ParkedReplyNotKept,
        /// A snapshot does not hold the calls that are parked.
        SnapshotWithoutParked,
        /// A session that ends leaves its parked calls waiting.
        ClosedSessionWaits,
        /// A client that goes on with a session uses the numbers of the one before again.
        ResumeReusesNumbers,
        /// A client that goes on with a session leaves the parked calls of the one before waiting.
        ResumeLeavesParked,
        /// A watcher is told the event again after which it asks for more.
        WatchRepeats,
        /// A snapshot does not hold what objects emitted.
        SnapshotWithoutEvents,
        /// Restored state forgets how many inputs objects were given.
        PositionRestarts,
        /// A frame of the log is not synced.
        LogNotSynced,
        /// The name of a new segment is not synced.
        SegmentNameNotSynced,
        /// The mark says that a frame is synced before it is.
        MarkLeads,
        /// The checksum of a frame's records is not looked at.
        ChecksumIgnored,
        /// Recovery trusts the page cache: what it read it does not write and sync again.
        TailNotSyncedAgain,
        /// The name of a snapshot is not synced before the log is truncated.
        SnapshotNameNotSynced,
        /// A replica whose disk is lost starts again under its old id.
        LostDiskComesBack,
        /// A replica does not look at whether it has applied what a majority has.
        DivergenceIgnored,
        /// A replica that knows that its state is wrong answers clients from it.
        QuarantinedServes,
        /// A leader goes on to the next version as soon as its own build applies it.
        VersionOfLeader,
        /// A replica executes what is decided in a version that its build does not apply.
        LackedVersionRuns,
    }
}
