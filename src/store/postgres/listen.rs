//! Commits of other processes, as they are told by `NOTIFY`; and which process leads.
//!
//! The channel has a connection of its own, since a pool that gives each transaction any connection can't pass
//! notifications on (`DATABASE_LISTEN_URL` names the server itself then). A notification can be lost, with its connection
//! or in such a pool: so the newest commit is looked up from time to time, which also tells whether the server can be used.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_postgres::{Client, Notification, Row};

use super::address::Address;
use super::read_history;
use super::readers::Readers;
use super::shared::Shared;
use crate::process::BackOff;
use crate::store::StoreError;
use crate::telemetry::chain;

/// Time between two looks: the longest delay by a lost notification.
const LOOK: Duration = Duration::from_secs(1);
/// Longest wait for an answer on the connection that listens.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
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
                shared.changed(true);
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

/// The name of the process that has committed, the number of the commit, and `work` where it may concern workers.
fn hear(shared: &Shared, heard: &AtomicBool, notification: &Notification) {
    heard.store(true, Ordering::Relaxed);
    let mut words = notification.payload().split(' ');
    let who = words.next().unwrap_or_default();
    shared.seen(words.next().and_then(|seq| seq.parse().ok()).unwrap_or(0));
    if who != shared.instance.to_string() {
        shared.changed(words.next() == Some("work"));
    }
}

/// Looks from time to time, until the connection ends.
async fn look(shared: &Shared, client: &Client, readers: &Readers, heard: &AtomicBool) {
    let (mut missed, mut follows) = (0, false);
    let mut stands = shared.stands.subscribe();
    while !client.is_closed() && !readers.is_closed() {
        if let Err(error) = lead(shared, client).await {
            tracing::warn!(error = chain(&error), "Whether this process leads is not known");
            break;
        }
        if let Err(error) = follow(shared, client, &mut follows).await {
            tracing::warn!(error = chain(&error), "Who follows can't be told of events");
            break;
        }
        // A change is looked at at once; the sender outlives us.
        drop(tokio::time::timeout(LOOK, stands.changed()).await);
        let newest = async { read_history::newest_commit(&*readers.connection().await?).await }.await;
        shared.note(&newest);
        let Ok(newest) = newest else { continue };
        if newest > shared.newest_seen() {
            shared.seen(newest);
            shared.changed(true);
            missed += u32::from(!heard.swap(false, Ordering::Relaxed));
            if missed == PATIENCE {
                tracing::warn!(
                    "The database passes no notifications on, so other processes are heard late: where a pool stands before it, set DATABASE_LISTEN_URL to the server itself"
                );
            }
        }
    }
    shared.leads.send_if_modified(std::mem::take);
}

/// Becomes the leader, should there be none and this process stand for it: the lock is that of the connection, and goes with it, however the process
/// ends. A pool would keep the lock for somebody else's connection, so behind one each process leads.
async fn lead(shared: &Shared, client: &Client) -> Result<(), StoreError> {
    let (leads, stands) = (*shared.leads.borrow(), *shared.stands.borrow());
    let leader = shared.ready().await?.leader;
    let ask = async |function: &str| client.query_typed(&format!("SELECT {function}({leader})"), &[]).await;
    let is_leader = match (leads, stands) {
        _ if shared.listens_to_pool() => stands,
        (true, false) => {
            limited(shared, ask("pg_advisory_unlock")).await?;
            false
        }
        (false, false) => false,
        // It is known to be there for as long as it answers.
        (true, true) => limited(shared, ask("1 +")).await.map(|_| true)?,
        (false, true) => limited(shared, ask("pg_try_advisory_lock")).await?.is_some_and(|row| row.get(0)),
    };
    if shared.leads.send_if_modified(|leads| std::mem::replace(leads, is_leader) != is_leader) && is_leader {
        tracing::info!("This process leads: it fires schedules, sends webhooks, and takes back what was left");
    }
    Ok(())
}

/// Shares the lock of those who follow while anybody does here: others tell of events then.
async fn follow(shared: &Shared, client: &Client, follows: &mut bool) -> Result<(), StoreError> {
    let should = shared.followed.load(Ordering::Relaxed) && !shared.listens_to_pool();
    if should == *follows {
        return Ok(());
    }
    let function = if should { "pg_advisory_lock_shared" } else { "pg_advisory_unlock_shared" };
    let text = format!("SELECT {function}({})", shared.ready().await?.followers);
    limited(shared, client.query_typed(&text, &[])).await?;
    *follows = should;
    Ok(())
}

/// Waits for an answer, but not for ever.
async fn limited(
    shared: &Shared,
    asked: impl Future<Output = Result<Vec<Row>, tokio_postgres::Error>>,
) -> Result<Option<Row>, StoreError> {
    match tokio::time::timeout(ANSWER_LIMIT, asked).await {
        Ok(Ok(rows)) => Ok(rows.into_iter().next()),
        Ok(Err(error)) => Err(shared.address.translate(error)),
        Err(late) => Err(shared.address.unavailable(late)),
    }
}
