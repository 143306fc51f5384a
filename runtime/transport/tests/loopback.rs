//! Both ends over the loopback interface.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use concoord_transport::{
    AcceptError, BindError, Connection, DialError, Endpoint, Inbox, Outbox, ReceiveError, Role, SendError,
};
use concoord_wire::hello::{Hello, PROTOCOL_MAX, PROTOCOL_MIN, Refusal};
use concoord_wire::limits::{CLIENT_FRAME_BYTES_MAX, PEER_FRAME_BYTES_MAX, REPLY_FRAME_BYTES_MAX};
use concoord_wire::{ClusterId, NodeId};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(5);
const NODE: NodeId = NodeId(0xb0);

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn hello(cluster: Option<ClusterId>) -> Hello {
    Hello { versions: (PROTOCOL_MIN, PROTOCOL_MAX), cluster, node: None, life: 1 }
}

/// Both ends of one connection: the dialer's, then the acceptor's.
async fn pair(role: Role) -> (Connection, Connection) {
    let (server, client) = (Endpoint::server(loopback()).unwrap(), Endpoint::client().unwrap());
    let greeting = hello(None);
    let accepted = async { server.accept().await.unwrap().finish().await.unwrap().welcome(None, NODE).await.unwrap() };
    let dialed = client.dial(server.local_address(), role, &greeting, SOON);
    let (dialed, accepted) = tokio::join!(dialed, accepted);
    (dialed.unwrap(), accepted)
}

async fn split(role: Role) -> ((Outbox, Inbox), (Outbox, Inbox)) {
    let (dialed, accepted) = pair(role).await;
    (dialed.split(), accepted.split())
}

#[tokio::test]
async fn both_ends_learn_who_the_other_is() {
    let (server, client) = (Endpoint::server(loopback()).unwrap(), Endpoint::client().unwrap());
    let cluster = Some(ClusterId(7));
    let me: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let greeting = Hello { node: Some((NodeId(0xa0), me)), ..hello(cluster) };
    let accepting = async {
        let incoming = server.accept().await.unwrap().finish().await.unwrap();
        assert_eq!((incoming.role(), incoming.hello()), (Role::Peer, &greeting));
        incoming.welcome(cluster, NODE).await.unwrap()
    };
    let dialing = client.dial(server.local_address(), Role::Peer, &greeting, SOON);
    let (dialed, accepted) = tokio::join!(dialing, accepting);
    let dialed = dialed.unwrap();
    assert_eq!((dialed.remote().cluster, dialed.remote().node), (cluster, Some(NODE)));
    assert_eq!(dialed.remote().address, server.local_address());
    assert_eq!((accepted.remote().cluster, accepted.remote().node), (cluster, Some(NodeId(0xa0))));
    assert_eq!((dialed.version(), accepted.version(), accepted.role()), (1, 1, Role::Peer));
}

#[tokio::test]
async fn a_dialer_of_another_cluster_is_refused_with_both_ids() {
    let (server, client) = (Endpoint::server(loopback()).unwrap(), Endpoint::client().unwrap());
    let (expected, actual) = (ClusterId(1), ClusterId(2));
    let greeting = hello(Some(expected));
    let accepting = async {
        let incoming = server.accept().await.unwrap().finish().await.unwrap();
        incoming.welcome(Some(actual), NODE).await
    };
    let dialing = client.dial(server.local_address(), Role::Client, &greeting, SOON);
    let (dialed, accepted) = tokio::join!(dialing, accepting);
    let refusal = Refusal::OtherCluster { expected, actual };
    assert_eq!(dialed.unwrap_err(), DialError::Refused(refusal.clone()));
    assert_eq!(accepted.unwrap_err(), AcceptError::Refused(refusal));
}

