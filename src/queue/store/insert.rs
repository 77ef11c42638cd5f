//! Many rows in few statements, of few texts.
//!
//! Each statement costs a hop to the connection's thread and back, and a new text costs its
//! parsing. So rows go in one statement, whose text is one of five: for 1, 4, 16, 64 or 256
//! rows, filled up with rows of nulls that the statement leaves out.

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Statement, Value};

use super::StoreError;

/// SQLite takes 32,766 values in a statement; the widest row has fourteen.
const SIZES: [usize; 5] = [1, 4, 16, 64, 256];

/// Where rows go.
pub struct Target {
    /// `INSERT INTO … (…)`, up to the rows. The first column is never null.
    pub head: &'static str,
    /// How many values a row has.
    pub width: usize,
    /// What follows the rows.
    pub tail: &'static str,
}

impl Target {
    fn text(&self, rows: usize) -> String {
        let row = format!("({})", vec!["?"; self.width].join(","));
        let rows = vec![row; rows].join(",");
        format!("{} SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL {};", self.head, self.tail)
    }
}

/// Inserts rows of several tables, whose values stand one after the other, in one go for as
/// many as fit: the statements are sent together.
pub async fn insert<const N: usize>(
    db: &DatabaseTransaction,
    mut tables: [(&Target, Vec<Value>); N],
) -> Result<(), StoreError> {
    while tables.iter().any(|(_, values)| !values.is_empty()) {
        let (mut text, mut together) = (String::new(), Vec::new());
        for (to, values) in tables.iter_mut().filter(|(_, values)| !values.is_empty()) {
            let most = values.len().min(SIZES[SIZES.len() - 1] * to.width);
            let rest = values.split_off(most);
            let rows = values.len() / to.width;
            let size = SIZES.into_iter().find(|size| *size >= rows).unwrap_or(rows);
            values.resize(size * to.width, Value::Bytes(None));
            text.push_str(&to.text(size));
            together.append(values);
            *values = rest;
        }
        db.execute_raw(Statement::from_sql_and_values(DbBackend::Sqlite, text, together)).await?;
    }
    Ok(())
}
