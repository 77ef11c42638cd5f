//! Statements on secrets of keys.

use async_trait::async_trait;
use tokio_postgres::Row;

use super::connection::Connection;
use super::tx::PostgresTx;
use super::value::{Unread, Value, get, params};
use crate::store::StoreError;
use crate::store::rows::SecretRow;
use crate::store::tx::Secrets;

const FIND: &str =
    "SELECT key_name, name, sealed, created_at, updated_at FROM secrets WHERE key_name = $1 AND name = $2";

const PUT: &str = "INSERT INTO secrets (key_name, name, sealed, created_at, updated_at) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (key_name, name) DO UPDATE SET sealed = excluded.sealed, updated_at = excluded.updated_at";

const LIST: &str = r#"SELECT key_name, name, sealed, created_at, updated_at FROM secrets
    WHERE $1::text IS NULL OR key_name = $1 ORDER BY key_name COLLATE "C", name COLLATE "C""#;

fn secret(row: &Row) -> Result<SecretRow, Unread> {
    Ok(SecretRow {
        key_name: get(row, 0)?,
        name: get(row, 1)?,
        sealed: get(row, 2)?,
        created_at: get(row, 3)?,
        updated_at: get(row, 4)?,
    })
}

#[async_trait(?Send)]
impl Secrets for PostgresTx<'_> {
    async fn secret(&mut self, key: &str, name: &str) -> Result<Option<SecretRow>, StoreError> {
        self.one(FIND, params![key, name], secret).await
    }

    async fn put_secret(&mut self, row: &SecretRow) -> Result<(), StoreError> {
        let SecretRow { key_name, name, sealed, created_at, updated_at } = row;
        self.defer_quietly(PUT, params![key_name, name, sealed.clone(), *created_at, *updated_at]);
        Ok(())
    }

    async fn remove_secret(&mut self, key: &str, name: &str) -> Result<(), StoreError> {
        self.defer_quietly("DELETE FROM secrets WHERE key_name = $1 AND name = $2", params![key, name]);
        Ok(())
    }
}

/// Reads the secrets of a key, or of all.
pub async fn list(db: &Connection, key: Option<&str>) -> Result<Vec<SecretRow>, StoreError> {
    db.readable(LIST, &[Value::Text(key.map(str::to_owned))], "secret", secret).await
}
