//! How long one small frame takes there and back over loopback, and how many go through with 256 in flight.

use std::time::{Duration, Instant};

use concoord_transport::{Endpoint, Inbox, Outbox, Role};
use concoord_wire::NodeId;
use concoord_wire::hello::{Hello, PROTOCOL_MAX, PROTOCOL_MIN};

const PHASE: Duration = Duration::from_millis(500);
const IN_FLIGHT: u64 = 256;

fn main() {
    let (address_out, address_in) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        block_on(async {
            let server = Endpoint::server("127.0.0.1:0".parse().expect("an address")).expect("a port");
            address_out.send(server.local_address()).expect("main waits");
            let incoming = server.accept().await.expect("open").finish().await.expect("a hello");
            let (outbox, mut inbox) = incoming.welcome(None, NodeId(1)).await.expect("a connection").split();
            while let Ok(Some(number)) = inbox.next::<u64>().await {
                outbox.push(&number).expect("room");
                while let Ok(Some(number)) = inbox.try_next::<u64>() {
                    outbox.push(&number).expect("room");
                }
            }
        });
    });
    let address = address_in.recv().expect("the server is up");
    block_on(async {
        let client = Endpoint::client().expect("a port");
        let hello = Hello { versions: (PROTOCOL_MIN, PROTOCOL_MAX), cluster: None, node: None, life: 1 };
        let started = Instant::now();
        let connection = client.dial(address, Role::Client, &hello, Duration::from_secs(1)).await.expect("an answer");
        println!("dial: {:?}", started.elapsed());
        let (outbox, mut inbox) = connection.split();
        one_at_a_time(&outbox, &mut inbox).await;
        many(&outbox, &mut inbox).await;
    });
}

fn block_on(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work);
}

async fn one_at_a_time(outbox: &Outbox, inbox: &mut Inbox) {
    let mut times = Vec::new();
    let end = Instant::now() + PHASE;
    while Instant::now() < end {
        let sent = Instant::now();
        outbox.push(&1_u64).expect("room");
        inbox.next::<u64>().await.expect("open").expect("an echo");
        times.push(sent.elapsed());
    }
    times.sort();
    let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    println!("echo: p50 {p50:?}, p99 {p99:?} over {}", times.len());
}

async fn many(outbox: &Outbox, inbox: &mut Inbox) {
    for number in 0..IN_FLIGHT {
        outbox.push(&number).expect("room");
    }
    let started = Instant::now();
    let mut count = 0_u32;
    while started.elapsed() < PHASE {
        let mut next = inbox.next::<u64>().await.expect("open");
        while let Some(number) = next {
            count += 1;
            outbox.push(&number).expect("room");
            next = inbox.try_next().expect("open");
        }
    }
    println!("echoes with {IN_FLIGHT} in flight: {:.0}/s", f64::from(count) / started.elapsed().as_secs_f64());
}
