//! Objects that come and go under a client, and what operators do with them.

mod fake;

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use concoord_client::{
    ClientError, Consistency, Description, ObjectAction, ObjectError, Operated, Operator, OperatorError,
};
use concoord_wire::abi::{Answer, ObjectLimits};
use concoord_wire::client::{CallError, Request, Response};
use concoord_wire::limits::MODULE_PIECE_BYTES_MAX;
use concoord_wire::{ObjectId, Slot};

use fake::{Act, Cluster, SOON, Script, connect, increment};

/// The counter is the object whose number stands in `is`, and a call of any other is one of nobody.
fn counter_is(is: &Arc<AtomicU32>) -> Script {
    let is = Arc::clone(is);
    Box::new(move |request| {
        let object = ObjectId(is.load(Ordering::Relaxed));
        let unknown = || CallError::UnknownObject { name: "gone".into(), existing: vec!["counter".into()] };
        let response = match request {
            Request::Describe { request, .. } => {
                let (name, interface, loaded) = ("counter".into(), Bytes::new(), Slot(1));
                let found = Description { object, name, interface, loaded, generation: 1 };
                Response::Described { request: *request, result: Ok(found) }
            }
            Request::Call { call, object: of, .. } if *of != object => {
                Response::Called { call: *call, result: Err(unknown()), waited: false }
            }
            Request::Query { request, object: of, .. } if *of != object => {
                Response::Queried { request: *request, result: Err(unknown()) }
            }
            _ => return None,
        };
        Some(vec![Act::Reply(response)])
    })
}

#[tokio::test]
async fn a_name_leads_to_whoever_has_it_now() {
    let (cluster, is) = (Cluster::default(), Arc::new(AtomicU32::new(1)));
    let client = connect(cluster.scripted(counter_is(&is))).await;
    assert_eq!(increment(&client).await, Ok(1));
    is.store(2, Ordering::Relaxed);
    assert_eq!(increment(&client).await, Ok(2), "the call goes to the new object, under a number of its own");
    is.store(3, Ordering::Relaxed);
    let value = client.query(None, "getvalue", Vec::new(), Consistency::Linearizable).await;
    assert!(matches!(value, Ok(Answer::Returned(_))), "{value:?}");
    assert_eq!(increment(&client).await, Ok(3));
}

#[tokio::test]
async fn an_object_that_is_gone_again_at_once_is_an_answer() {
    let (cluster, is) = (Cluster::default(), Arc::new(AtomicU32::new(1)));
    let mut described = counter_is(&is);
    let mut named = false;
    // What it says of the name is never true when the call arrives.
    let script: Script = Box::new(move |request| match request {
        Request::Call { call, .. } if named => {
            let gone = CallError::UnknownObject { name: "#1".into(), existing: vec![] };
            Some(vec![Act::Reply(Response::Called { call: *call, result: Err(gone), waited: false })])
        }
        Request::Call { .. } => {
            named = true;
            None
        }
        request => described(request),
    });
    let client = connect(cluster.scripted(script)).await;
    assert_eq!(increment(&client).await, Ok(1));
    let gone = increment(&client).await;
    assert!(matches!(gone, Err(ClientError::Call(CallError::UnknownObject { .. }))), "{gone:?}");
    let calls = cluster.lock().seen.iter().filter(|(_, request)| matches!(request, Request::Call { .. })).count();
    assert_eq!(calls, 3, "one that ran, one by the old name, and one by the new");
}

fn load(module: Vec<u8>) -> ObjectAction {
    let (name, arguments, limits) = ("new".into(), Bytes::new(), ObjectLimits::default());
    ObjectAction::Load { name, module: module.into(), arguments, limits }
}

fn operated() -> Operated {
    Operated { object: ObjectId(7), generation: 1, changes: vec![], more_changes: 0 }
}

/// Nonce and module of each try.
type Received = Arc<Mutex<Vec<(u128, Vec<u8>)>>>;

async fn operator(addresses: &str) -> Operator {
    Operator::connect(addresses, None, SOON).await.expect("addresses")
}

#[tokio::test]
async fn a_large_module_goes_in_pieces_to_one_leader_after_another_under_one_nonce() {
    let cluster = Cluster::default();
    let module: Vec<u8> = (0..2 * MODULE_PIECE_BYTES_MAX + 5).map(|index| (index / 1000) as u8).collect();
    let received = Received::default();
    let tries = Arc::new(AtomicUsize::new(0));
    let script = |received: Received, tries: Arc<AtomicUsize>| -> Script {
        let mut kept = Vec::new();
        Box::new(move |request| match request {
            Request::Stage { request, offset, data } => {
                if *offset == 0 {
                    kept.clear();
                }
                assert_eq!(*offset as usize, kept.len());
                kept.extend_from_slice(data);
                let result = Ok(kept.len() as u64);
                Some(vec![Act::Reply(Response::Staged { request: *request, result })])
            }
            Request::Operate { request, nonce, action: ObjectAction::Load { module: last, .. } } => {
                let whole = [&kept[..], last].concat();
                received.lock().expect("nobody panics").push((*nonce, whole));
                match tries.fetch_add(1, Ordering::Relaxed) {
                    // It goes before anybody knows whether it did it.
                    0 => Some(vec![Act::Hang]),
                    1 => {
                        let result = Err(CallError::NotLeader { leader: None }.into());
                        Some(vec![Act::Reply(Response::Operated { request: *request, result })])
                    }
                    _ => Some(vec![Act::Reply(Response::Operated { request: *request, result: Ok(operated()) })]),
                }
            }
            _ => None,
        })
    };
    let addresses =
        [0, 1].map(|_| cluster.scripted(script(Arc::clone(&received), Arc::clone(&tries))).to_string()).join(",");
    let done = operator(&addresses).await.operate(load(module.clone())).await.expect("the third try");
    assert_eq!(done, operated());
    let received = received.lock().expect("nobody panics");
    assert_eq!(received.len(), 3);
    assert!(received.iter().all(|(nonce, whole)| (nonce, whole) == (&received[0].0, &module)), "the same each time");
}

#[tokio::test]
async fn what_a_cluster_does_not_do_is_said_at_once() {
    let cluster = Cluster::default();
    let address = cluster.scripted(Box::new(|request| match request {
        Request::Operate { request, .. } => {
            let result = Err(ObjectError::Refused { why: "it traps".into() });
            Some(vec![Act::Reply(Response::Operated { request: *request, result })])
        }
        Request::Objects { request, .. } => {
            let result = Err(CallError::UnknownObject { name: "x".into(), existing: vec!["counter".into()] });
            Some(vec![Act::Reply(Response::Objects { request: *request, result })])
        }
        _ => None,
    }));
    let operator = operator(&address.to_string()).await;
    let asked = tokio::time::timeout(Duration::from_secs(2), async {
        (operator.operate(load(vec![1])).await, operator.objects(Some("x")).await)
    });
    let (refused, unknown) = asked.await.expect("no retries");
    assert!(
        matches!(&refused, Err(OperatorError::Object(ObjectError::Refused { why })) if why == "it traps"),
        "{refused:?}"
    );
    assert_eq!(unknown.expect_err("no such object").to_string(), "no object 'x'; this cluster has counter");
}
