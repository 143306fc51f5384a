//! A question in, an answer out: bytes to bytes, with no socket and no clock.
//!
//! Whatever arrives, what is sent is a well-formed response (RFC 1035, 2181, 2308, 6891, 8482) or nothing.

use std::sync::Arc;

use hickory_server::proto::op::{Edns, Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_server::proto::rr::rdata::HINFO;
use hickory_server::proto::rr::{DNSClass, LowerName, Name, RData, Record, RecordType};

use crate::zone::{Found, Zone};

/// Bytes of a header.
const HEADER_BYTES: usize = 12;
/// Bytes of an answer over UDP to whoever does not say more (RFC 1035, section 4.2.1).
const UDP_BYTES_MIN: u16 = 512;
/// Bytes of an answer over UDP at most: what passes everywhere without fragments (DNS flag day 2020).
pub const UDP_BYTES_MAX: u16 = 1232;
/// Bytes of a message over TCP: its length has two bytes.
const TCP_BYTES_MAX: usize = 65_535;
/// The version of EDNS that this speaks.
const EDNS_VERSION: u8 = 0;

/// What is served.
#[derive(Clone, Debug, Default)]
pub struct Zones {
    /// One for each domain.
    pub zones: Arc<[Zone]>,
    /// The view may be an old one: nothing is told from it.
    pub stale: bool,
}

/// How a question came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// In a datagram: the answer has to fit into one.
    Udp,
    /// In a datagram of somebody who asks too much: the answer is that TCP would be answered.
    UdpLimited,
    /// Over a connection.
    Tcp,
}

/// The answer to the bytes of a question, if one is due.
#[must_use]
pub fn answer(zones: &Zones, question: &[u8], over: Over) -> Option<Vec<u8>> {
    let header = question.get(..HEADER_BYTES)?;
    let is_response = header[2] & 0x80 != 0;
    if is_response {
        // Answering answers would go on for ever.
        return None;
    }
    match Message::from_vec(question) {
        Ok(question) => fitting(respond(zones, &question, over), &question, over),
        Err(_) => {
            let id = u16::from_be_bytes([header[0], header[1]]);
            let op_code = OpCode::from_u8((header[2] >> 3) & 0x0f);
            Message::error_msg(id, op_code, ResponseCode::FormErr).to_vec().ok()
        }
    }
}

/// The response, however large.
fn respond(zones: &Zones, question: &Message, over: Over) -> Message {
    let mut response = Message::new(question.id, MessageType::Response, question.op_code);
    response.metadata = Metadata::response_from_request(&question.metadata);
    // Asking this server to resolve further, or to check signatures, makes no difference.
    response.metadata.checking_disabled = false;
    response.add_queries(question.queries.iter().cloned());
    if let Some(asked) = &question.edns {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_BYTES_MAX).set_version(EDNS_VERSION);
        response.set_edns(edns);
        if asked.version() > EDNS_VERSION {
            response.metadata.response_code = ResponseCode::BADVERS;
            return response;
        }
    }
    response.metadata.response_code = match question.op_code {
        OpCode::Query => answer_query(zones, question, over, &mut response),
        // What the view says is changed by the cluster alone.
        OpCode::Update | OpCode::Notify => ResponseCode::Refused,
        OpCode::Status | OpCode::Unknown(_) => ResponseCode::NotImp,
    };
    response
}

fn answer_query(zones: &Zones, question: &Message, over: Over, response: &mut Message) -> ResponseCode {
    let [query] = &question.queries[..] else { return ResponseCode::FormErr };
    let name = LowerName::new(query.name());
    let zone =
        zones.zones.iter().filter(|zone| zone.origin().zone_of(&name)).max_by_key(|zone| zone.origin().num_labels());
    let Some(zone) = zone.filter(|_| query.query_class() == DNSClass::IN) else { return ResponseCode::Refused };
    if matches!(query.query_type(), RecordType::AXFR | RecordType::IXFR) {
        return ResponseCode::Refused;
    }
    if zones.stale {
        return ResponseCode::ServFail;
    }
    if over == Over::UdpLimited {
        response.metadata.truncation = true;
        return ResponseCode::NoError;
    }
    response.metadata.authoritative = true;
    let kind = query.query_type();
    match zone.find(&name, kind) {
        Found::Records(records) => add_records(zone, query, records, response),
        Found::NoData if kind == RecordType::ANY => {
            response.add_answer(minimal_any(query.name(), zone));
        }
        Found::NoData => {
            response.add_authority(zone.soa().clone());
        }
        Found::NoName => {
            response.add_authority(zone.soa().clone());
            return ResponseCode::NXDomain;
        }
    }
    ResponseCode::NoError
}

/// Records under the name as it was asked for, whose case the asker may compare (draft-vixie-dnsext-dns0x20), and the
/// addresses of names that they give.
fn add_records(zone: &Zone, query: &Query, records: &[Record], response: &mut Message) {
    for record in records {
        let mut record = record.clone();
        record.name = query.name().clone();
        response.add_answer(record);
    }
    for record in records {
        let target = match &record.data {
            RData::SRV(srv) => &srv.target,
            RData::NS(server) => &server.0,
            _ => continue,
        };
        response.add_additionals(zone.addresses(target).cloned());
    }
}

/// The whole answer to "everything" (RFC 8482, section 4.2).
fn minimal_any(name: &Name, zone: &Zone) -> Record {
    Record::from_rdata(name.clone(), zone.soa().ttl, RData::HINFO(HINFO::new("RFC8482".into(), String::new())))
}

/// The response as bytes that fit: without additional records if need be, else without records and marked as truncated.
fn fitting(mut response: Message, question: &Message, over: Over) -> Option<Vec<u8>> {
    let limit = match (over, &question.edns) {
        (Over::Tcp, _) => TCP_BYTES_MAX,
        (_, None) => usize::from(UDP_BYTES_MIN),
        (_, Some(edns)) => usize::from(edns.max_payload().clamp(UDP_BYTES_MIN, UDP_BYTES_MAX)),
    };
    let bytes = response.to_vec().ok()?;
    if bytes.len() <= limit {
        return Some(bytes);
    }
    response.additionals.clear();
    let bytes = response.to_vec().ok()?;
    if bytes.len() <= limit {
        return Some(bytes);
    }
    response.truncate().to_vec().ok().filter(|bytes| bytes.len() <= limit)
}

#[cfg(test)]
mod tests;
