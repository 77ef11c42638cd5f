//! All rows of another database, written in one transaction.

use std::sync::Arc;

use futures_util::TryStreamExt as _;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::connection::{Bound, Connection, unread};
use super::tx::BEGIN;
use super::value::{Unread, Value, array_of, get, params};
use super::{address_of_server, schema};
use crate::config::DatabaseServer;
use crate::store::StoreError;
use crate::store::transfer::{Cell, Sum, TABLES};
use domain::BlobId;

/// A database that is written.
pub struct Import {
    db: Connection,
}

/// Columns of a table, with their types.
pub struct Columns(Vec<(String, Type)>);

impl Columns {
    /// Their names, in order.
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(|(name, _)| name.clone()).collect()
    }

    /// A row as it is stored here.
    pub fn stored(&self, row: Vec<Cell>) -> Vec<Cell> {
        row.into_iter().zip(&self.0).map(|(cell, (_, kind))| stored(cell, kind)).collect()
    }
}

/// A value as it is stored in a column of this type. What another database holds in a column of another type is kept as
/// near to it as the type lets.
fn stored(cell: Cell, kind: &Type) -> Cell {
    match (cell, kind) {
        (Cell::Null, _) => Cell::Null,
        (Cell::Int(number), &Type::FLOAT8) => Cell::Float(number as f64),
        (Cell::Float(number), &Type::INT8) => Cell::Int(number as i64),
        (Cell::Int(number), &Type::TEXT) => Cell::Text(number.to_string()),
        (Cell::Float(number), &Type::TEXT) => Cell::Text(number.to_string()),
        (Cell::Blob(bytes), &Type::TEXT) => Cell::Text(String::from_utf8_lossy(&bytes).replace('\0', "\u{FFFD}")),
        (Cell::Text(text), &Type::TEXT) => Cell::Text(text.replace('\0', "\u{FFFD}")),
        (Cell::Text(text), &Type::BYTEA) => Cell::Blob(text.into_bytes()),
        (cell, _) => cell,
    }
}

fn value(cell: Cell, kind: &Type) -> Value {
    match (kind, cell) {
        (&Type::INT8, Cell::Int(number)) => Value::from(number),
        (&Type::BOOL, Cell::Int(number)) => Value::from(number != 0),
        (&Type::FLOAT8, Cell::Float(number)) => Value::from(number),
        (&Type::UUID, Cell::Blob(bytes)) => Value::Uuid(Uuid::from_slice(&bytes).ok()),
        (&Type::BYTEA, Cell::Blob(bytes)) => Value::from(bytes),
        (&Type::TEXT, Cell::Text(text)) => Value::from(text),
        (&Type::INT8, _) => Value::Int(None),
        (&Type::BOOL, _) => Value::Bool(None),
        (&Type::FLOAT8, _) => Value::Float(None),
        (&Type::UUID, _) => Value::Uuid(None),
        (&Type::BYTEA, _) => Value::Bytes(None),
        _ => Value::Text(None),
    }
}

fn cell(row: &Row, at: usize, kind: &Type) -> Result<Cell, Unread> {
    let cell = match *kind {
        Type::INT8 => get::<Option<i64>>(row, at)?.map(Cell::Int),
        Type::BOOL => get::<Option<bool>>(row, at)?.map(|value| Cell::Int(value.into())),
        Type::FLOAT8 => get::<Option<f64>>(row, at)?.map(Cell::Float),
        Type::UUID => row.try_get::<_, Option<Uuid>>(at)?.map(|id| Cell::Blob(id.as_bytes().to_vec())),
        Type::BYTEA => row.try_get::<_, Option<Vec<u8>>>(at)?.map(Cell::Blob),
        _ => get::<Option<String>>(row, at)?.map(Cell::Text),
    };
    Ok(cell.unwrap_or(Cell::Null))
}

impl Import {
    /// Makes the schema, and begins the transaction.
    ///
    /// # Errors
    /// The server can't be reached, or the database has tasks of its own.
    pub async fn begin(server: &DatabaseServer) -> Result<Self, StoreError> {
        let address = address_of_server(server)?;
        let lock = schema::migrate(&address).await?.lock;
        let db = Connection::open(address).await?;
        db.simple(&format!("{BEGIN}; SELECT pg_advisory_xact_lock({lock})")).await?;
        let import = Self { db };
        if import.db.any("SELECT 1 FROM history LIMIT 1", &[]).await? {
            return Err(import.fault("has tasks of its own: name an empty database"));
        }
        // What the schema begins with comes from the other one.
        for table in TABLES {
            import.db.simple(&format!("DELETE FROM {table}")).await?;
        }
        Ok(import)
    }

