//! Records for the next supervisor: a file for each worker, 0600.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::ipc::exposed;
use crate::process::{self, Identity};
use domain::{Timestamp, WorkerInstanceId};

/// A worker as the next supervisor must know it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    pub name: String,
    /// Incarnation of the worker; new at each start.
    pub holder: WorkerInstanceId,
    /// Token that it shows us.
    #[serde(serialize_with = "exposed")]
    pub token: SecretString,
    pub process: Identity,
    /// Start of the process.
    pub started_at: Timestamp,
    /// Number of restarts.
    pub restart_count: u32,
}

/// The folder of these files.
#[derive(Clone, Debug)]
pub struct Records(PathBuf);

impl Records {
    /// The records below this data folder, whether it is there or not.
    pub fn below(data_dir: &Path) -> Self {
        Self(data_dir.join("run").join("workers"))
    }

    /// Opens the records below this data folder, which is made.
    ///
    /// # Errors
    /// The folder can't be made.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let records = Self::below(data_dir);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&records.0)?;
        Ok(records)
    }

    /// Writes the file of a worker, whole or not at all.
    ///
    /// # Errors
    /// The system's.
    pub fn save(&self, record: &Record) -> io::Result<()> {
        process::write_whole(&self.path(&record.name), &serde_json::to_vec(record)?)
    }

    /// Removes the file of a worker that is to be no more.
    pub fn remove(&self, name: &str) {
        match fs::remove_file(self.path(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(
                    workerId = name,
                    error = crate::telemetry::chain(&error),
                    "could not remove the file of a worker"
                );
            }
            _ => {}
        }
    }

    /// Reads the records of an earlier supervisor. A file that can't be read is left alone and named.
    #[must_use]
    pub fn load(&self) -> Vec<Record> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let files = entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "json"));
        files
            .filter_map(|path| match fs::read(&path).map(|bytes| serde_json::from_slice(&bytes)) {
                Ok(Ok(record)) => Some(record),
                _ => {
                    tracing::warn!(path = %path.display(), "could not read the file of a worker");
                    None
                }
            })
            .collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.json"))
    }
}
