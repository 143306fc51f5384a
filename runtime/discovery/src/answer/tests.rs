use std::collections::BTreeSet;

use concoord_wire::member::{Role, Roster, RosterMember, Services};
use concoord_wire::{ClusterId, NodeId, Slot, ViewId};
use hickory_server::proto::op::MessageType;

use super::*;
use crate::records::Options;

const DOMAIN: &str = "counterdomain.com.";

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

/// Three replicas of which the second leads and the third is on IPv6 and serves DNS as the first does, and a witness.
fn roster(replicas: u64) -> Roster {
    let member = |id: u64| {
        let address = if id == 3 { "[2001:db8::3]:14000".into() } else { format!("10.0.0.{id}:14000") };
        let services = if id % 2 == 1 { Services::DNS } else { Services::default() };
        let (id, address) = (NodeId(id), address.parse().expect("an address"));
        RosterMember {
            id,
            address,
            role: Role::Replica,
            services,
            live: true,
            silent: false,
            volatile: false,
            full: false,
            differs: None,
            supports: None,
        }
    };
    let mut members: Vec<_> = (1..=replicas).map(member).collect();
    members.push(RosterMember { role: Role::Witness, ..member(200) });
    let (cluster, view, revision) = (ClusterId(1), ViewId(3), Slot((1 << 32) + 7));
    Roster {
        cluster,
        view,
        leader: Some(NodeId(2)),
        members,
        revision,
        decided: Slot(9),
        reporter: NodeId(1),
        version: None,
        plugins: vec![],
    }
}

fn zones_of(replicas: u64) -> Zones {
    let zone = |domain: &str| Zone::new(&name(domain), &roster(replicas), Options::default()).expect("a zone");
    Zones { zones: [zone(DOMAIN), zone("sub.counterdomain.com."), zone("other.org.")].into(), stale: false }
}

fn question(text: &str, kind: RecordType) -> Message {
    let mut question = Message::new(4711, MessageType::Query, OpCode::Query);
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(name(text), kind));
    question
}

fn bytes(message: &Message) -> Vec<u8> {
    message.to_vec().expect("it is small")
}

fn ask(zones: &Zones, question: &Message, over: Over) -> Message {
    let answered = answer(zones, &bytes(question), over).expect("every question has an answer");
    let answered = Message::from_vec(&answered).expect("a well-formed answer");
    assert_eq!((answered.id, answered.message_type), (4711, MessageType::Response));
    assert_eq!(answered.queries, question.queries);
    answered
}

fn asked(text: &str, kind: RecordType) -> Message {
    ask(&zones_of(3), &question(text, kind), Over::Udp)
}

fn data(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| record.data.to_string()).collect()
}

fn code(message: &Message) -> ResponseCode {
    message.response_code
}

#[test]
fn what_the_guide_asks_is_answered() {
    let a = asked(DOMAIN, RecordType::A);
    assert_eq!(data(&a.answers), ["10.0.0.2", "10.0.0.1"], "the leader first");
    assert!(a.authoritative && !a.recursion_available && a.recursion_desired && !a.truncation);
    assert_eq!(a.answers[0].ttl, 5);
    assert_eq!(data(&asked(DOMAIN, RecordType::AAAA).answers), ["2001:db8::3"]);

    let srv = asked("_concoord._tcp.counterdomain.com.", RecordType::SRV);
    let target = |id: u32| format!("{id:016x}.counterdomain.com.");
    let expected = [(0, 2), (10, 1), (10, 3)].map(|(priority, id)| format!("{priority} 100 14000 {}", target(id)));
    assert_eq!(data(&srv.answers), expected);
    assert_eq!(data(&srv.additionals), ["10.0.0.2", "10.0.0.1", "2001:db8::3"], "where the targets are");

    let txt = asked(DOMAIN, RecordType::TXT);
    let all = "replica 10.0.0.2:14000;replica 10.0.0.1:14000;replica [2001:db8::3]:14000;witness 10.0.0.200:14000";
    assert_eq!(data(&txt.answers), [all]);

    let ns = asked(DOMAIN, RecordType::NS);
    assert_eq!(data(&ns.answers), [target(1), target(3)], "who serves DNS");
    assert_eq!(data(&ns.additionals), ["10.0.0.1", "2001:db8::3"], "glue");
    assert_eq!(data(&asked("0000000000000002.counterdomain.com.", RecordType::A).answers), ["10.0.0.2"]);
    assert_eq!(data(&asked("10.0.0.2.ipaddr.counterdomain.com.", RecordType::A).answers), ["10.0.0.2"]);
}

