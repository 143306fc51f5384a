//! Batches as text, one line for each change.

use concoord_wire::member::{Role, RosterMember, Services};
use concoord_wire::{NodeId, Slot, ViewId};

use super::*;

const OUR_CLUSTER: &str = "00000000000000000000000000000abc";

/// Replicas at 10.0.0.ID, led by the first.
fn roster(revision: u64, ids: &[u64]) -> Roster {
    let member = |id: &u64| RosterMember {
        id: NodeId(*id),
        address: format!("10.0.0.{id}:14000").parse().expect("an address"),
        role: Role::Replica,
        services: Services::ROUTE53,
        live: true,
        silent: false,
        volatile: false,
        full: false,
        differs: None,
        supports: None,
    };
    Roster {
        cluster: ClusterId(0xabc),
        view: ViewId(3),
        leader: ids.first().map(|id| NodeId(*id)),
        members: ids.iter().map(member).collect(),
        revision: Slot(revision),
        decided: Slot(revision),
        reporter: NodeId(1),
        version: None,
        plugins: vec![],
    }
}

fn domain() -> Name {
    Name::from_ascii("counterdomain.com.").expect("a name")
}

fn set(name: &str, kind: &str, values: &[&str]) -> ResourceRecordSet {
    built(name, RrType::from(kind), 5, values.iter().map(|value| (*value).to_owned())).expect("fit")
}