#[tokio::test]
async fn one_endpoint_dials_and_accepts_and_both_families_are_reached() {
    let v6 = Endpoint::server("[::1]:0".parse().unwrap());
    let (a, b) = (Endpoint::server(loopback()).unwrap(), Endpoint::server(loopback()).unwrap());
    let client = Endpoint::client().unwrap();
    let mut ways = vec![(&a, &b), (&b, &a), (&client, &a)];
    // A machine without IPv6 has nothing to reach there.
    ways.extend(v6.as_ref().ok().map(|v6| (&client, v6)));
    for (from, to) in ways {
        let accepting = async { to.accept().await.unwrap().finish().await.unwrap().welcome(None, NODE).await.unwrap() };
        let greeting = hello(None);
        let dialing = from.dial(to.local_address(), Role::Peer, &greeting, SOON);
        let (dialed, _accepted) = tokio::join!(dialing, accepting);
        assert_eq!(dialed.unwrap().remote().address, to.local_address());
    }
}

#[tokio::test]
async fn frames_arrive_in_order_both_ways() {
    let ((near, mut near_in), (far, mut far_in)) = split(Role::Client).await;
    const COUNT: u64 = 20_000;
    for number in 0..COUNT {
        near.push(&number).unwrap();
    }
    for expected in 0..COUNT {
        assert_eq!(far_in.next::<u64>().await.unwrap(), Some(expected));
        far.push(&(expected, "back")).unwrap();
    }
    for expected in 0..COUNT {
        assert_eq!(near_in.next::<(u64, String)>().await.unwrap(), Some((expected, "back".into())));
    }
}

#[tokio::test]
async fn a_burst_is_drained_without_waiting() {
    let ((near, _near_in), (_far, mut far_in)) = split(Role::Client).await;
    for number in 0..100_u64 {
        near.push(&number).unwrap();
    }
    let mut waits = 0;
    let mut seen = 0;
    while seen < 100 {
        assert_eq!(far_in.next::<u64>().await.unwrap(), Some(seen));
        (waits, seen) = (waits + 1, seen + 1);
        while let Some(number) = far_in.try_next::<u64>().unwrap() {
            assert_eq!(number, seen);
            seen += 1;
        }
    }
    assert!(waits <= 2, "a hundred frames of one burst took {waits} waits");
    assert_eq!(far_in.try_next::<u64>(), Ok(None));
}

#[tokio::test]
async fn waiting_for_a_frame_may_be_given_up_without_losing_any() {
    let ((near, _near_in), (_far, mut far_in)) = split(Role::Client).await;
    let body = Bytes::from(vec![7; 1 << 20]);
    near.push(&body).unwrap();
    let mut given_up = 0;
    let received = loop {
        tokio::select! {
            biased;
            frame = far_in.next::<Bytes>() => break frame.unwrap(),
            () = tokio::task::yield_now() => given_up += 1,
        }
    };
    assert_eq!(received, Some(body));
    assert!(given_up > 1, "the frame came whole, so nothing was given up");
}

#[tokio::test]
async fn replicas_exchange_frames_of_20_mib() {
    let ((near, mut near_in), (far, mut far_in)) = split(Role::Peer).await;
    let body = Bytes::from((0..20 << 20).map(|i: u32| i.wrapping_mul(2_654_435_761) as u8).collect::<Vec<_>>());
    let started = std::time::Instant::now();
    near.push(&body).unwrap();
    assert_eq!(timeout(SOON, far_in.next::<Bytes>()).await.unwrap().unwrap().as_ref(), Some(&body));
    println!("20 MiB in {:?}", started.elapsed());
    far.push(&body).unwrap();
    assert_eq!(timeout(SOON, near_in.next::<Bytes>()).await.unwrap().unwrap(), Some(body));
}

