//! What a store has, and then every change to it, without a gap.

use concoord_client::watch::From;
use concoord_client::{CallError, Client, ClientError};
use concoord_objects::KvProxy;
use concoord_objects::kv::Change;
use concoord_wire::codec::from_bytes;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::connect("127.0.0.1:14000").await?;
    let kv = KvProxy::named(client.clone(), "kv");
    loop {
        let there = kv.range(String::new(), None, 1000).await?;
        println!("there: {:?}", there.entries.keys().collect::<Vec<_>>());
        let mut watch = client.watch(Some("kv"), None, From::After(there.revision)).await?;
        kv.put("shape".into(), "round".into(), None, None).await?;
        match watch.next().await {
            // A program goes on with `next`; this one ends.
            Ok(event) => {
                match from_bytes(&event.payload)? {
                    Change::Put { key, entry } => println!("{key} is {}", entry.value),
                    Change::Deleted { key } | Change::Expired { key } => println!("{key} is gone"),
                }
                break;
            }
            // It was away for too long: look at all of it again.
            Err(ClientError::Call(CallError::Compacted { .. })) => {}
            Err(error) => return Err(error.into()),
        }
    }
    client.close().await;
    Ok(())
}
