//! Many rows in few statements, of few texts.
//!
//! A statement of n rows is parsed once and then kept by its connection, so rows are inserted in
//! powers of two: some ten texts serve every number of rows. Twice as fast as building each
//! statement from its rows.

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Statement, Value};

use super::StoreError;

/// SQLite takes 32,766 values in a statement; the widest row has fourteen.
const MOST_ROWS: usize = 256;

/// Where rows go.
pub struct Target {
    /// `INSERT INTO … (…)`, up to the rows.
    pub head: &'static str,
    /// How many values a row has.
    pub width: usize,
    /// What follows the rows.
    pub tail: &'static str,
}

impl Target {
    fn text(&self, rows: usize) -> String {
        let row = format!("({})", vec!["?"; self.width].join(","));
        format!("{} VALUES {} {}", self.head, vec![row; rows].join(","), self.tail)
    }
}

/// Inserts the rows, whose values stand one after the other.
pub async fn insert(db: &DatabaseTransaction, to: &Target, values: Vec<Value>) -> Result<(), StoreError> {
    let mut rows = values.len() / to.width;
    let mut values = values.into_iter();
    while rows > 0 {
        let now = MOST_ROWS.min(1 << rows.ilog2());
        let some: Vec<Value> = values.by_ref().take(now * to.width).collect();
        let statement = Statement::from_sql_and_values(DbBackend::Sqlite, to.text(now), some);
        db.execute_raw(statement).await?;
        rows -= now;
    }
    Ok(())
}
