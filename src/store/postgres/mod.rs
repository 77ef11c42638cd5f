//! PostgreSQL: the engine for many machines.
//!
//! Transactions that write are alone, as on SQLite: an advisory lock makes them follow one another, on whichever machine
//! they run ([`tx`]). So the commands' rules hold as they are written, and events and commits are numbered in the order of
//! the commits. Reads run beside them, on connections of their own. Leases end by the clock of the server. Commits are told
//! by `NOTIFY`, and looked up where a notification was lost.
//!
//! | file | |
//! | --- | --- |
//! | `address`, `verify` | the server: what its URL says, how to connect, how far its certificate is checked |
//! | `shared`, `connection`, `value`, `table` | connections, statements, values, whole rows |
//! | `schema`, `listen`, `import` | the schema, commits of other processes, and the rows of another database |
//! | `tx`, `waiting`, `tasks`, `shares`, `dependencies`, `files`, `attempts`, `talk`, `limits`, `hooks`, `schedules`, `money`, `secrets`, `handovers`, `races`, `children`, `touches`, `rules`, `keys`, `workers`, `retention` | the statements of a transaction |
//! | `blobs` | the contents of files |
//! | `words` | the index of words |
//! | `readers`, `read_tasks`, `read_events`, `read_state`, `read_history` | the statements of reads |
//!
//! Decided against: transactions side by side, with locks of rows. Each rule that reads, decides and writes would need the
//! locks of what it reads, and an order of them; and the numbers of events would need a second lock, at the end, for as
//! long as the commit takes. What that would win is small, because commands share commits.

mod address;
mod attempts;
mod blobs;
mod children;
mod claims;
mod connection;
mod dependencies;
mod files;
mod handovers;
mod hooks;
mod import;
mod keys;
mod limits;
mod listen;
mod money;
mod races;
mod read_conversations;
mod read_events;
mod read_history;
mod read_state;
mod read_tasks;
mod readers;
mod retention;
mod rules;
mod schedules;
mod schema;
mod secrets;
mod shared;
mod shares;
mod table;
mod talk;
mod tallies;
mod tasks;
mod together;
mod touches;
mod tx;
mod value;
mod verify;
mod waiting;
mod words;
mod workers;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use tokio::sync::{Mutex, watch};

use self::address::Address;
use self::connection::Connection;
pub use self::import::Import;
use self::readers::Readers;
use self::shared::{Line, Shared};
use self::tx::PostgresTx;
use super::views::{EventPage, Poll, Polled, ReadEvents};
use super::{About, Blobs, Leadership, Reader, Reads as _, Store, StoreError, Tx, WordIndex, Writes};
use crate::config::DatabaseServer;
use domain::TaskId;

/// Connections that read.
const READERS: usize = 4;
/// Longest wait for a commit of another process, before it is said that there is none.
const WAIT: Duration = Duration::from_millis(250);
/// Time between two looks for events of other processes, while somebody follows.
const LOOK: Duration = Duration::from_millis(30);

/// A database that is open.
pub struct PostgresStore {
    shared: Arc<Shared>,
    writing: Mutex<Line>,
    readers: Arc<Readers>,
    changes: Mutex<watch::Receiver<u64>>,
    /// Number of the newest event, as it was looked up last.
    newest_event: AtomicI64,
    is_closed: AtomicBool,
}

impl PostgresStore {
    /// Opens the database, and brings its schema up to date. One that can't be reached is opened once it can.
    ///
    /// # Errors
    /// It must not be used, or the settings are wrong.
    pub async fn open(server: &DatabaseServer) -> Result<Self, StoreError> {
        let address = address_of_server(server)?;
        let listen = match &server.listen_url {
            Some(url) => address_of(server, url, "DATABASE_LISTEN_URL")?,
            None => Arc::clone(&address),
        };
        let shared = Arc::new(Shared::new(address, server.listen_url.is_some()));
        let ready = shared.ready().await.map(drop);
        shared.note(&ready);
        match ready {
            Err(error @ StoreError::Unavailable { .. }) => {
                tracing::warn!(
                    error = crate::telemetry::chain(&error),
                    "The database can't be reached; it is tried again"
                );
            }
            ready => ready?,
        }
        let readers = Arc::new(Readers::new(&shared, READERS));
        tokio::spawn(listen::listen_forever(Arc::clone(&shared), listen, Arc::clone(&readers)));
        Ok(Self {
            writing: Mutex::new(Line::new(&shared)),
            changes: Mutex::new(shared.changes.subscribe()),
            newest_event: AtomicI64::new(0),
            readers,
            shared,
            is_closed: AtomicBool::new(false),
        })
    }

