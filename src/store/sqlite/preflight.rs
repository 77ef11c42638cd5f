//! Checks of a database before anything is written to it. SQLite opens much that has lost something, and says nothing.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::query::Db;
use super::{connection, high_water_mark, read_history, schema};
use crate::store::StoreError;

/// First bytes of every SQLite database.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// A database up to this size is read through at every start: 64 MB take some 0.2 s.
const READ_THROUGH_BYTES: u64 = 64 << 20;

/// Kinds of file systems, by the numbers that `statfs` gives them (linux/magic.h, and the
/// kernel's sources for those that stand elsewhere). The WAL is shared memory between processes
/// of one machine; over a network two machines would each have their own.
const NETWORK: [(i64, &str); 7] = [
    (0x6969, "NFS"),
    (0x517B, "SMB"),
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB2"),
    (0x00C3_6400, "Ceph"),
    (0x0102_1997, "9p"),
    (0x5346_414F, "AFS"),
];
/// Type of file systems in user space: on a network, or not.
const FUSE: i64 = 0x6573_5546;

/// Looks before the database is opened for writing.
///
/// # Errors
/// It must not be used, and why. The file is as it was.
pub fn check(path: &Path, accept_loss: bool) -> Result<(), StoreError> {
    refuse_networks(path)?;
    let mark = high_water_mark::read(path).filter(|_| !accept_loss);
    if !is_there(path)? {
        return match mark {
            Some(mark) => Err(behind(path, mark, 0)),
            None => Ok(()),
        };
    }
    look_through(path, &connection::reading(path, true)?, mark)
}

fn look_through(path: &Path, db: &Connection, mark: Option<i64>) -> Result<(), StoreError> {
    let damaged =
        |error: StoreError| StoreError::Damaged { path: path.to_owned(), what: crate::telemetry::chain(&error) };
    let known = schema::steps();
    let steps = schema::applied(Db(db)).map_err(damaged)?.unwrap_or_default();
    if steps.iter().any(|step| !known.contains(step)) {
        return Err(StoreError::TooNew { path: path.to_owned() });
    }
    if std::fs::metadata(path).is_ok_and(|file| file.len() <= READ_THROUGH_BYTES) {
        let found: Option<String> = Db(db).one("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(damaged)?;
        if found.as_deref() != Some("ok") {
            return Err(StoreError::Damaged { path: path.to_owned(), what: found.unwrap_or_default() });
        }
    }
    let has_history = steps.len() >= 3;
    let newest = if has_history { read_history::newest_commit(Db(db))? } else { 0 };
    match mark.filter(|mark| *mark > newest) {
        Some(mark) => Err(behind(path, mark, newest)),
        None => Ok(()),
    }
}

fn behind(path: &Path, mark: i64, newest: i64) -> StoreError {
    StoreError::Behind { path: path.to_owned(), mark, newest }
}

/// True if there is something in it; an empty file is as good as none.
fn is_there(path: &Path) -> Result<bool, StoreError> {
    let refused = |what: String| StoreError::Damaged { path: path.to_owned(), what };
    let mut begins = Vec::new();
    match File::options().read(true).write(true).open(path) {
        Ok(file) => file.take(16).read_to_end(&mut begins).map_err(|error| refused(error.to_string()))?,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(source) => {
            return Err(StoreError::NotWritable { path: path.to_owned(), source: std::sync::Arc::new(source) });
        }
    };
    if !begins.is_empty() && begins != MAGIC {
        return Err(refused("it is no SQLite database".to_owned()));
    }
    Ok(!begins.is_empty())
}

fn refuse_networks(path: &Path) -> Result<(), StoreError> {
    let folder = path.parent().map_or(PathBuf::from("/"), Path::to_owned);
    let Ok(found) = rustix::fs::statfs(&folder) else { return Ok(()) };
    #[expect(clippy::unnecessary_cast, reason = "the type differs between architectures")]
    let kind = found.f_type as i64;
    if kind == FUSE {
        tracing::warn!(folder = %folder.display(), "The database is on a FUSE file system; where that is a network, data can be lost");
    }
    match NETWORK.iter().find(|(number, _)| *number == kind & 0xFFFF_FFFF) {
        Some((_, name)) => Err(StoreError::Network { path: path.to_owned(), kind: name }),
        None => Ok(()),
    }
}
