//! `concoord log`: what a replica's data directory holds.

use std::path::PathBuf;

use concoord_node::log::{self, Report};
use concoord_wire::Slot;
use serde_json::{Value, json};

use crate::print::{self, Table};

/// Look at the log of a replica that is not running
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    Check(CheckArguments),
}

/// Check everything that a data directory holds, and change nothing
///
/// Exit code 0 when all is as it was written, a tail that a crash tore included; 1 when something is damaged or lost.
#[derive(clap::Args, Debug)]
struct CheckArguments {
    /// The data directory of a replica that is not running
    directory: PathBuf,

    /// Print JSON: {"cluster","node","synced","promised","decided","accepted","segments","snapshots","damage","torn"} [default: off]
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    match &arguments.command {
        Command::Check(arguments) => check(arguments),
    }
}

fn check(arguments: &CheckArguments) -> anyhow::Result<()> {
    let report = log::check(&arguments.directory)?;
    if arguments.json {
        print::json(&as_json(&report))?
    } else {
        print::line(as_text(&report))?
    }
    match report.damage.as_slice() {
        [] => Ok(()),
        [only] => anyhow::bail!("{}: {only}", arguments.directory.display()),
        [first, rest @ ..] => {
            anyhow::bail!("{}: {first}; and {} more damaged places", arguments.directory.display(), rest.len())
        }
    }
}

/// The report in the words that scripts rely on.
fn as_json(report: &Report) -> Value {
    let range = |range: Option<(Slot, Slot)>| range.map(|(lowest, highest)| json!([lowest.0, highest.0]));
    let segments = report.segments.iter().map(|segment| {
        json!({
            "file": segment.file,
            "bytes": segment.bytes,
            "frames": segment.frames,
            "first": segment.first.0,
            "records": segment.records,
            "slots": range(segment.slots),
        })
    });
    let snapshots = report.snapshots.iter().map(|snapshot| {
        json!({
            "file": snapshot.file,
            "slot": snapshot.slot.0,
            "bytes": snapshot.bytes,
            "problem": snapshot.problem,
        })
    });
    let damage = report.damage.iter().map(|damage| {
        json!({
            "file": damage.file,
            "offset": damage.offset,
            "bytes": damage.bytes,
            "what": damage.kind.to_string(),
            "records": damage.positions.map(|(first, last)| json!([first.0, last.0])),
            "unknown": range(damage.unknown),
        })
    });
    json!({
        "cluster": report.identity.cluster.to_string(),
        "node": report.identity.node.to_string(),
        "synced": report.synced.0,
        "promised": report.promised.to_string(),
        "decided": report.decided.0,
        "accepted": report.accepted.0,
        "segments": segments.collect::<Vec<_>>(),
        "spares": report.spares,
        "snapshots": snapshots.collect::<Vec<_>>(),
        "damage": damage.collect::<Vec<_>>(),
        "torn": report.torn.as_ref().map(|torn| json!({
            "file": torn.file,
            "offset": torn.offset,
            "bytes": torn.bytes,
        })),
    })
}

fn as_text(report: &Report) -> String {
    let slots = |range: Option<(Slot, Slot)>| range.map_or_else(String::new, |(low, high)| format!("{low} to {high}"));
    let mut table = Table::new(&["file", "bytes", "frames", "records", "slots", "state"]);
    for snapshot in &report.snapshots {
        table.row([
            snapshot.file.clone(),
            snapshot.bytes.to_string(),
            String::new(),
            String::new(),
            format!("up to {}", snapshot.slot),
            if snapshot.problem.is_some() { "damaged" } else { "whole" }.into(),
        ]);
    }
    for segment in &report.segments {
        let damaged = report.damage.iter().any(|damage| damage.file == segment.file);
        let torn = report.torn.as_ref().is_some_and(|torn| torn.file == segment.file);
        table.row([
            segment.file.clone(),
            segment.bytes.to_string(),
            segment.frames.to_string(),
            segment.records.to_string(),
            slots(segment.slots),
            if damaged {
                "damaged"
            } else if torn {
                "torn tail"
            } else {
                "whole"
            }
            .into(),
        ]);
    }
    let mut text = format!(
        "replica {} of cluster {}: promised {}, decided slot {}, accepted slot {}\n{table}",
        report.identity.node, report.identity.cluster, report.promised, report.decided, report.accepted
    );
    if let Some(torn) = &report.torn {
        text.push_str(&format!("\ntorn by a crash: {} at byte {}; the next start cuts it", torn.file, torn.offset));
    }
    for damage in &report.damage {
        text.push_str(&format!("\ndamaged: {damage}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use concoord_node::log::{Damage, DamageKind, Identity, SegmentReport, SnapshotReport};
    use concoord_wire::{Ballot, ClusterId, NodeId};

    use super::*;

    fn report() -> Report {
        let first = Damage {
            file: "log-00000000000000000001".into(),
            offset: 512,
            bytes: 1024,
            kind: DamageKind::Body,
            positions: None,
            unknown: Some((Slot(3), Slot(5))),
        };
        let segment = SegmentReport {
            file: first.file.clone(),
            first: Default::default(),
            bytes: 8192,
            frames: 2,
            records: 4,
            slots: Some((Slot(1), Slot(9))),
        };
        let snapshot =
            SnapshotReport { file: "snapshot-00000000000000000000".into(), slot: Slot(0), bytes: 99, problem: None };
        Report {
            identity: Identity { cluster: ClusterId(0xabc), node: NodeId(1), tag: 0x5ec2e7 },
            synced: Default::default(),
            promised: Ballot::ZERO,
            decided: Slot(8),
            accepted: Slot(9),
            segments: vec![segment],
            spares: 1,
            snapshots: vec![snapshot],
            damage: vec![first],
            torn: None,
        }
    }

    #[test]
    fn damage_is_shown_with_file_byte_and_slots() {
        let text = as_text(&report());
        let line = "damaged: log-00000000000000000001 at byte 512: the records of a frame are damaged; \
                    slots 3 to 5 are unknown";
        assert!(text.lines().any(|shown| shown == line), "{text}");
        let json = as_json(&report());
        assert_eq!(json["damage"][0]["unknown"], json!([3, 5]));
        assert_eq!(json["damage"][0]["offset"], 512);
        assert_eq!(json["segments"][0]["slots"], json!([1, 9]));
    }

    #[test]
    fn the_secret_of_the_identity_is_not_shown() {
        let shown = format!("{}{}", as_text(&report()), as_json(&report()));
        assert!(!shown.contains("5ec2e7") && !shown.contains(&0x5ec2e7.to_string()), "{shown}");
    }
}
