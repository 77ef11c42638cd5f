//! Statements on shares: keys or tags that take turns.

use std::collections::HashMap;

use async_trait::async_trait;

use super::tx::PostgresTx;
use super::value::{Value, params};
use crate::store::StoreError;
use crate::store::rows::MAX_SHARES;
use crate::store::tx::Shares;
use domain::Share;

const PUT_SHARE: &str = "INSERT INTO shares (name, weight, pass) VALUES ($1, $2, 0)
    ON CONFLICT (name) DO UPDATE SET weight = excluded.weight";

const PUT_TURN: &str = "INSERT INTO shares (name, weight, pass)
    SELECT name, weight, pass FROM unnest($1::text[], $2::int8[], $3::int8[]) AS taken(name, weight, pass)
    ON CONFLICT (name) DO UPDATE SET pass = excluded.pass";

// As it stands in the statement: half of them.
const _: () = assert!(MAX_SHARES == 500, "the limit of REMOVE_IDLE");

/// Looks at all tasks that have not ended, and therefore only where there are many shares.
const REMOVE_IDLE: &str = "DELETE FROM shares WHERE (SELECT COUNT(*) FROM shares) > 250
    AND name NOT IN (SELECT share FROM tasks WHERE status IN ('pending', 'running'))";

#[async_trait(?Send)]
impl Shares for PostgresTx<'_> {
    async fn shares(&mut self) -> Result<HashMap<String, i64>, StoreError> {
        if self.shares.is_none() {
            // They are read with it.
            self.pending = None;
            self.pending_tasks().await?;
        }
        Ok(self.shares.clone().unwrap_or_default())
    }

    async fn put_share(&mut self, name: &str, weight: i64) -> Result<(), StoreError> {
        if let Some(known) = &mut self.shares {
            known.insert(name.to_owned(), weight);
        }
        self.defer(PUT_SHARE, params![name, weight]);
        Ok(())
    }

    async fn put_turns(&mut self, turn: i64, shares: &[(String, Share)]) -> Result<(), StoreError> {
        self.defer_quietly("UPDATE queue_state SET turn = $1", params![turn]);
        let names = Value::texts(shares.iter().map(|(name, _)| name.clone()));
        let weights = Value::numbers(shares.iter().map(|(_, share)| share.weight));
        let passes = Value::numbers(shares.iter().map(|(_, share)| share.pass));
        self.defer_quietly(PUT_TURN, vec![names, weights, passes]);
        Ok(())
    }

    async fn tidy_shares(&mut self) -> Result<(), StoreError> {
        self.shares = None;
        self.defer_quietly(REMOVE_IDLE, []);
        Ok(())
    }
}
