//! Calls of proxies that are executed as one.

mod fake;

use std::sync::{Arc, Mutex};

use concoord_client::{Abort, CallError, Client, ClientError, Together};
use concoord_wire::abi::Answer;
use concoord_wire::caller::Caller;
use concoord_wire::client::{Request, Response};
use concoord_wire::codec::to_bytes;
use concoord_wire::interface::MethodKind;

use fake::{Act, Cluster, Script, connect};

/// What was asked to be executed as one: methods and arguments.
type Seen = Arc<Mutex<Vec<Vec<(String, Vec<u8>)>>>>;

/// Executes calls as one by returning to each what it was given, but for one with nothing, which fails.
fn echo(seen: &Seen) -> Script {
    let seen = Arc::clone(seen);
    Box::new(move |request| {
        let Request::Atomically { call, parts, .. } = request else { return None };
        let given: Vec<_> = parts.iter().map(|part| (part.method.clone(), part.arguments.to_vec())).collect();
        let result = match given.iter().position(|(_, arguments)| arguments.is_empty()) {
            Some(part) => Err(CallError::Aborted {
                part: part.try_into().expect("there are few"),
                object: "counter".into(),
                method: given[part].0.clone(),
                why: Abort::Failed(vec![7]),
            }),
            None => {
                let returned: Vec<&Vec<u8>> = given.iter().map(|(_, arguments)| arguments).collect();
                Ok(Answer::Returned(to_bytes(&returned)))
            }
        };
        seen.lock().expect("nobody panics").push(given);
        Some(vec![Act::Reply(Response::Called { call: *call, result, waited: false })])
    })
}

async fn invoke(together: &Together, method: &'static str, arguments: &[u8]) -> Result<Answer, ClientError> {
    together.invoke(Some("counter"), method, MethodKind::Update, arguments.to_vec()).await
}

fn returned(bytes: &[u8]) -> Result<Answer, ClientError> {
    Ok(Answer::Returned(bytes.to_vec()))
}

async fn with_echo() -> (Client, Seen, Cluster) {
    let (cluster, seen) = (Cluster::default(), Seen::default());
    let client = connect(cluster.scripted(echo(&seen))).await;
    (client, seen, cluster)
}

#[tokio::test]
async fn what_is_joined_is_sent_as_one_in_its_order() {
    let (client, seen, _cluster) = with_echo().await;
    let answers = client.together(async |as_one| {
        // What does not call may wait before.
        tokio::task::yield_now().await;
        tokio::join!(invoke(&as_one, "a", &[1]), invoke(&as_one, "b", &[2, 3]), invoke(&as_one, "c", &[4]))
    });
    assert_eq!(answers.await, (returned(&[1]), returned(&[2, 3]), returned(&[4])));
    let one = [("a", vec![1]), ("b", vec![2, 3]), ("c", vec![4])].map(|(method, bytes)| (method.to_owned(), bytes));
    assert_eq!(*seen.lock().expect("nobody panics"), [one.to_vec()]);
}

#[tokio::test]
async fn the_call_that_failed_has_its_error_and_the_others_have_which_it_was() {
    let (client, _, _cluster) = with_echo().await;
    let (first, failed) =
        client.together(async |as_one| tokio::join!(invoke(&as_one, "a", &[1]), invoke(&as_one, "b", &[]))).await;
    assert_eq!(failed, Ok(Answer::Failed(vec![7])));
    let ClientError::Call(CallError::Aborted { part: 1, method, .. }) = first.expect_err("nothing was executed") else {
        panic!("it says which call put an end to it")
    };
    assert_eq!(method, "b");
}

#[tokio::test]
async fn whoever_waits_until_one_fails_has_the_error_of_the_one_that_put_an_end_to_all() {
    let (client, _, _cluster) = with_echo().await;
    let failed = |answer: Result<Answer, ClientError>| match answer {
        Ok(Answer::Returned(bytes)) => Ok(bytes),
        other => Err(other),
    };
    for place in 0..3 {
        let all = client.together(async |as_one| {
            let call = async |index| failed(invoke(&as_one, "a", if index == place { &[] } else { &[1] }).await);
            tokio::try_join!(call(0), call(1), call(2))
        });
        assert_eq!(all.await, Err(Ok(Answer::Failed(vec![7]))), "{place}");
    }
}

#[tokio::test]
async fn a_call_after_the_others_were_sent_is_refused() {
    let (client, seen, _cluster) = with_echo().await;
    let both = client.together(async |as_one| (invoke(&as_one, "a", &[1]).await, invoke(&as_one, "b", &[2]).await));
    assert_eq!(both.await, (returned(&[1]), Err(ClientError::NotTogether)));
    assert_eq!(seen.lock().expect("nobody panics").len(), 1);
}

#[tokio::test]
async fn nothing_is_sent_where_nothing_is_called() {
    let (client, seen, _cluster) = with_echo().await;
    assert_eq!(client.together(async |_| 5).await, 5);
    assert!(seen.lock().expect("nobody panics").is_empty());
}
