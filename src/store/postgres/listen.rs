//! Commits of other processes, as they are told by `NOTIFY`.
//!
//! The channel has a connection of its own, since a pool that gives each transaction any connection can't pass
//! notifications on (`DATABASE_LISTEN_URL` names the server itself then). A notification can be lost, with its connection
//! or in such a pool: so the newest commit is looked up from time to time, which also tells whether the server can be used.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_postgres::{Client, Notification};

use super::address::Address;
use super::read_history;
use super::readers::Readers;
use super::shared::Shared;
use crate::process::BackOff;
use crate::store::StoreError;
use crate::telemetry::chain;

/// Time between two looks: the longest delay by a lost notification.
const LOOK: Duration = Duration::from_secs(1);
/// Looks that find something, and no notification in between, before it is said.
const PATIENCE: u32 = 5;

/// Listens for as long as the process lives.
pub async fn listen_forever(shared: Arc<Shared>, address: Arc<Address>, readers: Arc<Readers>) {
    let mut back_off = BackOff::default();
    loop {
        let heard = Arc::new(AtomicBool::new(false));
        match connect(&shared, &address, &heard).await {
            Ok(client) => {
                back_off.reset();
                // What was told before is told no more.
                shared.changed();
                look(&shared, &client, &readers, &heard).await;
            }
            Err(error) => {
                shared.note::<()>(&Err(error.clone()));
                tracing::warn!(error = chain(&error), "The commits of other processes can't be heard");
            }
        }
        if readers.is_closed() {
            return;
        }
        back_off.pause().await;
    }
}

async fn connect(shared: &Arc<Shared>, address: &Address, heard: &Arc<AtomicBool>) -> Result<Client, StoreError> {
    let ready = shared.ready().await?;
    let (told, heard) = (Arc::clone(shared), Arc::clone(heard));
    let client = address.connect_to(move |notification| hear(&told, &heard, &notification)).await?;
    let listen = format!("LISTEN {}", ready.channel);
    client.batch_execute(&listen).await.map_err(|error| address.translate(error))?;
    Ok(client)
}

/// The name of the process that has committed, and the number of the commit.
fn hear(shared: &Shared, heard: &AtomicBool, notification: &Notification) {
    heard.store(true, Ordering::Relaxed);
    let mut words = notification.payload().split(' ');
    let who = words.next().unwrap_or_default();
    shared.seen(words.next().and_then(|seq| seq.parse().ok()).unwrap_or(0));
    if who != shared.instance.to_string() {
        shared.changed();
    }
}

/// Looks from time to time, until the connection ends.
async fn look(shared: &Shared, client: &Client, readers: &Readers, heard: &AtomicBool) {
    let mut missed = 0;
    while !client.is_closed() {
        tokio::time::sleep(LOOK).await;
        let newest = async { read_history::newest_commit(&*readers.connection().await?).await }.await;
        shared.note(&newest);
        let Ok(newest) = newest else {
            if readers.is_closed() {
                return;
            }
            continue;
        };
        if newest > shared.newest_seen() {
            shared.seen(newest);
            shared.changed();
            missed += u32::from(!heard.swap(false, Ordering::Relaxed));
            if missed == PATIENCE {
                tracing::warn!(
                    "The database passes no notifications on, so other processes are heard late: where a pool stands before it, set DATABASE_LISTEN_URL to the server itself"
                );
            }
        }
    }
}
