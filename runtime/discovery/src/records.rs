//! A roster as DNS record sets.
//!
//! | name                                     | type    | holds                                                      |
//! |------------------------------------------|---------|------------------------------------------------------------|
//! | the domain                               | A, AAAA | addresses of the replicas, the leader's first              |
//! | the domain                               | TXT     | all nodes as `<role> <addr>:<port>` joined with `;`        |
//! | `_concoord._tcp`, `_concoord._udp` in it | SRV     | the replicas with their ports (RFC 2782)                   |
//! | `<node id>` in it                        | A, AAAA | where an SRV target is                                     |
//! | `<ip>.ipaddr` in it                      | A       | that address, if it is a node's: the predecessor's targets |
//!
//! Members that are marked as silent are left out everywhere. The mark is decided, so every replica that publishes a roster
//! publishes the same. NS and SOA belong to whoever serves the zone; [`serial`] is for them.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use concoord_wire::NodeId;
use concoord_wire::member::{Role, Roster, RosterMember};
use hickory_server::proto::ProtoError;
use hickory_server::proto::rr::rdata::{A, AAAA, SRV, TXT};
use hickory_server::proto::rr::{Name, RData, RecordSet, RecordType};

/// How long a resolver may keep an answer: short, because a view changes at any time.
pub const TTL_SECONDS: u32 = 5;
/// Bytes of one character-string of a TXT record (RFC 1035, section 3.3).
const TXT_STRING_BYTES_MAX: usize = 255;
/// SRV weight of every replica: all equal.
const SRV_WEIGHT: u16 = 100;
/// SRV priority of the leader; lower is tried first.
const SRV_PRIORITY_LEADER: u16 = 0;
/// SRV priority of the other replicas.
const SRV_PRIORITY_OTHER: u16 = 10;

/// What may be chosen about the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long a resolver may keep an answer.
    pub ttl_seconds: u32,
    /// Whether SRV sends clients to the leader first. Else all replicas have the same priority.
    pub leader_first: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { ttl_seconds: TTL_SECONDS, leader_first: true }
    }
}

/// Why a roster has no records under a domain.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// A name below the domain would be too long for DNS.
    #[error("the domain '{domain}' is too long: no room for the name '{label}' below it ({cause})")]
    Domain {
        /// The domain.
        domain: String,
        /// What would stand before it.
        label: String,
        /// What hickory says.
        cause: ProtoError,
    },
}

/// The serial of the zone that holds the records of `roster`: its revision in the wrapping numbers of RFC 1982.
#[must_use]
pub fn serial(roster: &Roster) -> u32 {
    (roster.revision.0 & u64::from(u32::MAX)) as u32
}

/// All record sets of `roster` under `domain`. A set that would be empty is left out.
///
/// # Errors
/// [`RecordsError`] when a name below `domain` would be longer than DNS allows.
pub fn record_sets(domain: &Name, roster: &Roster, options: Options) -> Result<Vec<RecordSet>, RecordsError> {
    let replicas = replicas(roster);
    let mut sets = Vec::new();
    push_addresses(&mut sets, domain, &replicas, options);
    let mut text = RecordSet::with_ttl(domain.clone(), RecordType::TXT, options.ttl_seconds);
    let all = nodes_text(roster);
    if !all.is_empty() {
        text.add_rdata(RData::TXT(TXT::from_bytes(all.as_bytes().chunks(TXT_STRING_BYTES_MAX).collect())));
    }
    sets.push(text);
    for service in [["_tcp", "_concoord"], ["_udp", "_concoord"]] {
        sets.push(services(domain, service, roster.leader, &replicas, options)?);
    }
    let mut addresses = BTreeSet::new();
    for node in nodes(roster) {
        push_addresses(&mut sets, &target(domain, node.id)?, &[node], options);
        if addresses.insert(node.address.ip())
            && let IpAddr::V4(address) = node.address.ip().to_canonical()
        {
            push_addresses(&mut sets, &predecessors_target(domain, address)?, &[node], options);
        }
    }
    sets.retain(|set| !set.is_empty());
    Ok(sets)
}

/// The replicas that clients may be sent to, the leader first.
fn replicas(roster: &Roster) -> Vec<&RosterMember> {
    nodes(roster).into_iter().filter(|member| member.role == Role::Replica).collect()
}

/// All nodes that are not silent, the leader first.
pub(crate) fn nodes(roster: &Roster) -> Vec<&RosterMember> {
    let mut nodes: Vec<_> = roster.members.iter().filter(|member| !member.silent).collect();
    nodes.sort_by_key(|member| (Some(member.id) != roster.leader, member.id));
    nodes
}