    /// Begins a transaction. A connection that broke while nobody used it is opened again: nothing was sent on it.
    async fn try_begin(&self, about: About<'_>) -> Result<PostgresTx<'_>, StoreError> {
        if self.is_closed.load(Ordering::Relaxed) {
            return Err(StoreError::Closed);
        }
        let ready = self.shared.ready().await?;
        let mut writing = self.writing.lock().await;
        let db = writing.connection().await?;
        PostgresTx::begin(&self.shared, ready, writing, db, about).await
    }
}

fn address_of_server(server: &DatabaseServer) -> Result<Arc<Address>, StoreError> {
    address_of(server, &server.url, "DATABASE_URL")
}

fn address_of(server: &DatabaseServer, url: &SecretString, setting: &'static str) -> Result<Arc<Address>, StoreError> {
    Address::read(server, url).map(Arc::new).map_err(|what| StoreError::Setting { setting, what })
}

#[async_trait(?Send)]
impl Writes for PostgresStore {
    async fn begin(&self) -> Result<Box<dyn Tx + '_>, StoreError> {
        self.begin_for(About::default()).await
    }

    async fn begin_for(&self, about: About<'_>) -> Result<Box<dyn Tx + '_>, StoreError> {
        fail::fail_point!("store-commit", |_| {
            tracing::warn!("a failpoint fired");
            Err(StoreError::statement(std::io::Error::other("a failpoint")))
        });
        let begun = match self.try_begin(about).await {
            Err(StoreError::Unavailable { .. }) => self.try_begin(about).await,
            begun => begun,
        };
        self.shared.note(&begun);
        Ok(Box::new(begun?))
    }

    fn shortage(&self) -> Option<StoreError> {
        let (used, most) = (self.shared.used.load(Ordering::Relaxed), self.shared.most.load(Ordering::Relaxed));
        (used >= most).then_some(StoreError::Quota { used, most })
    }

    fn relieve(&self, _: &StoreError) -> bool {
        false
    }

    fn probe(&self) -> Result<(), StoreError> {
        self.shared.failure().map_or(Ok(()), Err)
    }

    /// Waits for a commit that is told, and looks for events while there are followers.
    async fn changed_elsewhere(&self) -> Result<bool, StoreError> {
        let mut changes = self.changes.lock().await;
        if !self.shared.followed.load(Ordering::Relaxed) {
            return Ok(matches!(tokio::time::timeout(WAIT, changes.changed()).await, Ok(Ok(()))));
        }
        if let Ok(Ok(())) = tokio::time::timeout(LOOK, changes.changed()).await {
            return Ok(true);
        }
        let newest = self.readers.newest_event().await?;
        Ok(self.newest_event.swap(newest, Ordering::Relaxed) != newest)
    }

    fn note_followers(&self, are_there: bool) {
        self.shared.followed.store(are_there, Ordering::Relaxed);
    }

    fn has_news_for_workers(&self) -> bool {
        self.shared.work.swap(false, Ordering::Relaxed)
    }

    async fn poll(&self, poll: &Poll<'_>) -> Result<Polled, StoreError> {
        read_state::poll(&*self.readers.connection().await?, poll).await
    }

    async fn has_ended(&self, task: TaskId) -> Result<bool, StoreError> {
        read_state::has_ended(&*self.readers.connection().await?, task).await
    }

    async fn few_events(&self, read: &ReadEvents) -> Result<Option<EventPage>, StoreError> {
        read_events::few(&*self.readers.connection().await?, read).await
    }
}

#[async_trait]
impl Store for PostgresStore {
    fn reader(&self) -> Reader {
        Arc::<Readers>::clone(&self.readers)
    }

    fn word_index(&self) -> Result<Arc<dyn WordIndex>, StoreError> {
        Ok(Arc::new(words::Words(Arc::clone(&self.readers))))
    }

