//! The end of a transaction: what it adds to the tallies and the history, whom it tells, and what became of it where the
//! answer was lost.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio_postgres::error::SqlState;

use super::{PostgresTx, Sums};
use crate::process::BackOff;
use crate::store::StoreError;
use crate::store::postgres::connection::{Bound, Connection};
use crate::store::postgres::together::Together;
use crate::store::postgres::value::{get, params};
use crate::store::rows::Clock;

/// Time between two notifications of events by a process, in milliseconds.
const TELL_EVERY_MS: i64 = 100;
/// Time for which it is asked what became of a commit whose answer was lost.
const OUTCOME_LIMIT: Duration = Duration::from_secs(30);

impl PostgresTx<'_> {
    /// Adds what the transaction changes in the tallies.
    fn add_tallies(&mut self, rows: &mut Together) {
        let Sums { counts, bytes } = std::mem::take(&mut self.sums);
        let counts = counts.into_iter().filter(|(_, more)| *more != 0);
        let counts = counts.map(|((key, status), more)| vec![key.into(), status.into(), more.into()]);
        rows.insert("task_counts", "key_name, status, count", counts.collect());
        let bytes = bytes.into_iter().map(|(key, more)| vec![key.into(), more.into()]);
        rows.insert("key_bytes", "key_name, bytes", bytes.collect());
    }

    /// True if followers in other processes should hear of this commit's events. Each notification wakes a process of the
    /// server for each one that listens, workers too, so a process tells from time to time, and who follows looks besides.
    fn tells_followers(&self) -> bool {
        let (now, told) = (self.clock.wall.0, &self.shared.told);
        let is_due = self.is_news && now - told.load(Ordering::Relaxed) >= TELL_EVERY_MS;
        if is_due {
            told.store(now, Ordering::Relaxed);
        }
        is_due
    }

    /// Writes the history, and tells other processes of the commit, where there is something to tell. Events alone are told
    /// where the lock of those who follow is taken. Returns the statement, and what it names in its `WITH`.
    fn telling(&mut self) -> Option<(Option<&'static str>, Bound)> {
        let Clock { wall, lease } = self.clock;
        let told = [
            self.ready.channel.clone().into(),
            self.shared.instance.to_string().into(),
            self.is_work.into(),
            self.ready.followers.into(),
        ];
        match (self.done.clone(), self.is_work || self.tells_followers()) {
            (Some(done), true) => {
                let added = "added AS (INSERT INTO history (at, boot_ms, done) VALUES ($1, $2, $3) RETURNING seq)";
                let text = "SELECT seq, CASE WHEN $6 OR NOT pg_try_advisory_xact_lock($7)
                    THEN pg_notify($4, $5 || ' ' || seq || CASE WHEN $6 THEN ' work' ELSE '' END) END FROM added";
                let values = [wall.into(), lease.ms.into(), done.into()].into_iter().chain(told);
                Some((Some(added), Bound::of(text, values.collect::<Vec<_>>())))
            }
            (Some(done), false) => {
                let text = "INSERT INTO history (at, boot_ms, done) VALUES ($1, $2, $3) RETURNING seq";
                Some((None, Bound::of(text, params![wall, lease.ms, done])))
            }
            (None, true) => {
                let text = "SELECT 0::bigint, CASE WHEN $3 OR NOT pg_try_advisory_xact_lock($4)
                    THEN pg_notify($1, $2 || ' 0' || CASE WHEN $3 THEN ' work' ELSE '' END) END";
                Some((None, Bound::of(text, told)))
            }
            (None, false) => None,
        }
    }

    /// Sends the rest of the transaction with its commit. Where the answer is lost, the server is asked what became of it.
    pub(super) async fn send_commit(&mut self) -> Result<(), StoreError> {
        let (mut all, mut rows) = self.waiting.take();
        self.add_tallies(&mut rows);
        let told = self.telling();
        let is_told = told.is_some();
        all.extend(match told {
            Some((part, last)) => Some(rows.with(part, last)),
            None => rows.bound(),
        });
        fail::fail_point!("postgres-commit");
        let done = self.done.take();
        let committed = self.db.commit(&all, is_told).await;
        self.is_open = false;
        match committed {
            Ok(seq) => {
                self.shared.seen(seq);
                Ok(())
            }
            Err(error @ StoreError::Unavailable { .. }) => self.outcome(error, done.as_deref()).await,
            Err(error) => {
                // It has ended with an error; nothing is left open.
                self.db.forget("ROLLBACK");
                Err(error)
            }
        }
    }

    /// Asks what became of a commit whose answer was lost. It has happened if what it would have written to the history is
    /// there: the number of the transaction alone says nothing, because a server that has crashed may give it to another
    /// one. Of a commit without history it stays unknown, and so it counts as lost.
    async fn outcome(&self, lost: StoreError, done: Option<&str>) -> Result<(), StoreError> {
        let Some(done) = done else { return Err(lost) };
        let until = Instant::now() + OUTCOME_LIMIT;
        let mut back_off = BackOff::default();
        while Instant::now() < until {
            match self.ask_outcome(done).await {
                Ok(Some(true)) => {
                    tracing::info!("The answer to a commit was lost; it has happened");
                    return Ok(());
                }
                Ok(Some(false)) => return Err(lost),
                // It is under way, or nobody answers yet.
                Ok(None) | Err(_) => back_off.pause().await,
            }
        }
        tracing::error!(
            error = crate::telemetry::chain(&lost),
            "It is not known whether a commit has happened: its server does not answer"
        );
        Err(lost)
    }

    /// True if it was committed; `None` while it is under way.
    async fn ask_outcome(&self, done: &str) -> Result<Option<bool>, StoreError> {
        let db = Connection::open(Arc::clone(self.db.address())).await?;
        let text = "SELECT pg_xact_status($1::text::xid8)";
        let asked = db.one(text, &params![self.xid.clone()], |row| get::<Option<String>>(row, 0)).await;
        match asked {
            Ok(Some(Some(status))) if status == "in progress" => return Ok(None),
            // A server that doesn't know the number never had the transaction, or has lost it.
            Ok(_) => {}
            Err(StoreError::Statement(error)) if is_number_to_come(&*error) => {}
            Err(error) => return Err(error),
        }
        let Clock { wall, lease } = self.clock;
        let text = "SELECT 1 FROM history WHERE seq > $1 AND at = $2 AND boot_ms = $3 AND done = $4";
        let values = params![self.seen, wall, lease.ms, done];
        db.any(text, &values).await.map(Some)
    }
}

/// True if a server was asked for the outcome of a transaction that it has not begun.
fn is_number_to_come(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    let code = error.downcast_ref::<tokio_postgres::Error>().and_then(tokio_postgres::Error::code);
    code == Some(&SqlState::INVALID_PARAMETER_VALUE)
}
