//! The high-water mark: beside the database, the number of the newest commit in its history. A
//! database that is behind its mark has lost something, whatever it says of itself: a WAL that
//! was cut or left behind in a copy, or an old copy that was put back.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::{Reader, StoreError};
use crate::process;

/// A disk that takes longer than this to write some bytes hangs.
const LIMIT: Duration = Duration::from_secs(30);

/// Where the mark of a database is kept.
#[derive(Clone)]
pub struct Mark {
    file: PathBuf,
    written: i64,
}

impl Mark {
    /// The mark of this database.
    #[must_use]
    pub fn of(database: &Path) -> Self {
        let mut name = database.as_os_str().to_owned();
        name.push("-mark");
        Self { file: name.into(), written: 0 }
    }

    /// The number that it has. `None` where there is none, or it was torn while it was written.
    #[must_use]
    pub fn read(database: &Path) -> Option<i64> {
        let text = std::fs::read_to_string(Self::of(database).file).ok()?;
        let (number, sum) = text.trim().split_once(' ')?;
        (checksum(number) == sum).then(|| number.parse().ok()).flatten()
    }

    /// Moves it ahead to what the database has. What is read is committed, so it is on the disk:
    /// the mark is never ahead.
    ///
    /// # Errors
    /// The database can't be read. A mark that can't be written is reported, and no more: it
    /// guards against a loss, it doesn't cause one.
    pub async fn advance(&mut self, reader: &Reader) -> Result<(), StoreError> {
        let newest = reader.newest_commit().await?;
        if newest > self.written {
            let file = self.clone();
            let written = process::blocking(LIMIT, move || file.write(newest)).await;
            match written.and_then(|written| written) {
                Ok(()) => self.written = newest,
                Err(error) => {
                    tracing::warn!(error = crate::telemetry::chain(&error), file = %self.file.display(), "The high-water mark can't be written")
                }
            }
        }
        Ok(())
    }

    /// In place and always of one length: what is torn fails its checksum, and counts as none.
    fn write(&self, number: i64) -> std::io::Result<()> {
        let text = format!("{number:020}");
        let file = File::options().write(true).create(true).truncate(false).open(&self.file)?;
        fail::fail_point!("mark-write");
        file.write_all_at(format!("{text} {}\n", checksum(&text)).as_bytes(), 0)?;
        file.sync_data()
    }
}

fn checksum(text: &str) -> String {
    Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