#[test]
fn the_serial_is_the_revision_and_what_is_missing_is_kept_for_a_short_time() {
    let soa = "0000000000000001.counterdomain.com. hostmaster.counterdomain.com. 7 60 10 600 5";
    let found = asked(DOMAIN, RecordType::SOA);
    assert_eq!(data(&found.answers), [soa]);
    let no_data = asked(DOMAIN, RecordType::MX);
    assert_eq!((code(&no_data), data(&no_data.authorities)), (ResponseCode::NoError, vec![soa.into()]));
    assert_eq!(no_data.authorities[0].ttl, 5);
    let between = asked("_tcp.counterdomain.com.", RecordType::A);
    assert_eq!((code(&between), data(&between.authorities)), (ResponseCode::NoError, vec![soa.into()]), "names below");
    let no_name = asked("nobody.counterdomain.com.", RecordType::A);
    assert_eq!((code(&no_name), data(&no_name.authorities)), (ResponseCode::NXDomain, vec![soa.into()]));
}

#[test]
fn the_case_of_a_question_comes_back_and_makes_no_difference() {
    let mixed = asked("CounterDomain.cOm.", RecordType::A);
    assert_eq!(data(&mixed.answers), ["10.0.0.2", "10.0.0.1"]);
    let owner = mixed.answers[0].name.to_ascii();
    assert_eq!(owner, "CounterDomain.cOm.");
}

#[test]
fn the_longest_domain_answers() {
    let found = asked("sub.counterdomain.com.", RecordType::SOA);
    assert_eq!(found.answers[0].name.to_ascii(), "sub.counterdomain.com.");
    assert!(data(&found.answers)[0].starts_with("0000000000000001.sub."));
    assert_eq!(code(&asked("nobody.sub.counterdomain.com.", RecordType::A)), ResponseCode::NXDomain);
}

#[test]
fn what_is_not_for_a_name_server_of_a_view_is_refused() {
    for (text, kind) in
        [("example.org.", RecordType::A), (".", RecordType::NS), (DOMAIN, RecordType::AXFR), (DOMAIN, RecordType::IXFR)]
    {
        let refused = asked(text, kind);
        assert_eq!(code(&refused), ResponseCode::Refused, "{text} {kind}");
        assert!(refused.answers.is_empty() && !refused.authoritative);
    }
    for (op_code, expected) in [
        (OpCode::Update, ResponseCode::Refused),
        (OpCode::Notify, ResponseCode::Refused),
        (OpCode::Status, ResponseCode::NotImp),
    ] {
        let mut other = question(DOMAIN, RecordType::SOA);
        other.metadata.op_code = op_code;
        assert_eq!(code(&ask(&zones_of(3), &other, Over::Udp)), expected, "{op_code}");
    }
    let mut chaos = question(DOMAIN, RecordType::TXT);
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(code(&ask(&zones_of(3), &chaos, Over::Udp)), ResponseCode::Refused);
    let mut two = question(DOMAIN, RecordType::A);
    two.add_query(Query::query(name(DOMAIN), RecordType::TXT));
    assert_eq!(code(&ask(&zones_of(3), &two, Over::Udp)), ResponseCode::FormErr);
}

#[test]
fn everything_is_one_small_record() {
    let any = asked(DOMAIN, RecordType::ANY);
    assert_eq!(data(&any.answers), ["RFC8482 "]);
    assert_eq!(code(&asked("nobody.counterdomain.com.", RecordType::ANY)), ResponseCode::NXDomain);
}

#[test]
fn an_old_view_is_not_told() {
    let stale = Zones { stale: true, ..zones_of(3) };
    let failed = ask(&stale, &question(DOMAIN, RecordType::A), Over::Udp);
    assert_eq!((code(&failed), failed.answers.len()), (ResponseCode::ServFail, 0));
    assert_eq!(code(&ask(&stale, &question("example.org.", RecordType::A), Over::Udp)), ResponseCode::Refused);
}

fn with_payload(mut question: Message, payload: u16) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(payload);
    question.set_edns(edns);
    question
}

#[test]
fn what_does_not_fit_into_a_datagram_is_truncated_and_whole_over_tcp() {
    let many = zones_of(60);
    let srv = question("_concoord._udp.counterdomain.com.", RecordType::SRV);
    for (question, limit) in
        [(srv.clone(), 512), (with_payload(srv.clone(), 4096), 1232), (with_payload(srv.clone(), 100), 512)]
    {
        let answered = answer(&many, &bytes(&question), Over::Udp).expect("an answer");
        assert!(answered.len() <= limit);
        let answered = Message::from_vec(&answered).expect("a well-formed answer");
        assert!(answered.truncation && answered.answers.is_empty() && answered.queries == question.queries);
        assert_eq!(answered.edns.as_ref().map(Edns::max_payload), question.edns.as_ref().map(|_| 1232));
    }
    let whole = ask(&many, &srv, Over::Tcp);
    assert_eq!((whole.answers.len(), whole.additionals.len(), whole.truncation), (60, 60, false));
    let some = ask(&zones_of(7), &srv, Over::Udp);
    assert_eq!(
        (some.answers.len(), some.additionals.len(), some.truncation),
        (7, 0, false),
        "addresses are left out first"
    );
}

#[test]
fn who_asks_too_much_is_told_to_ask_over_tcp() {
    let limited = ask(&zones_of(3), &question(DOMAIN, RecordType::TXT), Over::UdpLimited);
    assert!(limited.truncation && limited.answers.is_empty());
    let question = bytes(&question(DOMAIN, RecordType::TXT));
    let answered = answer(&zones_of(3), &question, Over::UdpLimited).expect("an answer");
    assert!(answered.len() <= question.len(), "nothing is gained by forging the sender");
}

