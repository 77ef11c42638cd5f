//! The schema: which steps a database has, and bringing it up to date. The one place where sea-orm opens the database.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use migration::{Migrator, MigratorTrait};
use rusqlite::ffi::SQLITE_BUSY;
use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::{ConnectOptions, Database, DatabaseConnection, DbErr, RuntimeErr};

use super::connection;
use super::query::Db;
use crate::store::StoreError;

/// Longest wait of a step for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Time between two tries while another process opens the database or makes its schema.
const PAUSE: Duration = Duration::from_millis(100);
/// Maximum number of tries after the first.
const TRIES: u32 = 20;

/// Returns the names of all steps that this version knows, in order.
pub fn steps() -> Vec<String> {
    Migrator::migrations().iter().map(|step| step.name().to_owned()).collect()
}

/// Returns the names of the steps that the database has; `None` where it is new.
pub fn applied(db: Db<'_>) -> Result<Option<Vec<String>>, StoreError> {
    if !db.any("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'seaql_migrations'", [])? {
        return Ok(None);
    }
    db.all("SELECT version FROM seaql_migrations", [], |row| row.get(0)).map(Some)
}

/// Makes the database where it isn't there, puts it into WAL mode, and brings its schema up to date. Several processes
/// may start at once: the lock of the database makes one of them first, and the others find nothing to do.
pub async fn migrate(path: &Path) -> Result<(), StoreError> {
    let open = |source: DbErr| StoreError::Open { path: path.to_owned(), source: Arc::new(source) };
    let is_whole = || -> Result<bool, StoreError> {
        let reading = connection::reading(path, false)?;
        Ok(applied(Db(&reading))?.is_some_and(|applied| applied.len() == steps().len()))
    };
    let mut tries = Tries(TRIES);
    // WAL mode can't be entered while another connection writes, and SQLite does not wait for its end.
    let db = loop {
        match connect(path).await {
            Ok(db) => break db,
            Err(error) if is_busy(&error) => tries.wait(error).await.map_err(open)?,
            Err(error) => return Err(open(error)),
        }
    };
    while !is_whole()? {
        match Migrator::up(&db, None).await {
            Ok(()) => break,
            // Another process was quicker, or holds the lock.
            Err(error) => tries.wait(error).await.map_err(open)?,
        }
    }
    db.close().await.map_err(open)
}

/// Number of tries that are left.
struct Tries(u32);

impl Tries {
    /// Waits for the other process that this error comes from. With no try left, the error is returned.
    async fn wait(&mut self, error: DbErr) -> Result<(), DbErr> {
        let Some(left) = self.0.checked_sub(1) else { return Err(error) };
        tracing::debug!(%error, "another process opens the database or makes its schema");
        self.0 = left;
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }
}

/// True if the error is SQLite's `SQLITE_BUSY`, whatever it adds to the code: another connection holds the lock.
fn is_busy(error: &DbErr) -> bool {
    let DbErr::Conn(RuntimeErr::SqlxError(error)) = error else { return false };
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<i32>().ok());
    code.is_some_and(|code| code & 0xff == SQLITE_BUSY)
}

async fn connect(path: &Path) -> Result<DatabaseConnection, DbErr> {
    let mut options = ConnectOptions::new("sqlite::memory:");
    let file = path.to_owned();
    options.max_connections(1).sqlx_logging(false);
    options.map_sqlx_sqlite_opts(move |options| {
        options
            .journal_mode(SqliteJournalMode::Wal)
            .filename(&file)
            .in_memory(false)
            .shared_cache(false)
            .create_if_missing(true)
            .synchronous(SqliteSynchronous::Full)
            .pragma("temp_store", "memory")
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(true)
    });
    Database::connect(options).await
}

#[cfg(test)]
mod tests {
    use domain::Named as _;
    use rusqlite::{Connection, params};
    use strum::VariantArray as _;

    use super::*;
    use domain::{Status, TaskId};

    fn folder() -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("cca-schema-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    #[actix::test]
    async fn the_table_takes_the_statuses_of_the_domain_and_no_other() {
        let folder = folder();
        let path = folder.join("cc.db");
        migrate(&path).await.expect("a database");
        let db = Connection::open(&path).expect("it");
        let insert = "INSERT INTO tasks (id, status, spec, priority, created_at, attempt, finished_attempts, crashes, max_attempts, epoch, last_event)
            VALUES (x'0189000000007000800000000000000A', 'pending', '{}', 0, 1, 0, 0, 0, 3, 0, 0)";
        db.execute(insert, []).expect("a row");
        for status in Status::VARIANTS.iter().copied().map(Status::name).chain(["done", "", "PENDING"]) {
            let holder = (status == "running").then_some(vec![1_u8]);
            let written = db.execute("UPDATE tasks SET status = ?1, holder = ?2", params![status, holder]);
            assert_eq!(written.is_ok(), status.parse::<Status>().is_ok(), "{status}");
        }
        std::fs::remove_dir_all(folder).ok();
    }

    #[actix::test]
    async fn a_database_that_another_connection_writes_to_is_migrated_once_it_is_free() {
        let folder = folder();
        let path = folder.join("cc.db");
        let other = Connection::open(&path).expect("it");
        other.execute_batch("BEGIN IMMEDIATE").expect("a writer");
        let refused = connect(&path).await.expect_err("no WAL beside a writer");
        assert!(is_busy(&refused), "{refused}");
        let free = async {
            tokio::time::sleep(PAUSE / 2).await;
            drop(other);
        };
        let (migrated, ()) = tokio::join!(migrate(&path), free);
        migrated.expect("the schema");
        std::fs::remove_dir_all(folder).ok();
    }

    #[actix::test]
    async fn each_step_goes_up_with_rows_and_down_again() {
        let folder = folder();
        let path = folder.join("cc.db");
        let db = connect(&path).await.expect("a database");
        Migrator::up(&db, Some(1)).await.expect("the first step");
        let insert = "INSERT INTO tasks (id, status, spec, priority, created_at, completed_at, started_at, attempt, ended, crashes,
                max_attempts, epoch, last_event, cost_usd)
            VALUES (x'0189000000007000800000000000000A', 'completed', '{\"instruction\":\"x\"}', 0, 1, 3, 2, 1, 1, 0, 3, 1, 0, 0.5)";
        Connection::open(&path).expect("it").execute(insert, []).expect("a row");
        let store = crate::store::open_file(&path, false).await.expect("the newest schema");
        let id = str::parse::<TaskId>("01890000-0000-7000-8000-00000000000a").expect("an id");
        let task = store.reader().task(id).await.expect("a read");
        let attempts = task.and_then(|task| task.attempts).expect("its attempts");
        assert_eq!(
            (attempts.len(), attempts[0].outcome.as_ref().map(domain::Name::name), attempts[0].spent.cost_usd),
            (1, Some("completed"), Some(domain::Usd::of(0.5)))
        );
        Migrator::down(&db, None).await.expect("down again");
        Migrator::up(&db, None).await.expect("and up");
        std::fs::remove_dir_all(folder).ok();
    }
}
