//! What has to change in a hosted zone for it to show a roster: the record sets that are there in, changes out.
//!
//! Of the domain's names these are the cluster's, all others are left alone:
//!
//! | name                                     | type    |                                                          |
//! |------------------------------------------|---------|----------------------------------------------------------|
//! | the domain                               | A, AAAA | as a whole                                               |
//! | the domain                               | TXT     | the value that lists nodes; other values stay beside it  |
//! | `_concoord._tcp`, `_concoord._udp` in it | SRV     | as a whole                                               |
//! | `<node id>` in it                        | A, AAAA | as a whole                                               |
//! | `<ip>.ipaddr` in it                      | A       | as a whole                                               |
//! | `_concoord` in it                        | TXT     | the fence                                                |

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

use aws_sdk_route53::types::{Change, ChangeAction, ResourceRecord, ResourceRecordSet, RrType};
use concoord_wire::ClusterId;
use concoord_wire::member::Roster;
use hickory_server::proto::rr::{Name, RData, RecordSet};

use super::fence::Fence;
use crate::records::{self, Options, RecordsError};

/// Digits of a node id, which is what a node's name is.
const NODE_ID_DIGITS: usize = 16;
/// What a node may be in the list of nodes.
const ROLES: [&str; 3] = ["replica", "learner", "witness"];

/// What is in the hosted zone.
#[derive(Clone, Debug, Default)]
pub(super) struct Present {
    /// The fence. Read before the rest: whoever publishes between the two readings changes it.
    pub(super) fence: Option<ResourceRecordSet>,
    /// Everything at and below the domain.
    pub(super) sets: Vec<ResourceRecordSet>,
}

/// What has to be done.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// One batch; empty when all is as it shall be.
    pub(super) changes: Vec<Change>,
    /// What is overwritten or deleted although no cluster published here before.
    pub(super) overwrites: Vec<String>,
}

/// Why nothing may be published.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error(transparent)]
    Records(#[from] RecordsError),
    #[error(
        "{by} has published revision {published} of this cluster, which is newer than {ours}: waits until it knows of that"
    )]
    Newer { by: String, published: u64, ours: u64 },
    #[error(
        "{domain} shows another cluster ({cluster}, by the TXT record at {fence}): give each cluster a domain of its own, or \
         start this replica with --route53-take-over if that cluster is no more"
    )]
    OtherCluster { domain: String, cluster: ClusterId, fence: String },
    #[error("the TXT record at {fence} is not Concoord's: {value}; remove it")]
    NoFence { fence: String, value: String },
    #[error("{name} {kind} is an alias or has a routing policy, which this can't replace: remove it")]
    Special { name: String, kind: String },
    #[error("a record that Route 53 can't take: {0}")]
    Unfit(String),
}