#[test]
fn a_newer_version_of_edns_is_named() {
    let mut newer = with_payload(question(DOMAIN, RecordType::A), 1232);
    newer.edns.as_mut().expect("set above").set_version(1);
    let answered = ask(&zones_of(3), &newer, Over::Udp);
    // Its number has another name where there are signatures.
    assert_eq!((u16::from(code(&answered)), answered.answers.len()), (u16::from(ResponseCode::BADVERS), 0));
    assert_eq!(answered.edns.map(|edns| edns.version()), Some(0));
}

#[test]
fn answers_are_not_answered_and_garbage_is_named() {
    let zones = zones_of(3);
    let mut response = question(DOMAIN, RecordType::A);
    response.metadata.message_type = MessageType::Response;
    assert_eq!(answer(&zones, &bytes(&response), Over::Udp), None);
    assert_eq!(answer(&zones, &[0; 11], Over::Udp), None, "not even a header");
    let cut = &bytes(&question(DOMAIN, RecordType::A))[..20];
    let named = Message::from_vec(&answer(&zones, cut, Over::Udp).expect("an answer")).expect("well formed");
    assert_eq!((named.id, code(&named)), (4711, ResponseCode::FormErr));
}

/// A xorshift generator (Marsaglia 2003): the same packets in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).expect("below a usize")
    }
}

#[test]
fn a_hundred_thousand_mutated_packets_have_well_formed_answers_or_none() {
    let zones = [zones_of(3), zones_of(60), Zones { stale: true, ..zones_of(1) }];
    let names = [DOMAIN, "_concoord._tcp.counterdomain.com.", "nobody.counterdomain.com.", "example.org."];
    let kinds = [RecordType::A, RecordType::SRV, RecordType::TXT, RecordType::ANY, RecordType::NS, RecordType::SOA];
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut codes = BTreeSet::new();
    for _ in 0..100_000 {
        let mut packet = question(names[random.below(names.len())], kinds[random.below(kinds.len())]);
        if random.below(2) == 0 {
            packet = with_payload(packet, u16::try_from(random.below(5_000)).expect("small"));
        }
        let mut packet = bytes(&packet);
        for _ in 0..=random.below(4) {
            let place = random.below(packet.len());
            match random.below(4) {
                0 => packet[place] ^= 1 << random.below(8),
                1 => packet[place] = u8::try_from(random.below(256)).expect("a byte"),
                2 => packet.truncate(place + 1),
                _ => packet.insert(place, u8::try_from(random.below(256)).expect("a byte")),
            }
        }
        let over = [Over::Udp, Over::UdpLimited, Over::Tcp][random.below(3)];
        let Some(answered) = answer(&zones[random.below(zones.len())], &packet, over) else {
            assert!(packet.len() < HEADER_BYTES || packet[2] & 0x80 != 0, "only answers are not answered: {packet:?}");
            continue;
        };
        codes.insert(well_formed(&answered, &packet, over));
    }
    use ResponseCode::{BADVERS, FormErr, NXDomain, NoError, NotImp, Refused, ServFail};
    let all = [NoError, FormErr, ServFail, NXDomain, NotImp, Refused, BADVERS].map(u16::from);
    assert_eq!(codes, BTreeSet::from(all));
}

/// Checks that these bytes are an answer to `packet`, all of them and no more than may be sent. Gives its response code.
fn well_formed(bytes: &[u8], packet: &[u8], over: Over) -> u16 {
    let answered = Message::from_vec(bytes).unwrap_or_else(|error| panic!("{error}: {bytes:?} to {packet:?}"));
    let again = answered.to_vec().expect("what was read can be written");
    assert_eq!(again, bytes, "nothing stands behind it: {packet:?}");
    assert_eq!(answered.message_type, MessageType::Response);
    assert_eq!(answered.id, u16::from_be_bytes([packet[0], packet[1]]));
    let asked = Message::from_vec(packet).ok();
    let payload = asked.as_ref().and_then(|asked| asked.edns.as_ref()).map_or(UDP_BYTES_MIN, Edns::max_payload);
    let limit = match over {
        Over::Tcp => TCP_BYTES_MAX,
        Over::Udp => usize::from(payload.clamp(UDP_BYTES_MIN, UDP_BYTES_MAX)),
        Over::UdpLimited => packet.len(),
    };
    assert!(bytes.len() <= limit, "{} bytes, {over:?}: {answered} to {packet:?}", bytes.len());
    // As written, for names are equal whatever their case.
    let queries = |message: &Message| message.queries.iter().map(|query| format!("{query:?}")).collect::<Vec<_>>();
    match asked {
        Some(asked) => assert_eq!(queries(&answered), queries(&asked), "{packet:?}"),
        None => assert_eq!(code(&answered), ResponseCode::FormErr, "{packet:?}"),
    }
    u16::from(code(&answered))
}
