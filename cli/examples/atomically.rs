//! Several calls as one: all of them or none.

use concoord_client::Client;
use concoord_objects::BankProxy;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::connect("127.0.0.1:14000").await?;
    for amount in [5, 1000] {
        let transfer = client.together(async |as_one| {
            let bank = BankProxy::named(as_one, "bank");
            tokio::try_join!(bank.debit("ann".into(), amount), bank.deposit("bob".into(), amount))
        });
        match transfer.await {
            Ok((ann, bob)) => println!("ann has {ann}, bob has {bob}"),
            Err(why) => println!("ann has not {amount}: {why}"),
        }
    }
    client.close().await;
    Ok(())
}
