//! Whole rows of the tables that commands read and write.

use tokio_postgres::Row;

use super::value::{Column, Unread, Value};
use crate::store::columns::each_table;
use crate::store::rows::{
    ApiKeyRow, AttemptRow, DependencyRow, IdempotencyKeyRow, MessageRow, QuestionRow, TaskRow, WorkerRow,
};

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
