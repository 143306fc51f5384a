//! `concoord bench`: how many calls a cluster answers, and how fast.

mod load;

use std::time::Duration;

use anyhow::{Context, ensure};
use concoord_wire::client::Consistency;
use concoord_wire::interface::{Interface, Method, MethodKind};
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::bench::load::{Load, Measured};
use crate::call::{self, Target};
use crate::connect::{self, Connect};
use crate::duration;
use crate::print::{self, Progress, Table};

/// Measure throughput and latency of calls
///
/// Calls one method without pause, after a second of warming up, and prints calls per second and the latencies of single
/// calls. A query is asked of one replica and linearizable; an update goes through the log.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    connect: Connect,

    /// The method, and before it the object unless the cluster has only one [default: the object's first update without
    /// arguments]
    #[arg(value_name = "[OBJECT.]METHOD")]
    target: Option<String>,

    /// Connections, each with a session of its own
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=4096))]
    clients: u32,

    /// Calls under way at a time, spread over the connections
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=65536))]
    in_flight: u32,

    /// How long to measure
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=86400))]
    seconds: u32,

    /// Print JSON instead of the table [default: off]
    #[arg(long)]
    json: bool,

    /// Print the lines "measuring" and "measured" when the measured time begins and ends, for a program that measures
    /// something else meanwhile [default: off]
    #[arg(long)]
    announce: bool,

    /// Arguments of the method as JSON, for every call the same [default: none]
    #[arg(long, value_name = "JSON", num_args = 1.., allow_negative_numbers = true)]
    args: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { clients, in_flight, .. } = arguments;
    ensure!(
        in_flight >= clients,
        "--in-flight {in_flight} is less than --clients {clients}: give every connection a call at least"
    );
    let runtime = connect::runtime()?;
    let (name, measured) = runtime.block_on(measure(arguments))?;
    if arguments.json {
        print::json(&as_json(arguments, &name, &measured))?;
    } else {
        print::line(as_table(arguments, &name, &measured))?;
    }
    ensure!(measured.calls > 0, "no call was answered: {}", measured.first_error.as_deref().unwrap_or("none in time"));
    Ok(())
}

/// Runs the load; gives the full name of the method with what was measured.
async fn measure(arguments: &Arguments) -> anyhow::Result<(String, Measured)> {
    let mut clients = Vec::new();
    for _ in 0..arguments.clients {
        clients.push(arguments.connect.client().await?);
    }
    let target = arguments.target.as_deref().map(Target::parse);
    let first = clients.first().context("there is at least one client")?;
    let description =
        connect::describe(first, target.and_then(|target| target.object), Consistency::Linearizable).await?;
    let interface = &description.interface;
    let method = match target {
        Some(target) => target.method(&description.name, interface)?,
        None => default_method(&description.name, interface)?,
    };
    let load = Load {
        object: description.name.clone(),
        method: method.name.clone(),
        is_query: method.kind == MethodKind::Query,
        arguments: call::encode(interface, method, &arguments.args)?,
    };
    let time = Duration::from_secs(arguments.seconds.into());
    let measured =
        load::run(load, clients, arguments.in_flight, time, arguments.announce, &mut Progress::new()).await?;
    Ok((format!("{}.{}", description.name, method.name), measured))
}

fn default_method<'a>(object: &str, interface: &'a Interface) -> anyhow::Result<&'a Method> {
    let simple = |method: &&Method| method.kind == MethodKind::Update && method.arguments.is_empty();
    let found = interface.methods.iter().find(simple);
    found.with_context(|| format!("{object} has no update without arguments: name a method, and give it --args"))
}

fn as_json(arguments: &Arguments, name: &str, measured: &Measured) -> Value {
    let us = |quantile| measured.latency_ns.value_at_quantile(quantile) as f64 / 1e3;
    json!({
        "method": name,
        "clients": arguments.clients,
        "in_flight": arguments.in_flight,
        "seconds": measured.time.as_secs_f64(),
        "calls": measured.calls,
        "errors": measured.errors,
        "first_error": measured.first_error,
        "per_second": (measured.per_second() * 10.0).round() / 10.0,
        "p50_us": us(0.5),
        "p99_us": us(0.99),
        "p99_9_us": us(0.999),
        "max_us": measured.latency_ns.max() as f64 / 1e3,
    })
}

fn as_table(arguments: &Arguments, name: &str, measured: &Measured) -> String {
    let quantile = |quantile| shown(&measured.latency_ns, |latency| latency.value_at_quantile(quantile));
    let mut table = Table::untitled();
    let mut row = |name: &str, value: String| table.row([name.into(), value]);
    row("method", name.into());
    row("clients", arguments.clients.to_string());
    row("in flight", arguments.in_flight.to_string());
    row("calls", format!("{} in {:.1} s", measured.calls, measured.time.as_secs_f64()));
    row("calls per second", format!("{:.0}", measured.per_second()));
    row("latency p50", quantile(0.5));
    row("latency p99", quantile(0.99));
    row("latency p99.9", quantile(0.999));
    row("latency max", shown(&measured.latency_ns, Histogram::max));
    match &measured.first_error {
        Some(first) => row("errors", format!("{}, the first: {first}", measured.errors)),
        None => row("errors", measured.errors.to_string()),
    }
    table.to_string()
}

fn shown(latency_ns: &Histogram<u64>, of: impl Fn(&Histogram<u64>) -> u64) -> String {
    if latency_ns.is_empty() { "-".into() } else { duration::show(Duration::from_nanos(of(latency_ns))) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parsed(line: &str) -> Arguments {
        Line::try_parse_from(line.split(' ')).expect("parses").arguments
    }

    #[test]
    fn arguments_of_the_method_stand_behind_args() {
        let arguments = parsed("bench -c 127.0.0.1:14000 kv.put --clients 2 --in-flight 4 --args key -5");
        assert_eq!(arguments.target.as_deref(), Some("kv.put"));
        assert_eq!(arguments.args, ["key", "-5"]);
    }

    #[test]
    fn fewer_calls_than_connections_is_an_error() {
        let error = run(&parsed("bench --clients 8 --in-flight 4")).expect_err("too few").to_string();
        assert!(error.contains("--in-flight 4 is less than --clients 8"), "{error}");
    }

    #[test]
    fn figures_come_from_the_histogram() {
        let mut measured = Measured::new();
        for latency_us in [100, 200, 300] {
            measured.answered(Duration::from_micros(latency_us));
        }
        measured.time = Duration::from_secs(2);
        let arguments = parsed("bench");
        let json = as_json(&arguments, "counter.increment", &measured);
        assert_eq!(json["per_second"], 1.5);
        assert!((json["p50_us"].as_f64().expect("a number") - 200.0).abs() < 0.5, "{json}");
        assert!(as_table(&arguments, "counter.increment", &measured).contains("latency max       300 us"));
        assert!(as_table(&arguments, "counter.increment", &Measured::new()).contains("latency p50       -"));
    }
}
