//! Work under a lock that stops when the lock may be lost, on something that refuses outdated tokens.

use std::time::Duration;

use concoord_client::{Client, Guard, Options, Outdated};
use concoord_objects::LockProxy;

/// What the lock is for. It knows of no cluster.
#[derive(Default)]
struct Ledger {
    guard: Guard,
    lines: Vec<String>,
}

impl Ledger {
    fn write(&mut self, token: u64, line: &str) -> Result<(), Outdated> {
        self.guard.admit(token)?;
        self.lines.push(line.into());
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options {
        session_ttl: Duration::from_secs(10),
        // `lost` says so two seconds before anybody else can have the lock: the time that it takes to stop.
        lost_before: Duration::from_secs(2),
        ..Options::default()
    };
    let client = Client::connect_with("127.0.0.1:14000", options).await?;
    let lock = LockProxy::named(client.clone(), "lock");
    let mut ledger = Ledger::default();

    let work = async {
        let token = lock.acquire().await?;
        ledger.write(token, "first")?;
        lock.release(Some(token)).await?;
        Ok::<u64, Box<dyn std::error::Error>>(token)
    };
    // What is lost before `lost` is first asked does not count, so it is asked before the lock is acquired.
    let token = tokio::select! {
        biased;
        () = client.lost() => return Err("the lock may be lost: stopped".into()),
        token = work => token?,
    };

    // Somebody else gets the lock and writes. What comes late by the first token is refused.
    let newer = lock.acquire().await?;
    ledger.write(newer, "second")?;
    let late = ledger.write(token, "late");
    println!("{} lines, and late is refused: {}", ledger.lines.len(), late.is_err());
    client.close().await;
    Ok(())
}