fn nodes_text(roster: &Roster) -> String {
    let nodes = nodes(roster);
    nodes.iter().map(|member| format!("{} {}", member.role, member.address)).collect::<Vec<_>>().join(";")
}

/// Adds the A and the AAAA set of `members` at `name`. Several members on one host give one record.
fn push_addresses(sets: &mut Vec<RecordSet>, name: &Name, members: &[&RosterMember], options: Options) {
    let mut v4 = RecordSet::with_ttl(name.clone(), RecordType::A, options.ttl_seconds);
    let mut v6 = RecordSet::with_ttl(name.clone(), RecordType::AAAA, options.ttl_seconds);
    for member in members {
        match member.address.ip().to_canonical() {
            IpAddr::V4(address) => v4.add_rdata(RData::A(A(address))),
            IpAddr::V6(address) => v6.add_rdata(RData::AAAA(AAAA(address))),
        };
    }
    sets.extend([v4, v6]);
}

/// The SRV set of one service, `labels` from the domain outward.
fn services(
    domain: &Name,
    labels: [&str; 2],
    leader: Option<NodeId>,
    replicas: &[&RosterMember],
    options: Options,
) -> Result<RecordSet, RecordsError> {
    let name = labels.into_iter().try_fold(domain.clone(), |name, label| below(&name, label))?;
    let mut set = RecordSet::with_ttl(name, RecordType::SRV, options.ttl_seconds);
    for replica in replicas {
        let first = !options.leader_first || Some(replica.id) == leader;
        let priority = if first { SRV_PRIORITY_LEADER } else { SRV_PRIORITY_OTHER };
        let target = target(domain, replica.id)?;
        set.add_rdata(RData::SRV(SRV::new(priority, SRV_WEIGHT, replica.address.port(), target)));
    }
    Ok(set)
}

/// The name of one node, where its SRV record points.
pub(crate) fn target(domain: &Name, id: NodeId) -> Result<Name, RecordsError> {
    below(domain, &id.to_string())
}

/// The name that ConCoord gave to every node at an address.
fn predecessors_target(domain: &Name, address: Ipv4Addr) -> Result<Name, RecordsError> {
    let labels = address.octets().into_iter().rev().map(|octet| octet.to_string());
    labels.into_iter().try_fold(below(domain, "ipaddr")?, |name, label| below(&name, &label))
}

pub(crate) fn below(domain: &Name, label: &str) -> Result<Name, RecordsError> {
    domain.prepend_label(label).map_err(|cause| RecordsError::Domain {
        domain: domain.to_string(),
        label: label.into(),
        cause,
    })
}

#[cfg(test)]
mod tests {
    use concoord_wire::member::Services;
    use concoord_wire::{ClusterId, Slot, ViewId};

    use super::*;

    fn member(id: u64, address: &str, role: Role, heard: bool) -> RosterMember {
        let address = address.parse().expect("an address");
        let services = Services::default();
        // What the reporter hears at the moment is its own affair.
        RosterMember {
            id: NodeId(id),
            address,
            role,
            services,
            live: id == 1,
            silent: !heard,
            volatile: false,
            full: false,
            differs: None,
            supports: None,
        }
    }

    fn roster(leader: u64, members: Vec<RosterMember>) -> Roster {
        Roster {
            cluster: ClusterId(1),
            view: ViewId(3),
            leader: Some(NodeId(leader)),
            members,
            revision: Slot(7),
            decided: Slot(9),
            reporter: NodeId(1),
            version: None,
            plugins: vec![],
        }
    }

    fn domain() -> Name {
        Name::from_ascii("counterdomain.com.").expect("a name")
    }

    /// All records of one name and type, in the words of a zone file.
    fn answer(sets: &[RecordSet], name: &str, kind: RecordType) -> Vec<String> {
        let of = sets.iter().filter(|set| set.name().to_ascii() == name && set.record_type() == kind);
        of.flat_map(RecordSet::records_without_rrsigs).map(|record| record.data.to_string()).collect()
    }

    fn three() -> Roster {
        roster(
            2,
            vec![
                member(1, "10.0.0.1:14000", Role::Replica, true),
                member(2, "10.0.0.2:14001", Role::Replica, true),
                member(3, "[2001:db8::3]:14000", Role::Replica, true),
                member(4, "10.0.0.4:14000", Role::Learner, true),
                member(5, "10.0.0.5:14000", Role::Replica, false),
                member(6, "10.0.0.6:14000", Role::Witness, true),
            ],
        )
    }

