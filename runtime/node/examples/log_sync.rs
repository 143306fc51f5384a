//! What a group commit costs on a real directory: write and sync of one frame at a time.
//!
//! ```text
//! cargo run --release -p concoord-node --example log_sync -- [DIRECTORY] [RECORD_BYTES] [FRAMES]
//! ```

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use concoord_consensus::io::LogPosition;
use concoord_node::disk::RealDirectory;
use concoord_node::log::{Identity, Log, LogOptions};
use concoord_wire::checkpoint::Checkpoint;
use concoord_wire::member::View;
use concoord_wire::record::Record;
use concoord_wire::value::Value;
use concoord_wire::{Ballot, ClusterId, NodeId, Slot, ViewId};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().map_or_else(|| PathBuf::from("log-sync-example"), PathBuf::from);
    let record_bytes: usize = arguments.next().map_or(Ok(1024), |text| text.parse())?;
    let frames: u64 = arguments.next().map_or(Ok(5000), |text| text.parse())?;
    let identity = Identity { cluster: ClusterId(1), node: NodeId(1), tag: 1 };
    let view = View::first([]);
    let start = Checkpoint::genesis(identity.cluster, view);
    let real = Arc::new(RealDirectory::open(&directory)?);
    let mut log = Log::create(real, identity, &start, &[], LogOptions::default())?;
    while log.prepare_spare()? {}
    let ballot = Ballot { view: ViewId(1), round: 1, leader: identity.node };
    let value = Value::Batch(Bytes::from(vec![7; record_bytes]));
    let mut micros = Vec::new();
    let began = Instant::now();
    for number in 1..=frames {
        let record = Record::Accepted { slot: Slot(number), ballot, value: value.clone() };
        let start = Instant::now();
        log.write(&[(LogPosition(number), record)])?;
        log.sync()?;
        micros.push(start.elapsed().as_micros());
        // In production another thread does that.
        log.prepare_spare()?;
    }
    let seconds = began.elapsed().as_secs_f64();
    micros.sort_unstable();
    let at = |percent: usize| micros.get((micros.len() - 1) * percent / 100).copied().unwrap_or_default();
    println!(
        "{frames} frames of {record_bytes} bytes: {:.0} a second; write and sync p50 {} us, p99 {} us, longest {} us",
        frames as f64 / seconds,
        at(50),
        at(99),
        at(100)
    );
    log.close()?;
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}
