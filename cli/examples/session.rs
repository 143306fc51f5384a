//! A program that goes on with its session when it is started again.

use std::fs;

use concoord_client::{Client, Options};
use concoord_objects::LockProxy;

const FILE: &str = "worker.session";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let session = fs::read_to_string(FILE).ok().map(|token| token.parse()).transpose()?;
    let client = Client::connect_with("127.0.0.1:14000", Options { session, ..Options::default() }).await?;
    // Whoever has the token has what the session holds: keep it like a password.
    let token = client.session().await?;
    fs::write(FILE, token.to_string())?;

    let lock = LockProxy::named(client.clone(), "lock");
    let own = token.session.to_string();
    match lock.holders().await?.into_iter().find(|held| held.session == own) {
        None => {
            println!("took the lock by token {}", lock.acquire().await?);
            // A crash: nobody hears of it. `Client::close`, or dropping the client, would end the session.
            std::process::exit(0);
        }
        Some(held) => {
            println!("still holds the lock by token {}", held.token);
            client.close().await;
            fs::remove_file(FILE)?;
            Ok(())
        }
    }
}
