//! Rows of the tables that commands read and write, column by column.

use domain::{BootId, Epoch, Name, Named, TaskId, Usd, WorkerInstanceId};
use rusqlite::types::{Null, ToSqlOutput};
use rusqlite::{Row, ToSql};
use uuid::Uuid;

use crate::store::columns::each_table;
use crate::store::rows::{
    ApiKeyRow, AttemptRow, DependencyRow, IdempotencyKeyRow, MessageRow, QuestionRow, TaskRow, WorkerRow,
};

/// A whole row of a table.
pub trait Table: Sized {
    /// Names of all columns, as they stand in a statement.
    const COLUMNS: &'static str;
    /// Number of columns.
    const WIDTH: usize;
    /// The statement that inserts a row.
    const INSERT: &'static str;

    /// Reads the row from the first columns of a result.
    ///
    /// # Errors
    /// A value is not of the column's kind.
    fn read(row: &Row<'_>) -> rusqlite::Result<Self>;

    /// The values of the columns, in order.
    ///
    /// # Errors
    /// None: no value of ours is refused.
    fn values(&self) -> rusqlite::Result<Vec<ToSqlOutput<'_>>>;
}

/// A value of a column.
trait Column: Sized {
    /// Reads it from a result.
    fn read(row: &Row<'_>, at: usize) -> rusqlite::Result<Self>;
    /// The value, as it is stored.
    fn value(&self) -> rusqlite::Result<ToSqlOutput<'_>>;
}

macro_rules! plain {
    ($($kind:ty),*) => {
        $(impl Column for $kind {
            fn read(row: &Row<'_>, at: usize) -> rusqlite::Result<Self> {
                row.get(at)
            }

            fn value(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                self.to_sql()
            }
        })*
    };
}

plain!(i64, i32, bool, String, f64, Option<i64>, Option<i32>, Option<f64>, Option<String>);

macro_rules! ids {
    ($($kind:ty),*) => {
        $(impl Column for $kind {
            fn read(row: &Row<'_>, at: usize) -> rusqlite::Result<Self> {
                row.get(at).map(Self::of)
            }

            fn value(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                self.as_bytes().to_sql()
            }
        }

        impl Column for Option<$kind> {
            fn read(row: &Row<'_>, at: usize) -> rusqlite::Result<Self> {
                Ok(row.get::<_, Option<Uuid>>(at)?.map(<$kind>::of))
            }

            fn value(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                self.as_ref().map_or_else(|| Null.to_sql(), Column::value)
            }
        })*
    };
}

ids!(TaskId, WorkerInstanceId, BootId);

/// A type that is stored as another one.
macro_rules! stored_as {
    ($kind:ty, $stored:ty, $read:expr, $value:expr $(, $of:ident: $bound:path)?) => {
        impl$(<$of: $bound>)? Column for $kind {
            fn read(row: &Row<'_>, at: usize) -> rusqlite::Result<Self> {
                Ok($read(row.get::<_, $stored>(at)?))
            }

            fn value(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(ToSqlOutput::from($value(self)))
            }
        }

        impl$(<$of: $bound>)? Column for Option<$kind> {
            fn read(row: &Row<'_>, at: usize) -> rusqlite::Result<Self> {
                Ok(row.get::<_, Option<$stored>>(at)?.map($read))
            }

            fn value(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                self.as_ref().map_or_else(|| Null.to_sql(), Column::value)
            }
        }
    };
}

stored_as!(Epoch, i64, Epoch::of, |epoch: &Epoch| epoch.number());
stored_as!(Usd, f64, Usd::of, |amount: &Usd| amount.dollars());
stored_as!(Name<T>, String, |name: String| Name::read(&name), Name::name, T: Named);

macro_rules! a_value {
    ($column:ident) => {
        ", ?"
    };
}

macro_rules! table {
    ($name:literal, $model:ty { $first:ident, $($column:ident),* $(,)? }) => {
        impl Table for $model {
            const COLUMNS: &'static str = concat!(stringify!($first) $(, ", ", stringify!($column))*);
            const WIDTH: usize = 1 + [$(stringify!($column)),*].len();
            const INSERT: &'static str = concat!(
                "INSERT INTO ", $name, " (", stringify!($first) $(, ", ", stringify!($column))*,
                ") VALUES (?" $(, a_value!($column))*, ")"
            );

            fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
                let mut at = 0;
                Ok(Self {
                    $first: Column::read(row, at)?,
                    $($column: {
                        at += 1;
                        Column::read(row, at)?
                    }),*
                })
            }

            fn values(&self) -> rusqlite::Result<Vec<ToSqlOutput<'_>>> {
                Ok(vec![self.$first.value()? $(, self.$column.value()?)*])
            }
        }
    };
}

each_table!(table);

#[cfg(test)]
mod tests {
    use sea_orm::{EntityTrait, IdenStatic as _, Iterable as _};

    use super::*;

    fn columns<E: EntityTrait>() -> String {
        let names: Vec<String> = E::Column::iter().map(|column| column.as_str().to_owned()).collect();
        names.join(", ")
    }

    #[test]
    fn rows_have_the_columns_of_their_entities() {
        assert_eq!(TaskRow::COLUMNS, columns::<entity::task::Entity>());
        assert_eq!(AttemptRow::COLUMNS, columns::<entity::attempt::Entity>());
        assert_eq!(DependencyRow::COLUMNS, columns::<entity::dependency::Entity>());
        assert_eq!(QuestionRow::COLUMNS, columns::<entity::question::Entity>());
        assert_eq!(MessageRow::COLUMNS, columns::<entity::message::Entity>());
        assert_eq!(WorkerRow::COLUMNS, columns::<entity::worker::Entity>());
        assert_eq!(ApiKeyRow::COLUMNS, columns::<entity::api_key::Entity>());
        assert_eq!(IdempotencyKeyRow::COLUMNS, columns::<entity::idempotency_key::Entity>());
    }

    #[test]
    fn the_texts_are_statements() {
        type Key = IdempotencyKeyRow;
        assert_eq!((Key::COLUMNS, Key::WIDTH), ("key, fingerprint, task_id, created_at", 4));
        assert_eq!(
            Key::INSERT,
            "INSERT INTO idempotency_keys (key, fingerprint, task_id, created_at) VALUES (?, ?, ?, ?)"
        );
    }
}
