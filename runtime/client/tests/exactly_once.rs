//! An update keeps its number through every trouble, and its fate is never guessed.

mod fake;

use std::collections::BTreeSet;
use std::time::Duration;

use concoord_client::{CallError, Client, ClientError, Options};
use concoord_wire::CallId;
use concoord_wire::client::{Request, Response};
use fake::{Act, Cluster, SOON, call_error, connect, increment, on_calls, returned};
use tokio::time::timeout;

#[tokio::test]
async fn a_call_whose_connection_breaks_is_sent_again_under_the_same_id() {
    let cluster = Cluster::default();
    let executing = cluster.clone();
    let address = cluster.scripted(on_calls(move |count, call| match count {
        0 => {
            executing.lock().execute(call);
            Some(vec![Act::Hang])
        }
        _ => None,
    }));
    let client = connect(address).await;
    assert_eq!(increment(&client).await, Ok(1));
    let shared = cluster.lock();
    let calls = shared.calls_at(address);
    assert_eq!((calls.len(), calls[0]), (2, calls[1]));
    assert_eq!((shared.executed.len(), shared.connections), (1, 2));
}

#[tokio::test]
async fn a_redirect_leads_to_an_address_that_was_not_given_and_keeps_the_id() {
    let cluster = Cluster::default();
    let moved = cluster.clone();
    let first = cluster.scripted(on_calls(move |_, call| {
        let mut shared = moved.lock();
        let leader = shared.members.iter().map(|(_, address)| *address).find(|address| Some(*address) != shared.leader);
        shared.leader = leader.or(shared.leader);
        Some(call_error(call, CallError::NotLeader { leader }))
    }));
    let second = cluster.replica();
    let client = connect(first).await;
    assert_eq!(increment(&client).await, Ok(1));
    let shared = cluster.lock();
    assert_eq!(shared.calls_at(first), shared.calls_at(second));
    assert_eq!(shared.calls_at(first).len(), 1);
}

#[tokio::test]
async fn a_busy_replica_is_asked_again_under_the_same_id() {
    let cluster = Cluster::default();
    let address = cluster.scripted(on_calls(|count, call| {
        (count < 3).then(|| call_error(call, CallError::Busy { what: "the queue".into(), limit: 5 }))
    }));
    let client = connect(address).await;
    assert_eq!(increment(&client).await, Ok(1));
    let calls = cluster.lock().calls_at(address);
    assert_eq!((calls.len(), calls.iter().collect::<BTreeSet<_>>().len()), (4, 1));
}

#[tokio::test]
async fn a_reply_that_comes_twice_answers_once() {
    let cluster = Cluster::default();
    let address = cluster.scripted(on_calls(|_, _| Some(vec![Act::Decent, Act::Decent, Act::Decent])));
    let client = connect(address).await;
    for expected in 1..=5 {
        assert_eq!(increment(&client).await, Ok(expected));
    }
    assert_eq!(cluster.lock().executed.len(), 5);
}

#[tokio::test]
async fn the_floor_follows_the_answers_and_stops_below_a_call_that_waits() {
    let cluster = Cluster::default();
    // The third call is parked until the sixth arrives.
    let releasing = cluster.clone();
    let mut parked = None;
    let address = cluster.scripted(on_calls(move |count, call| match count {
        2 => {
            parked = Some(call);
            Some(Vec::new())
        }
        5 => {
            let call = parked?;
            let result = Ok(releasing.lock().execute(call));
            Some(vec![Act::Reply(Response::Called { call, result, waited: false }), Act::Decent])
        }
        _ => None,
    }));
    let client = connect(address).await;
    for expected in 1..=2 {
        assert_eq!(increment(&client).await, Ok(expected));
    }
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { increment(&client).await }
    });
    while cluster.lock().calls_at(address).len() < 3 {
        tokio::task::yield_now().await;
    }
    for _ in 4..=6 {
        increment(&client).await.unwrap();
    }
    assert_eq!(waiting.await.unwrap(), Ok(5));
    increment(&client).await.unwrap();
    assert_eq!(cluster.lock().floors(), [0, 1, 2, 2, 2, 2, 6]);
}

