//! `concoord health`: whether a cluster works, for people and for scripts.

use std::fmt;
use std::time::Duration;

use concoord_client::{CallError, ClientError};
use concoord_wire::member::{Role, Roster, RosterMember};
use serde_json::{Value, json};

use crate::connect::{self, Connect};
use crate::{duration, print};

/// Say whether a cluster works, by exit code: 0 if all is well
///
/// Healthy is a cluster with a leader that answers a linearizable request and hears every member, none of them with a
/// full disk or a state that differs. Else the exit code is 1, and each thing that is amiss is printed on a line of its own.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    connect: Connect,

    /// Not healthy either with fewer live voters than this [default: no such bound]
    #[arg(long, value_name = "N")]
    require: Option<usize>,

    /// How long the cluster may take to answer
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration::parse)]
    timeout: Duration,

    /// Print JSON: {"status","cluster","view","leader","voters","live","survives","findings"} [default: off]
    #[arg(long)]
    json: bool,
}

/// Not all is well, and that is printed already.
#[derive(Debug)]
pub(crate) struct Unhealthy;

impl fmt::Display for Unhealthy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the cluster is not healthy")
    }
}

impl std::error::Error for Unhealthy {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Healthy,
    /// It works, and something is amiss.
    Degraded,
    /// It answers no calls.
    Down,
}

#[derive(Debug)]
struct Report {
    status: Status,
    roster: Option<Roster>,
    voters: usize,
    live: usize,
    /// How many more voters may crash.
    survives: usize,
    /// One line each.
    findings: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let report = connect::runtime()?.block_on(look(arguments))?;
    if arguments.json {
        print::json(&report.as_json())?;
    } else {
        print::line(&report)?;
    }
    if report.status == Status::Healthy { Ok(()) } else { Err(Unhealthy.into()) }
}

async fn look(arguments: &Arguments) -> anyhow::Result<Report> {
    let client = match arguments.connect.client_within(arguments.timeout).await {
        Ok(client) => client,
        Err(error) if matches!(error.downcast_ref(), Some(ClientError::Addresses(_) | ClientError::Setup { .. })) => {
            return Err(error);
        }
        Err(error) => return Ok(Report::down(format!("nobody answers: {}", print::one_line(&error)))),
    };
    let works = match client.describe(None).await {
        // A cluster without an object has answered as well.
        Ok(_) | Err(ClientError::Call(CallError::UnknownObject { .. })) => Ok(()),
        Err(error) => Err(error.to_string()),
    };
    let roster = client.view().await;
    client.close().await;
    Ok(match roster {
        Ok(roster) => judge(roster, works, arguments.require),
        Err(error) => Report::down(format!("nobody answers: {error}")),
    })
}

fn judge(roster: Roster, works: Result<(), String>, require: Option<usize>) -> Report {
    let votes = roster.members.iter().filter(|member| member.role != Role::Learner);
    let mut count = Count::default();
    votes.for_each(|member| count.add(member));
    let Count { voters, live, accepting } = count;
    let majority = voters / 2 + 1;
    let survives = accepting.saturating_sub(majority);
    let mut findings = Vec::new();
    if let Err(why) = &works {
        findings.push(format!("no call is answered: {why}"));
    }
    if roster.leader.is_none() {
        findings.push("no leader is known".into());
    }
    for member in &roster.members {
        let (role, id, address) = (member.role, member.id, member.address);
        match (member.live, member.silent) {
            (true, false) => {}
            (true, true) => findings.push(format!("{role} {id} at {address} is back, and still marked as silent")),
            (false, true) => findings.push(format!("{role} {id} at {address} is silent")),
            (false, false) => findings.push(format!("{role} {id} at {address} is not heard")),
        }
        if member.live && member.full {
            findings
                .push(format!("the disk of {role} {id} at {address} is full: it accepts nothing until there is room"));
        }
    }
    for member in &roster.members {
        if let Some(slot) = member.differs {
            let (role, id, address) = (member.role, member.id, member.address);
            findings.push(format!(
                "{role} {id} at {address} differs in what it has applied since slot {slot}: it serves nobody until it has \
                 fetched the state of the others"
            ));
        }
    }
    if let Some(require) = require.filter(|require| live < *require) {
        findings.push(format!("{live} voters are live, but {require} are required"));
    }
    let status = match (&works, findings.is_empty()) {
        (Err(_), _) => Status::Down,
        (Ok(()), true) => Status::Healthy,
        (Ok(()), false) => Status::Degraded,
    };
    if live < majority {
        findings.push(format!("{live} of {voters} voters are live, and {majority} are needed"));
    } else if status == Status::Degraded {
        findings.push(format!("{live} of {voters} voters are live: {}", crashes(survives)));
    }
    Report { status, roster: Some(roster), voters, live, survives, findings }
}

/// Voters, counted.
#[derive(Default)]
struct Count {
    voters: usize,
    live: usize,
    /// Live ones whose disk has room.
    accepting: usize,
}