#[tokio::test]
async fn each_direction_has_its_own_cap_and_the_sender_hears_of_it() {
    for (role, from_dialer, from_acceptor) in [
        (Role::Client, CLIENT_FRAME_BYTES_MAX, REPLY_FRAME_BYTES_MAX),
        (Role::Peer, PEER_FRAME_BYTES_MAX, PEER_FRAME_BYTES_MAX),
    ] {
        let ((near, mut near_in), (far, mut far_in)) = split(role).await;
        for (outbox, inbox, limit) in [(&near, &mut far_in, from_dialer), (&far, &mut near_in, from_acceptor)] {
            let error = outbox.push(&Bytes::from(vec![0; limit])).unwrap_err();
            assert!(matches!(error, SendError::TooLarge(ref e) if e.limit == limit && e.size > limit), "{error}");
            // The connection is as good as before.
            outbox.push(&1_u8).unwrap();
            assert_eq!(inbox.next::<u8>().await.unwrap(), Some(1));
        }
    }
}

#[tokio::test]
async fn a_frame_with_patience_goes_with_the_next_without_or_with_many_or_alone_when_it_is_due() {
    let ((outbox, _), (_, mut inbox)) = split(Role::Peer).await;
    let patience = Duration::from_secs(100);
    let began = Instant::now();
    outbox.push_within(&1u8, patience).unwrap();
    assert!(timeout(Duration::from_millis(100), inbox.next::<u8>()).await.is_err(), "it waits");
    outbox.push_within(&2u8, Duration::ZERO).unwrap();
    for expected in [1, 2] {
        assert_eq!(inbox.next::<u8>().await, Ok(Some(expected)));
    }
    let large = Bytes::from(vec![7; 20_000]);
    for _ in 0..4 {
        outbox.push_within(&large, patience).unwrap();
    }
    for _ in 0..4 {
        assert_eq!(inbox.next().await, Ok(Some(large.clone())));
    }
    assert!(began.elapsed() < SOON, "none was due");
    let sent = Instant::now();
    outbox.push_within(&3u8, Duration::from_millis(200)).unwrap();
    assert_eq!(inbox.next::<u8>().await, Ok(Some(3)));
    assert!(sent.elapsed() >= Duration::from_millis(200), "{:?}", sent.elapsed());
    outbox.push_within(&4u8, patience).unwrap();
    assert!(outbox.finish(SOON).await, "the last word waits for nothing");
}

#[tokio::test]
async fn what_waits_for_a_slow_reader_is_bounded() {
    let ((near, _near_in), (_far, _far_in)) = split(Role::Client).await;
    let body = Bytes::from(vec![0; 1 << 20]);
    let refused = (0..100).map(|_| near.push(&body)).find_map(Result::err);
    let limit = concoord_transport::CLIENT_QUEUE_BYTES_MAX;
    assert_eq!(refused, Some(SendError::Full { limit }));
    assert!(near.queued_bytes() < limit + (2 << 20));
}

#[tokio::test]
async fn finish_delivers_what_waits_and_then_closes() {
    let ((near, _near_in), (_far, mut far_in)) = split(Role::Client).await;
    let body = Bytes::from(vec![3; 1 << 20]);
    for _ in 0..8 {
        near.push(&body).unwrap();
    }
    let reading = async {
        let mut count = 0;
        while far_in.next::<Bytes>().await.unwrap().is_some() {
            count += 1;
        }
        count
    };
    let (delivered, count) = tokio::join!(near.finish(SOON), reading);
    assert_eq!((delivered, count), (true, 8));
    assert_eq!(near.push(&body), Err(SendError::Closed));
}

#[tokio::test]
async fn dropping_the_outbox_ends_the_other_inbox_after_what_waited() {
    let ((near, _near_in), (_far, mut far_in)) = split(Role::Client).await;
    near.push(&5_u8).unwrap();
    drop(near);
    assert_eq!(far_in.next::<u8>().await, Ok(Some(5)));
    assert_eq!(far_in.next::<u8>().await, Ok(None));
}

