//! An object with everything an author may write, called natively and through its proxy.

#![allow(missing_docs, reason = "whether a method has a doc comment is part of the test")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use concoord::prelude::*;
use concoord::wire::abi::{Answer, Invocation, Outcome, Rejection, Reply, Trigger};
use concoord::wire::codec::{from_bytes, to_bytes};
use concoord::wire::interface::{Interface, MethodKind, Type};
use concoord::wire::{Position, SessionId, Slot, Timestamp};
use concoord::{Caller, ProxyError};

/// A movement on an account.
#[concoord::data]
#[derive(Clone, Debug, PartialEq)]
pub struct Movement {
    account: String,
    amount: i64,
}

/// Why the bank said no.
#[concoord::data]
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    Unknown,
    TooPoor { has: u64 },
}

/// Keeps accounts.
///
/// None goes below zero.
#[concoord::object]
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Bank {
    least: u64,
    accounts: BTreeMap<String, u64>,
    movements: Vec<Movement>,
}

#[concoord::methods]
impl Bank {
    pub fn new(least: u64, open: Vec<String>) -> Result<Self, String> {
        if open.is_empty() {
            return Err("a bank needs an account".into());
        }
        Ok(Bank { least, accounts: open.into_iter().map(|name| (name, least)).collect(), movements: vec![] })
    }

    /// Moves `amount` from or to an account; gives what is there then.
    pub fn change(&mut self, account: String, amount: i64) -> Result<u64, Refusal> {
        let least = self.least;
        let has = self.accounts.get_mut(&account).ok_or(Refusal::Unknown)?;
        let then = has.checked_add_signed(amount).filter(|then| *then >= least);
        *has = then.ok_or(Refusal::TooPoor { has: *has })?;
        let now = *has;
        self.note(account, amount);
        Ok(now)
    }

    /// What is on an account.
    pub fn balance(&self, account: String) -> Option<u64> {
        self.accounts.get(&account).copied()
    }

    pub fn movements(&self) -> Vec<Movement> {
        self.movements.clone()
    }

    pub fn forget(&mut self) {
        self.movements.clear();
    }

    /// Its name is a keyword.
    pub fn r#yield(&self, mut rate: f64) -> f64 {
        rate *= self.accounts.values().sum::<u64>() as f64;
        rate
    }

    fn note(&mut self, account: String, amount: i64) {
        self.movements.push(Movement { account, amount });
    }
}

fn bank() -> Bank {
    Bank::create(&to_bytes(&(10u64, ["ann", "bob"].map(String::from).to_vec()))).expect("the constructor's arguments")
}

fn names_of(interface: &Interface, name: &str) -> Vec<String> {
    let method = interface.method(name).expect("a method");
    method.arguments.iter().map(|argument| argument.name.clone()).collect()
}

#[test]
fn the_interface_says_what_the_author_wrote() {
    let interface = Bank::interface();
    assert_eq!(Interface::decode(&to_bytes(&interface)), Ok(interface.clone()));
    assert_eq!((interface.name.as_str(), interface.version.as_str()), ("Bank", env!("CARGO_PKG_VERSION")));
    assert_eq!(interface.doc, "Keeps accounts.\n\nNone goes below zero.");
    assert_eq!(interface.init.iter().map(|argument| argument.name.as_str()).collect::<Vec<_>>(), ["least", "open"]);

    let methods: Vec<_> = interface.methods.iter().map(|method| (method.name.as_str(), method.kind)).collect();
    let (query, update) = (MethodKind::Query, MethodKind::Update);
    let expected = [("change", update), ("balance", query), ("movements", query), ("forget", update), ("yield", query)];
    assert_eq!(methods, expected);

    let change = interface.method("change").expect("a method");
    assert_eq!(change.doc, "Moves `amount` from or to an account; gives what is there then.");
    assert_eq!(names_of(&interface, "change"), ["account", "amount"]);
    assert_eq!(interface.ty(change.result), &Type::U64);
    let error = interface.ty(change.error.expect("it returns Result"));
    assert!(matches!(error, Type::Enum { name, .. } if name == "Refusal"), "{error:?}");
    assert_eq!(interface.ty(interface.methods[3].result), &Type::Unit);
    assert_eq!(interface.methods[3].error, None);
}

