//! The commits of other processes: seen without looking all the time.
//!
//! Every commit writes to the write-ahead log, and the kernel tells of that (inotify). It does so before the commit can be
//! seen, since the log is synced first, so a write is a reason to look from time to time until it has been quiet for a
//! while. Only then the log is watched: each write to a watched file costs who writes. Where the kernel can't tell, each
//! call looks.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;

use crate::process::WriteWatch;
use crate::store::StoreError;

/// Looks behind a write of another process: longer than a slow disk takes to sync.
const LOOKS: u32 = 10;
/// Looks behind a commit of this process: one writes at a time, so what others wrote before can be seen.
const LOOKS_AFTER_OWN: u32 = 2;
/// Pauses behind the first looks, since most commits are seen by then.
const SOON: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(3)];
/// Longest time without a look.
const LONGEST: Duration = Duration::from_secs(1);

/// See the [module](self).
pub struct Elsewhere {
    /// The write-ahead log.
    log: PathBuf,
    /// True if this process has committed since the last look.
    own: AtomicBool,
    seen: Mutex<Seen>,
}

struct Seen {
    /// Version of the database: SQLite counts it up for commits of other connections only. `None` before the first look.
    version: Option<i64>,
    /// Looks that are left before there is only the watch.
    left: u32,
    /// The log, while it is watched.
    watch: Option<WriteWatch>,
}

impl Elsewhere {
    /// The commits to this database.
    #[must_use]
    pub fn new(database: &Path) -> Self {
        let mut log = database.as_os_str().to_owned();
        log.push("-wal");
        let seen = Seen { version: None, left: LOOKS, watch: None };
        Self { log: log.into(), own: AtomicBool::new(false), seen: Mutex::new(seen) }
    }

    /// Notes that this process has committed.
    pub fn note_own(&self) {
        self.own.store(true, Ordering::Relaxed);
    }

    /// Returns true if another process has committed since the last call; where there was nothing for long, waits for a write
    /// for a while. `version` reads the version of the database.
    ///
    /// # Errors
    /// Those of `version`.
    pub async fn changed(&self, version: impl Fn() -> Result<i64, StoreError>) -> Result<bool, StoreError> {
        let mut seen = self.seen.lock().await;
        let told = match &seen.watch {
            Some(log) if seen.left == 0 => tokio::time::timeout(LONGEST, log.written()).await.is_ok(),
            _ => false,
        };
        let own = self.own.swap(false, Ordering::Relaxed);
        let by_others = told && !own;
        let mut has_grown = seen.has_grown(version()?);
        for pause in SOON.into_iter().filter(|_| by_others) {
            if !has_grown {
                tokio::time::sleep(pause).await;
                has_grown = seen.has_grown(version()?);
            }
        }
        seen.left = match seen.left {
            _ if has_grown || by_others => LOOKS,
            left if own => left.max(LOOKS_AFTER_OWN),
            left => left.saturating_sub(1),
        };
        match seen.left {
            0 => {}
            // From before the last look, so that nothing comes between.
            1 => seen.watch = self.watch(),
            _ => seen.watch = None,
        }
        Ok(has_grown)
    }

    fn watch(&self) -> Option<WriteWatch> {
        WriteWatch::of(&self.log)
            .inspect_err(|error| tracing::trace!(%error, "the kernel doesn't tell of commits: they are looked for"))
            .ok()
    }
}

impl Seen {
    /// Notes the version. Returns true if it is another one than before.
    fn has_grown(&mut self, version: i64) -> bool {
        self.version.replace(version).is_some_and(|before| before != version)
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[tokio::test]
    async fn what_others_commit_is_seen_at_once_behind_a_long_rest_and_our_own_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.db");
        let open = || {
            let db = Connection::open(&path).expect("a database");
            db.pragma_update(None, "journal_mode", "WAL").expect("a log");
            db
        };
        let (own, other) = (open(), open());
        own.execute("CREATE TABLE t (x INTEGER)", []).expect("a table");
        let elsewhere = Elsewhere::new(&path);
        let changed = || async {
            let version = || own.query_row("PRAGMA data_version", [], |row| row.get(0)).map_err(StoreError::statement);
            elsewhere.changed(version).await.expect("a look")
        };
        let rest = || async {
            for _ in 0..LOOKS {
                assert!(!changed().await);
            }
        };
        changed().await;
        rest().await;
        for _ in 0..3 {
            other.execute("INSERT INTO t VALUES (1)", []).expect("inserted");
            assert!(changed().await);
            rest().await;
            own.execute("INSERT INTO t VALUES (2)", []).expect("inserted");
            elsewhere.note_own();
            assert!(!changed().await);
            other.execute("INSERT INTO t VALUES (3)", []).expect("inserted");
            assert!(changed().await, "right behind our own");
            rest().await;
        }
    }
}
