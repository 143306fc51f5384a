//! Who published last, written beside what was published: without it a replica that was cut off while others went on could
//! overwrite what they published meanwhile.
//!
//! It is a TXT record at `_concoord` below the domain. Each batch deletes the one that was read before it was made and
//! creates another. Route 53 carries out a batch as a whole or not at all, and deletes only what has exactly the value
//! that is given: so a batch fails if anybody published since that reading.

use std::fmt;

use aws_sdk_route53::types::{ResourceRecord, ResourceRecordSet, RrType};
use concoord_wire::member::Roster;
use concoord_wire::{ClusterId, NodeId, Slot};
use hickory_server::proto::rr::Name;

use crate::records::{self, RecordsError};

/// What the value begins with.
const TAG: &str = "concoord";

/// What the record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fence {
    /// Whose members are published.
    pub(super) cluster: ClusterId,
    /// The roster's revision.
    pub(super) revision: Slot,
    /// Who published it.
    pub(super) by: NodeId,
}

impl Fence {
    /// The fence of a roster that its reporter publishes.
    pub(super) fn of(roster: &Roster) -> Fence {
        Fence { cluster: roster.cluster, revision: roster.revision, by: roster.reporter }
    }

    /// Where the fence of a domain is.
    pub(super) fn name(domain: &Name) -> Result<Name, RecordsError> {
        records::below(domain, "_concoord")
    }

    /// What a value of the record says, quoted as Route 53 has it.
    pub(super) fn parse(value: &str) -> Option<Fence> {
        let words = value.strip_prefix('"')?.strip_suffix('"')?.split(' ').collect::<Vec<_>>();
        let [TAG, cluster, revision, by] = words[..] else { return None };
        Some(Fence {
            cluster: ClusterId(u128::from_str_radix(cluster.strip_prefix("cluster=")?, 16).ok()?),
            revision: Slot(revision.strip_prefix("revision=")?.parse().ok()?),
            by: NodeId(u64::from_str_radix(by.strip_prefix("by=")?, 16).ok()?),
        })
    }

    /// The record set.
    pub(super) fn record_set(&self, name: &str, ttl_seconds: u32) -> Result<ResourceRecordSet, String> {
        let value = ResourceRecord::builder().value(self.to_string()).build();
        let set = ResourceRecordSet::builder().name(name).r#type(RrType::Txt).ttl(i64::from(ttl_seconds));
        let set = set.resource_records(value.map_err(|error| error.to_string())?);
        set.build().map_err(|error| error.to_string())
    }
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{TAG} cluster={} revision={} by={}\"", self.cluster, self.revision, self.by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let fence = Fence { cluster: ClusterId(0xabc), revision: Slot(70), by: NodeId(2) };
        let expected = "\"concoord cluster=00000000000000000000000000000abc revision=70 by=0000000000000002\"";
        assert_eq!(fence.to_string(), expected);
        assert_eq!(Fence::parse(expected), Some(fence));
        for other in ["", "\"", "concoord", "\"v=spf1 -all\"", "\"concoord cluster=x revision=70 by=2\""] {
            assert_eq!(Fence::parse(other), None, "{other}");
        }
    }
}