    fn blobs(&self) -> Arc<dyn Blobs> {
        Arc::new(blobs::Pieces(Arc::clone(&self.readers)))
    }

    fn limit_size(&self, bytes: Option<u64>) {
        self.shared.most.store(bytes.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    async fn keep_up(&self) -> Result<(), StoreError> {
        let db = self.readers.connection().await?;
        tallies::fold(&db).await?;
        if self.shared.most.load(Ordering::Relaxed) < u64::MAX {
            self.shared.used.store(read_state::bytes_in_use(&db).await?, Ordering::Relaxed);
        }
        Ok(())
    }

    fn spans_machines(&self) -> bool {
        true
    }

    fn stand(&self) -> Leadership {
        self.shared.stands.send_replace(true);
        Leadership::elected(self.shared.leads.subscribe())
    }

    fn resign(&self) {
        self.shared.stands.send_replace(false);
    }

    async fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        self.readers.close().await;
        self.writing.lock().await.hang_up();
    }
}

/// Opens a database only to read it.
///
/// # Errors
/// It can't be reached, or is from another version.
pub async fn open_read_only(server: &DatabaseServer) -> Result<Reader, StoreError> {
    let db = connect_once(server).await?;
    schema::look(&db).await?;
    Ok(Arc::new(Readers::of(Arc::new(db))))
}

/// Opens a database to read it as it is at one moment.
///
/// # Errors
/// It can't be reached, or is from another version.
pub async fn open_snapshot(server: &DatabaseServer) -> Result<Reader, StoreError> {
    let db = connect_once(server).await?;
    schema::look(&db).await?;
    db.simple("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    Ok(Arc::new(Readers::of(Arc::new(db))))
}

/// A connection of a command that reads and ends. It prepares no statements: a pool may stand before the server, and
/// would mix them up with those of others.
async fn connect_once(server: &DatabaseServer) -> Result<Connection, StoreError> {
    let address = address_of_server(server)?;
    address.prepare_none();
    Connection::open(address).await
}

/// Finds out whether a database may be used. Changes nothing.
///
/// # Errors
/// It can't be reached, or must not be used.
pub async fn check(server: &DatabaseServer) -> Result<String, StoreError> {
    let db = connect_once(server).await?;
    schema::check(&db).await?;
    Ok(db.address().shown().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance::{Open, exercise};
    use crate::store::postgres::value::params;
    use crate::store::test_server::Cluster;

    /// A database of the shared server.
    struct Scratch(DatabaseServer);

    impl Open for Scratch {
        async fn open(&self) -> Arc<dyn Store> {
            Arc::new(PostgresStore::open(&self.0).await.expect("a store"))
        }
    }

    #[actix::test]
    async fn postgres_keeps_the_promises_of_an_engine() {
        Box::pin(exercise(|| Scratch(Cluster::shared().fresh()))).await;
    }

    #[actix::test]
    async fn a_transaction_has_its_settings_whatever_those_of_the_database_are() {
        for (own, expected) in [("off", "local"), ("local", "local"), ("remote_apply", "remote_apply")] {
            for is_pooled in [false, true] {
                let server = Cluster::shared().fresh();
                let db = Connection::open(address_of_server(&server).expect("an address")).await.expect("connected");
                let alter = |setting| {
                    format!("DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' SET {setting}'; END $$")
                };
                db.simple(&alter(format!("synchronous_commit = {own}"))).await.expect("altered");
                db.simple(&alter("default_transaction_isolation = serializable".to_owned())).await.expect("altered");
                let store = PostgresStore::open(&server).await.expect("a store");
                if is_pooled {
                    store.shared.address.prepare_none();
                }
                // The settings of a session stay, and those of a transaction are made anew.
                for _ in 0..2 {
                    let mut tx = store.try_begin(About::default()).await.expect("begun");
                    for (name, expected) in [
                        ("synchronous_commit", expected),
                        ("transaction_isolation", "read committed"),
                        ("lock_timeout", "5s"),
                        ("idle_in_transaction_session_timeout", "3s"),
                    ] {
                        let is = tx.one("SELECT current_setting($1)", params![name], tx::only::<String>).await;
                        assert_eq!(is.expect("asked").as_deref(), Some(expected), "{name} of {own}");
                    }
                }
            }
        }
    }
}