#[tokio::test]
async fn closing_tells_the_other_end_why() {
    let ((near, _near_in), (far, mut far_in)) = split(Role::Client).await;
    near.close("enough");
    let reason = "the other side closed it: enough".to_string();
    assert_eq!(far_in.next::<u8>().await, Err(ReceiveError::Closed { reason: reason.clone() }));
    assert_eq!(far.closed().await, reason);
    assert!(far.is_closed());
    assert_eq!(near.push(&1_u8), Err(SendError::Closed));
}

#[tokio::test]
async fn closing_an_endpoint_takes_leave_of_everyone() {
    let (server, client) = (Endpoint::server(loopback()).unwrap(), Endpoint::client().unwrap());
    let greeting = hello(None);
    let accepting = async { server.accept().await.unwrap().finish().await.unwrap().welcome(None, NODE).await.unwrap() };
    let (dialed, accepted) =
        tokio::join!(client.dial(server.local_address(), Role::Client, &greeting, SOON), accepting);
    let (_outbox, mut inbox) = dialed.unwrap().split();
    let _accepted = accepted.split();
    let (closed, ended) = tokio::join!(timeout(SOON, server.close()), inbox.next::<u8>());
    closed.unwrap();
    assert_eq!(ended, Err(ReceiveError::Closed { reason: "the other side closed it: it is shutting down".into() }));
    assert!(server.accept().await.is_none());
    assert_eq!(server.dial(loopback(), Role::Client, &greeting, SOON).await.unwrap_err(), DialError::Closed);
}

#[test]
fn a_replica_that_vanishes_is_noticed() {
    let (address_out, address_in) = std::sync::mpsc::channel();
    let (vanish, vanishing) = tokio::sync::oneshot::channel::<()>();
    // Its own runtime, dropped with everything on it: nothing is left to say farewell, as after SIGKILL.
    let vanished = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let kept = runtime.block_on(async {
            let server = Endpoint::server(loopback()).unwrap();
            address_out.send(server.local_address()).unwrap();
            let incoming = server.accept().await.unwrap().finish().await.unwrap();
            let kept = (server, incoming.welcome(None, NODE).await.unwrap());
            vanishing.await.unwrap();
            kept
        });
        runtime.shutdown_background();
        kept
    });
    let address = address_in.recv().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = Endpoint::client().unwrap();
        let connection = client.dial(address, Role::Peer, &hello(None), SOON).await.unwrap();
        let (outbox, mut inbox) = connection.split();
        vanish.send(()).unwrap();
        let noticed = timeout(3 * SOON, inbox.next::<u8>()).await.unwrap();
        assert_eq!(noticed, Err(ReceiveError::Lost { reason: "the other side fell silent".into() }));
        assert_eq!(outbox.push(&1_u8), Err(SendError::Closed));
    });
    drop(vanished.join().unwrap());
}

#[tokio::test]
async fn nobody_at_the_address_is_a_time_out() {
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let client = Endpoint::client().unwrap();
    let after = Duration::from_millis(50);
    let error = client.dial(nobody.local_addr().unwrap(), Role::Client, &hello(None), after).await.unwrap_err();
    assert_eq!(error, DialError::TimedOut { after });
    assert_eq!(error.to_string(), "no answer within 50ms");
}

#[tokio::test]
async fn an_address_that_can_not_be_had_is_one_clear_line() {
    let first = Endpoint::server(loopback()).unwrap();
    let address = first.local_address();
    let error = Endpoint::server(address).unwrap_err();
    assert!(matches!(error, BindError::PortInUse { .. }));
    let port = address.port();
    assert_eq!(
        error.to_string(),
        format!("UDP port {port} of 127.0.0.1 is in use: stop what holds it or choose another port")
    );
    let error = Endpoint::server("192.0.2.1:0".parse().unwrap()).unwrap_err();
    assert!(matches!(error, BindError::NotLocal { .. }));
    assert_eq!(
        error.to_string(),
        "192.0.2.1 is not an address of this machine: choose one that it has, or 0.0.0.0 for all"
    );
}
