//! Every format that crosses a boundary, with samples of each of its variants.
//!
//! A format reads bytes and writes them again, so the tests need not know its type. `variants!` lists the variants of
//! an enum twice at once: in a `match` that a new variant breaks, and by name, so that a sample of each is demanded.

pub(crate) mod mutation;
pub(crate) mod samples;

use std::collections::BTreeSet;
use std::fmt::Debug;

use concoord_wire::codec::{self, FrameError};
use concoord_wire::{GroupId, checkpoint, hello, join, peer, record, value};
use concoord_wire::{abi, client, interface};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A group number that takes more than one byte, so that a format that forgets the group shows.
pub(crate) const GROUP: GroupId = GroupId(300);

/// Reads all of `bytes` and writes again what they say.
pub(crate) type Rewrite = fn(&[u8]) -> Result<Vec<u8>, FrameError>;

/// One type that crosses a boundary.
pub(crate) struct Format {
    /// The type's name.
    pub(crate) name: &'static str,
    /// Reads and writes it: for a frame, what stands behind the frame's length.
    pub(crate) rewrite: Rewrite,
    /// Encoded samples.
    pub(crate) samples: Vec<Vec<u8>>,
    /// Whether it begins with a version.
    pub(crate) framed: bool,
}

/// All formats.
pub(crate) fn all() -> Vec<Format> {
    vec![
        framed::<hello::Hello>("Hello", samples::hellos()),
        framed::<hello::HelloReply>("HelloReply", samples::hello_replies()),
        framed::<client::Request>("Request", samples::requests()),
        framed::<client::Response>("Response", samples::responses()),
        framed::<peer::PeerFrame>("PeerFrame", samples::peer_frames()),
        framed::<join::JoinRequest>("JoinRequest", samples::join_requests()),
        framed::<join::JoinReply>("JoinReply", samples::join_replies()),
        bare::<checkpoint::Checkpoint>("Checkpoint", &[samples::checkpoint()]),
        bare::<record::GroupRecord>("GroupRecord", &samples::group_records()),
        bare::<value::Batch>("Batch", &[samples::batch(), value::Batch::default()]),
        bare::<abi::Outcome>("Outcome", &samples::outcomes()),
        bare::<interface::Interface>("Interface", &[samples::interface()]),
        Format {
            name: "Invocation",
            rewrite: |bytes| codec::from_bytes::<abi::Invocation<'_>>(bytes).map(|value| codec::to_bytes(&value)),
            samples: samples::invocations().iter().map(codec::to_bytes).collect(),
            framed: false,
        },
        Format {
            name: "BatchRef",
            rewrite: |bytes| {
                let owned = codec::from_bytes::<value::Batch>(bytes);
                let borrowed = codec::from_bytes::<value::BatchRef<'_>>(bytes);
                assert_eq!(owned.is_ok(), borrowed.is_ok(), "a batch is read by both or by none");
                borrowed.and(owned).map(|value| codec::to_bytes(&value))
            },
            samples: vec![codec::to_bytes(&samples::batch())],
            framed: false,
        },
    ]
}

/// The frame of a message, with its length.
pub(crate) fn frame<T: Serialize>(message: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec::encode(GROUP, message, usize::MAX, &mut bytes).expect("no limit");
    bytes
}

fn framed<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &'static str, values: Vec<T>) -> Format {
    let inside = |bytes: Vec<u8>| bytes[4..].to_vec();
    for value in &values {
        let (group, read) = codec::decode::<T>(&inside(frame(value))).expect(name);
        assert_eq!((group, &read), (GROUP, value));
    }
    Format {
        name,
        rewrite: |bytes| {
            codec::decode::<T>(bytes).map(|(group, value)| {
                let mut bytes = Vec::new();
                codec::encode(group, &value, usize::MAX, &mut bytes).expect("no limit");
                bytes[4..].to_vec()
            })
        },
        samples: values.iter().map(|value| inside(frame(value))).collect(),
        framed: true,
    }
}

fn bare<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &'static str, values: &[T]) -> Format {
    for value in values {
        assert_eq!(&codec::from_bytes::<T>(&codec::to_bytes(value)).expect(name), value);
    }
    Format {
        name,
        rewrite: |bytes| codec::from_bytes::<T>(bytes).map(|value| codec::to_bytes(&value)),
        samples: values.iter().map(codec::to_bytes).collect(),
        framed: false,
    }
}

/// Fails unless the samples hold each variant of their enum.
pub(crate) fn assert_complete<T>(values: &[T], variant: fn(&T) -> &'static str, all: &[&'static str]) {
    let found = values.iter().map(variant).collect::<BTreeSet<_>>();
    assert_eq!(found, all.iter().copied().collect(), "samples of {}", std::any::type_name::<T>());
}

/// `variants!(Enum: A, B; samples)` demands that `samples` hold an `Enum::A` and an `Enum::B`, and that there are no
/// other variants.
macro_rules! variants {
    ($enum:ident: $($variant:ident),+ ; $samples:expr) => {{
        let samples = $samples;
        $crate::formats::assert_complete(
            &samples,
            |value| match value { $($enum::$variant { .. } => stringify!($variant)),+ },
            &[$(stringify!($variant)),+],
        );
        samples
    }};
}
pub(crate) use variants;
