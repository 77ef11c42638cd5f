//! All of a database, moved from a file to a server: every row as it is, with its numbers.
//!
//! Nothing else uses either meanwhile. What was written is read back in the same transaction and held against what was read:
//! the number of rows of each table, and a sum over the digests of all of them. Only then is it committed.

use sha2::{Digest as _, Sha256};

use super::StoreError;
use super::blobs::Blobs;
use super::postgres::Import;
use super::sqlite::Export;
use crate::config::{self, DatabaseServer};
use domain::BlobId;

/// All tables.
pub const TABLES: [&str; 37] = [
    "tasks",
    "task_tags",
    "events",
    "attempts",
    "dependencies",
    "waits",
    "handovers",
    "race_entries",
    "child_tasks",
    "touches",
    "rules",
    "unsettled",
    "questions",
    "messages",
    "changes",
    "files",
    "task_files",
    "artifacts",
    "secrets",
    "transcripts",
    "workers",
    "queue_state",
    "idempotency_keys",
    "history",
    "credentials",
    "spending",
    "limits",
    "shares",
    "starts",
    "webhooks",
    "deliveries",
    "schedules",
    "schedule_runs",
    "api_keys",
    "audit_log",
    "task_counts",
    "key_bytes",
];

/// A value of a row, as both engines know it.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Nothing.
    Null,
    /// A whole number; true or false as 1 or 0.
    Int(i64),
    /// A number.
    Float(f64),
    /// A text.
    Text(String),
    /// Bytes, and ids.
    Blob(Vec<u8>),
}

impl Cell {
    /// Bytes that it takes, about.
    pub fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len() + 8,
            Self::Blob(bytes) => bytes.len() + 8,
            _ => 8,
        }
    }

    fn digest(&self, to: &mut Sha256) {
        let mut add = |kind: u8, bytes: &[u8]| {
            to.update([kind]);
            to.update((bytes.len() as u64).to_le_bytes());
            to.update(bytes);
        };
        match self {
            Self::Null => add(0, &[]),
            Self::Int(number) => add(1, &number.to_le_bytes()),
            Self::Float(number) => add(2, &number.to_bits().to_le_bytes()),
            Self::Text(text) => add(3, text.as_bytes()),
            Self::Blob(bytes) => add(4, bytes),
        }
    }
}

/// Rows of a table: their number, and a sum that depends on each of them and not on their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Number of rows.
    pub rows: u64,
    digests: u128,
}

impl Sum {
    /// Adds a row.
    pub fn add(&mut self, row: &[Cell]) {
        let mut digest = Sha256::new();
        row.iter().for_each(|cell| cell.digest(&mut digest));
        let first: [u8; 16] = digest.finalize()[..16].try_into().unwrap_or_default();
        self.rows += 1;
        self.digests = self.digests.wrapping_add(u128::from_le_bytes(first));
    }
}

/// Moves the database of these settings to a server, which must have none of its own yet. The file stays, under another
/// name. Returns the number of rows of each table.
///
/// # Errors
/// One of them is in use, is not empty, is of another version, or they differ in the end. Then nothing was moved. Where
/// only the file could not be given its other name, all of it was.
pub async fn move_to(from: &config::Store, to: &DatabaseServer) -> Result<Vec<(&'static str, u64)>, StoreError> {
    let export = Export::open(&from.db_path)?;
    let import = Import::begin(to).await?;
    let mut moved = Vec::with_capacity(TABLES.len());
    for table in TABLES {
        let columns = import.columns(table).await?;
        let mut rows = export.rows(table, &columns.names());
        let mut sum = Sum::default();
        while let Some(chunk) = rows.recv().await {
            let chunk: Vec<Vec<Cell>> = chunk?.into_iter().map(|row| columns.stored(row)).collect();
            chunk.iter().for_each(|row| sum.add(row));
            import.insert(table, &columns, chunk).await?;
        }
        if import.sum(table, &columns).await? != sum {
            return Err(import.differs(table));
        }
        moved.push((table, sum.rows));
    }
    let contents = export.contents();
    let mut after = BlobId::from_u128(0);
    loop {
        let page = contents.list(after, 500).await?;
        let Some(last) = page.last() else { break };
        after = *last;
        for blob in page {
            move_content(&contents, &import, blob).await?;
        }
    }
    import.commit(&export.last_numbers()?).await?;
    export.put_aside()?;
    Ok(moved)
}

/// Moves a content. Its length is read back; its digest stands with the file that names it.
async fn move_content(from: &dyn Blobs, to: &Import, blob: BlobId) -> Result<(), StoreError> {
    let mut at = 0;
    loop {
        let piece = from.read(blob, at).await?;
        if piece.is_empty() && at > 0 {
            break;
        }
        to.insert_piece(blob, at, &piece).await?;
        at += piece.len() as u64;
        if piece.is_empty() {
            break;
        }
    }
    if to.bytes_of(blob).await? == at { Ok(()) } else { Err(to.differs("blob_pieces")) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::store::test_server::Cluster;

    #[actix::test]
    async fn both_engines_have_these_tables_with_the_same_columns_and_no_others() {
        let ours: BTreeSet<String> = TABLES.iter().map(|table| (*table).to_owned()).collect();
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("cc.db");
        crate::store::open_file(&file, false).await.expect("a store").close().await;
        let db = tables_of(&file);
        assert_eq!(db, ours);
        let cluster = Cluster::shared();
        let database = cluster.database();
        let server = crate::config::DatabaseServer {
            url: cluster.url(&database).into(),
            listen_url: None,
            password: crate::config::DatabasePassword::default(),
        };
        let import = Import::begin(&server).await.expect("a schema");
        let export = Export::open(&file).expect("a file that nobody uses");
        for table in TABLES {
            let columns = |mut names: Vec<String>| {
                names.sort();
                names
            };
            let theirs = import.columns(table).await.expect("columns").names();
            assert_eq!(columns(theirs), columns(export.columns(table).expect("columns")), "{table}");
        }
        drop(import);
        // The index of words is a file on SQLite, and made anew after a move; contents are files.
        let tables = cluster.sql(
            &database,
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE 'event_words%' AND tablename <> 'blob_pieces'",
        );
        let theirs: BTreeSet<String> =
            tables.lines().filter(|table| *table != "seaql_migrations").map(str::to_owned).collect();
        assert_eq!(theirs, ours);
    }

    fn tables_of(file: &std::path::Path) -> BTreeSet<String> {
        Export::open(file).expect("a file that nobody uses").tables().expect("its tables").into_iter().collect()
    }
}
