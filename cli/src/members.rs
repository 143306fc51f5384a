//! `concoord members`: who the members are, and taking one out.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{anyhow, bail};
use clap::Subcommand;
use concoord_wire::NodeId;
use concoord_wire::member::Roster;
use serde_json::json;

use crate::connect::{self, Connect, OPERATOR_TIMEOUT};
use crate::{duration, print, view};

/// Digits of an id that is written out.
const ID_DIGITS: usize = 16;

/// List the members of a cluster, or take one out
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    connect: Connect,

    /// Print JSON: of a list what `concoord view --json` prints, else {"member","view"} [default: off]
    #[arg(long, global = true)]
    json: bool,

    /// How long it may take until a change is decided, retries included
    #[arg(long, global = true, value_name = "TIME", default_value = OPERATOR_TIMEOUT, value_parser = duration::parse)]
    timeout: Duration,

    /// What to do [default: list]
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// List the members: id, address, role, who leads, who is heard, and who is marked as silent
    List,

    /// Take a member out for good, and wait until that is decided
    ///
    /// It stops if it runs, and is never taken back under its id: its machine joins again with an empty data directory.
    Remove(Which),

    /// Take a member out that may come back, and wait until that is decided
    ///
    /// It is taken back under its id as soon as it is heard with its data directory, so this is for one that is down.
    Evict(Which),
}

#[derive(clap::Args, Debug)]
struct Which {
    /// The member: its id, the first digits of that if no other id begins so, or its address:port
    #[arg(value_name = "ID")]
    member: String,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    match &arguments.action {
        None | Some(Action::List) => view::show(&connect::runtime()?.block_on(roster(arguments))?, arguments.json),
        Some(Action::Remove(which)) => take_out(arguments, &which.member, true),
        Some(Action::Evict(which)) => take_out(arguments, &which.member, false),
    }
}

async fn roster(arguments: &Arguments) -> anyhow::Result<Roster> {
    let client = arguments.connect.client_within(arguments.timeout).await?;
    let roster = client.view().await?;
    client.close().await;
    Ok(roster)
}

fn take_out(arguments: &Arguments, member: &str, for_good: bool) -> anyhow::Result<()> {
    let (member, view) = connect::runtime()?.block_on(async {
        let member = match written_out(member) {
            Some(member) => member,
            None => find(&roster(arguments).await?, member)?,
        };
        let operator = arguments.connect.operator(arguments.timeout).await?;
        let view = if for_good { operator.remove(member).await? } else { operator.evict(member).await? };
        anyhow::Ok((member, view))
    })?;
    if arguments.json {
        return print::json(&json!({ "member": member.to_string(), "view": view.0 }));
    }
    let done = if for_good { "removed" } else { "evicted" };
    print::line(format!("{done} {member}: view {view} is without it"))
}

/// An id with all its digits needs no looking up, and a replica that knows less does not stand in its way.
fn written_out(member: &str) -> Option<NodeId> {
    (member.len() == ID_DIGITS).then(|| member.parse().ok()).flatten()
}

/// The member that is meant.
fn find(roster: &Roster, given: &str) -> anyhow::Result<NodeId> {
    let address = given.parse::<SocketAddr>().ok();
    let prefix = given.to_ascii_lowercase();
    let meant = |member: &&concoord_wire::member::RosterMember| match address {
        Some(address) => member.address == address,
        None => !prefix.is_empty() && member.id.to_string().starts_with(&prefix),
    };
    let found = roster.members.iter().filter(meant).map(|member| member.id).collect::<Vec<_>>();
    let list = |ids: &[NodeId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match found[..] {
        [id] => Ok(id),
        [] => {
            let all = roster.members.iter().map(|member| member.id).collect::<Vec<_>>();
            Err(anyhow!("'{given}' is no member of view {}, which has {}", roster.view, list(&all)))
        }
        _ => bail!("'{given}' may be any of {}: give more digits of the id", list(&found)),
    }
}

#[cfg(test)]
mod tests {
    use concoord_wire::member::{Role, RosterMember, Services};
    use concoord_wire::{ClusterId, Slot, ViewId};

    use super::*;

    fn roster() -> Roster {
        let member = |id, port| RosterMember {
            id: NodeId(id),
            address: ([127, 0, 0, 1], port).into(),
            role: Role::Replica,
            services: Services::default(),
            live: true,
            silent: false,
            volatile: false,
            full: false,
            differs: None,
            supports: None,
        };
        Roster {
            cluster: ClusterId(1),
            view: ViewId(4),
            leader: None,
            members: vec![member(0x4f00_0000_0000_0001, 14000), member(0x4f80_0000_0000_0002, 14001)],
            revision: Slot(9),
            decided: Slot(17),
            reporter: NodeId(1),
            version: None,
            plugins: vec![],
        }
    }

    #[test]
    fn members_are_found_by_the_first_digits_of_their_id_and_by_address() {
        for given in ["4f0", "4F0", "4f00000000000001", "127.0.0.1:14000"] {
            assert_eq!(find(&roster(), given).expect(given), NodeId(0x4f00_0000_0000_0001), "{given}");
        }
        assert_eq!(written_out("4f00000000000001"), Some(NodeId(0x4f00_0000_0000_0001)));
        assert_eq!((written_out("4f0"), written_out("127.0.0.1:140000")), (None, None));
    }

    #[test]
    fn who_is_not_clearly_meant_is_not_taken_out() {
        let said = |given| find(&roster(), given).expect_err("nobody in particular").to_string();
        assert_eq!(said("4f"), "'4f' may be any of 4f00000000000001, 4f80000000000002: give more digits of the id");
        assert_eq!(said("5"), "'5' is no member of view 4, which has 4f00000000000001, 4f80000000000002");
        assert!(said("").contains("no member") && said("127.0.0.1:14002").contains("no member"));
    }
}
