//! What the connections of a store share: the server, what was found there, and how it goes.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::{OnceCell, watch};
use uuid::Uuid;

use super::address::Address;
use super::connection::Connection;
use super::schema;
use super::tallies::LeastRows;
use crate::process::BackOff;
use crate::store::StoreError;

/// What is known of the database once its schema is there.
#[derive(Clone, Debug)]
pub struct Ready {
    /// Key of the advisory lock of transactions that write. Of each schema of each database another one.
    pub lock: i64,
    /// Key of the advisory lock of the leader.
    pub leader: i64,
    /// Key of the advisory lock that processes with followers share.
    pub followers: i64,
    /// Channel on which commits are told.
    pub channel: String,
}

/// See the [module](self).
pub struct Shared {
    /// The server.
    pub address: Arc<Address>,
    /// Name of this process among those that tell of their commits.
    pub instance: Uuid,
    ready: OnceCell<Ready>,
    /// Number of the newest commit that is known here.
    seen: AtomicI64,
    /// Grows with each commit of another process.
    pub changes: watch::Sender<u64>,
    /// True if one of them concerned workers.
    pub work: AtomicBool,
    /// True if anybody in this process follows events.
    pub followed: AtomicBool,
    /// Time at which other processes were last told of events, in milliseconds.
    pub told: AtomicI64,
    /// The least number of rows of the tallies that was read: more of them are folded.
    pub tally_rows: LeastRows,
    /// True if notifications come from another address.
    has_listen_url: bool,
    /// True while this process is the leader.
    pub leads: watch::Sender<bool>,
    /// True while it may be.
    pub stands: watch::Sender<bool>,
    /// Reason for which the server could not be used when it was asked last.
    failure: Mutex<Option<StoreError>>,
    /// Bytes in use, as they were last counted, and the maximum number of them.
    pub used: AtomicU64,
    /// See `used`.
    pub most: AtomicU64,
}

impl Shared {
    /// Knows the server by its address alone.
    pub fn new(address: Arc<Address>, has_listen_url: bool) -> Self {
        Self {
            has_listen_url,
            address,
            instance: Uuid::new_v4(),
            ready: OnceCell::new(),
            seen: AtomicI64::new(0),
            changes: watch::Sender::new(0),
            work: AtomicBool::new(false),
            followed: AtomicBool::new(false),
            told: AtomicI64::new(0),
            leads: watch::Sender::new(false),
            stands: watch::Sender::new(false),
            failure: Mutex::default(),
            used: AtomicU64::new(0),
            most: AtomicU64::new(u64::MAX),
            tally_rows: LeastRows::default(),
        }
    }

    /// What is known of the database. The first one that asks brings its schema up to date.
    ///
    /// # Errors
    /// The server can't be reached, or the database can't be used.
    pub async fn ready(&self) -> Result<&Ready, StoreError> {
        self.ready.get_or_try_init(|| async { schema::migrate(&self.address).await }).await
    }

    /// True if the connection that listens is one of a pool.
    pub fn listens_to_pool(&self) -> bool {
        !self.has_listen_url && self.address.is_pooled()
    }

    /// A commit of this number is known here.
    pub fn seen(&self, seq: i64) {
        self.seen.fetch_max(seq, Ordering::Relaxed);
    }

    /// Number of the newest commit that is known here.
    pub fn newest_seen(&self) -> i64 {
        self.seen.load(Ordering::Relaxed)
    }

    /// Another process has committed, and whether that may concern workers.
    pub fn changed(&self, concerns_workers: bool) {
        self.work.fetch_or(concerns_workers, Ordering::Relaxed);
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Notes how a question to the server went.
    pub fn note<T>(&self, asked: &Result<T, StoreError>) {
        let failure = match asked {
            Ok(_) => None,
            Err(error @ (StoreError::Unavailable { .. } | StoreError::Refused { .. } | StoreError::Schema { .. })) => {
                Some(error.clone())
            }
            Err(_) => return,
        };
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    /// Reason for which the server could not be used when it was asked last.
    pub fn failure(&self) -> Option<StoreError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One connection, opened when it is needed. After a failure the next try waits for the back-off, and who asks meanwhile
/// gets the failure at once.
pub struct Line {
    shared: Option<Arc<Shared>>,
    connection: Option<Arc<Connection>>,
    failed: Option<(Instant, StoreError)>,
    back_off: BackOff,
}

impl Line {
    /// A connection to be opened.
    pub fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Some(Arc::clone(shared)), connection: None, failed: None, back_off: BackOff::default() }
    }

    /// A connection that is open, and not opened again.
    pub fn of(connection: Arc<Connection>) -> Self {
        Self { shared: None, connection: Some(connection), failed: None, back_off: BackOff::default() }
    }

    /// The connection.
    ///
    /// # Errors
    /// The server can't be reached.
    pub async fn connection(&mut self) -> Result<Arc<Connection>, StoreError> {
        if let Some(connection) = self.connection.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(Arc::clone(connection));
        }
        self.connection = None;
        let Some(shared) = self.shared.clone() else { return Err(StoreError::Closed) };
        if let Some((until, error)) = &self.failed
            && Instant::now() < *until
        {
            return Err(error.clone());
        }
        let opened = async {
            shared.ready().await?;
            Connection::open(Arc::clone(&shared.address)).await
        };
        let opened = opened.await;
        shared.note(&opened);
        match opened {
            Ok(connection) => {
                self.back_off.reset();
                self.failed = None;
                Ok(Arc::clone(self.connection.insert(Arc::new(connection))))
            }
            Err(error) => {
                self.failed = Some((Instant::now() + self.back_off.next(), error.clone()));
                Err(error)
            }
        }
    }

    /// The connection, if it is open and nobody uses it.
    pub fn idle(&self) -> Option<Arc<Connection>> {
        self.connection.clone().filter(|connection| !connection.is_closed() && Arc::strong_count(connection) == 2)
    }

    /// True if there is a connection.
    pub fn is_open(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| !connection.is_closed())
    }

    /// Closes it, and opens none.
    pub fn hang_up(&mut self) {
        (self.shared, self.connection) = (None, None);
    }
}
