//! Statements on rules of keys.

use async_trait::async_trait;
use rusqlite::{Row, params};

use super::query::{Db, time};
use super::tx::SqliteTx;
use crate::store::StoreError;
use crate::store::rows::{AnsweredRow, MAX_ANSWERED, RuleRow};
use crate::store::tx::Rules;
use domain::RuleId;

const LIST: &str = "SELECT id, key_name, rule, tag, folder, created_at, created_by FROM rules
    WHERE ?1 IS NULL OR key_name = ?1 ORDER BY id";

const ANSWERED: &str =
    "SELECT t.key_name, t.spec, t.own_directory, q.tool, q.suggestions, q.answer, q.asked_at, q.answered_at, q.input
    FROM questions q INDEXED BY questions_by_answer JOIN tasks t ON t.id = q.task_id
    WHERE q.answer IS NOT NULL AND (?1 IS NULL OR t.key_name = ?1) ORDER BY q.answered_at DESC LIMIT ?2";

fn rule(row: &Row<'_>) -> rusqlite::Result<RuleRow> {
    Ok(RuleRow {
        id: RuleId::of(row.get(0)?),
        key_name: row.get(1)?,
        rule: row.get(2)?,
        tag: row.get(3)?,
        folder: row.get(4)?,
        created_at: time::at(row, 5)?,
        created_by: row.get(6)?,
    })
}

#[async_trait(?Send)]
impl Rules for SqliteTx<'_> {
    async fn rules(&mut self, key: &str) -> Result<Vec<RuleRow>, StoreError> {
        list(self.db()?, Some(key))
    }

    async fn insert_rule(&mut self, row: &RuleRow) -> Result<(), StoreError> {
        const INSERT: &str = "INSERT INTO rules (id, key_name, rule, tag, folder, created_at, created_by)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let RuleRow { id, key_name, rule, tag, folder, created_at, created_by } = row;
        let values = params![id.as_bytes(), key_name, rule, tag, folder, created_at.0, created_by];
        self.db()?.execute(INSERT, values)?;
        Ok(())
    }

    async fn remove_rule(&mut self, id: RuleId, key: Option<&str>) -> Result<bool, StoreError> {
        const REMOVE: &str = "DELETE FROM rules WHERE id = ?1 AND (?2 IS NULL OR key_name = ?2)";
        Ok(self.db()?.execute(REMOVE, params![id.as_bytes(), key])? > 0)
    }
}

/// Reads the rules of a key, or of all.
pub fn list(db: Db<'_>, key: Option<&str>) -> Result<Vec<RuleRow>, StoreError> {
    db.all(LIST, [key], rule)
}

/// Reads the newest answers of people, of a key or of all.
pub fn answered(db: Db<'_>, key: Option<&str>) -> Result<Vec<AnsweredRow>, StoreError> {
    db.readable(ANSWERED, params![key, MAX_ANSWERED], "question", |row| {
        Ok(AnsweredRow {
            key_name: row.get(0)?,
            spec: row.get(1)?,
            own_directory: row.get(2)?,
            tool: row.get(3)?,
            suggestions: row.get(4)?,
            answer: row.get(5)?,
            asked_at: time::at(row, 6)?,
            answered_at: time::at(row, 7)?,
            input: row.get(8)?,
        })
    })
}
