//! `concoord call`: one call of one method, from JSON to JSON.

use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use concoord_client::{CallError, Client, ClientError, Options};
use concoord_wire::abi::Answer;
use concoord_wire::client::Consistency;
use concoord_wire::interface::{Argument, Interface, Method, MethodKind, REINITIALIZE, Type, TypeIndex};
use concoord_wire::{json, signature};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use crate::connect::{self, Connect};
use crate::session::Session;
use crate::{duration, print};

/// Call a method of an object
///
/// Prints the result as JSON, null for nothing. An error that the method returns is printed on standard error with exit
/// code 1. A call that got no answer is retried with the same id until the timeout, so it is executed at most once.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    connect: Connect,

    /// The method, and before it the object unless the cluster has only one. __concoordinit__ starts an object anew, with the
    /// arguments of its constructor
    #[arg(value_name = "[OBJECT.]METHOD")]
    target: String,

    /// Arguments as JSON. Where the method takes a string, any word is one without quotes; elsewhere, a word that is no
    /// JSON is. Optional arguments at the end may be left out
    #[arg(value_name = "JSON", allow_negative_numbers = true)]
    arguments: Vec<String>,

    /// How long it may take in all, retries included; a method that waits may take --wait beside that
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration::parse)]
    timeout: Duration,

    /// How long a method may wait for another call, in the cluster's time [default: for as long as the cluster hears of this
    /// command]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    wait: Option<Duration>,

    /// Let a query be answered from what the asked replica has, without asking the others [default: off]
    #[arg(long)]
    stale: bool,

    /// Let a query be answered from what the asked replica has, if that has all that was acknowledged so long ago [default: 0s]
    #[arg(long, value_name = "TIME", value_parser = duration::parse, conflicts_with = "stale")]
    max_staleness: Option<Duration>,

    #[command(flatten)]
    session: Session,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let result = connect::runtime()?.block_on(call(arguments))?;
    print::json(&result)
}

async fn call(arguments: &Arguments) -> anyhow::Result<Value> {
    let target = Target::parse(&arguments.target);
    let deadline = Instant::now() + arguments.timeout;
    let options =
        Options { session_ttl: arguments.session.ttl, session: arguments.session.token()?, ..Options::default() };
    let client = match arguments.connect.client_within_with(arguments.timeout, options).await {
        Err(error) if is_session_gone(&error) => bail!(arguments.session.advice()),
        connected => connected?,
    };
    let mut interrupt = signal(SignalKind::interrupt()).context("can't listen for signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("can't listen for signals")?;
    // Whatever comes of it, the session does not outlive the command unless it is to be kept.
    let result = tokio::select! {
        result = call_by(&client, arguments, target, deadline) => result,
        _ = interrupt.recv() => Err(anyhow!("interrupted")),
        _ = terminate.recv() => Err(anyhow!("interrupted")),
    };
    if arguments.session.is_kept() {
        client.detach().await;
    } else {
        client.close().await;
    }
    result
}

async fn call_by(
    client: &Client,
    arguments: &Arguments,
    target: Target<'_>,
    deadline: Instant,
) -> anyhow::Result<Value> {
    let left = || deadline.saturating_duration_since(Instant::now());
    let consistency = match arguments.max_staleness {
        Some(staleness) => Consistency::within(staleness),
        None if arguments.stale => Consistency::Stale,
        None => Consistency::Linearizable,
    };
    let described = connect::describe(&client.with_timeout(left()), target.object, consistency).await?;
    let (object, interface) = (described.name.as_str(), &described.interface);
    let anew = reinitialize(interface);
    let method = if target.method == REINITIALIZE { &anew } else { target.method(object, interface)? };
    let encoded = encode(interface, method, &arguments.arguments)?;
    let client = client.with_timeout(left());
    if method.kind.is_update() {
        arguments.session.save(&client).await?;
    }
    let answer = match method.kind {
        MethodKind::Update | MethodKind::Waiting if consistency != Consistency::Linearizable => {
            bail!("{object}.{} is an update: --stale and --max-staleness are for queries", method.name)
        }
        MethodKind::Update | MethodKind::Query if arguments.wait.is_some() => {
            bail!("{object}.{} does not wait: --wait is for methods that do", method.name)
        }
        MethodKind::Update => client.call(Some(object), &method.name, encoded).await,
        MethodKind::Waiting => {
            let client = arguments.wait.map_or_else(|| client.clone(), |wait| client.with_wait(wait));
            client.call_waiting(Some(object), &method.name, encoded).await
        }
        MethodKind::Query => client.query(Some(object), &method.name, encoded, consistency).await,
    };
    decode(object, interface, method, &answer?)
}

fn is_session_gone(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(ClientError::Call(CallError::SessionGone { .. })))
}

