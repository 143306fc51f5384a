//! `concoord view`: who the members of a cluster are.

use std::fmt::Write as _;

use concoord_wire::member::{PluginState, Roster};
use serde_json::{Value, json};

use crate::connect::{self, Connect};
use crate::print::{self, Table};

/// Show the members of a cluster, and who leads
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    connect: Connect,

    /// Print JSON: {"cluster","view","leader","members":[{"id","addr","port","role","leader","live","silent","volatile","full","differs","supports"}],"version"}, and
    /// where the replica that answers has plugins, "plugins":[{"name","published","newest","left_to","failure"}] [default: off]
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let roster = connect::runtime()?.block_on(async {
        let client = arguments.connect.client().await?;
        let roster = client.view().await?;
        client.close().await;
        anyhow::Ok(roster)
    })?;
    show(&roster, arguments.json)
}

/// Prints a roster.
///
/// # Errors
/// As [`print::line`].
pub(crate) fn show(roster: &Roster, json: bool) -> anyhow::Result<()> {
    if json { print::json(&as_json(roster)) } else { print::line(as_table(roster)) }
}

/// The roster in the words that scripts rely on.
fn as_json(roster: &Roster) -> Value {
    let members = roster.members.iter().map(|member| {
        json!({
            "id": member.id.to_string(),
            "addr": member.address.ip().to_string(),
            "port": member.address.port(),
            "role": member.role.to_string(),
            "leader": roster.leader == Some(member.id),
            "live": member.live,
            "silent": member.silent,
            "volatile": member.volatile,
            "full": member.full,
            "differs": member.differs.map(|slot| slot.0),
            "supports": member.supports.map(|supports| json!({"first": supports.first, "last": supports.last})),
        })
    });
    let mut shown = json!({
        "cluster": roster.cluster.to_string(),
        "view": roster.view.0,
        "leader": roster.leader.map(|leader| leader.to_string()),
        "members": members.collect::<Vec<_>>(),
        "version": roster.version,
    });
    let plugins = roster.plugins.iter().map(|plugin| {
        json!({
            "name": plugin.name,
            "published": plugin.published.map(|revision| revision.0),
            "newest": roster.revision.0,
            "left_to": plugin.left_to.map(|member| member.to_string()),
            "failure": plugin.failure,
        })
    });
    let plugins = plugins.collect::<Vec<_>>();
    if !plugins.is_empty() {
        shown["plugins"] = plugins.into();
    }
    shown
}

fn as_table(roster: &Roster) -> String {
    let mut table = Table::new(&["id", "address", "role", "leader", "live", "silent"]);
    for member in &roster.members {
        let leads = roster.leader == Some(member.id);
        table.row([
            member.id.to_string(),
            member.address.to_string(),
            format!("{}{}", member.role, if member.volatile { " (volatile)" } else { "" }),
            if leads { "leader" } else { "" }.into(),
            match (member.live, member.full, member.differs) {
                (true, false, None) => "live",
                (true, true, None) => "disk full",
                (true, _, Some(_)) => "differs",
                (false, ..) => "unheard",
            }
            .into(),
            if member.silent { "silent" } else { "" }.into(),
        ]);
    }
    let mut text =
        format!("cluster {}, view {}, {} slots decided\n{table}", roster.cluster, roster.view, roster.decided);
    for PluginState { name, published, left_to, failure } in &roster.plugins {
        let newest = if *published == Some(roster.revision) { ", the newest" } else { "" };
        let said = match (left_to, published) {
            (Some(member), _) => format!("left to {member}"),
            (None, Some(revision)) => format!("published revision {revision}{newest}"),
            (None, None) => "published nothing".into(),
        };
        let _ = write!(text, "\n{name} of {}: {said}", roster.reporter);
        let _ = failure.iter().try_for_each(|why| write!(text, "; {why}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use concoord_wire::member::{Role, RosterMember, Services};
    use concoord_wire::version::{ClusterVersion, Versions};
    use concoord_wire::{ClusterId, NodeId, Slot, ViewId};

    use super::*;

    fn roster() -> Roster {
        let member = |id, port, role, live| RosterMember {
            id: NodeId(id),
            address: ([127, 0, 0, 1], port).into(),
            role,
            services: Services::default(),
            live,
            silent: !live,
            volatile: id == 1,
            full: false,
            differs: (id == 2).then_some(Slot(17)),
            supports: (id == 2).then_some(Versions { first: ClusterVersion(1), last: ClusterVersion(2) }),
        };
        Roster {
            cluster: ClusterId(0xabc),
            view: ViewId(4),
            leader: Some(NodeId(2)),
            members: vec![member(1, 14000, Role::Learner, false), member(2, 14001, Role::Replica, true)],
            revision: Slot(9),
            decided: Slot(17),
            reporter: NodeId(1),
            version: Some(ClusterVersion(1)),
            plugins: vec![
                PluginState { name: "dns".into(), published: Some(Slot(9)), left_to: None, failure: None },
                PluginState { name: "other".into(), published: None, left_to: None, failure: Some("no route".into()) },
                PluginState { name: "route53".into(), published: None, left_to: Some(NodeId(2)), failure: None },
            ],
        }
    }

    #[test]
    fn json_has_the_promised_keys() {
        let expected = json!({
            "cluster": "00000000000000000000000000000abc",
            "view": 4,
            "leader": "0000000000000002",
            "members": [
                {"id": "0000000000000001", "addr": "127.0.0.1", "port": 14000, "role": "learner", "leader": false, "live": false, "silent": true, "volatile": true, "full": false, "differs": null, "supports": null},
                {"id": "0000000000000002", "addr": "127.0.0.1", "port": 14001, "role": "replica", "leader": true, "live": true, "silent": false, "volatile": false, "full": false, "differs": 17, "supports": {"first": 1, "last": 2}},
            ],
            "version": 1,
            "plugins": [
                {"name": "dns", "published": 9, "newest": 9, "left_to": null, "failure": null},
                {"name": "other", "published": null, "newest": 9, "left_to": null, "failure": "no route"},
                {"name": "route53", "published": null, "newest": 9, "left_to": "0000000000000002", "failure": null},
            ],
        });
        assert_eq!(as_json(&roster()), expected);
    }

    #[test]
    fn table_shows_each_member() {
        let expected = "\
cluster 00000000000000000000000000000abc, view 4, 17 slots decided
id                address          role                leader  live     silent
0000000000000001  127.0.0.1:14000  learner (volatile)          unheard  silent
0000000000000002  127.0.0.1:14001  replica             leader  differs
dns of 0000000000000001: published revision 9, the newest
other of 0000000000000001: published nothing; no route
route53 of 0000000000000001: left to 0000000000000002";
        assert_eq!(as_table(&roster()), expected);
    }
}
