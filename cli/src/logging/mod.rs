//! What a replica says while it runs: to standard error, for people on a terminal and as JSON lines elsewhere, and to a
//! logger over the network if it is given one.

mod ship;

use std::io::{IsTerminal, stderr};
use std::net::SocketAddr;

use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use ship::Shipper;
pub(crate) use ship::Shipping;

/// How lines are written to standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One line of text for each event.
    Text,
    /// One JSON object on a line for each event.
    Json,
}

impl Format {
    fn is_json(self) -> bool {
        match self {
            Format::Auto => !stderr().is_terminal(),
            Format::Text => false,
            Format::Json => true,
        }
    }
}

/// Starts logging for the rest of the process: our own events from `info` up, with `debug` everything of ours; of the
/// libraries underneath, warnings. What goes to the logger says that it comes from the replica at `from`, and goes on its way
/// until the value that is returned is dropped.
///
/// # Errors
/// When the thread for that can't start.
pub(crate) fn start(
    debug: bool,
    format: Format,
    logger: Option<String>,
    from: SocketAddr,
) -> std::io::Result<Option<Shipping>> {
    let ours = if debug { Level::DEBUG } else { Level::INFO };
    // A target is matched by its beginning, so this is every crate of ours.
    let filter = Targets::new().with_default(Level::WARN).with_target("concoord", ours);
    let lines = tracing_subscriber::fmt::layer().with_writer(stderr).with_target(debug);
    let lines = if format.is_json() {
        lines.json().flatten_event(true).boxed()
    } else {
        let colours = stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        lines.with_ansi(colours).boxed()
    };
    let shipping = logger.map(|logger| ship::start(logger, from)).transpose()?;
    let shipped = shipping.as_ref().map(shipped);
    tracing_subscriber::registry().with(filter).with(lines).with(shipped).init();
    Ok(shipping)
}

/// Events as lines for the logger.
fn shipped<S: Subscriber + for<'a> LookupSpan<'a>>(shipping: &Shipping) -> impl Layer<S> + use<S> {
    let shipper: Shipper = shipping.shipper();
    tracing_subscriber::fmt::layer().with_writer(move || shipper.clone()).json().flatten_event(true)
}

#[cfg(test)]
mod tests;