#[tokio::test]
async fn a_lost_session_leaves_the_fate_of_a_call_sent_before_unknown() {
    let cluster = Cluster::default();
    let address = cluster.scripted(on_calls(|count, call| match count {
        0 => Some(vec![Act::Hang]),
        1 => Some(call_error(call, CallError::SessionGone { session: call.session })),
        _ => None,
    }));
    let client = connect(address).await;
    let error = increment(&client).await.unwrap_err();
    let first = cluster.lock().calls_at(address)[0];
    assert_eq!(error, ClientError::Unknown { call: first });
    assert_eq!(
        error.to_string(),
        "whether call 1-0:1 was executed is unknown: its session ended before it was answered"
    );
    // The next one goes on in a new session.
    assert_eq!(increment(&client).await, Ok(1));
    let shared = cluster.lock();
    assert_eq!(shared.sessions.len(), 2);
    assert_ne!(shared.calls_at(address)[2].session, first.session);
}

#[tokio::test]
async fn a_call_that_surely_was_not_executed_goes_on_in_a_new_session() {
    let cluster = Cluster::default();
    let address = cluster.scripted(on_calls(|count, call| {
        (count < 2).then(|| call_error(call, CallError::SessionGone { session: call.session }))
    }));
    let client = connect(address).await;
    let (one, two) = tokio::join!(increment(&client), increment(&client));
    assert_eq!(BTreeSet::from([one.unwrap(), two.unwrap()]), BTreeSet::from([1, 2]));
    assert_eq!(cluster.lock().sessions.len(), 2);
}

#[tokio::test]
async fn a_session_is_opened_once_however_often_it_is_asked_for() {
    let cluster = Cluster::default();
    let mut opened = 0;
    let address = cluster.scripted(Box::new(move |request| {
        opened += usize::from(matches!(request, Request::OpenSession { .. }));
        let hang = matches!(request, Request::OpenSession { .. }) && opened <= 2;
        hang.then(|| vec![Act::Decent, Act::Hang])
    }));
    let client = connect(address).await;
    assert_eq!(increment(&client).await, Ok(1));
    assert_eq!(cluster.lock().sessions.len(), 1);
}

#[tokio::test]
async fn a_thousand_calls_share_one_connection_and_one_session() {
    let cluster = Cluster::default();
    let client = connect(cluster.replica()).await;
    let calls = (0..1000).map(|_| {
        let client = client.clone();
        tokio::spawn(async move { increment(&client).await.unwrap() })
    });
    let mut values = BTreeSet::new();
    for call in calls.collect::<Vec<_>>() {
        values.insert(call.await.unwrap());
    }
    assert_eq!(values, (1..=1000).collect());
    let shared = cluster.lock();
    assert_eq!((shared.connections, shared.sessions.len()), (1, 1));
    let sequences = shared.executed.keys().map(|call| call.sequence).collect::<BTreeSet<_>>();
    assert_eq!(sequences, (1..=1000).collect());
}

