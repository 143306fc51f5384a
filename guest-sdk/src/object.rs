//! What an object is to whoever runs it, natively or as Wasm.

use concoord_wire::abi::{Answer, Invocation, Outcome, Rejection, Reply, Trigger};
use concoord_wire::interface::{Argument, Interface, Method, MethodKind, TypeTable};
use concoord_wire::{CallId, Position, SessionId, Timestamp};
use postcard_schema::schema::NamedType;
use serde::de::DeserializeOwned;

use crate::bounds::State;
use crate::{Context, Ended};

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
    fn run(&mut self, cx: &mut Context, method: &str, arguments: &[u8]) -> Reply;

    /// A session that called this object is gone, and its waiters with it: what it holds is to be given up. An object says
    /// what it does by a function `session_closed` in its block of methods.
    fn on_session_closed(&mut self, _cx: &mut Context, _session: SessionId) {}

    /// A call that waited has ended without an answer, and its waiter is gone. An object says what it does by a function
    /// `cancelled`.
    fn on_cancelled(&mut self, _cx: &mut Context, _call: CallId) {}

    /// A timer is due. An object says what it does by a function `timer`.
    fn on_timer(&mut self, _cx: &mut Context, _token: u64) {}

    /// Runs one method that does not wait, for nobody and at no time: for tests.
    ///
    /// # Panics
    /// When the method waits.
    fn call(&mut self, method: &str, arguments: &[u8]) -> Answer {
        let (position, now, call, caller) = (Position::default(), Timestamp::default(), None, None);
        let invocation = Invocation { position, now, seed: 0, call, caller, trigger: Trigger::Call { method } };
        match self.dispatch(&invocation, arguments).reply {
            Reply::Now(answer) => answer,
            Reply::Parked | Reply::None => panic!("{method} waits"),
        }
    }

    /// Runs one input. [`Trigger::Init`] is not one of an existing object: see [`Object::create`].
    fn dispatch(&mut self, invocation: &Invocation<'_>, arguments: &[u8]) -> Outcome {
        let mut cx = Context::new(invocation);
        let reply = self.react(&mut cx, &invocation.trigger, arguments);
        cx.finish(reply)
    }

    /// As [`Object::dispatch`]; what the input wants beside a reply stays in the context.
    #[doc(hidden)]
    fn react(&mut self, cx: &mut Context, trigger: &Trigger<'_>, arguments: &[u8]) -> Reply {
        match *trigger {
            Trigger::Call { method } => return self.run(cx, method, arguments),
            Trigger::Init => {}
            Trigger::Cancelled { call } => {
                self.drop_ended(Ended::Call(call));
                self.on_cancelled(cx, call);
            }
            Trigger::SessionClosed { session } => {
                self.drop_ended(Ended::Session(session));
                self.on_session_closed(cx, session);
            }
            Trigger::Timer { token } => self.on_timer(cx, token),
        }
        Reply::None
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

    /// What it emits.
    const EVENT: Option<&'static NamedType>;

    /// Takes those out of its fields whose waits are over.
    fn drop_ended(&mut self, ended: Ended);
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
    interface([T::NAME, T::VERSION, T::DOC], init, methods, T::EVENT)
}

fn interface(
    [name, version, doc]: [&str; 3],
    init: &[(&'static str, &'static NamedType)],
    methods: &[MethodDescription],
    event: Option<&NamedType>,
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
    let event = event.map(|event| types.add(event));
    Interface {
        name: name.into(),
        version: version.into(),
        doc: doc.into(),
        types: types.finish(),
        init,
        methods,
        event,
    }
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

    /// Whether all is taken.
    #[must_use]
    pub fn is_used_up(&self) -> bool {
        self.unread.is_empty()
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
