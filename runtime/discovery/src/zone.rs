//! The zone of a domain as a DNS server needs it: a roster's records with SOA and NS, by name and type.

use std::collections::BTreeMap;

use concoord_wire::member::{Roster, Services};
use hickory_server::proto::rr::rdata::{NS, SOA};
use hickory_server::proto::rr::{LowerName, Name, RData, Record, RecordType};

use crate::records::{self, Options, RecordsError};

/// How often a secondary server would look for a newer serial, and how soon again. There is none: each replica that serves
/// the zone has it from the view.
const REFRESH_SECONDS: i32 = 60;
const RETRY_SECONDS: i32 = 10;
const EXPIRE_SECONDS: i32 = 600;
/// How long a resolver may keep that something is not there, at most: a replica that joins soon has records.
pub const NEGATIVE_TTL_SECONDS_MAX: u32 = 5;

/// All records at one name, by type.
type Sets = BTreeMap<RecordType, Vec<Record>>;

/// A zone. A name that only has names below it is there with no records, so that asking for it is no NXDOMAIN (RFC 8020).
#[derive(Clone, Debug)]
pub struct Zone {
    origin: LowerName,
    names: BTreeMap<LowerName, Sets>,
    soa: Record,
}

/// What a zone has for a question.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// Records of the type.
    Records(&'a [Record]),
    /// Other types than this at most.
    NoData,
    /// Not even a name below.
    NoName,
}

impl Zone {
    /// The zone `domain` for `roster`.
    ///
    /// # Errors
    /// [`RecordsError`] when a name below `domain` would be longer than DNS allows.
    pub fn new(domain: &Name, roster: &Roster, options: Options) -> Result<Zone, RecordsError> {
        let origin = LowerName::new(domain);
        let soa = soa(domain, roster, options)?;
        let mut zone = Zone { origin, names: BTreeMap::new(), soa };
        for set in records::record_sets(domain, roster, options)? {
            set.records_without_rrsigs().for_each(|record| zone.add(record.clone()));
        }
        for server in servers(domain, roster)? {
            zone.add(Record::from_rdata(domain.clone(), options.ttl_seconds, RData::NS(NS(server))));
        }
        zone.add(zone.soa.clone());
        Ok(zone)
    }

    /// Its name.
    #[must_use]
    pub fn origin(&self) -> &LowerName {
        &self.origin
    }

    /// For answers that say that something is not there.
    pub(crate) fn soa(&self) -> &Record {
        &self.soa
    }

    pub(crate) fn find(&self, name: &LowerName, kind: RecordType) -> Found<'_> {
        match self.names.get(name) {
            None => Found::NoName,
            Some(sets) => sets.get(&kind).map_or(Found::NoData, |records| Found::Records(records)),
        }
    }

    /// The addresses at a name of the zone, for the additional section.
    pub(crate) fn addresses(&self, name: &Name) -> impl Iterator<Item = &Record> {
        let sets = self.names.get(&LowerName::new(name));
        let of = move |kind| sets.and_then(|sets| sets.get(&kind)).into_iter().flatten();
        of(RecordType::A).chain(of(RecordType::AAAA))
    }

    fn add(&mut self, record: Record) {
        let name = LowerName::new(&record.name);
        let mut above = name.clone();
        while above != self.origin {
            above = above.base_name();
            self.names.entry(above.clone()).or_default();
        }
        self.names.entry(name).or_default().entry(record.record_type()).or_default().push(record);
    }
}

/// The replicas that serve the zone; the one that asks is always one of them.
fn servers(domain: &Name, roster: &Roster) -> Result<Vec<Name>, RecordsError> {
    let mut nodes = records::nodes(roster);
    nodes.retain(|node| node.services.contains(Services::DNS) || node.id == roster.reporter);
    nodes.sort_by_key(|node| node.id);
    nodes.iter().map(|node| records::target(domain, node.id)).collect()
}

fn soa(domain: &Name, roster: &Roster, options: Options) -> Result<Record, RecordsError> {
    let primary = servers(domain, roster)?.into_iter().next().unwrap_or_else(|| domain.clone());
    let mailbox = records::below(domain, "hostmaster")?;
    let negative_ttl = options.ttl_seconds.min(NEGATIVE_TTL_SECONDS_MAX);
    let serial = records::serial(roster);
    let soa = SOA::new(primary, mailbox, serial, REFRESH_SECONDS, RETRY_SECONDS, EXPIRE_SECONDS, negative_ttl);
    // Its TTL is how long "not there" may be kept, too (RFC 2308).
    Ok(Record::from_rdata(domain.clone(), negative_ttl, RData::SOA(soa)))
}