#[tokio::test]
async fn more_calls_than_a_session_may_have_ahead_wait_at_the_client() {
    let cluster = Cluster::default();
    // The first call is answered last, when nothing more arrives.
    let (mut first, mut count) = (None::<CallId>, 0_u64);
    let counting = cluster.clone();
    let address = cluster.scripted(Box::new(move |request| {
        let answer = |call| {
            let result = Ok(counting.lock().execute(call));
            vec![Act::Reply(Response::Called { call, result, waited: false })]
        };
        match request {
            Request::Call { call, .. } => {
                count += 1;
                let held = *first.get_or_insert(*call);
                (held == *call).then(Vec::new)
            }
            Request::Ping { .. } => first.filter(|_| count >= 2048).map(answer),
            _ => None,
        }
    }));
    let client = connect(address).await;
    let calls = (0..2100).map(|_| {
        let client = client.clone();
        tokio::spawn(async move { increment(&client).await })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap().unwrap();
    }
    let shared = cluster.lock();
    let ahead = shared.seen.iter().filter_map(|(_, request)| match request {
        Request::Call { call, floor, .. } => Some(call.sequence - floor),
        _ => None,
    });
    assert_eq!(ahead.max(), Some(2048));
    assert_eq!(shared.executed.len(), 2100);
}

#[tokio::test]
async fn an_update_given_up_after_it_was_sent_says_so_and_frees_the_floor() {
    let cluster = Cluster::default();
    let address = cluster.scripted(on_calls(|count, _| (count == 0).then(Vec::new)));
    let client = connect(address).await;
    let error = increment(&client.with_timeout(Duration::from_millis(300))).await.unwrap_err();
    let call = cluster.lock().calls_at(address)[0];
    assert!(matches!(error, ClientError::Timeout { call: Some(sent), .. } if sent == call), "{error}");
    assert_eq!(increment(&client).await, Ok(1));
    assert_eq!(cluster.lock().floors(), [0, 1]);
}

#[tokio::test]
async fn closing_closes_the_session_and_whoever_waits_is_told() {
    let cluster = Cluster::default();
    let address = cluster.scripted(on_calls(|count, _| (count == 1).then(Vec::new)));
    let client = connect(address).await;
    increment(&client).await.unwrap();
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { increment(&client).await }
    });
    while cluster.lock().calls_at(address).len() < 2 {
        tokio::task::yield_now().await;
    }
    timeout(SOON, client.close()).await.unwrap();
    assert_eq!(waiting.await.unwrap(), Err(ClientError::Closed));
    assert_eq!(increment(&client).await, Err(ClientError::Closed));
    client.close().await;
    let session = *cluster.lock().sessions.values().next().unwrap();
    assert_eq!(cluster.lock().seen.last().unwrap().1, Request::CloseSession { session });
}

#[tokio::test]
async fn too_many_and_too_large_requests_are_refused_here() {
    let cluster = Cluster::default();
    let address = cluster.scripted(on_calls(|_, _| Some(Vec::new())));
    let options = Options { outstanding_max: 1, timeout: SOON, ..Options::default() };
    let client = Client::connect_with(&address.to_string(), options).await.unwrap();
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { increment(&client).await }
    });
    while cluster.lock().calls_at(address).is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(increment(&client).await, Err(ClientError::Busy { limit: 1 }));
    waiting.abort();

    let (size, limit) = ((1 << 20) + 1, 1 << 20);
    let large = client.call(None, "increment", vec![0; size]).await;
    assert_eq!(large, Err(ClientError::TooLarge { what: "arguments", size, limit }));
    let long = "x".repeat(129);
    let named = client.call(Some(&long), "increment", Vec::new()).await;
    assert_eq!(named, Err(ClientError::TooLarge { what: "an object's name", size: 129, limit: 128 }));
}

#[tokio::test]
async fn an_answer_is_the_objects_own() {
    let cluster = Cluster::default();
    let client = connect(cluster.replica()).await;
    assert_eq!(client.call(Some("counter"), "increment", Vec::new()).await, Ok(returned(1)));
    let error = client.call(Some("konter"), "increment", Vec::new()).await.unwrap_err();
    assert_eq!(error.to_string(), "no object 'konter'; this cluster has counter");
    assert_eq!(client.describe(Some("counter")).await.unwrap().name, "counter");
}

#[tokio::test]
async fn who_leaves_the_session_open_ends_what_waits_by_it() {
    let cluster = Cluster::default();
    let client = connect(cluster.scripted(on_calls(|_, call| Some(vec![Act::Reply(Response::Parked { call })])))).await;
    let mut waits = std::pin::pin!(client.call_waiting(None, "acquire", Vec::new()));
    let parked = tokio::time::timeout(Duration::from_millis(300), waits.as_mut()).await;
    assert!(parked.is_err(), "it waits");
    client.detach().await;
    assert_eq!(waits.await, Err(ClientError::Closed));
    let seen = cluster.lock().seen.iter().map(|(_, request)| request.clone()).collect::<Vec<_>>();
    let call = seen.iter().find_map(|request| match request {
        Request::Call { call, .. } => Some(*call),
        _ => None,
    });
    let ends = |request: &Request| matches!(request, Request::Cancel { call: of } if Some(*of) == call);
    assert_eq!(seen.iter().filter(|request| ends(request)).count(), 1, "{seen:?}");
    assert!(!seen.iter().any(|request| matches!(request, Request::CloseSession { .. })), "{seen:?}");
}
