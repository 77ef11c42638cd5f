//! Statements on rules of keys.

use async_trait::async_trait;
use tokio_postgres::Row;

use super::connection::Connection;
use super::tx::PostgresTx;
use super::value::{Unread, Value, get, params};
use crate::store::StoreError;
use crate::store::rows::{AnsweredRow, MAX_ANSWERED, RuleRow};
use crate::store::tx::Rules;
use domain::RuleId;

const LIST: &str = "SELECT id, key_name, rule, tag, folder, created_at, created_by FROM rules
    WHERE $1::text IS NULL OR key_name = $1 ORDER BY id";

const ANSWERED: &str =
    "SELECT t.key_name, t.spec, t.own_directory, q.tool, q.suggestions, q.answer, q.asked_at, q.answered_at, q.input
    FROM questions q JOIN tasks t ON t.id = q.task_id
    WHERE q.answer IS NOT NULL AND ($1::text IS NULL OR t.key_name = $1) ORDER BY q.answered_at DESC LIMIT $2";

fn rule(row: &Row) -> Result<RuleRow, Unread> {
    Ok(RuleRow {
        id: get(row, 0)?,
        key_name: get(row, 1)?,
        rule: get(row, 2)?,
        tag: get(row, 3)?,
        folder: get(row, 4)?,
        created_at: get(row, 5)?,
        created_by: get(row, 6)?,
    })
}

#[async_trait(?Send)]
impl Rules for PostgresTx<'_> {
    async fn rules(&mut self, key: &str) -> Result<Vec<RuleRow>, StoreError> {
        self.all(LIST, [Value::Text(Some(key.to_owned()))], rule).await
    }

    async fn insert_rule(&mut self, row: &RuleRow) -> Result<(), StoreError> {
        const INSERT: &str = "INSERT INTO rules (id, key_name, rule, tag, folder, created_at, created_by)
            VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let RuleRow { id, key_name, rule, tag, folder, created_at, created_by } = row;
        self.defer_quietly(INSERT, params![*id, key_name, rule, tag, folder, *created_at, created_by]);
        Ok(())
    }

    async fn remove_rule(&mut self, id: RuleId, key: Option<&str>) -> Result<bool, StoreError> {
        const REMOVE: &str = "DELETE FROM rules WHERE id = $1 AND ($2::text IS NULL OR key_name = $2) RETURNING 1";
        let [id] = params![id];
        self.any(REMOVE, [id, Value::Text(key.map(str::to_owned))]).await
    }
}

/// Reads the rules of a key, or of all.
pub async fn list(db: &Connection, key: Option<&str>) -> Result<Vec<RuleRow>, StoreError> {
    db.readable(LIST, &[Value::Text(key.map(str::to_owned))], "rule", rule).await
}

/// Reads the newest answers of people, of a key or of all.
pub async fn answered(db: &Connection, key: Option<&str>) -> Result<Vec<AnsweredRow>, StoreError> {
    let [most] = params![MAX_ANSWERED];
    db.readable(ANSWERED, &[Value::Text(key.map(str::to_owned)), most], "question", |row| {
        Ok(AnsweredRow {
            key_name: get(row, 0)?,
            spec: get(row, 1)?,
            own_directory: get(row, 2)?,
            tool: get(row, 3)?,
            suggestions: get(row, 4)?,
            answer: get(row, 5)?,
            asked_at: get(row, 6)?,
            answered_at: get(row, 7)?,
            input: get(row, 8)?,
        })
    })
    .await
}
