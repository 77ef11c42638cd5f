//! Statements on one connection, each prepared once.

use rusqlite::types::{Null, ToSqlOutput, ValueRef};
use rusqlite::{Connection, Params, Row, params_from_iter};
use sea_orm::Value;
use sea_orm::sea_query::{SelectStatement, SqliteQueryBuilder};

use domain::{Name, Named};

use super::table::Table;
use crate::store::StoreError;

/// A connection, as statements see it.
#[derive(Clone, Copy)]
pub struct Db<'a>(pub &'a Connection);

/// A name in a column.
pub fn name<T: Named>(row: &Row<'_>, at: usize) -> rusqlite::Result<Name<T>> {
    Ok(Name::read(row.get_ref(at)?.as_str()?))
}

/// A text, whatever stands in the column.
pub fn lossy(row: &Row<'_>, at: usize) -> rusqlite::Result<String> {
    Ok(match row.get_ref(at)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => String::new(),
    })
}

impl Db<'_> {
    /// Reads all rows of a result.
    pub fn all<T>(
        self,
        text: &str,
        values: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.0.prepare_cached(text)?;
        Ok(statement.query_map(values, read)?.collect::<Result<_, _>>()?)
    }

    /// The rows of a result that can be read; of each other one a warning.
    pub fn readable<T>(
        self,
        text: &str,
        values: impl Params,
        what: &'static str,
        mut read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let rows = self.all(text, values, |row| {
            let read = read(row);
            Ok(read.inspect_err(|error| tracing::warn!(what, %error, "A stored row can't be read")).ok())
        })?;
        Ok(rows.into_iter().flatten().collect())
    }

    /// The rows of a result for as long as they are wanted: the last is the first after which `go_on` is false.
    pub fn some<T>(
        self,
        text: &str,
        values: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
        mut go_on: impl FnMut(&T) -> bool,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.0.prepare_cached(text)?;
        let mut found = Vec::new();
        for row in statement.query_map(values, read)? {
            found.push(row?);
            if !found.last().is_some_and(&mut go_on) {
                break;
            }
        }
        Ok(found)
    }

    /// The first row of a result.
    pub fn one<T>(
        self,
        text: &str,
        values: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        let mut statement = self.0.prepare_cached(text)?;
        Ok(statement.query_map(values, read)?.next().transpose()?)
    }

    /// True if a result has any row.
    pub fn any(self, text: &str, values: impl Params) -> Result<bool, StoreError> {
        Ok(self.0.prepare_cached(text)?.exists(values)?)
    }

    /// Runs a statement. Returns the number of rows that it changed.
    pub fn execute(self, text: &str, values: impl Params) -> Result<usize, StoreError> {
        Ok(self.0.prepare_cached(text)?.execute(values)?)
    }

    /// Inserts a row.
    pub fn insert<T: Table>(self, row: &T) -> Result<(), StoreError> {
        self.execute(T::INSERT, params_from_iter(row.values()?))?;
        Ok(())
    }
}

/// A query that was built, and its values.
pub fn bound(query: &SelectStatement) -> (String, impl Params) {
    let (text, values) = query.build(SqliteQueryBuilder);
    (text, params_from_iter(values.0.into_iter().map(Bound)))
}

/// A value of a query that was built.
struct Bound(Value);

impl rusqlite::ToSql for Bound {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match &self.0 {
            Value::Bool(Some(value)) => i64::from(*value).into(),
            Value::Int(Some(value)) => i64::from(*value).into(),
            Value::BigInt(Some(value)) => (*value).into(),
            Value::BigUnsigned(Some(value)) => i64::try_from(*value).unwrap_or(i64::MAX).into(),
            Value::String(Some(value)) => ToSqlOutput::Borrowed(ValueRef::Text(value.as_bytes())),
            Value::Uuid(Some(value)) => ToSqlOutput::Borrowed(ValueRef::Blob(value.as_bytes())),
            Value::Bool(None) | Value::Int(None) | Value::BigInt(None) | Value::String(None) | Value::Uuid(None) => {
                Null.into()
            }
            other => {
                return Err(rusqlite::Error::ToSqlConversionFailure(format!("{other:?} is no value of ours").into()));
            }
        })
    }
}

/// Times, as they are stored.
pub mod time {
    use rusqlite::Row;

    use domain::Timestamp;

    /// A time in a column.
    pub fn at(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
        row.get(column).map(Timestamp)
    }

    /// A time in a column that may be empty.
    pub fn maybe(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
        Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp))
    }
}