/// What starts an object anew, as if it were a method of its.
fn reinitialize(interface: &Interface) -> Method {
    Method {
        name: REINITIALIZE.into(),
        doc: "Starts the object anew.".into(),
        kind: MethodKind::Update,
        arguments: interface.init.clone(),
        // It is never looked at: what is returned is nothing.
        result: TypeIndex(u32::MAX),
        error: None,
    }
}

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    /// `None`: the cluster's first object.
    pub(crate) object: Option<&'a str>,
    method: &'a str,
}

impl<'a> Target<'a> {
    /// Reads `[OBJECT.]METHOD`; the object's name may have dots of its own.
    pub(crate) fn parse(text: &'a str) -> Target<'a> {
        match text.rsplit_once('.') {
            Some((object, method)) => Target { object: Some(object), method },
            None => Target { object: None, method: text },
        }
    }

    /// The method in the object's interface.
    ///
    /// # Errors
    /// When the object has none of this name; says which it has.
    pub(crate) fn method<'i>(&self, object: &str, interface: &'i Interface) -> anyhow::Result<&'i Method> {
        let Some(method) = interface.method(self.method) else {
            let existing: Vec<_> = interface.methods.iter().map(|method| method.name.as_str()).collect();
            let existing = if existing.is_empty() { "none".into() } else { existing.join(", ") };
            bail!("{object} has no method '{}'; it has {existing}", self.method);
        };
        Ok(method)
    }
}

/// Postcard of the arguments as given on the command line.
///
/// # Errors
/// When their number or their types are not what the method takes; names the method as it is.
pub(crate) fn encode(interface: &Interface, method: &Method, words: &[String]) -> anyhow::Result<Vec<u8>> {
    // Arguments are paired with words as far as both go; that there are too few or too many is told with the rest.
    let words = words.iter().enumerate();
    let values = words.map(|(index, word)| value(interface, method.arguments.get(index), word));
    let values = values.collect::<anyhow::Result<Vec<_>>>()?;
    json::encode_arguments(interface, &method.arguments, &values).with_context(|| match method.name.as_str() {
        REINITIALIZE => format!("wrong arguments for the constructor {}", signature::constructor(interface)),
        _ => format!("wrong arguments for {}", signature::method(interface, method)),
    })
}

/// One word as JSON. What the interface says is a string needs no quotes, and neither does a word that is no JSON.
fn value(interface: &Interface, argument: Option<&Argument>, word: &str) -> anyhow::Result<Value> {
    let (is_optional, wants_string) = match argument.map(|argument| (argument.ty, interface.ty(argument.ty))) {
        None => (false, false),
        Some((_, Type::Option(part))) => (true, json::is_string(interface, *part)),
        Some((ty, _)) => (false, json::is_string(interface, ty)),
    };
    match serde_json::from_str::<Value>(word) {
        Ok(Value::Null) if is_optional => Ok(Value::Null),
        Ok(value) if value.is_string() || !wants_string => Ok(value),
        // It begins like JSON, so it was meant to be some.
        Err(error) if !wants_string && word.starts_with(['{', '[', '"']) => bail!("'{word}' is not JSON: {error}"),
        _ => Ok(Value::String(word.into())),
    }
}