fn shown(plan: &Plan) -> Vec<String> {
    let line = |change: &Change| {
        let set = change.resource_record_set().expect("each change has one");
        let values = set.resource_records().iter().map(ResourceRecord::value).collect::<Vec<_>>().join(", ");
        format!("{} {} {} {values}", change.action(), set.name(), set.r#type())
    };
    plan.changes.iter().map(line).collect()
}

/// Plans, and does what was planned.
fn publish(present: &mut Present, roster: &Roster) -> Result<Vec<String>, String> {
    let plan = plan(&domain(), roster, Options::default(), present, false).map_err(|refused| refused.to_string())?;
    for change in &plan.changes {
        let set = change.resource_record_set().expect("each change has one").clone();
        present.sets.retain(|other| !same_name(&set, other) || set.r#type() != other.r#type());
        if change.action() != &ChangeAction::Delete {
            present.sets.push(set);
        }
    }
    let fence = |set: &&ResourceRecordSet| set.name() == "_concoord.counterdomain.com.";
    present.fence = present.sets.iter().find(fence).cloned();
    Ok(shown(&plan))
}

fn fence(revision: u64) -> String {
    format!("\"concoord cluster={OUR_CLUSTER} revision={revision} by=0000000000000001\"")
}

#[test]
fn an_empty_zone_gets_all_records_in_one_batch() {
    let mut present = Present::default();
    let expected = [
        format!("CREATE _concoord.counterdomain.com. TXT {}", fence(7)),
        "UPSERT counterdomain.com. A 10.0.0.1, 10.0.0.2".into(),
        "UPSERT counterdomain.com. TXT \"replica 10.0.0.1:14000;replica 10.0.0.2:14000\"".into(),
        "UPSERT _concoord._tcp.counterdomain.com. SRV 0 100 14000 0000000000000001.counterdomain.com., \
         10 100 14000 0000000000000002.counterdomain.com."
            .into(),
        "UPSERT _concoord._udp.counterdomain.com. SRV 0 100 14000 0000000000000001.counterdomain.com., \
         10 100 14000 0000000000000002.counterdomain.com."
            .into(),
        "UPSERT 0000000000000001.counterdomain.com. A 10.0.0.1".into(),
        "UPSERT 10.0.0.1.ipaddr.counterdomain.com. A 10.0.0.1".into(),
        "UPSERT 0000000000000002.counterdomain.com. A 10.0.0.2".into(),
        "UPSERT 10.0.0.2.ipaddr.counterdomain.com. A 10.0.0.2".into(),
    ];
    assert_eq!(publish(&mut present, &roster(7, &[1, 2])).expect("nothing in the way"), expected);
    assert_eq!(publish(&mut present, &roster(7, &[1, 2])), Ok(vec![]), "it is as it shall be");
}

#[test]
fn only_what_differs_is_changed_and_the_fence_moves_along() {
    let mut present = Present::default();
    publish(&mut present, &roster(7, &[1, 2])).expect("nothing in the way");
    let expected = [
        "DELETE 0000000000000002.counterdomain.com. A 10.0.0.2".into(),
        "DELETE 10.0.0.2.ipaddr.counterdomain.com. A 10.0.0.2".into(),
        format!("DELETE _concoord.counterdomain.com. TXT {}", fence(7)),
        format!("CREATE _concoord.counterdomain.com. TXT {}", fence(9)),
        "UPSERT counterdomain.com. A 10.0.0.1".into(),
        "UPSERT counterdomain.com. TXT \"replica 10.0.0.1:14000\"".into(),
        "UPSERT _concoord._tcp.counterdomain.com. SRV 0 100 14000 0000000000000001.counterdomain.com.".into(),
        "UPSERT _concoord._udp.counterdomain.com. SRV 0 100 14000 0000000000000001.counterdomain.com.".into(),
    ];
    assert_eq!(publish(&mut present, &roster(9, &[1])).expect("nothing in the way"), expected);

    // Someone else's doing is put right under the same revision.
    present.sets.retain(|set| !set.name().starts_with("_concoord._tcp"));
    let again = publish(&mut present, &roster(9, &[1])).expect("nothing in the way");
    assert_eq!(again.len(), 3, "the fence and the set that is gone: {again:?}");

    // A roster that has the same records is still one that was published.
    let expected = [
        format!("DELETE _concoord.counterdomain.com. TXT {}", fence(9)),
        format!("CREATE _concoord.counterdomain.com. TXT {}", fence(11)),
    ];
    assert_eq!(publish(&mut present, &roster(11, &[1])).expect("nothing in the way"), expected);
}

#[test]
fn the_order_of_values_is_no_difference() {
    let mut present = Present::default();
    publish(&mut present, &roster(7, &[1, 2])).expect("nothing in the way");
    let addresses = present.sets.iter_mut().find(|set| set.name() == "counterdomain.com.").expect("published");
    *addresses = set("CounterDomain.com.", "A", &["10.0.0.2", "10.0.0.1"]);
    assert_eq!(publish(&mut present, &roster(7, &[1, 2])), Ok(vec![]));
}

#[test]
fn what_others_have_in_the_domain_stays() {
    let text = set("counterdomain.com.", "TXT", &["\"v=spf1 -all\"", "\"replica 10.9.9.9:14000\"", "\"a\\\"b\""]);
    let others = [
        set("counterdomain.com.", "NS", &["ns-1.awsdns-01.org."]),
        set("counterdomain.com.", "SOA", &["ns-1.awsdns-01.org. hostmaster. 1 7200 900 1209600 86400"]),
        set("counterdomain.com.", "MX", &["10 mail.counterdomain.com."]),
        set("www.counterdomain.com.", "A", &["192.0.2.1"]),
        set("_acme-challenge.counterdomain.com.", "TXT", &["\"token\""]),
        set("0000000000000009.counterdomain.com.", "TXT", &["\"not an address\""]),
    ];
    let stale = set("0000000000000009.counterdomain.com.", "A", &["10.0.0.9"]);
    let mut present = Present { fence: None, sets: [&others[..], &[text, stale]].concat() };
    let changes = publish(&mut present, &roster(7, &[1])).expect("nothing in the way");
    assert!(changes.contains(&"DELETE 0000000000000009.counterdomain.com. A 10.0.0.9".into()), "{changes:?}");
    let text = "UPSERT counterdomain.com. TXT \"v=spf1 -all\", \"a\\\"b\", \"replica 10.0.0.1:14000\"";
    assert!(changes.contains(&text.into()), "the old list is replaced, the rest kept: {changes:?}");
    assert!(others.iter().all(|other| present.sets.contains(other)), "{:?}", present.sets);

    // Also when there is no node to list.
    let changes = publish(&mut present, &roster(8, &[])).expect("nothing in the way");
    assert!(changes.contains(&"UPSERT counterdomain.com. TXT \"v=spf1 -all\", \"a\\\"b\"".into()), "{changes:?}");
    assert_eq!(publish(&mut present, &roster(8, &[])), Ok(vec![]));
}

#[test]
fn what_is_overwritten_the_first_time_is_told() {
    let there = [set("counterdomain.com.", "A", &["192.0.2.1"]), set("counterdomain.com.", "AAAA", &["2001:db8::1"])];
    let mut present = Present { fence: None, sets: there.to_vec() };
    let first = plan(&domain(), &roster(7, &[1]), Options::default(), &present, false).expect("nothing in the way");
    assert_eq!(first.overwrites, ["counterdomain.com. A", "counterdomain.com. AAAA"]);
    publish(&mut present, &roster(7, &[1])).expect("nothing in the way");
    let second = plan(&domain(), &roster(8, &[2]), Options::default(), &present, false).expect("nothing in the way");
    assert!(second.overwrites.is_empty(), "{:?}", second.overwrites);
}

#[test]
fn a_newer_view_is_never_overwritten() {
    let mut present = Present::default();
    publish(&mut present, &roster(9, &[1, 2])).expect("nothing in the way");
    let refused = publish(&mut present, &roster(8, &[1])).expect_err("9 is published");
    assert!(refused.contains("has published revision 9 of this cluster, which is newer than 8"), "{refused}");
}

#[test]
fn another_cluster_is_not_overwritten_unless_it_is_said() {
    let mut present = Present::default();
    publish(&mut present, &roster(9, &[1, 2])).expect("nothing in the way");
    let other = Roster { cluster: ClusterId(0xdef), ..roster(1, &[5]) };
    let refused = publish(&mut present, &other).expect_err("it is taken");
    assert!(refused.contains(OUR_CLUSTER) && refused.contains("--route53-take-over"), "{refused}");
    let taken = plan(&domain(), &other, Options::default(), &present, true).expect("it was said");
    assert!(shown(&taken).contains(&format!("DELETE _concoord.counterdomain.com. TXT {}", fence(9))));
}

#[test]
fn what_can_not_be_replaced_is_named() {
    let weighted = ResourceRecordSet::builder().name("counterdomain.com.").r#type(RrType::A).set_identifier("blue");
    let weighted = weighted.resource_records(ResourceRecord::builder().value("192.0.2.1").build().expect("a value"));
    let mut present = Present { fence: None, sets: vec![weighted.build().expect("a set")] };
    let refused = publish(&mut present, &roster(7, &[1])).expect_err("it has a routing policy");
    assert!(refused.starts_with("counterdomain.com. A is an alias or has a routing policy"), "{refused}");

    let strange = set("_concoord.counterdomain.com.", "TXT", &["\"mine\""]);
    let refused = publish(&mut Present { fence: Some(strange), sets: vec![] }, &roster(7, &[1]));
    assert!(refused.expect_err("not a fence").contains("is not Concoord's: \"mine\""));
}

#[test]
fn lists_of_nodes_are_told_from_other_text() {
    for ours in [
        "\"replica 10.0.0.1:14000\"",
        "\"replica 10.0.0.1:14000;learner [2001:db8::1]:14000;witness 10.0.0.2:1\"",
        "\"replica 10.0.0\" \".1:14000\"",
    ] {
        assert!(lists_nodes(ours), "{ours}");
    }
    for other in
        ["", "\"\"", "\"v=spf1 -all\"", "\"replica of something\"", "\"replica 10.0.0.1:14000;x\"", "\"a\\;b\""]
    {
        assert!(!lists_nodes(other), "{other}");
    }
}