    #[test]
    fn addresses_are_those_of_live_replicas_leader_first() {
        let sets = record_sets(&domain(), &three(), Options::default()).expect("records");
        assert_eq!(answer(&sets, "counterdomain.com.", RecordType::A), ["10.0.0.2", "10.0.0.1"]);
        assert_eq!(answer(&sets, "counterdomain.com.", RecordType::AAAA), ["2001:db8::3"]);
    }

    #[test]
    fn services_point_at_names_that_resolve() {
        let sets = record_sets(&domain(), &three(), Options::default()).expect("records");
        for service in ["_concoord._tcp.counterdomain.com.", "_concoord._udp.counterdomain.com."] {
            let expected = [
                "0 100 14001 0000000000000002.counterdomain.com.",
                "10 100 14000 0000000000000001.counterdomain.com.",
                "10 100 14000 0000000000000003.counterdomain.com.",
            ];
            assert_eq!(answer(&sets, service, RecordType::SRV), expected);
        }
        assert_eq!(answer(&sets, "0000000000000002.counterdomain.com.", RecordType::A), ["10.0.0.2"]);
        assert_eq!(answer(&sets, "0000000000000003.counterdomain.com.", RecordType::AAAA), ["2001:db8::3"]);
        assert_eq!(answer(&sets, "10.0.0.2.ipaddr.counterdomain.com.", RecordType::A), ["10.0.0.2"]);
        assert!(answer(&sets, "10.0.0.5.ipaddr.counterdomain.com.", RecordType::A).is_empty(), "it is silent");
    }

    #[test]
    fn priorities_are_equal_on_request() {
        let options = Options { leader_first: false, ..Options::default() };
        let sets = record_sets(&domain(), &three(), options).expect("records");
        let all = answer(&sets, "_concoord._tcp.counterdomain.com.", RecordType::SRV);
        assert!(all.iter().all(|record| record.starts_with("0 100 ")), "{all:?}");
    }

    #[test]
    fn text_lists_every_live_node() {
        let sets = record_sets(&domain(), &three(), Options::default()).expect("records");
        let expected = "replica 10.0.0.2:14001;replica 10.0.0.1:14000;replica [2001:db8::3]:14000;\
                        learner 10.0.0.4:14000;witness 10.0.0.6:14000";
        assert_eq!(text(&sets).concat(), expected);
    }

    #[test]
    fn long_text_is_split_into_strings_of_255_bytes() {
        let members = (1..=20).map(|id| member(id, &format!("10.0.0.{id}:14000"), Role::Replica, true)).collect();
        let sets = record_sets(&domain(), &roster(1, members), Options::default()).expect("records");
        let strings = text(&sets);
        assert_eq!(strings.iter().map(String::len).collect::<Vec<_>>(), [255, strings.concat().len() - 255]);
        assert_eq!(strings.concat().split(';').count(), 20);
    }

    #[test]
    fn members_on_one_host_share_its_address_record() {
        let members =
            vec![member(1, "127.0.0.1:14000", Role::Replica, true), member(2, "127.0.0.1:14001", Role::Replica, true)];
        let sets = record_sets(&domain(), &roster(1, members), Options::default()).expect("records");
        assert_eq!(answer(&sets, "counterdomain.com.", RecordType::A), ["127.0.0.1"]);
        assert_eq!(answer(&sets, "_concoord._tcp.counterdomain.com.", RecordType::SRV).len(), 2);
    }

    #[test]
    fn a_roster_of_silent_members_has_no_records() {
        let members = vec![member(1, "127.0.0.1:14000", Role::Replica, false)];
        assert!(record_sets(&domain(), &roster(1, members), Options::default()).expect("records").is_empty());
    }

    #[test]
    fn a_domain_without_room_below_it_is_an_error() {
        let label = "a".repeat(60);
        let long = Name::from_ascii(format!("{label}.{label}.{label}.{label}.")).expect("a name of 244 bytes");
        let refused = record_sets(&long, &three(), Options::default()).expect_err("too long").to_string();
        assert!(refused.contains("too long: no room for the name '_concoord'"), "{refused}");
    }

    #[test]
    fn serial_wraps() {
        let mut roster = three();
        assert_eq!(serial(&roster), 7);
        roster.revision = Slot((1 << 32) + 5);
        assert_eq!(serial(&roster), 5);
    }

    fn text(sets: &[RecordSet]) -> Vec<String> {
        let records = sets.iter().filter(|set| set.record_type() == RecordType::TXT);
        let mut strings = Vec::new();
        for record in records.flat_map(RecordSet::records_without_rrsigs) {
            let RData::TXT(text) = &record.data else { panic!("not TXT: {record}") };
            strings.extend(text.txt_data.iter().map(|part| String::from_utf8_lossy(part).into_owned()));
        }
        strings
    }
}
