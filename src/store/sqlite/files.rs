//! Statements on files that clients have sent, and on those that tasks have left.

use async_trait::async_trait;
use rusqlite::types::Type;
use rusqlite::{Row, params};

use super::query::{Db, time};
use super::tx::SqliteTx;
use crate::store::StoreError;
use crate::store::rows::FileRow;
use crate::store::tx::Files;
use crate::store::views::ListFiles;
use domain::{Artifact, BlobId, FileId, TaskId, Timestamp};

const FIND: &str = "SELECT key_name, id, blob, bytes, complete, created_at, used_at FROM files
    WHERE id = ?2 AND (key_name = ?1 OR ?3) ORDER BY key_name = ?1 DESC LIMIT 1";

const LIST: &str = "SELECT key_name, id, blob, bytes, complete, created_at, used_at FROM files
    WHERE (?1 IS NULL OR key_name = ?1) AND (?2 IS NULL OR blob < ?2) ORDER BY blob DESC LIMIT ?3";

/// A file that a task names which has not ended is not idle.
const IDLE: &str = "SELECT key_name, id, blob, bytes, complete, created_at, used_at FROM files
    WHERE (used_at < ?1 OR (used_at < ?2 AND NOT complete))
    AND NOT EXISTS (SELECT 1 FROM task_files n JOIN tasks t ON t.id = n.task_id
        WHERE n.key_name = files.key_name AND n.id = files.id AND t.status IN ('pending', 'running'))
    ORDER BY used_at LIMIT ?3";

const PUT: &str = "INSERT INTO files (key_name, id, blob, bytes, complete, created_at, used_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
    ON CONFLICT (key_name, id) DO UPDATE SET blob = excluded.blob, bytes = excluded.bytes, complete = excluded.complete,
        created_at = excluded.created_at, used_at = excluded.used_at";

const USER: &str = "SELECT n.task_id FROM task_files n JOIN tasks t ON t.id = n.task_id
    WHERE n.key_name = ?1 AND n.id = ?2 AND t.status IN ('pending', 'running') LIMIT 1";

const OF_TASK: &str = "SELECT files.key_name, files.id, blob, bytes, complete, created_at, used_at
    FROM task_files JOIN files ON files.key_name = task_files.key_name AND files.id = task_files.id WHERE task_id = ?1";

const ARTIFACTS: &str = "SELECT path, blob, bytes, sha256 FROM artifacts WHERE task_id = ?1 AND path > ?2
    ORDER BY path LIMIT ?3";

const BYTES: &str =
    "SELECT COALESCE((SELECT SUM(bytes) FROM files), 0) + COALESCE((SELECT SUM(bytes) FROM artifacts), 0)";

const IS_NAMED: &str =
    "SELECT EXISTS (SELECT 1 FROM files WHERE blob = ?1) OR EXISTS (SELECT 1 FROM artifacts WHERE blob = ?1)";