/// The batch that makes `present` show `roster` under `domain`.
pub(super) fn plan(
    domain: &Name,
    roster: &Roster,
    options: Options,
    present: &Present,
    take_over: bool,
) -> Result<Plan, Refused> {
    let fence = Fence::of(roster);
    let fence_name = written(&Fence::name(domain)?);
    let last = judge(domain, fence, &fence_name, present.fence.as_ref(), take_over)?;

    let mut plan = Plan::default();
    let mut wanted = Vec::new();
    for set in records::record_sets(domain, roster, options)? {
        wanted.push(translated(&set)?);
    }
    keep_other_text(domain, options, &present.sets, &mut wanted)?;

    let ours = present.sets.iter().filter(|set| is_ours(domain, set)).collect::<Vec<_>>();
    if let Some(special) = ours.iter().find(|set| set.resource_records().is_empty() || set.set_identifier().is_some()) {
        let (name, kind) = (special.name().to_owned(), special.r#type().to_string());
        return Err(Refused::Special { name, kind });
    }
    let at = |of: &ResourceRecordSet, set: &ResourceRecordSet| same_name(of, set) && of.r#type() == set.r#type();
    for set in &ours {
        if !wanted.iter().any(|other| at(set, other)) {
            plan.push(ChangeAction::Delete, (*set).clone())?;
        }
    }
    for set in wanted {
        if !ours.iter().any(|other| at(&set, other) && same_content(&set, other)) {
            plan.push(ChangeAction::Upsert, set)?;
        }
    }
    if last.is_none() {
        let touched = |set: &&ResourceRecordSet| {
            plan.changes.iter().filter_map(Change::resource_record_set).any(|changed| at(set, changed))
        };
        let overwritten = ours.iter().copied().filter(touched).filter(|set| set.r#type() != &RrType::Txt);
        plan.overwrites = overwritten.map(|set| format!("{} {}", set.name(), set.r#type())).collect();
    }
    if plan.changes.is_empty()
        && last.is_some_and(|last| (last.cluster, last.revision) == (fence.cluster, fence.revision))
    {
        return Ok(plan);
    }
    if let Some(last) = &present.fence {
        plan.push(ChangeAction::Delete, last.clone())?;
    }
    plan.push(ChangeAction::Create, fence.record_set(&fence_name, options.ttl_seconds).map_err(Refused::Unfit)?)?;
    // What is deleted goes first: the fence is created where it was.
    plan.changes.sort_by_key(|change| match change.action() {
        ChangeAction::Delete => 0,
        ChangeAction::Create => 1,
        _ => 2,
    });
    Ok(plan)
}

impl Plan {
    fn push(&mut self, action: ChangeAction, set: ResourceRecordSet) -> Result<(), Refused> {
        let change = Change::builder().action(action).resource_record_set(set).build();
        self.changes.push(change.map_err(|error| Refused::Unfit(error.to_string()))?);
        Ok(())
    }
}

/// What the fence says that is there, if this publisher may replace it.
fn judge(
    domain: &Name,
    fence: Fence,
    name: &str,
    present: Option<&ResourceRecordSet>,
    take_over: bool,
) -> Result<Option<Fence>, Refused> {
    let Some(present) = present else { return Ok(None) };
    let values = present.resource_records().iter().map(ResourceRecord::value).collect::<Vec<_>>();
    let [value] = values[..] else {
        return Err(Refused::NoFence { fence: name.to_owned(), value: values.join(", ") });
    };
    let Some(last) = Fence::parse(value) else {
        return Err(Refused::NoFence { fence: name.to_owned(), value: value.to_owned() });
    };
    if last.cluster != fence.cluster && !take_over {
        let (domain, cluster) = (written(domain), last.cluster);
        return Err(Refused::OtherCluster { domain, cluster, fence: name.to_owned() });
    }
    if last.cluster == fence.cluster && last.revision > fence.revision {
        let (by, published, ours) = (last.by.to_string(), last.revision.0, fence.revision.0);
        return Err(Refused::Newer { by, published, ours });
    }
    Ok(Some(last))
}

/// A name as Route 53 has it.
pub(super) fn written(name: &Name) -> String {
    name.to_ascii().to_ascii_lowercase()
}

fn translated(set: &RecordSet) -> Result<ResourceRecordSet, Refused> {
    let values = set.records_without_rrsigs().map(|record| match &record.data {
        RData::TXT(text) => {
            let strings = text.txt_data.iter().map(|string| format!("\"{}\"", String::from_utf8_lossy(string)));
            strings.collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    });
    built(&written(set.name()), RrType::from(set.record_type().to_string().as_str()), i64::from(set.ttl()), values)
}

fn built(
    name: &str,
    kind: RrType,
    ttl_seconds: i64,
    values: impl Iterator<Item = String>,
) -> Result<ResourceRecordSet, Refused> {
    let mut set = ResourceRecordSet::builder().name(name).r#type(kind).ttl(ttl_seconds);
    for value in values {
        let record = ResourceRecord::builder().value(value).build();
        set = set.resource_records(record.map_err(|error| Refused::Unfit(error.to_string()))?);
    }
    set.build().map_err(|error| Refused::Unfit(error.to_string()))
}

/// Text at the domain that lists no nodes belongs to others, and all values at a name are one record set: they go with the
/// batch.
fn keep_other_text(
    domain: &Name,
    options: Options,
    present: &[ResourceRecordSet],
    wanted: &mut Vec<ResourceRecordSet>,
) -> Result<(), Refused> {
    let domain = written(domain);
    let text = |set: &ResourceRecordSet| set.r#type() == &RrType::Txt && set.name().eq_ignore_ascii_case(&domain);
    let Some(there) = present.iter().find(|set| text(set)) else { return Ok(()) };
    let others = there.resource_records().iter().map(ResourceRecord::value).filter(|value| !lists_nodes(value));
    let mut values = others.map(str::to_owned).collect::<Vec<_>>();
    if values.is_empty() {
        return Ok(());
    }
    let mut ttl_seconds = there.ttl().unwrap_or(i64::from(options.ttl_seconds));
    if let Some(index) = wanted.iter().position(text) {
        let ours = wanted.remove(index);
        values.extend(ours.resource_records().iter().map(|record| record.value().to_owned()));
        ttl_seconds = i64::from(options.ttl_seconds);
    }
    wanted.push(built(&domain, RrType::Txt, ttl_seconds, values.into_iter())?);
    Ok(())
}

/// Whether a value of a TXT record, as Route 53 quotes it, is a list of nodes: what this or a predecessor published.
fn lists_nodes(value: &str) -> bool {
    if value.contains('\\') {
        return false;
    }
    let strings = value.split('"').skip(1).step_by(2).collect::<String>();
    let lists = |part: &str| {
        let node = part.split_once(' ').filter(|(role, _)| ROLES.contains(role));
        node.is_some_and(|(_, address)| address.parse::<SocketAddr>().is_ok())
    };
    strings.split(';').all(lists)
}

/// Whether a record set is one that the cluster publishes, the fence aside.
fn is_ours(domain: &Name, set: &ResourceRecordSet) -> bool {
    let (name, domain) = (set.name().to_ascii_lowercase(), written(domain));
    let kind = set.r#type();
    let address = matches!(kind, RrType::A | RrType::Aaaa);
    if name == domain {
        return address || kind == &RrType::Txt;
    }
    let Some(below) = name.strip_suffix(&domain).and_then(|below| below.strip_suffix('.')) else { return false };
    let is_id = below.len() == NODE_ID_DIGITS && below.bytes().all(|digit| digit.is_ascii_hexdigit());
    let ip = below.strip_suffix(".ipaddr").and_then(|ip| ip.parse::<Ipv4Addr>().ok());
    match below {
        "_concoord._tcp" | "_concoord._udp" => kind == &RrType::Srv,
        _ => (is_id && address) || (ip.is_some() && kind == &RrType::A),
    }
}

fn same_name(one: &ResourceRecordSet, other: &ResourceRecordSet) -> bool {
    one.name().eq_ignore_ascii_case(other.name())
}

/// The order of values means nothing: Route 53 answers in any.
fn same_content(one: &ResourceRecordSet, other: &ResourceRecordSet) -> bool {
    let values = |set: &ResourceRecordSet| {
        set.resource_records().iter().map(|record| record.value().to_owned()).collect::<BTreeSet<_>>()
    };
    one.ttl() == other.ttl() && values(one) == values(other)
}

#[cfg(test)]
mod tests;