/// The result of a method as JSON.
///
/// # Errors
/// The method's own error, or that the object rejected the call, or that the answer is not of the method's type.
pub(crate) fn decode(object: &str, interface: &Interface, method: &Method, answer: &Answer) -> anyhow::Result<Value> {
    let name = &method.name;
    let lied = || format!("{object}.{name} gave something else than its interface says");
    match answer {
        Answer::Returned(_) if name == REINITIALIZE => Ok(Value::Null),
        Answer::Returned(bytes) => json::decode(interface, method.result, bytes).with_context(lied),
        Answer::Failed(bytes) => match method.error {
            Some(error) => {
                bail!("{object}.{name} failed: {}", json::decode(interface, error, bytes).with_context(lied)?)
            }
            None => bail!("{object}.{name} failed, although its interface knows no error"),
        },
        Answer::Rejected(why) => bail!("{object}.{name} did not run: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `put(key: String, value: i64, tags: Option<String>) -> i64`
    fn interface() -> Interface {
        let argument = |name: &str, ty| Argument { name: name.into(), ty: TypeIndex(ty) };
        Interface {
            name: "Kv".into(),
            version: "1.0.0".into(),
            doc: String::new(),
            types: vec![Type::String, Type::I64, Type::Option(TypeIndex(0))],
            event: None,
            init: Vec::new(),
            methods: vec![Method {
                name: "put".into(),
                doc: String::new(),
                kind: MethodKind::Update,
                arguments: vec![argument("key", 0), argument("value", 1), argument("tag", 2)],
                result: TypeIndex(1),
                error: Some(TypeIndex(0)),
            }],
        }
    }

    fn encoded(words: &[&str]) -> anyhow::Result<Vec<u8>> {
        let interface = interface();
        encode(&interface, &interface.methods[0], &words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn words_are_strings_where_strings_are_wanted() {
        let quoted = encoded(&[r#""7""#, "-5", "null"]).expect("encodes");
        assert_eq!(quoted, [1, b'7', 9, 0]);
        assert_eq!(encoded(&["7", "-5", "null"]).expect("encodes"), quoted);
        assert_eq!(encoded(&["null", "-5", "null"]).expect("encodes"), [4, b'n', b'u', b'l', b'l', 9, 0]);
        assert_eq!(encoded(&["7", "-5", "7"]).expect("encodes"), [1, b'7', 9, 1, 1, b'7']);
        assert_eq!(encoded(&["7", "-5", r#""null""#]).expect("encodes")[3..], [1, 4, b'n', b'u', b'l', b'l']);
        assert_eq!(encoded(&["[7", "-5", "blue"]).expect("encodes"), [2, b'[', b'7', 9, 1, 4, b'b', b'l', b'u', b'e']);
    }

    #[test]
    fn wrong_arguments_name_the_method() {
        let shown = |words: &[&str]| print::one_line(&encoded(words).expect_err("wrong"));
        let put = "wrong arguments for put(key: String, value: i64, tag: Option<String>) -> Result<i64, String>";
        assert_eq!(shown(&["7"]), format!("{put}: takes 3 arguments, 1 given"));
        assert_eq!(
            shown(&["7", "1", "null", "[", "5"]),
            "'[' is not JSON: EOF while parsing a list at line 1 column 1"
        );
        let type_error = shown(&["7", "seven", "null"]);
        assert!(type_error.starts_with(put) && type_error.contains("argument 2 'value'"), "{type_error}");
        assert!(shown(&["7", "[5", "null"]).starts_with("'[5' is not JSON: "));
    }

    #[test]
    fn answers_become_json_or_errors() {
        let interface = interface();
        let decoded = |answer| decode("kv", &interface, &interface.methods[0], &answer);
        assert_eq!(decoded(Answer::Returned(vec![9])).expect("a result"), -5);
        let failed = decoded(Answer::Failed(vec![2, b'n', b'o'])).expect_err("the method's error").to_string();
        assert_eq!(failed, r#"kv.put failed: "no""#);
        let lied = decoded(Answer::Returned(vec![])).expect_err("no result").to_string();
        assert_eq!(lied, "kv.put gave something else than its interface says");
    }

    #[test]
    fn targets_split_at_the_last_dot() {
        assert_eq!(Target::parse("increment"), Target { object: None, method: "increment" });
        assert_eq!(Target::parse("a.b.put"), Target { object: Some("a.b"), method: "put" });
        let error = Target::parse("kv.get").method("kv", &interface()).expect_err("no such method").to_string();
        assert_eq!(error, "kv has no method 'get'; it has put");
    }
}
