//! Statements on shares: keys or tags that take turns.

use std::collections::HashMap;

use async_trait::async_trait;
use rusqlite::params;

use super::tx::SqliteTx;
use crate::store::StoreError;
use crate::store::rows::MAX_SHARES;
use crate::store::tx::Shares;
use domain::Share;

const PUT_SHARE: &str = "INSERT INTO shares (name, weight, pass) VALUES (?1, ?2, 0)
    ON CONFLICT (name) DO UPDATE SET weight = excluded.weight";

const PUT_TURN: &str = "INSERT INTO shares (name, weight, pass) VALUES (?1, ?2, ?3)
    ON CONFLICT (name) DO UPDATE SET pass = excluded.pass";

// As it stands in the statement: half of them.
const _: () = assert!(MAX_SHARES == 500, "the limit of REMOVE_IDLE");

/// Looks at all tasks that have not ended, and therefore only where there are many shares.
const REMOVE_IDLE: &str = "DELETE FROM shares WHERE (SELECT COUNT(*) FROM shares) > 250 AND name NOT IN
    (SELECT share FROM tasks INDEXED BY tasks_status WHERE status IN ('pending', 'running'))";

#[async_trait(?Send)]
impl Shares for SqliteTx<'_> {
    async fn shares(&mut self) -> Result<HashMap<String, i64>, StoreError> {
        self.known_shares().cloned()
    }

    async fn put_share(&mut self, name: &str, weight: i64) -> Result<(), StoreError> {
        self.db()?.execute(PUT_SHARE, params![name, weight])?;
        self.known_shares()?.insert(name.to_owned(), weight);
        Ok(())
    }

    async fn put_turns(&mut self, turn: i64, shares: &[(String, Share)]) -> Result<(), StoreError> {
        let db = self.db()?;
        db.execute("UPDATE queue_state SET turn = ?1", [turn])?;
        for (name, Share { weight, pass }) in shares {
            db.execute(PUT_TURN, params![name, weight, pass])?;
        }
        Ok(())
    }

    async fn tidy_shares(&mut self) -> Result<(), StoreError> {
        self.db()?.execute(REMOVE_IDLE, [])?;
        self.forget_shares();
        Ok(())
    }
}
