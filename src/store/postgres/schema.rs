//! The schema: which steps a database has, and bringing it up to date.

use std::sync::Arc;

use migration::postgres::{STEPS, Step};

use super::address::Address;
use super::connection::Connection;
use super::shared::Ready;
use super::tx::{BEGIN, only};
use super::value::params;
use crate::store::StoreError;

/// Longest wait for another process that brings the schema up to date, in milliseconds.
const LOCK_LIMIT_MS: u32 = 60_000;

/// The names of the steps, as sea-orm's own migrations would note them.
const NOTES: &str = "CREATE TABLE IF NOT EXISTS seaql_migrations
    (version VARCHAR NOT NULL PRIMARY KEY, applied_at BIGINT NOT NULL)";

/// Advisory locks: of the transactions that write, of the leader, of those who follow, and of the schema.
const LOCKS: &str = "SELECT hashtextextended('cc-anywhere writes ' || current_schema(), 0),
    hashtextextended('cc-anywhere leads ' || current_schema(), 0),
    hashtextextended('cc-anywhere follows ' || current_schema(), 0),
    hashtextextended('cc-anywhere schema ' || current_schema(), 0)";

/// Makes the schema where it isn't there, and brings it up to date. Any number of processes may start at once: the first
/// one does it, in one transaction, and the others find it done.
///
/// # Errors
/// The server can't be reached, or the schema is from a newer version.
pub async fn migrate(address: &Arc<Address>) -> Result<Ready, StoreError> {
    let db = Connection::open(Arc::clone(address)).await?;
    find_pool(&db).await?;
    if db.simple("SHOW fsync").await? == ["off"] {
        tracing::warn!(
            server = %address.shown(),
            cure = "set fsync to on in its settings",
            "The database server does not wait for its disk: what was accepted is lost if its machine crashes"
        );
    }
    let ready = find(&db).await?;
    if missing(&db).await?.is_empty() {
        return Ok(ready);
    }
    let begin = format!(
        "{BEGIN}; SET LOCAL lock_timeout = {LOCK_LIMIT_MS}; SET LOCAL client_min_messages = warning; SELECT pg_advisory_xact_lock({})",
        schema_lock(&db).await?
    );
    db.simple(&begin).await?;
    db.simple(NOTES).await?;
    for step in missing(&db).await? {
        for statement in step.up {
            db.simple(statement).await?;
        }
        let note = "INSERT INTO seaql_migrations (version, applied_at) VALUES ($1, extract(epoch FROM now())::bigint)";
        db.rows(note, &params![step.name]).await?;
        tracing::info!(step = step.name, server = %address.shown(), "The schema of the database was brought up to date");
    }
    db.simple("COMMIT").await?;
    Ok(ready)
}

/// Finds a database that has the schema of this version. Changes nothing.
///
/// # Errors
/// The server can't be reached, or the schema is not that of this version.
pub async fn look(db: &Connection) -> Result<Ready, StoreError> {
    let ready = find(db).await?;
    match missing(db).await?.is_empty() {
        true => Ok(ready),
        false => {
            Err(wrong(db, "has the schema of another version of this program: start the server of this version once"))
        }
    }
}

/// Finds out whether a pool gives each transaction any connection of the server. There a statement that was prepared may
/// be another process's one of the same name, so none is prepared. A connection of our own has one process of the
/// server, and has it alone.
async fn find_pool(db: &Connection) -> Result<(), StoreError> {
    const PROCESS: &str = "SELECT pg_backend_pid()";
    let other = Connection::open(Arc::clone(db.address())).await?;
    let own = db.simple(PROCESS).await?;
    for _ in 0..4 {
        // A pool gives the connection that became free last, or that which has been free for the longest time.
        let before = db.simple(PROCESS).await?;
        let others = other.simple(&format!("BEGIN; {PROCESS}")).await?;
        let after = db.simple(PROCESS).await?;
        other.simple("ROLLBACK").await?;
        if others == own || before != own || after != own {
            db.address().note_pooled();
            break;
        }
    }
    Ok(())
}

async fn find(db: &Connection) -> Result<Ready, StoreError> {
    let found = db.simple(LOCKS).await?;
    let key = |at: usize| found.get(at).and_then(|lock| lock.parse::<i64>().ok());
    let keys = key(0).zip(key(1)).zip(key(2));
    let ((lock, leader), followers) = keys.ok_or_else(|| {
        wrong(
            db,
            "has no schema that its user may use: create one, or name it with options=-csearch_path in DATABASE_URL",
        )
    })?;
    Ok(Ready { lock, leader, followers, channel: format!("cc_anywhere_{}", i64::unsigned_abs(lock)) })
}

async fn schema_lock(db: &Connection) -> Result<String, StoreError> {
    Ok(db.simple(LOCKS).await?.get(3).cloned().unwrap_or_default())
}

/// The steps that the database hasn't.
async fn missing(db: &Connection) -> Result<Vec<&'static Step>, StoreError> {
    let applied: Vec<String> = match db.any("SELECT 1 WHERE to_regclass('seaql_migrations') IS NOT NULL", &[]).await? {
        true => db.all("SELECT version FROM seaql_migrations", &[], only).await?,
        false => Vec::new(),
    };
    if let Some(unknown) = applied.iter().find(|name| !STEPS.iter().any(|step| step.name == *name)) {
        return Err(wrong(
            db,
            &format!(
                "was made by a newer version of this program (step {unknown}): install that version, or use another database"
            ),
        ));
    }
    Ok(STEPS.iter().filter(|step| !applied.iter().any(|name| name == step.name)).collect())
}

fn wrong(db: &Connection, what: &str) -> StoreError {
    StoreError::Schema { server: Arc::clone(db.address().shown()), what: what.to_owned() }
}

/// Finds out whether a database may be used. Changes nothing; one without a schema will get one.
///
/// # Errors
/// It must not be used.
pub async fn check(db: &Connection) -> Result<(), StoreError> {
    find(db).await?;
    missing(db).await.map(drop)
}
