//! What a replica says while it runs: to standard error, with colours on a terminal only.

use std::io::{IsTerminal, stderr};

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging for the rest of the process: our own events from `info` up, with `debug` everything of ours; of the
/// libraries underneath, warnings.
pub(crate) fn start(debug: bool) {
    let ours = if debug { Level::DEBUG } else { Level::INFO };
    // A target is matched by its beginning, so this is every crate of ours.
    let filter = Targets::new().with_default(Level::WARN).with_target("concoord", ours);
    let colours = stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = tracing_subscriber::fmt::layer().with_writer(stderr).with_ansi(colours).with_target(debug);
    tracing_subscriber::registry().with(filter).with(lines).init();
}
