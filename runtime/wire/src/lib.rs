//! Everything of Concoord that crosses a boundary, and nothing else.
//!
//! | boundary                    | here                                             |
//! |-----------------------------|--------------------------------------------------|
//! | host and Wasm guest         | [`abi`], [`interface`]; [`signature`] and [`compatibility`] read interfaces |
//! | client and replica          | [`client`], [`objects`], [`hello`]               |
//! | replica and replica         | [`peer`], [`check`], [`join`], [`hello`]         |
//! | replica and its disk        | [`record`], [`value`], [`checkpoint`]            |
//! | build and build             | [`version`]                                      |
//! | proxy and client            | [`caller`]                                       |
//! | JSON and postcard           | `json`, with the feature of that name            |
//!
//! All payloads are [postcard](https://postcard.jamesmunns.com/wire-format); [`codec`] frames them. What arrives is
//! hostile until decoded: every length is checked against [`limits`] before memory is taken for it.

pub mod abi;
pub mod caller;
pub mod check;
pub mod checkpoint;
pub mod client;
pub mod codec;
pub mod compatibility;
pub mod hello;
pub mod ids;
pub mod interface;
pub mod join;
#[cfg(feature = "json")]
pub mod json;
pub mod limits;
pub mod member;
pub mod objects;
pub mod peer;
pub mod record;
pub mod signature;
pub mod value;
pub mod version;

pub use ids::{
    Ballot, CallId, ClusterId, GroupId, ModuleHash, NodeId, ObjectId, Position, SessionId, Slot, Timestamp, ViewId,
};