#[test]
fn methods_run_on_encoded_arguments() {
    let mut bank = bank();
    let changed = bank.call("change", &to_bytes(&("ann", 5i64)));
    assert_eq!(changed, Answer::Returned(to_bytes(&15u64)));
    let refused = bank.call("change", &to_bytes(&("ann", -6i64)));
    assert_eq!(refused, Answer::Failed(to_bytes(&Refusal::TooPoor { has: 15 })));
    assert_eq!(bank.call("balance", &to_bytes(&("eve",))), Answer::Returned(to_bytes(&None::<u64>)));
    assert_eq!(bank.call("forget", &[]), Answer::Returned(vec![]));
    assert_eq!(bank.movements, []);
}

#[test]
fn arguments_that_do_not_fit_are_rejected_by_name_and_change_nothing() {
    let mut bank = bank();
    let rejected = |answer| match answer {
        Answer::Rejected(why) => why.to_string(),
        other => panic!("{other:?}"),
    };
    let cut = rejected(bank.call("change", &to_bytes(&("ann",))));
    assert_eq!(cut, "wrong arguments: argument 2 'amount': Hit the end of buffer, expected more data");
    let long = rejected(bank.call("change", &to_bytes(&("ann", 1i64, 2u8))));
    assert_eq!(long, "wrong arguments: 2 taken, bytes left over: 1");
    assert_eq!(rejected(bank.call("note", &[])), "no such method");
    assert_eq!(bank, self::bank());
}

#[test]
fn the_constructor_decides_whether_there_is_an_object() {
    assert_eq!(bank().balance("bob".into()), Some(10));
    let refused = Bank::create(&to_bytes(&(1u64, Vec::<String>::new())));
    assert_eq!(refused, Err(Rejection::Arguments("a bank needs an account".into())));
    let missing = Bank::create(&[]).expect_err("no arguments").to_string();
    assert!(missing.starts_with("wrong arguments: argument 1 'least': "), "{missing}");
}

#[test]
fn a_call_is_answered_at_once_and_what_concerns_nobody_is_not() {
    let mut bank = bank();
    let session = SessionId { slot: Slot(1), index: 0 };
    let mut run = |trigger, arguments: &[u8]| {
        let (position, now) = (Position(1), Timestamp(2));
        bank.dispatch(&Invocation { position, now, seed: 3, call: None, caller: None, trigger }, arguments)
    };
    let answered = run(Trigger::Call { method: "balance" }, &to_bytes("ann"));
    assert_eq!(answered.reply, Reply::Now(Answer::Returned(to_bytes(&Some(10u64)))));
    assert_eq!(run(Trigger::SessionClosed { session }, &[]), Outcome::default());
    assert_eq!(run(Trigger::Timer { token: 1 }, &[]), Outcome::default());
}

#[test]
fn an_export_carries_the_whole_state() {
    let mut original = bank();
    original.change("ann".into(), 7).expect("rich enough");
    assert_eq!(Bank::import(&original.export()).as_ref(), Ok(&original));
    let refused = Bank::import(&[1]).expect_err("not a bank");
    assert!(refused.starts_with("the state does not fit Bank: "), "{refused}");
}

/// Carries calls to an object in this process.
struct Local(Mutex<Bank>);

impl Caller for Local {
    type Error = Infallible;

    async fn invoke(
        &self,
        object: Option<&str>,
        method: &'static str,
        kind: MethodKind,
        arguments: Vec<u8>,
    ) -> Result<Answer, Infallible> {
        assert_eq!(object, Some("bank"));
        assert_eq!(Bank::interface().method(method).map(|method| method.kind), Some(kind));
        Ok(self.0.lock().expect("not poisoned").call(method, &arguments))
    }
}

/// Result of a future that never waits.
fn ready<T>(future: impl Future<Output = T> + Send) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a local call waits for nothing"),
    }
}

#[test]
fn the_proxy_calls_with_the_authors_types() {
    let local = Local(Mutex::new(bank()));
    let proxy = BankProxy::named(&local, "bank");
    assert_eq!(ready(proxy.change("ann".into(), 5)), Ok(15));
    let refused = ready(proxy.change("eve".into(), 5));
    assert_eq!(refused, Err(ProxyError::Method(Refusal::Unknown)));
    assert_eq!(ready(proxy.balance("ann".into())), Ok(Some(15)));
    assert_eq!(ready(proxy.movements()), Ok(vec![Movement { account: "ann".into(), amount: 5 }]));
    assert_eq!(ready(proxy.forget()), Ok(()));
    assert_eq!(ready(proxy.r#yield(2.0)), Ok(50.0));
    let state: Bank = from_bytes(&local.0.lock().expect("not poisoned").export()).expect("a bank");
    assert_eq!(state.movements, []);
}
