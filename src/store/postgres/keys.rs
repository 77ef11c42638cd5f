//! Statements on API keys, what each key has, and the audit log.

use std::sync::LazyLock;

use async_trait::async_trait;
use tokio_postgres::Row;

use super::connection::Connection;
use super::table::Table;
use super::tx::{PostgresTx, only};
use super::value::{Unread, get, params};
use crate::store::StoreError;
use crate::store::convert::key_of;
use crate::store::rows::{ApiKeyRow, AuditRow, KeyUse};
use crate::store::tx::{Keys, Tx as _};
use crate::store::views::{AuditRecord, StoredKey};
use domain::{Named as _, SessionId, Status, TaskId, Timestamp, Usd};

/// Number of entries that the audit log keeps.
const KEPT: i64 = 1_000_000;

static ALL: LazyLock<String> = LazyLock::new(|| format!("SELECT {} FROM api_keys ORDER BY name", ApiKeyRow::COLUMNS));

static FIND: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {} FROM api_keys WHERE name = $1", ApiKeyRow::COLUMNS));

const UPDATE: &str = "UPDATE api_keys SET hash = $2, previous_hash = $3, previous_until = $4, revoked_at = $5
    WHERE name = $1";

/// Times of two processes may come in any order.
const TOUCH: &str = "UPDATE api_keys SET last_used_at = GREATEST(COALESCE(last_used_at, 0), $2) WHERE name = $1";

const BUDGETS: &str = "SELECT name, daily_budget_usd FROM api_keys WHERE daily_budget_usd IS NOT NULL";

const USE: &str = "SELECT
    COALESCE((SELECT SUM(count) FROM task_counts WHERE key_name = $1 AND status = 'pending'), 0)::bigint,
    (SELECT COUNT(*) FROM (SELECT 1 FROM tasks WHERE key_name = $1 AND id >= $2 LIMIT $3) today),
    COALESCE((SELECT SUM(bytes) FROM key_bytes WHERE key_name = $1), 0)::bigint";

const APPEND: &str = "INSERT INTO audit_log (at, key_name, address, action, path, status, detail)
    VALUES ($1, $2, $3, $4, $5, $6, $7)";

const LOG: &str = "SELECT id, at, key_name, address, action, path, status, detail FROM audit_log
    WHERE id < $1 ORDER BY id DESC LIMIT $2";

/// A session that was not forked has the id of its first task, and is found by that.
const HAS_SESSION: &str = "SELECT 1 FROM tasks WHERE id = $1 AND key_name = $3
    UNION ALL SELECT 1 FROM tasks WHERE key_name = $3 AND session_id = $2 LIMIT 1";

/// All keys, by name.
pub async fn all(db: &Connection) -> Result<Vec<StoredKey>, StoreError> {
    Ok(db.readable(&ALL, &[], "key", ApiKeyRow::read).await?.into_iter().map(key_of).collect())
}

/// The name of the key that a task was submitted with.
pub async fn owner(db: &Connection, id: TaskId) -> Result<Option<String>, StoreError> {
    db.one("SELECT key_name FROM tasks WHERE id = $1", &params![id], only).await
}

/// True if a task of this key has used the session.
pub async fn has_session(db: &Connection, key: &str, session: SessionId) -> Result<bool, StoreError> {
    db.any(HAS_SESSION, &params![session, session.to_string(), key]).await
}

/// Entries of the audit log before this one, newest first.
pub async fn audit_log(db: &Connection, before: i64, limit: u64) -> Result<Vec<AuditRecord>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    db.readable(LOG, &params![before, limit], "entry of the audit log", record).await
}

fn record(row: &Row) -> Result<AuditRecord, Unread> {
    Ok(AuditRecord {
        id: get(row, 0)?,
        at: get(row, 1)?,
        key: get(row, 2)?,
        address: get(row, 3)?,
        action: get(row, 4)?,
        path: get(row, 5)?,
        status: get(row, 6)?,
        detail: get(row, 7)?,
    })
}

#[async_trait(?Send)]
impl Keys for PostgresTx<'_> {
    async fn insert_api_key(&mut self, row: &ApiKeyRow) -> Result<bool, StoreError> {
        if self.api_key(&row.name).await?.is_some() {
            return Ok(false);
        }
        self.insert(row);
        Ok(true)
    }

    async fn api_key(&mut self, name: &str) -> Result<Option<ApiKeyRow>, StoreError> {
        self.one(&FIND, params![name], ApiKeyRow::read).await
    }

    async fn update_api_key(&mut self, row: &ApiKeyRow) -> Result<(), StoreError> {
        let ApiKeyRow { name, hash, previous_hash, previous_until, revoked_at, .. } = row;
        self.defer(UPDATE, params![name, hash, previous_hash, *previous_until, *revoked_at]);
        Ok(())
    }

    async fn touch_api_key(&mut self, name: &str, at: Timestamp) -> Result<(), StoreError> {
        self.defer_quietly(TOUCH, params![name, at]);
        Ok(())
    }

    async fn key_budgets(&mut self) -> Result<Vec<(String, Usd)>, StoreError> {
        self.all(BUDGETS, [], |row| Ok((get(row, 0)?, get(row, 1)?))).await
    }

    async fn key_use(&mut self, key: &str, day: Timestamp, most: u32) -> Result<KeyUse, StoreError> {
        let first = TaskId::first_of(day);
        let values = params![key, first, most];
        let read = |row: &Row| Ok(KeyUse { pending: get(row, 0)?, submitted: get(row, 1)?, bytes: get(row, 2)? });
        let mut found = self.one(USE, values, read).await?.unwrap_or_default();
        let sums = self.sums();
        found.pending += sums.counts.get(&(key.to_owned(), Status::Pending.name().to_owned())).copied().unwrap_or(0);
        found.bytes += sums.bytes.get(key).copied().unwrap_or(0);
        Ok(found)
    }

    async fn add_key_bytes(&mut self, key: &str, bytes: i64) -> Result<(), StoreError> {
        *self.sums().bytes.entry(key.to_owned()).or_default() += bytes;
        Ok(())
    }

    async fn append_audit(&mut self, row: &AuditRow) -> Result<(), StoreError> {
        let AuditRow { key_name, address, action, path, status, detail } = row;
        let at = self.clock().wall;
        self.defer_quietly(APPEND, params![at, key_name, address, action, path, *status, detail]);
        self.defer_quietly("DELETE FROM audit_log WHERE id <= (SELECT MAX(id) FROM audit_log) - $1", params![KEPT]);
        Ok(())
    }
}
