//! What the node counts, in one place.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// One count that only grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// Adds `n`.
    pub(crate) fn add(&self, n: usize) {
        self.0.fetch_add(n as u64, Ordering::Relaxed);
    }

    /// The count so far.
    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Everything that a node counts since it started.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $($(#[$doc])* pub(crate) $name: Count,)*
        }

        impl Counters {
            /// Each count with its name, in a fixed order.
            pub(crate) fn values(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
                [$((stringify!($name), &self.$name)),*].into_iter().map(|(name, count)| (name, count.value()))
            }
        }
    };
}

counters! {
    /// Bursts of the driver: wake-ups, each with at least one event.
    bursts,
    /// Frames from peers handed to the replica.
    peer_frames,
    /// Frames from peers that were meant for another node, came from another one, or came before this replica was in
    /// a cluster.
    peer_frames_foreign,
    /// Messages to peers handed to a connection.
    peer_messages_sent,
    /// Messages to peers dropped, because there was no connection or its queue was full.
    peer_messages_dropped,
    /// Attempts to dial a peer.
    peer_dials,
    /// Attempts to dial a peer that found nobody, or somebody else.
    peer_dials_failed,
    /// Requests from clients handed to the replica.
    client_requests,
    /// Responses to clients handed to a connection.
    client_responses,
    /// Responses for clients that had gone.
    client_responses_late,
    /// Client connections accepted.
    clients,
    /// Client connections closed because the client did not read its responses, or one was beyond any frame.
    clients_closed_slow,
    /// Connections closed because of bytes that are no frame.
    garbage_connections,
    /// Connections refused: too many, of another cluster, of another version, or never saying hello.
    refused_connections,
    /// Join requests handed to the replica.
    joins,
    /// Slots applied.
    slots_applied,
    /// Log records appended.
    records,
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (name, value) in self.values().filter(|(_, value)| *value > 0) {
            write!(f, "{separator}{name} {value}")?;
            separator = ", ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_print_what_happened_and_only_that() {
        let counters = Counters::default();
        assert_eq!(counters.to_string(), "");
        counters.peer_frames.add(3);
        counters.joins.add(1);
        assert_eq!(counters.to_string(), "peer_frames 3, joins 1");
    }
}
