//! Statements on secrets of keys.

use async_trait::async_trait;
use rusqlite::{Row, params};

use super::query::{Db, time};
use super::tx::SqliteTx;
use crate::store::StoreError;
use crate::store::rows::SecretRow;
use crate::store::tx::Secrets;

const FIND: &str =
    "SELECT key_name, name, sealed, created_at, updated_at FROM secrets WHERE key_name = ?1 AND name = ?2";

const PUT: &str = "INSERT INTO secrets (key_name, name, sealed, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT (key_name, name) DO UPDATE SET sealed = excluded.sealed, updated_at = excluded.updated_at";

const LIST: &str = "SELECT key_name, name, sealed, created_at, updated_at FROM secrets
    WHERE ?1 IS NULL OR key_name = ?1 ORDER BY key_name, name";

fn secret(row: &Row<'_>) -> rusqlite::Result<SecretRow> {
    Ok(SecretRow {
        key_name: row.get(0)?,
        name: row.get(1)?,
        sealed: row.get(2)?,
        created_at: time::at(row, 3)?,
        updated_at: time::at(row, 4)?,
    })
}

#[async_trait(?Send)]
impl Secrets for SqliteTx<'_> {
    async fn secret(&mut self, key: &str, name: &str) -> Result<Option<SecretRow>, StoreError> {
        self.db()?.one(FIND, params![key, name], secret)
    }

    async fn put_secret(&mut self, row: &SecretRow) -> Result<(), StoreError> {
        let SecretRow { key_name, name, sealed, created_at, updated_at } = row;
        self.db()?.execute(PUT, params![key_name, name, sealed, created_at.0, updated_at.0])?;
        Ok(())
    }

    async fn remove_secret(&mut self, key: &str, name: &str) -> Result<(), StoreError> {
        self.db()?.execute("DELETE FROM secrets WHERE key_name = ?1 AND name = ?2", params![key, name])?;
        Ok(())
    }
}

/// Reads the secrets of a key, or of all.
pub fn list(db: Db<'_>, key: Option<&str>) -> Result<Vec<SecretRow>, StoreError> {
    db.readable(LIST, params![key], "secret", secret)
}