fn id_of(row: &Row<'_>, column: usize) -> rusqlite::Result<FileId> {
    let text: String = row.get(column)?;
    text.parse().map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

fn file(row: &Row<'_>) -> rusqlite::Result<FileRow> {
    Ok(FileRow {
        key_name: row.get(0)?,
        id: id_of(row, 1)?,
        blob: BlobId::of(row.get(2)?),
        bytes: row.get(3)?,
        complete: row.get(4)?,
        created_at: time::at(row, 5)?,
        used_at: time::at(row, 6)?,
    })
}

fn artifact(row: &Row<'_>) -> rusqlite::Result<Artifact> {
    Ok(Artifact { path: row.get(0)?, blob: BlobId::of(row.get(1)?), bytes: row.get(2)?, sha256: id_of(row, 3)? })
}

#[async_trait(?Send)]
impl Files for SqliteTx<'_> {
    async fn file(&mut self, key: &str, id: &FileId, any: bool) -> Result<Option<FileRow>, StoreError> {
        find(self.db()?, key, id, any)
    }

    async fn put_file(&mut self, row: &FileRow) -> Result<(), StoreError> {
        let FileRow { key_name, id, blob, bytes, complete, created_at, used_at } = row;
        let values = params![key_name, id.as_str(), blob.as_bytes(), bytes, complete, created_at.0, used_at.0];
        self.db()?.execute(PUT, values)?;
        Ok(())
    }

    async fn remove_file(&mut self, key: &str, id: &FileId) -> Result<(), StoreError> {
        self.db()?.execute("DELETE FROM files WHERE key_name = ?1 AND id = ?2", params![key, id.as_str()])?;
        Ok(())
    }

    async fn user_of_file(&mut self, key: &str, id: &FileId) -> Result<Option<TaskId>, StoreError> {
        self.db()?.one(USER, params![key, id.as_str()], |row| row.get(0).map(TaskId::of))
    }

    async fn idle_files(
        &mut self,
        before: Timestamp,
        incomplete_before: Timestamp,
        limit: i64,
    ) -> Result<Vec<FileRow>, StoreError> {
        self.db()?.readable(IDLE, params![before.0, incomplete_before.0, limit], "file", file)
    }

    async fn insert_task_file(&mut self, task: TaskId, key: &str, id: &FileId) -> Result<(), StoreError> {
        let text = "INSERT INTO task_files (task_id, key_name, id) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
        self.db()?.execute(text, params![task.as_bytes(), key, id.as_str()])?;
        Ok(())
    }

    async fn put_artifacts(&mut self, task: TaskId, artifacts: &[Artifact]) -> Result<i64, StoreError> {
        let db = self.db()?;
        let before = "SELECT COALESCE(SUM(bytes), 0) FROM artifacts WHERE task_id = ?1";
        let before = db.one(before, [task.as_bytes()], |row| row.get(0))?.unwrap_or_default();
        db.execute("DELETE FROM artifacts WHERE task_id = ?1", [task.as_bytes()])?;
        let text = "INSERT INTO artifacts (task_id, path, blob, bytes, sha256) VALUES (?1, ?2, ?3, ?4, ?5)";
        for Artifact { path, blob, bytes, sha256 } in artifacts {
            db.execute(text, params![task.as_bytes(), path, blob.as_bytes(), bytes, sha256.as_str()])?;
        }
        Ok(before)
    }
}

/// Reads a file of a key; where `any` is true and it has none, that of another key.
pub fn find(db: Db<'_>, key: &str, id: &FileId, any: bool) -> Result<Option<FileRow>, StoreError> {
    db.one(FIND, params![key, id.as_str(), any], file)
}

/// Reads files, those first that were sent last.
pub fn list(db: Db<'_>, list: &ListFiles) -> Result<Vec<FileRow>, StoreError> {
    let before = list.before.map(|blob| blob.as_bytes().to_vec());
    db.readable(LIST, params![list.key, before, list.limit], "file", file)
}

/// Reads the files that a task names, as far as they are there.
pub fn of_task(db: Db<'_>, task: TaskId) -> Result<Vec<FileRow>, StoreError> {
    db.readable(OF_TASK, [task.as_bytes()], "file", file)
}

/// Reads files that a task has left, behind this path.
pub fn artifacts(db: Db<'_>, task: TaskId, after: &str, limit: i64) -> Result<Vec<Artifact>, StoreError> {
    db.readable(ARTIFACTS, params![task.as_bytes(), after, limit], "artifact", artifact)
}

/// Reads a file that a task has left.
pub fn artifact_at(db: Db<'_>, task: TaskId, path: &str) -> Result<Option<Artifact>, StoreError> {
    let text = "SELECT path, blob, bytes, sha256 FROM artifacts WHERE task_id = ?1 AND path = ?2";
    db.one(text, params![task.as_bytes(), path], artifact)
}

/// Counts the bytes of all files and artifacts.
pub fn bytes(db: Db<'_>) -> Result<i64, StoreError> {
    Ok(db.one(BYTES, [], |row| row.get(0))?.unwrap_or_default())
}

/// Those of these contents that neither a file nor an artifact names.
pub fn unnamed(db: Db<'_>, blobs: &[BlobId]) -> Result<Vec<BlobId>, StoreError> {
    let mut unnamed = Vec::new();
    for blob in blobs {
        if !db.one(IS_NAMED, [blob.as_bytes()], |row| row.get::<_, bool>(0))?.unwrap_or_default() {
            unnamed.push(*blob);
        }
    }
    Ok(unnamed)
}
