//! What the predecessor calls `__concoordinit__`, from a program.

use concoord_client::Client;
use concoord_objects::CounterProxy;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::connect("127.0.0.1:14000, 127.0.0.1:14001").await?;
    let counter = CounterProxy::new(client.clone());
    counter.increment().await?;
    // No arguments: the constructor of a counter takes none.
    client.reinitialize(None, Vec::new()).await?;
    counter.increment().await?;
    println!("{}", counter.getvalue().await?);
    Ok(())
}
