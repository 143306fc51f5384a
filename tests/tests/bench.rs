//! What a program that measures along with `concoord bench` relies on; `tests/bench-peers` is one.

use concoord_tests::cluster::{Cluster, concoord};
use serde_json::Value;

#[test]
fn bench_announces_when_it_measures_and_ends_with_its_figures() {
    let mut cluster = Cluster::new("bench");
    let address = cluster.start(&["-o", "counter"]).to_string();
    for method in ["counter.increment", "counter.getvalue"] {
        let load = ["--clients", "2", "--in-flight", "4", "--seconds", "1", "--announce", "--json"];
        let shown = concoord(&[&["bench", method, "-c", &address], &load[..]].concat());
        assert_eq!((shown.code, shown.stderr.as_str()), (Some(0), ""));
        let lines: Vec<_> = shown.stdout.lines().collect();
        let ["measuring", "measured", figures] = lines[..] else { panic!("{lines:?}") };
        let figures: Value = serde_json::from_str(figures).expect("the last line is JSON");
        assert_eq!((&figures["method"], &figures["errors"]), (&Value::from(method), &Value::from(0)), "{figures}");
        for figure in ["seconds", "calls", "per_second", "p50_us", "p99_us"] {
            assert!(figures[figure].as_f64().is_some_and(|figure| figure > 0.0), "{figure} in {figures}");
        }
    }
}
