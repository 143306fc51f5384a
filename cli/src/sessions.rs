//! `concoord sessions`: which sessions are open, and ending one.

use std::time::Duration;

use clap::Subcommand;
use concoord_client::{SessionList, SessionState};
use concoord_wire::SessionId;
use serde_json::{Value, json};

use crate::connect::{self, Connect, OPERATOR_TIMEOUT};
use crate::duration;
use crate::print::{self, Table};

/// List the open sessions of clients, or end one
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    connect: Connect,

    /// Print JSON: {"sessions":[{"session","ttl_ms","silent_ms","waiting","kept","objects"}]}, or of one that is ended, that
    /// one [default: off]
    #[arg(long, global = true)]
    json: bool,

    /// How long it may take, retries included
    #[arg(long, global = true, value_name = "TIME", default_value = OPERATOR_TIMEOUT, value_parser = duration::parse)]
    timeout: Duration,

    /// What to do [default: list]
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// List the sessions: after how long without a sign they end, since when there was none, how many of their calls wait, how
    /// many replies are kept for them, and how many objects they called
    List,

    /// End a session: what it holds is given up, and its calls end
    End {
        /// Which, as the list has it
        #[arg(value_name = "SESSION")]
        session: SessionId,
    },
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    connect::runtime()?.block_on(async {
        let operator = arguments.connect.operator(arguments.timeout).await?;
        match arguments.action {
            Some(Action::End { session }) => {
                let ended = operator.end_session(session).await?;
                if arguments.json {
                    return print::json(&json!({"session": ended.session.to_string(), "waiting": ended.waiting}));
                }
                print::line(format!("{session}: ended, {} of its calls waited", ended.waiting))
            }
            None | Some(Action::List) => {
                let mut all = SessionList { more: true, ..SessionList::default() };
                while all.more {
                    let SessionList { now, sessions, more } =
                        operator.sessions(all.sessions.last().map(|last| last.session)).await?;
                    (all.now, all.more) = (now, more);
                    all.sessions.extend(sessions);
                }
                if arguments.json { print::json(&as_json(&all)) } else { print::line(as_text(&all)) }
            }
        }
    })
}

/// For how long nothing was heard of it.
fn silent(list: &SessionList, state: &SessionState) -> Duration {
    Duration::from_micros(list.now.0.saturating_sub(state.heard.0))
}

fn as_json(list: &SessionList) -> Value {
    let sessions = list.sessions.iter().map(|state| {
        json!({
            "session": state.session.to_string(),
            "ttl_ms": state.ttl_ms,
            "silent_ms": u64::try_from(silent(list, state).as_millis()).unwrap_or(u64::MAX),
            "waiting": state.waiting,
            "kept": state.kept,
            "objects": state.objects,
        })
    });
    json!({"sessions": sessions.collect::<Vec<_>>()})
}

fn as_text(list: &SessionList) -> String {
    let mut table = Table::new(&["SESSION", "TTL", "SILENT FOR", "WAITING", "REPLIES KEPT", "OBJECTS"]);
    for state in &list.sessions {
        table.row([
            state.session.to_string(),
            format!("{} s", f64::from(state.ttl_ms) / 1000.0),
            format!("{:.1} s", silent(list, state).as_secs_f64()),
            state.waiting.to_string(),
            state.kept.to_string(),
            state.objects.to_string(),
        ]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use concoord_wire::{Slot, Timestamp};

    use super::*;

    #[test]
    fn sessions_are_listed_by_line_and_read_back() {
        let id = SessionId { slot: Slot(17), index: 2 };
        let heard = Timestamp(2_000_000);
        let state = SessionState { session: id, ttl_ms: 1500, heard, waiting: 3, kept: 4, objects: 1 };
        let list = SessionList { now: Timestamp(3_250_000), sessions: vec![state], more: false };
        assert_eq!(
            as_text(&list),
            "SESSION  TTL    SILENT FOR  WAITING  REPLIES KEPT  OBJECTS\n17-2     1.5 s  1.2 s       3        4             1"
        );
        assert_eq!(as_json(&list)["sessions"][0]["silent_ms"], 1250);
        assert_eq!("17-2".parse(), Ok(id));
        assert!(["17", "17.2", "17-x", "-"].iter().all(|bad| bad.parse::<SessionId>().is_err()));
    }
}
