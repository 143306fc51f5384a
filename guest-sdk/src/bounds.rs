//! What the attributes require of an author's types. Each trait here stands for traits of other crates, so that the
//! compiler says once what to write where one is missing, and no more: what the attributes write calls nothing else.

use concoord_wire::abi::Rejection;
use concoord_wire::codec::{self, FrameError};
use postcard_schema::Schema;
use postcard_schema::schema::{DataModelType, NamedType};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::object::Arguments;

/// The state of an object: it moves to other versions of the object. Any type with serde's traits.
#[diagnostic::on_unimplemented(
    message = "the state of `{Self}` can't be kept or moved",
    label = "`{Self}` needs `#[derive(Serialize, Deserialize)]`, below `#[concoord::object]`"
)]
pub trait State: Sized {
    /// Its postcard.
    fn to_postcard(&self) -> Vec<u8>;
    /// Reads what must be its postcard and nothing else.
    ///
    /// # Errors
    /// When it is not.
    fn from_postcard(bytes: &[u8]) -> Result<Self, FrameError>;
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned> State for T {
    fn to_postcard(&self) -> Vec<u8> {
        codec::to_bytes(self)
    }

    fn from_postcard(bytes: &[u8]) -> Result<T, FrameError> {
        codec::from_bytes(bytes)
    }
}

/// An object without a constructor. Any type with a default.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say how it starts",
    label = "`{Self}` needs `#[derive(Default)]`, or `pub fn new() -> Self` among its methods"
)]
pub trait Initial {
    /// The object as it starts.
    fn initial() -> Self;
}

#[diagnostic::do_not_recommend]
impl<T: Default> Initial for T {
    fn initial() -> T {
        T::default()
    }
}

/// An argument, a result or an error of a method. Any type with serde's traits and a schema.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be sent to an object or back",
    label = "callers don't know how this looks",
    note = "write `#[concoord::data]` above structs and enums of your own; beside them, numbers, `bool`, `String`, \
            `Vec`, `Option`, `BTreeMap`, and tuples of these can be sent"
)]
pub trait Sent: Sized {
    /// For the interface.
    const SCHEMA: &'static NamedType;
    /// The next of a call's arguments.
    ///
    /// # Errors
    /// [`Rejection::Arguments`] that names it.
    fn take(arguments: &mut Arguments<'_>, name: &str) -> Result<Self, Rejection>;
    /// Its postcard; that of several arguments is one after the other.
    fn encode(&self) -> Vec<u8>;
    /// Its postcard, as what a call returns: in memory that the guest uses again.
    fn encode_result(&self) -> Vec<u8>;
    /// Reads what must be its postcard and nothing else.
    ///
    /// # Errors
    /// When it is not.
    fn decode(bytes: &[u8]) -> Result<Self, FrameError>;
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Schema> Sent for T {
    const SCHEMA: &'static NamedType = T::SCHEMA;

    fn take(arguments: &mut Arguments<'_>, name: &str) -> Result<T, Rejection> {
        // Optional arguments at the end may be left out.
        if arguments.is_used_up() && matches!(T::SCHEMA.ty, DataModelType::Option(_)) {
            return Arguments::new(&[0]).take(name);
        }
        arguments.take(name)
    }

    fn encode(&self) -> Vec<u8> {
        codec::to_bytes(self)
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn encode_result(&self) -> Vec<u8> {
        self.encode()
    }

    #[cfg(target_arch = "wasm32")]
    fn encode_result(&self) -> Vec<u8> {
        let mut result = crate::guest::result_memory();
        codec::append(self, &mut result);
        result
    }

    fn decode(bytes: &[u8]) -> Result<T, FrameError> {
        codec::from_bytes(bytes)
    }
}

/// Stands in for the default of a field that `#[concoord::object]` refused. It is compiled, but never linked.
///
/// # Panics
/// Always.
#[must_use]
pub fn refused<T>() -> T {
    unreachable!("the object does not compile")
}
