//! Whole rows of the tables that commands read and write.

use tokio_postgres::Row;

use super::value::{Column, Unread, Value, array_of};
use crate::store::columns::each_table;
use crate::store::rows::{ApiKeyRow, AttemptRow, IdempotencyKeyRow, MessageRow, QuestionRow, TaskRow, WorkerRow};

/// A whole row of a table.
pub trait Table: Sized {
    /// Name of the table.
    const NAME: &'static str;
    /// Names of all columns, as they stand in a statement.
    const COLUMNS: &'static str;
    /// Number of columns.
    const WIDTH: usize;

    /// Reads the row from the first columns of a result.
    ///
    /// # Errors
    /// A value is not of the column's kind.
    fn read(row: &Row) -> Result<Self, Unread>;

    /// The values of the columns, in order.
    fn values(&self) -> Vec<Value>;
}

macro_rules! table {
    ($name:literal, $model:ty { $first:ident, $($column:ident),* $(,)? }) => {
        impl Table for $model {
            const NAME: &'static str = $name;
            const COLUMNS: &'static str = concat!(stringify!($first) $(, ", ", stringify!($column))*);
            const WIDTH: usize = 1 + [$(stringify!($column)),*].len();

            fn read(row: &Row) -> Result<Self, Unread> {
                let mut at = 0;
                Ok(Self {
                    $first: Column::read(row, at)?,
                    $($column: {
                        at += 1;
                        Column::read(row, at)?
                    }),*
                })
            }

            fn values(&self) -> Vec<Value> {
                vec![self.$first.value() $(, self.$column.value())*]
            }
        }
    };
}

each_table!(table);

/// Rows of one table that are inserted together.
#[derive(Clone, Debug)]
pub struct Inserts {
    /// Name of the table.
    pub table: &'static str,
    /// Names of the columns.
    pub columns: &'static str,
    /// The values of each row.
    pub rows: Vec<Vec<Value>>,
}

impl Inserts {
    /// One statement for all rows, whose text doesn't depend on their number.
    pub fn statement(self) -> Option<super::connection::Bound> {
        let kinds: Vec<_> = self.rows.first()?.iter().map(Value::kind).collect();
        let arrays: Vec<String> =
            kinds.iter().enumerate().map(|(at, kind)| format!("${}::{}", at + 1, array_of(kind).name())).collect();
        let Self { table, columns, rows } = self;
        let mut lists: Vec<Vec<Value>> = kinds.iter().map(|_| Vec::with_capacity(rows.len())).collect();
        for row in rows {
            for (list, value) in lists.iter_mut().zip(row) {
                list.push(value);
            }
        }
        let text = format!(
            "INSERT INTO {table} ({columns}) SELECT {columns}
                FROM unnest({}) WITH ORDINALITY AS added({columns}, place) ORDER BY place",
            arrays.join(", ")
        );
        let values = kinds.iter().zip(lists).map(|(kind, list)| Value::list(kind, list)).collect();
        Some(super::connection::Bound { text: text.into(), values })
    }
}