    /// The columns of a table.
    ///
    /// # Errors
    /// The server's.
    pub async fn columns(&self, table: &str) -> Result<Columns, StoreError> {
        let text = "SELECT column_name::text, udt_name::text FROM information_schema.columns
            WHERE table_schema = current_schema() AND table_name = $1 ORDER BY ordinal_position";
        let kind = |name: &str| match name {
            "int8" => Type::INT8,
            "float8" => Type::FLOAT8,
            "bool" => Type::BOOL,
            "uuid" => Type::UUID,
            "bytea" => Type::BYTEA,
            _ => Type::TEXT,
        };
        let read = |row: &Row| Ok((get(row, 0)?, kind(&get::<String>(row, 1)?)));
        self.db.all(text, &params![table], read).await.map(Columns)
    }

    /// Writes rows.
    ///
    /// # Errors
    /// The server's.
    pub async fn insert(&self, table: &str, columns: &Columns, rows: Vec<Vec<Cell>>) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        let names = columns.names().join(", ");
        let mut lists: Vec<Vec<Value>> = columns.0.iter().map(|_| Vec::with_capacity(rows.len())).collect();
        for row in rows {
            for ((list, cell), (_, kind)) in lists.iter_mut().zip(row).zip(&columns.0) {
                list.push(value(cell, kind));
            }
        }
        let arrays: Vec<String> = (columns.0.iter().enumerate())
            .map(|(at, (_, kind))| format!("${}::{}", at + 1, array_of(kind).name()))
            .collect();
        let text = format!("INSERT INTO {table} ({names}) SELECT * FROM unnest({})", arrays.join(", "));
        let values = columns.0.iter().zip(lists).map(|((_, kind), list)| Value::list(kind, list)).collect();
        self.db.pipeline(&[Bound { text: text.into(), values }]).await.map(drop)
    }

    /// Writes a piece of a content.
    ///
    /// # Errors
    /// The server's.
    pub async fn insert_piece(&self, blob: BlobId, at: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let text = "INSERT INTO blob_pieces (blob, at, bytes) VALUES ($1, $2, $3)";
        self.db.rows(text, &params![blob, at.cast_signed(), bytes.to_vec()]).await.map(drop)
    }

    /// The number of bytes of a content, as it is now.
    ///
    /// # Errors
    /// The server's.
    pub async fn bytes_of(&self, blob: BlobId) -> Result<u64, StoreError> {
        let text = "SELECT COALESCE(SUM(octet_length(bytes)), 0)::bigint FROM blob_pieces WHERE blob = $1";
        let bytes: Option<i64> = self.db.one(text, &params![blob], |row| get(row, 0)).await?;
        Ok(bytes.unwrap_or_default().unsigned_abs())
    }

    /// The sum of all rows of a table, as it is now.
    ///
    /// # Errors
    /// The server's.
    pub async fn sum(&self, table: &str, columns: &Columns) -> Result<Sum, StoreError> {
        let text = format!("SELECT {} FROM {table}", columns.names().join(", "));
        let mut rows = std::pin::pin!(self.db.stream(&text).await?);
        let mut sum = Sum::default();
        while let Some(row) = rows.try_next().await.map_err(|error| self.db.address().translate(error))? {
            let cells = columns.0.iter().enumerate().map(|(at, (_, kind))| cell(&row, at, kind));
            let cells: Vec<Cell> = cells.collect::<Result<_, _>>().map_err(unread)?;
            sum.add(&cells);
        }
        Ok(sum)
    }

    /// Goes on with the numbers of the other database behind those of its rows, and commits.
    ///
    /// # Errors
    /// The server's. It may have been committed where the answer was lost.
    pub async fn commit(self, last: &[(String, i64)]) -> Result<(), StoreError> {
        for (table, column) in [
            ("events", "n"),
            ("messages", "id"),
            ("history", "seq"),
            ("schedule_runs", "n"),
            ("transcripts", "n"),
            ("audit_log", "id"),
        ] {
            let last = last.iter().find(|(name, _)| name == table).map_or(0, |(_, last)| *last);
            let text = format!(
                "SELECT setval(pg_get_serial_sequence('{table}', '{column}'),
                    GREATEST((SELECT MAX({column}) FROM {table}), {last}, 1))"
            );
            self.db.simple(&text).await?;
        }
        self.db.simple("COMMIT").await?;
        // The first claims would not know how many tasks there are.
        self.db.simple("ANALYZE").await.map(drop)
    }

    /// An error for a table whose rows are others than those that were written.
    pub fn differs(&self, table: &str) -> StoreError {
        self.fault(&format!("has other rows in {table} than were written; nothing was moved"))
    }

    fn fault(&self, what: &str) -> StoreError {
        StoreError::Schema { server: Arc::clone(self.db.address().shown()), what: what.to_owned() }
    }
}
