//! The index of words: a file of its own beside the database, so that it takes neither the writer's time nor room from the
//! tasks, and can be removed. An FTS5 table without content, by the numbers of the events.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::connection;
use super::query::Db;
use super::readers::Readers;
use crate::process;
use crate::store::StoreError;
use crate::store::word_index::{EventWords, FindEvents, IndexPlace, WordIndex, word_of_key};
use domain::TaskId;

/// The version of the schema. A file of another one is made anew.
const VERSION: i64 = 1;
/// One finds while the other one takes in.
const CONNECTIONS: usize = 2;

/// Words come split and in lower case: `ascii` takes them as they are, where it would split no letter beyond it.
const SCHEMA: &str = "CREATE VIRTUAL TABLE words USING fts5
        (word, content = '', contentless_delete = 1, detail = none, tokenize = 'ascii');
    CREATE TABLE events (n INTEGER PRIMARY KEY, task BLOB NOT NULL, seq INTEGER NOT NULL);
    CREATE INDEX events_task ON events (task);
    CREATE TABLE place (one INTEGER PRIMARY KEY CHECK (one = 1), n INTEGER NOT NULL, task BLOB NOT NULL, seq INTEGER NOT NULL);";

const FIND: &str = "SELECT events.n, task, seq FROM words JOIN events ON events.n = words.rowid
    WHERE words MATCH ?1 AND words.rowid < ?2 ORDER BY words.rowid DESC LIMIT ?3";

/// See the [module](self).
pub struct Words(Readers);

impl Words {
    /// Opens the index beside a database; one that can't be read is made anew.
    pub fn open(database: &Path) -> Result<Self, StoreError> {
        let path = path_of(database);
        if let Err(error) = prepare(&path) {
            tracing::warn!(error = crate::telemetry::chain(&error), "The index of words is made anew");
            remove(&path)?;
            prepare(&path)?;
        }
        Ok(Self(Readers::open(&path, CONNECTIONS, false)?))
    }

    /// Closes it. Waits for what is under way.
    pub fn close(&self) {
        self.0.close();
    }
}

/// The file of the index of a database.
fn path_of(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-words");
    name.into()
}

fn remove(path: &Path) -> Result<(), StoreError> {
    for end in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        match std::fs::remove_file(&name) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::NotWritable { path: name.into(), source: Arc::new(source) });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Makes the file and its tables where they aren't there.
fn prepare(path: &Path) -> Result<(), StoreError> {
    process::close_to_others(path, true)
        .map_err(|source| StoreError::NotWritable { path: path.to_owned(), source: Arc::new(source) })?;
    let db = Connection::open(path).map_err(|source| connection::open_error(path, source))?;
    db.busy_timeout(connection::BUSY_TIMEOUT)?;
    db.execute_batch("PRAGMA journal_mode = WAL")?;
    let version = |db: &Connection| db.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0));
    // Two processes may start at once.
    db.execute_batch("BEGIN IMMEDIATE")?;
    match version(&db)? {
        0 => db.execute_batch(&format!("{SCHEMA} PRAGMA user_version = {VERSION}; COMMIT"))?,
        VERSION => db.execute_batch("COMMIT; SELECT * FROM words LIMIT 0; SELECT * FROM events, place LIMIT 0")?,
        other => {
            let what = format!("its version is {other}");
            return Err(StoreError::Damaged { path: path.to_owned(), what });
        }
    }
    Ok(())
}

/// Does this in a transaction.
fn within(db: Db<'_>, work: impl FnOnce(Db<'_>) -> Result<(), StoreError>) -> Result<(), StoreError> {
    // It follows from what is on the disk already.
    db.0.execute_batch("PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE")?;
    let done = work(db);
    db.0.execute_batch(if done.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    done
}

fn place(db: Db<'_>) -> Result<Option<IndexPlace>, StoreError> {
    db.one("SELECT n, task, seq FROM place", [], place_of)
}

fn place_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<IndexPlace> {
    Ok(IndexPlace { n: row.get(0)?, task: row.get(1).map(TaskId::of)?, seq: row.get(2)? })
}

#[async_trait]
impl WordIndex for Words {
    async fn place(&self) -> Result<Option<IndexPlace>, StoreError> {
        self.0.run(place).await
    }

    async fn add(&self, from: i64, to: IndexPlace, events: Vec<EventWords>) -> Result<(), StoreError> {
        let add = move |db: Db<'_>| {
            if place(db)?.map_or(0, |place| place.n) != from {
                return Ok(());
            }
            for EventWords { place, key, words } in events {
                let words = format!("{} {}", word_of_key(&key), words.join(" "));
                db.execute("INSERT INTO words (rowid, word) VALUES (?1, ?2)", params![place.n, words])?;
                let values = params![place.n, place.task.as_bytes(), place.seq];
                db.execute("INSERT INTO events (n, task, seq) VALUES (?1, ?2, ?3)", values)?;
            }
            let values = params![to.n, to.task.as_bytes(), to.seq];
            db.execute("INSERT OR REPLACE INTO place (one, n, task, seq) VALUES (1, ?1, ?2, ?3)", values)?;
            Ok(())
        };
        self.0.run(move |db| within(db, add)).await
    }

    async fn find(&self, find: FindEvents) -> Result<Vec<IndexPlace>, StoreError> {
        // Letters and digits alone, see `terms_of`.
        let beginnings = find.terms.iter().map(|term| format!("\"{term}\"*"));
        let key = find.key.iter().map(|key| format!("\"{}\"", word_of_key(key)));
        let question = beginnings.chain(key).collect::<Vec<_>>().join(" AND ");
        let limit = i64::try_from(find.limit).unwrap_or(i64::MAX);
        self.0.run(move |db| db.all(FIND, params![question, find.before, limit], place_of)).await
    }

    async fn tasks(&self, after: TaskId, limit: u64) -> Result<Vec<TaskId>, StoreError> {
        let text = "SELECT DISTINCT task FROM events WHERE task > ?1 ORDER BY task LIMIT ?2";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.0.run(move |db| db.all(text, params![after.as_bytes(), limit], |row| row.get(0).map(TaskId::of))).await
    }

    async fn forget(&self, tasks: Vec<TaskId>) -> Result<(), StoreError> {
        let forget = move |db: Db<'_>| {
            for task in &tasks {
                let task = params![task.as_bytes()];
                db.execute("DELETE FROM words WHERE rowid IN (SELECT n FROM events WHERE task = ?1)", task)?;
                db.execute("DELETE FROM events WHERE task = ?1", task)?;
            }
            Ok(())
        };
        self.0.run(move |db| within(db, forget)).await
    }

    async fn clear(&self) -> Result<(), StoreError> {
        let all = "DROP TABLE words; DROP TABLE events; DROP TABLE place";
        self.0.run(move |db| within(db, |db| Ok(db.0.execute_batch(&format!("{all}; {SCHEMA}"))?))).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix::test]
    async fn a_file_that_is_none_is_made_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = folder.path().join("cc.db");
        for content in ["no database at all, and long enough that it is read as one".repeat(100), String::new()] {
            std::fs::write(path_of(&database), content).expect("written");
            let words = Words::open(&database).expect("an index");
            assert_eq!(words.place().await.expect("a read"), None);
            words.close();
        }
        let newer = Connection::open(path_of(&database)).expect("a file");
        newer.execute_batch("PRAGMA user_version = 7").expect("a version");
        assert_eq!(Words::open(&database).expect("an index").place().await.expect("a read"), None);
    }
}
