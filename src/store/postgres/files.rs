//! Statements on files that clients have sent, and on those that tasks have left.

use async_trait::async_trait;
use tokio_postgres::Row;

use super::connection::Connection;
use super::tx::{PostgresTx, only};
use super::value::{Unread, Value, get, params};
use crate::store::StoreError;
use crate::store::rows::FileRow;
use crate::store::tx::Files;
use crate::store::views::ListFiles;
use domain::{Artifact, BlobId, FileId, TaskId, Timestamp};

const FIND: &str = "SELECT key_name, id, blob, bytes, complete, created_at, used_at FROM files
    WHERE id = $2 AND (key_name = $1 OR $3) ORDER BY key_name = $1 DESC LIMIT 1";

const LIST: &str = "SELECT key_name, id, blob, bytes, complete, created_at, used_at FROM files
    WHERE ($1::text IS NULL OR key_name = $1) AND ($2::uuid IS NULL OR blob < $2) ORDER BY blob DESC LIMIT $3";

/// A file that a task names which has not ended is not idle.
const IDLE: &str = "SELECT key_name, id, blob, bytes, complete, created_at, used_at FROM files
    WHERE (used_at < $1 OR (used_at < $2 AND NOT complete))
    AND NOT EXISTS (SELECT 1 FROM task_files n JOIN tasks t ON t.id = n.task_id
        WHERE n.key_name = files.key_name AND n.id = files.id AND t.status IN ('pending', 'running'))
    ORDER BY used_at LIMIT $3";

const PUT: &str = "INSERT INTO files (key_name, id, blob, bytes, complete, created_at, used_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (key_name, id) DO UPDATE SET blob = excluded.blob, bytes = excluded.bytes, complete = excluded.complete,
        created_at = excluded.created_at, used_at = excluded.used_at";

const USER: &str = "SELECT n.task_id FROM task_files n JOIN tasks t ON t.id = n.task_id
    WHERE n.key_name = $1 AND n.id = $2 AND t.status IN ('pending', 'running') LIMIT 1";

const OF_TASK: &str = "SELECT files.key_name, files.id, blob, bytes, complete, created_at, used_at
    FROM task_files JOIN files ON files.key_name = task_files.key_name AND files.id = task_files.id WHERE task_id = $1";

const REMOVE_ARTIFACTS: &str = "WITH gone AS (DELETE FROM artifacts WHERE task_id = $1 RETURNING bytes)
    SELECT COALESCE(SUM(bytes), 0)::bigint FROM gone";

const PUT_ARTIFACTS: &str = "INSERT INTO artifacts (task_id, path, blob, bytes, sha256)
    SELECT $1, path, blob, bytes, sha256 FROM unnest($2::text[], $3::uuid[], $4::int8[], $5::text[])
        AS left_behind(path, blob, bytes, sha256)";

/// In the order of their bytes, as SQLite has it.
const ARTIFACTS: &str = r#"SELECT path, blob, bytes, sha256 FROM artifacts WHERE task_id = $1 AND path > $2 COLLATE "C"
    ORDER BY path COLLATE "C" LIMIT $3"#;

const BYTES: &str = "SELECT (COALESCE((SELECT SUM(bytes) FROM files), 0)
    + COALESCE((SELECT SUM(bytes) FROM artifacts), 0))::bigint";

const UNNAMED: &str = "SELECT blob FROM unnest($1::uuid[]) AS asked(blob)
    WHERE NOT EXISTS (SELECT 1 FROM files WHERE files.blob = asked.blob)
    AND NOT EXISTS (SELECT 1 FROM artifacts WHERE artifacts.blob = asked.blob)";

fn id_of(row: &Row, column: usize) -> Result<FileId, Unread> {
    Ok(get::<String>(row, column)?.parse::<FileId>()?)
}

fn blob_of(row: &Row, column: usize) -> Result<BlobId, Unread> {
    get(row, column)
}

fn file(row: &Row) -> Result<FileRow, Unread> {
    Ok(FileRow {
        key_name: get(row, 0)?,
        id: id_of(row, 1)?,
        blob: blob_of(row, 2)?,
        bytes: get(row, 3)?,
        complete: get(row, 4)?,
        created_at: get(row, 5)?,
        used_at: get(row, 6)?,
    })
}

fn artifact(row: &Row) -> Result<Artifact, Unread> {
    Ok(Artifact { path: get(row, 0)?, blob: blob_of(row, 1)?, bytes: get(row, 2)?, sha256: id_of(row, 3)? })
}

