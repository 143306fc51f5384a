//! A client for programs that are not async.

use concoord_client::blocking::Client;
use concoord_objects::{CounterProxy, LockProxy};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::connect("127.0.0.1:14000")?;
    let value = client.run(async |client| CounterProxy::named(client, "counter").increment().await)?;
    let holders = client.run(async |client| LockProxy::named(client, "lock").holders().await)?;
    println!("{value}, and the lock has {} holders", holders.len());
    Ok(())
}
