//! Statements on API keys, what each key has, and the audit log.

use std::sync::LazyLock;

use async_trait::async_trait;
use rusqlite::{Row, params};

use super::query::{Db, time};
use super::table::Table;
use super::tx::SqliteTx;
use crate::store::StoreError;
use crate::store::convert::key_of;
use crate::store::rows::{ApiKeyRow, AuditRow, KeyUse};
use crate::store::tx::{Keys, Tx as _};
use crate::store::views::{AuditRecord, StoredKey};
use domain::{SessionId, TaskId, Timestamp, Usd};

/// Number of entries that the audit log keeps.
const KEPT: i64 = 1_000_000;

static ALL: LazyLock<String> = LazyLock::new(|| format!("SELECT {} FROM api_keys ORDER BY name", ApiKeyRow::COLUMNS));

static FIND: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {} FROM api_keys WHERE name = ?1", ApiKeyRow::COLUMNS));

const UPDATE: &str = "UPDATE api_keys SET hash = ?2, previous_hash = ?3, previous_until = ?4, revoked_at = ?5
    WHERE name = ?1";

/// Times of two processes may come in any order.
const TOUCH: &str = "UPDATE api_keys SET last_used_at = MAX(COALESCE(last_used_at, 0), ?2) WHERE name = ?1";

const BUDGETS: &str =
    "SELECT name, daily_budget_usd FROM api_keys INDEXED BY api_keys_budget WHERE daily_budget_usd IS NOT NULL";

const USE: &str = "SELECT
    COALESCE((SELECT count FROM task_counts WHERE key_name = ?1 AND status = 'pending'), 0),
    (SELECT COUNT(*) FROM (SELECT 1 FROM tasks INDEXED BY tasks_key WHERE key_name = ?1 AND id >= ?2 LIMIT ?3)),
    COALESCE((SELECT bytes FROM key_bytes WHERE key_name = ?1), 0)";

const ADD_BYTES: &str = "INSERT INTO key_bytes (key_name, bytes) VALUES (?1, ?2)
    ON CONFLICT (key_name) DO UPDATE SET bytes = MAX(0, bytes + excluded.bytes)";

const APPEND: &str = "INSERT INTO audit_log (at, key_name, address, action, path, status, detail)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

const LOG: &str = "SELECT id, at, key_name, address, action, path, status, detail FROM audit_log
    WHERE id < ?1 ORDER BY id DESC LIMIT ?2";

/// A session that was not forked has the id of its first task, and is found by that.
const HAS_SESSION: &str = "SELECT 1 FROM tasks WHERE id = ?1 AND key_name = ?3
    UNION ALL SELECT 1 FROM tasks INDEXED BY tasks_key WHERE key_name = ?3 AND session_id = ?2 LIMIT 1";

/// All keys, by name.
pub fn all(db: Db<'_>) -> Result<Vec<StoredKey>, StoreError> {
    Ok(db.readable(&ALL, [], "key", ApiKeyRow::read)?.into_iter().map(key_of).collect())
}

/// The name of the key that a task was submitted with.
pub fn owner(db: Db<'_>, id: TaskId) -> Result<Option<String>, StoreError> {
    db.one("SELECT key_name FROM tasks WHERE id = ?1", [id.as_bytes()], |row| row.get(0))
}

/// True if a task of this key has used the session.
pub fn has_session(db: Db<'_>, key: &str, session: SessionId) -> Result<bool, StoreError> {
    db.any(HAS_SESSION, params![session.as_bytes(), session.to_string(), key])
}

/// Entries of the audit log before this one, newest first.
pub fn audit_log(db: Db<'_>, before: i64, limit: u64) -> Result<Vec<AuditRecord>, StoreError> {
    db.readable(LOG, params![before, i64::try_from(limit).unwrap_or(i64::MAX)], "entry of the audit log", record)
}

fn record(row: &Row<'_>) -> rusqlite::Result<AuditRecord> {
    Ok(AuditRecord {
        id: row.get(0)?,
        at: time::at(row, 1)?,
        key: row.get(2)?,
        address: row.get(3)?,
        action: row.get(4)?,
        path: row.get(5)?,
        status: row.get(6)?,
        detail: row.get(7)?,
    })
}

#[async_trait(?Send)]
impl Keys for SqliteTx<'_> {
    async fn insert_api_key(&mut self, row: &ApiKeyRow) -> Result<bool, StoreError> {
        if self.api_key(&row.name).await?.is_some() {
            return Ok(false);
        }
        self.db()?.insert(row)?;
        Ok(true)
    }

    async fn api_key(&mut self, name: &str) -> Result<Option<ApiKeyRow>, StoreError> {
        self.db()?.one(&FIND, [name], ApiKeyRow::read)
    }

    async fn update_api_key(&mut self, row: &ApiKeyRow) -> Result<(), StoreError> {
        let ApiKeyRow { name, hash, previous_hash, previous_until, revoked_at, .. } = row;
        self.db()?.execute(UPDATE, params![name, hash, previous_hash, previous_until, revoked_at])?;
        Ok(())
    }

    async fn touch_api_key(&mut self, name: &str, at: Timestamp) -> Result<(), StoreError> {
        self.db()?.execute(TOUCH, params![name, at.0])?;
        Ok(())
    }

    async fn key_budgets(&mut self) -> Result<Vec<(String, Usd)>, StoreError> {
        self.db()?.all(BUDGETS, [], |row| Ok((row.get(0)?, row.get(1).map(Usd::of)?)))
    }

    async fn key_use(&mut self, key: &str, day: Timestamp, most: u32) -> Result<KeyUse, StoreError> {
        let first = TaskId::first_of(day);
        let values = params![key, first.as_bytes(), most];
        let found = self
            .db()?
            .one(USE, values, |row| Ok(KeyUse { pending: row.get(0)?, submitted: row.get(1)?, bytes: row.get(2)? }))?;
        let mut found = found.unwrap_or_default();
        found.pending += self.more_pending(Some(key));
        Ok(found)
    }

    async fn add_key_bytes(&mut self, key: &str, bytes: i64) -> Result<(), StoreError> {
        self.db()?.execute(ADD_BYTES, params![key, bytes])?;
        Ok(())
    }

    async fn append_audit(&mut self, row: &AuditRow) -> Result<(), StoreError> {
        let AuditRow { key_name, address, action, path, status, detail } = row;
        let at = self.clock().wall.0;
        let db = self.db()?;
        db.execute(APPEND, params![at, key_name, address, action, path, status, detail])?;
        let last = db.0.last_insert_rowid();
        db.execute("DELETE FROM audit_log WHERE id <= ?1", [last - KEPT])?;
        Ok(())
    }
}
