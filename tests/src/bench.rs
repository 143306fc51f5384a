//! A load with figures: `concoord bench`.

use serde_json::Value;

use crate::cluster::concoord;

/// What one window of `concoord bench` measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// Calls answered a second.
    pub per_second: f64,
    /// The latency that 99 of 100 calls stayed below, in ms.
    pub p99_ms: f64,
}

/// How much load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Callers {
    /// Connections.
    pub clients: u32,
    /// Calls under way at a time.
    pub in_flight: u32,
}

/// Increments the counter at `addresses` for `seconds` after a second of warming up.
///
/// # Panics
/// When a call fails.
#[must_use]
pub fn bench(addresses: &str, callers: Callers, seconds: u32) -> Window {
    let (clients, in_flight, seconds) =
        (callers.clients.to_string(), callers.in_flight.to_string(), seconds.to_string());
    let load = ["--clients", &clients, "--in-flight", &in_flight, "--seconds", &seconds, "--json"];
    let shown = concoord(&[&["bench", "counter.increment", "-c", addresses], &load[..]].concat());
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    let figures: Value = serde_json::from_str(&shown.stdout).expect("JSON");
    assert_eq!(figures["errors"], 0, "{figures}");
    let figure = |name: &str| figures[name].as_f64().unwrap_or_else(|| panic!("no {name} in {figures}"));
    Window { per_second: figure("per_second"), p99_ms: figure("p99_us") / 1e3 }
}
