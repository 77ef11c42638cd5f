//! Many rows in few statements, of few texts.
//!
//! Each statement costs a hop to the connection's thread and back, and a new text costs its
//! parsing. So rows go in one statement, whose text is one of five: for 1, 4, 16, 64 or 256
//! rows, filled up with rows of nulls that the statement leaves out.

use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, Statement, Value};

use super::StoreError;

/// SQLite takes 32,766 values in a statement; the widest row has twenty.
const MOST_VALUES: usize = 32_000;
/// Rows of one text.
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
    /// The statement for one row.
    pub fn row_text(&self) -> String {
        format!("{} VALUES ({}) {}", self.head, vec!["?"; self.width].join(","), self.tail)
    }

    fn text(&self, rows: usize) -> String {
        let row = format!("({})", vec!["?"; self.width].join(","));
        let rows = vec![row; rows].join(",");
        format!("{} SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL {};", self.head, self.tail)
    }
}

/// Rows of several tables, whose values stand one after the other, as statements to be sent
/// together, as many as fit in one go.
struct Goes<'a, const N: usize>([(&'a Target, Vec<Value>); N]);

impl<const N: usize> Iterator for Goes<'_, N> {
    type Item = (String, Vec<Value>);

    fn next(&mut self) -> Option<Self::Item> {
        let (mut text, mut together) = (String::new(), Vec::new());
        for (to, values) in self.0.iter_mut().filter(|(_, values)| !values.is_empty()) {
            let most = values.len().min(SIZES[SIZES.len() - 1] * to.width);
            let rest = values.split_off(most);
            let rows = values.len() / to.width;
            let size = SIZES.into_iter().find(|size| *size >= rows).unwrap_or(rows);
            values.resize(size * to.width, Value::Bytes(None));
            text.push_str(&to.text(size));
            together.append(values);
            *values = rest;
        }
        (!text.is_empty()).then_some((text, together))
    }
}

/// Runs these statements, then inserts rows of several tables, whose values stand one after the other:
/// all of it together, as long as it fits.
pub async fn insert<const N: usize>(
    db: &DatabaseTransaction,
    before: Vec<Statement>,
    tables: [(&Target, Vec<Value>); N],
) -> Result<(), StoreError> {
    let (mut texts, mut all) = (String::new(), Vec::new());
    for statement in before {
        texts.push_str(&statement.sql);
        texts.push(';');
        all.extend(statement.values.into_iter().flat_map(|values| values.0));
    }
    for (text, values) in Goes(tables) {
        if all.len() + values.len() > MOST_VALUES {
            run(db, std::mem::take(&mut texts), std::mem::take(&mut all)).await?;
        }
        texts.push_str(&text);
        all.extend(values);
    }
    run(db, texts, all).await
}

async fn run(db: &DatabaseTransaction, text: String, values: Vec<Value>) -> Result<(), StoreError> {
    if !text.is_empty() {
        db.execute_raw(Statement::from_sql_and_values(DbBackend::Sqlite, text, values)).await?;
    }
    Ok(())
}

/// The same as a transaction of its own, which begins and commits in the one go that it takes:
/// under load each hop waits for a processor longer than its statement takes.
pub async fn insert_alone<const N: usize>(
    db: &DatabaseConnection,
    tables: [(&Target, Vec<Value>); N],
) -> Result<(), StoreError> {
    let (mut texts, mut all) = (String::new(), Vec::new());
    for (text, values) in Goes(tables) {
        texts.push_str(&text);
        all.extend(values);
    }
    if texts.is_empty() {
        return Ok(());
    }
    let text = format!("BEGIN IMMEDIATE; {texts} COMMIT;");
    db.execute_raw(Statement::from_sql_and_values(DbBackend::Sqlite, text, all)).await?;
    Ok(())
}