impl Count {
    fn add(&mut self, voter: &RosterMember) {
        self.voters += 1;
        self.live += usize::from(voter.live);
        self.accepting += usize::from(voter.live && !voter.full);
    }
}

fn crashes(survives: usize) -> String {
    match survives {
        0 => "no more crash can be survived".into(),
        1 => "1 more crash can be survived".into(),
        more => format!("{more} more crashes can be survived"),
    }
}

impl Report {
    fn down(finding: String) -> Report {
        Report { status: Status::Down, roster: None, voters: 0, live: 0, survives: 0, findings: vec![finding] }
    }

    fn as_json(&self) -> Value {
        let roster = self.roster.as_ref();
        json!({
            "status": self.status.to_string(),
            "cluster": roster.map(|roster| roster.cluster.to_string()),
            "view": roster.map(|roster| roster.view.0),
            "leader": roster.and_then(|roster| roster.leader).map(|leader| leader.to_string()),
            "voters": self.voters,
            "live": self.live,
            "survives": self.survives,
            "findings": self.findings,
        })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Status::Healthy => "healthy",
            Status::Degraded => "degraded",
            Status::Down => "down",
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.status == Status::Healthy {
            let Report { voters, live, survives, .. } = self;
            return write!(f, "healthy: {live} of {voters} voters are live: {}", crashes(*survives));
        }
        write!(f, "{}", self.status)?;
        self.findings.iter().try_for_each(|finding| write!(f, "\n{}", print::clean(finding)))
    }
}

#[cfg(test)]
mod tests {
    use concoord_wire::member::Services;
    use concoord_wire::{ClusterId, NodeId, Slot, ViewId};

    use super::*;

    /// A voter for each, live or not, and whether a leader is known.
    fn roster(lives: &[bool], leader: bool) -> Roster {
        let member = |(index, live): (u16, &bool)| RosterMember {
            id: NodeId(u64::from(index) + 1),
            address: ([127, 0, 0, 1], 14000 + index).into(),
            role: Role::Replica,
            services: Services::default(),
            live: *live,
            silent: false,
            volatile: false,
            full: false,
            differs: None,
            supports: None,
        };
        Roster {
            cluster: ClusterId(1),
            view: ViewId(4),
            leader: leader.then_some(NodeId(1)),
            members: (0..).zip(lives).map(member).collect(),
            revision: Slot(9),
            decided: Slot(17),
            reporter: NodeId(1),
            version: None,
            plugins: vec![],
        }
    }

    #[test]
    fn a_full_disk_is_amiss_and_survives_nothing() {
        let mut full = roster(&[true; 3], true);
        full.members[2].full = true;
        let report = judge(full, Ok(()), None);
        assert_eq!(report.status, Status::Degraded);
        assert_eq!(
            report.findings,
            [
                "the disk of replica 0000000000000003 at 127.0.0.1:14002 is full: it accepts nothing until there is room",
                "3 of 3 voters are live: no more crash can be survived",
            ]
        );
    }

    #[test]
    fn a_state_that_differs_is_amiss() {
        let mut differing = roster(&[true; 3], true);
        differing.members[1].differs = Some(Slot(64));
        let report = judge(differing, Ok(()), None);
        assert_eq!(report.status, Status::Degraded);
        assert!(report.findings[0].contains("14001 differs in what it has applied since slot 64"), "{report:?}");
    }

    #[test]
    fn all_live_is_healthy_whatever_the_size() {
        let report = judge(roster(&[true; 3], true), Ok(()), None);
        assert_eq!(report.to_string(), "healthy: 3 of 3 voters are live: 1 more crash can be survived");
        let report = judge(roster(&[true], true), Ok(()), None);
        assert_eq!(report.to_string(), "healthy: 1 of 1 voters are live: no more crash can be survived");
        assert_eq!(judge(roster(&[true; 3], true), Ok(()), Some(3)).status, Status::Healthy);
    }

    #[test]
    fn what_is_amiss_is_named_and_what_is_left_is_counted() {
        let report = judge(roster(&[true, true, true, true, false], true), Ok(()), Some(5));
        assert_eq!(
            report.to_string(),
            "degraded\n\
             replica 0000000000000005 at 127.0.0.1:14004 is not heard\n\
             4 voters are live, but 5 are required\n\
             4 of 5 voters are live: 1 more crash can be survived"
        );
        let report = judge(roster(&[true, false, false], false), Err("no answer".into()), None);
        assert_eq!((report.status, report.survives), (Status::Down, 0));
        let lines = report.to_string();
        assert!(lines.contains("no call is answered: no answer\nno leader is known"), "{lines}");
        assert!(lines.ends_with("1 of 3 voters are live, and 2 are needed"), "{lines}");
    }

    #[test]
    fn a_learner_counts_as_a_member_and_not_as_a_voter() {
        let mut learning = roster(&[true, true], true);
        learning.members[1].role = Role::Learner;
        let report = judge(learning.clone(), Ok(()), None);
        assert_eq!((report.status, report.voters), (Status::Healthy, 1));
        learning.members[1].live = false;
        assert_eq!(judge(learning, Ok(()), None).status, Status::Degraded);
    }
}
