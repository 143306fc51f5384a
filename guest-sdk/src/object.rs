//! What an object is to whoever runs it, natively or as Wasm.

use concoord_wire::abi::{Answer, Invocation, Outcome, Rejection, Reply, Trigger};
use concoord_wire::interface::{Argument, Interface, Method, MethodKind, TypeTable};
use postcard_schema::schema::NamedType;
use serde::de::DeserializeOwned;

use crate::bounds::State;

/// A replicated object. `#[concoord::methods]` implements it; simulation and tests run objects through it.
pub trait Object: Described + State {
    /// Name, methods and types.
    fn interface() -> Interface;

    /// The object as it starts, made from the postcard of the constructor's arguments.
    ///
    /// # Errors
    /// [`Rejection::Arguments`] when they are not what the constructor takes, or it returned an error.
    fn create(arguments: &[u8]) -> Result<Self, Rejection>;

    /// Runs one method on the postcard of its arguments. A query runs on a shared borrow.
    fn call(&mut self, method: &str, arguments: &[u8]) -> Answer;

    /// Runs one input. [`Trigger::Init`] is not one of an existing object: see [`Object::create`].
    fn dispatch(&mut self, invocation: &Invocation<'_>, arguments: &[u8]) -> Outcome {
        match invocation.trigger {
            Trigger::Call { method } => {
                Outcome { reply: Reply::Now(self.call(method, arguments)), ..Outcome::default() }
            }
            // An object without blocking methods or timers has nothing to do for these.
            Trigger::Init | Trigger::Cancelled { .. } | Trigger::SessionClosed { .. } | Trigger::Timer { .. } => {
                Outcome::default()
            }
        }
    }

    /// The state, for an upgrade to another version of the object.
    fn export(&self) -> Vec<u8> {
        self.to_postcard()
    }

    /// Takes over what [`Object::export`] of this or an earlier version gave.
    ///
    /// # Errors
    /// A sentence that says why the state does not fit.
    fn import(state: &[u8]) -> Result<Self, String> {
        Self::from_postcard(state).map_err(|error| format!("the state does not fit {}: {error}", Self::NAME))
    }
}

/// What `#[concoord::object]` notes about a struct.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has `#[concoord::methods]` but is not an object",
    label = "write `#[concoord::object]` above `struct {Self}`"
)]
pub trait Described {
    /// Name of the struct.
    const NAME: &'static str;
    /// Version of its crate.
    const VERSION: &'static str;
    /// Its doc comment.
    const DOC: &'static str;
}

/// One method as the attribute read it.
#[derive(Clone, Copy, Debug)]
pub struct MethodDescription {
    /// Its name.
    pub name: &'static str,
    /// Its doc comment.
    pub doc: &'static str,
    /// By its receiver.
    pub kind: MethodKind,
    /// Names and types.
    pub arguments: &'static [(&'static str, &'static NamedType)],
    /// Of `Ok`, where it returns `Result`.
    pub result: &'static NamedType,
    /// Of `Err`, where it returns `Result`.
    pub error: Option<&'static NamedType>,
}

/// The interface of an object with this constructor and these methods.
#[must_use]
pub fn describe<T: Described>(init: &[(&'static str, &'static NamedType)], methods: &[MethodDescription]) -> Interface {
    interface([T::NAME, T::VERSION, T::DOC], init, methods)
}

fn interface(
    [name, version, doc]: [&str; 3],
    init: &[(&'static str, &'static NamedType)],
    methods: &[MethodDescription],
) -> Interface {
    let mut types = TypeTable::default();
    let arguments = |types: &mut TypeTable, described: &[(&str, &NamedType)]| -> Vec<Argument> {
        described.iter().map(|(name, schema)| Argument { name: (*name).into(), ty: types.add(schema) }).collect()
    };
    let init = arguments(&mut types, init);
    let methods = methods
        .iter()
        .map(|method| Method {
            name: method.name.into(),
            doc: method.doc.into(),
            kind: method.kind,
            arguments: arguments(&mut types, method.arguments),
            result: types.add(method.result),
            error: method.error.map(|error| types.add(error)),
        })
        .collect();
    Interface { name: name.into(), version: version.into(), doc: doc.into(), types: types.finish(), init, methods }
}

/// Reads the arguments of one call, one after the other.
#[derive(Debug)]
pub struct Arguments<'a> {
    unread: &'a [u8],
    taken: usize,
}

impl<'a> Arguments<'a> {
    /// All of `bytes` are arguments.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Arguments<'a> {
        Arguments { unread: bytes, taken: 0 }
    }

    /// The next argument.
    ///
    /// # Errors
    /// [`Rejection::Arguments`] that names it.
    pub fn take<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, Rejection> {
        self.taken += 1;
        match postcard::take_from_bytes(self.unread) {
            Ok((value, unread)) => {
                self.unread = unread;
                Ok(value)
            }
            Err(error) => Err(malformed(self.taken, name, &error)),
        }
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// [`Rejection::Arguments`] with the number of bytes that are.
    pub fn finish(self) -> Result<(), Rejection> {
        match self.unread.len() {
            0 => Ok(()),
            left => Err(Rejection::Arguments(format!("{} taken, bytes left over: {left}", self.taken))),
        }
    }
}

fn malformed(number: usize, name: &str, error: &postcard::Error) -> Rejection {
    Rejection::Arguments(format!("argument {number} '{name}': {error}"))
}
