//! Numbers of tasks and of stored bytes, by key.
//!
//! A commit adds a row with the difference that it makes, and the sum of the rows is what holds. Where they have become
//! many, they are folded into one for each sum: by a submit, which reads all of them and would be the slower for them, and
//! about once a second by each process.

use std::sync::atomic::{AtomicI64, Ordering};

use super::connection::Connection;
use crate::store::StoreError;

/// Number of rows, beside two for each sum, from which on they are folded.
const MANY: i64 = 50;

/// Number of pending tasks, the number of rows that were read for it, and the shares with their weights: what each submit
/// asks.
pub const PENDING: &str = "SELECT COALESCE(SUM(count) FILTER (WHERE status = 'pending'), 0)::bigint, COUNT(*),
        ARRAY(SELECT name FROM shares ORDER BY name), ARRAY(SELECT weight::text FROM shares ORDER BY name)
    FROM task_counts";

// As it stands in the statements.
const _: () = assert!(MANY == 50, "the limit of FOLD_COUNTS and FOLD_BYTES");

/// Folds the numbers of tasks, where they have more than two rows for each sum and [`MANY`] besides. Rows that another process
/// folds are left to it.
pub const FOLD_COUNTS: &str = "WITH taken AS (SELECT ctid FROM task_counts WHERE (SELECT COUNT(*) FROM task_counts) > 50
            + 2 * (SELECT COUNT(*) FROM (SELECT FROM task_counts GROUP BY key_name, status) sums) FOR UPDATE SKIP LOCKED),
        gone AS (DELETE FROM task_counts WHERE ctid = ANY(ARRAY(SELECT ctid FROM taken)) RETURNING key_name, status, count)
    INSERT INTO task_counts (key_name, status, count) SELECT key_name, status, SUM(count) FROM gone GROUP BY 1, 2";

/// The same for stored bytes.
const FOLD_BYTES: &str = "WITH taken AS (SELECT ctid FROM key_bytes WHERE (SELECT COUNT(*) FROM key_bytes) > 50
            + 2 * (SELECT COUNT(*) FROM (SELECT FROM key_bytes GROUP BY key_name) sums) FOR UPDATE SKIP LOCKED),
        gone AS (DELETE FROM key_bytes WHERE ctid = ANY(ARRAY(SELECT ctid FROM taken)) RETURNING key_name, bytes)
    INSERT INTO key_bytes (key_name, bytes) SELECT key_name, SUM(bytes) FROM gone GROUP BY 1";

/// Folds the rows of all that have become many. What a commit adds meanwhile is left.
pub async fn fold(db: &Connection) -> Result<(), StoreError> {
    for fold in [FOLD_COUNTS, FOLD_BYTES] {
        db.rows(fold, &[]).await?;
    }
    Ok(())
}

/// The least number of rows of the numbers of tasks that was read since they were folded: about the number of sums.
#[derive(Debug)]
pub struct LeastRows(AtomicI64);

impl Default for LeastRows {
    fn default() -> Self {
        Self(AtomicI64::new(i64::MAX))
    }
}

impl LeastRows {
    /// Takes the number of rows that were read. Returns true if they are to be folded.
    pub fn read(&self, rows: i64) -> bool {
        let least = self.0.fetch_min(rows, Ordering::Relaxed).min(rows);
        let are_many = rows > least.saturating_mul(2).saturating_add(MANY);
        if are_many {
            self.0.store(i64::MAX, Ordering::Relaxed);
        }
        are_many
    }
}

#[cfg(test)]
mod tests {
    use super::LeastRows;

    #[test]
    fn many_sums_are_no_reason_to_fold_at_each_submit() {
        let rows = LeastRows::default();
        assert!(!rows.read(5_000), "nothing is known of them");
        assert!(!rows.read(10_050));
        assert!(rows.read(10_051));
        assert!(!rows.read(6_000), "as many as the fold has left");
        assert!(!rows.read(20));
        assert!(rows.read(91), "another process has folded them");
    }
}
