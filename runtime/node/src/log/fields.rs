//! Fixed places in fixed headers, little-endian.

use concoord_wire::{Ballot, NodeId, ViewId};

pub(crate) fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_u64(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_ballot(bytes: &mut [u8], at: usize, ballot: Ballot) {
    put_u64(bytes, at, ballot.view.0);
    put_u64(bytes, at + 8, ballot.round);
    put_u64(bytes, at + 16, ballot.leader.0);
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(bytes, at))
}

pub(crate) fn u128_at(bytes: &[u8], at: usize) -> u128 {
    u128::from_le_bytes(array(bytes, at))
}

pub(crate) fn ballot_at(bytes: &[u8], at: usize) -> Ballot {
    Ballot { view: ViewId(u64_at(bytes, at)), round: u64_at(bytes, at + 8), leader: NodeId(u64_at(bytes, at + 16)) }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}
