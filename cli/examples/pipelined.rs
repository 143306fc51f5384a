//! Many calls under way at a time, over one connection.

use concoord_client::Client;
use concoord_objects::{CounterProxy, KvProxy};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::connect("127.0.0.1:14000").await?;
    let (counter, kv) = (CounterProxy::named(client.clone(), "counter"), KvProxy::named(client.clone(), "kv"));

    // Two that go side by side, in any order.
    let before = counter.getvalue().await?;
    let (counted, put) = tokio::join!(counter.increment(), kv.put("color".into(), "blue".into(), None, None));
    counted?;
    put?;

    // A thousand one behind another, in this order. Each is on its way before the first is answered.
    let calls = (0..1000).map(|_| client.call_async(Some("counter"), "increment", Vec::new()));
    for call in calls.collect::<Result<Vec<_>, _>>()? {
        call.await?;
    }
    println!("counted {}", counter.getvalue().await? - before);
    client.close().await;
    Ok(())
}
