//! The quick start from a program: the same calls as with `concoord call`, typed.

use concoord_client::Client;
use concoord_objects::CounterProxy;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let counter = CounterProxy::new(Client::connect("127.0.0.1:14000, 127.0.0.1:14001").await?);
    counter.increment().await?;
    counter.increment().await?;
    println!("{}", counter.getvalue().await?);
    Ok(())
}