#[async_trait(?Send)]
impl Files for PostgresTx<'_> {
    async fn file(&mut self, key: &str, id: &FileId, any: bool) -> Result<Option<FileRow>, StoreError> {
        self.one(FIND, params![key, id.as_str(), any], file).await
    }

    async fn put_file(&mut self, row: &FileRow) -> Result<(), StoreError> {
        let FileRow { key_name, id, blob, bytes, complete, created_at, used_at } = row;
        let values = params![key_name, id.as_str(), blob.uuid(), *bytes, *complete, *created_at, *used_at];
        self.defer_quietly(PUT, values);
        Ok(())
    }

    async fn remove_file(&mut self, key: &str, id: &FileId) -> Result<(), StoreError> {
        self.defer_quietly("DELETE FROM files WHERE key_name = $1 AND id = $2", params![key, id.as_str()]);
        Ok(())
    }

    async fn user_of_file(&mut self, key: &str, id: &FileId) -> Result<Option<TaskId>, StoreError> {
        self.one(USER, params![key, id.as_str()], only).await
    }

    async fn idle_files(
        &mut self,
        before: Timestamp,
        incomplete_before: Timestamp,
        limit: i64,
    ) -> Result<Vec<FileRow>, StoreError> {
        self.all(IDLE, params![before, incomplete_before, limit], file).await
    }

    async fn insert_task_file(&mut self, task: TaskId, key: &str, id: &FileId) -> Result<(), StoreError> {
        let text = "INSERT INTO task_files (task_id, key_name, id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        self.defer_quietly(text, params![task, key, id.as_str()]);
        Ok(())
    }

    async fn put_artifacts(&mut self, task: TaskId, artifacts: &[Artifact]) -> Result<i64, StoreError> {
        let before = self.one(REMOVE_ARTIFACTS, params![task], only).await?.unwrap_or_default();
        let values = vec![
            task.into(),
            Value::texts(artifacts.iter().map(|one| one.path.clone())),
            Value::ids(artifacts.iter().map(|one| one.blob.uuid())),
            Value::numbers(artifacts.iter().map(|one| one.bytes)),
            Value::texts(artifacts.iter().map(|one| one.sha256.to_string())),
        ];
        self.defer_quietly(PUT_ARTIFACTS, values);
        Ok(before)
    }
}

/// Reads a file of a key; where `any` is true and it has none, that of another key.
pub async fn find(db: &Connection, key: &str, id: &FileId, any: bool) -> Result<Option<FileRow>, StoreError> {
    db.one(FIND, &params![key, id.as_str(), any], file).await
}

/// Reads files, those first that were sent last.
pub async fn list(db: &Connection, list: &ListFiles) -> Result<Vec<FileRow>, StoreError> {
    let values = [Value::Text(list.key.clone()), Value::Uuid(list.before.map(BlobId::uuid)), list.limit.into()];
    db.readable(LIST, &values, "file", file).await
}

/// Reads the files that a task names, as far as they are there.
pub async fn of_task(db: &Connection, task: TaskId) -> Result<Vec<FileRow>, StoreError> {
    db.readable(OF_TASK, &params![task], "file", file).await
}

/// Reads files that a task has left, behind this path.
pub async fn artifacts(db: &Connection, task: TaskId, after: &str, limit: i64) -> Result<Vec<Artifact>, StoreError> {
    db.readable(ARTIFACTS, &params![task, after, limit], "artifact", artifact).await
}

/// Reads a file that a task has left.
pub async fn artifact_at(db: &Connection, task: TaskId, path: &str) -> Result<Option<Artifact>, StoreError> {
    let text = "SELECT path, blob, bytes, sha256 FROM artifacts WHERE task_id = $1 AND path = $2";
    db.one(text, &params![task, path], artifact).await
}

/// Counts the bytes of all files and artifacts.
pub async fn bytes(db: &Connection) -> Result<i64, StoreError> {
    Ok(db.one(BYTES, &[], only).await?.unwrap_or_default())
}

/// Those of these contents that neither a file nor an artifact names.
pub async fn unnamed(db: &Connection, blobs: &[BlobId]) -> Result<Vec<BlobId>, StoreError> {
    let asked = Value::ids(blobs.iter().map(|blob| blob.uuid()));
    db.all(UNNAMED, &[asked], |row| blob_of(row, 0)).await
}
