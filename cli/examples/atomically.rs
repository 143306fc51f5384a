//! Several calls as one: all of them or none.

use concoord_client::{CallError, Client, ClientError, Part};
use concoord_wire::codec::{from_bytes, to_bytes};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::connect("127.0.0.1:14000").await?;
    let bank = Some("bank");
    for amount in [5_u64, 1000] {
        // What a method takes is written in postcard: a tuple has its arguments in turn.
        let (from, to) = (to_bytes(&("ann", amount)), to_bytes(&("bob", amount)));
        let transfer = [
            Part { object: bank, method: "debit", arguments: &from },
            Part { object: bank, method: "deposit", arguments: &to },
        ];
        match client.atomically(&transfer).await {
            Ok(left) => println!("ann has {}, bob has {}", from_bytes::<u64>(&left[0])?, from_bytes::<u64>(&left[1])?),
            Err(ClientError::Call(error @ CallError::Aborted { .. })) => println!("{error}"),
            Err(error) => return Err(error.into()),
        }
    }
    client.close().await;
    Ok(())
}
