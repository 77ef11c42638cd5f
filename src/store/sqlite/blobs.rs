//! Contents of files: plain files in a folder beside the database.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::process;
use crate::store::StoreError;
use crate::store::blobs::{Blobs, PIECE};
use domain::BlobId;

/// A disk that takes longer than this for a piece hangs.
const DISK_LIMIT: Duration = Duration::from_secs(30);

/// See the [module](self).
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// The folder of a database.
    pub fn beside(database: &Path) -> Self {
        let mut name = database.as_os_str().to_owned();
        name.push("-files");
        Self { path: name.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn file(&self, blob: BlobId) -> PathBuf {
        self.path.join(blob.to_string())
    }

    async fn run<T: Send + 'static>(
        &self,
        path: PathBuf,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let of = path.clone();
        let done = process::blocking(DISK_LIMIT, move || work(&of)).await;
        done.and_then(|done| done).map_err(|error| match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreError::Full,
            _ => StoreError::Content { path, source: Arc::new(error) },
        })
    }
}

/// Opens a file that may not be there.
fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[async_trait]
impl Blobs for Folder {
    async fn len(&self, blob: BlobId) -> Result<u64, StoreError> {
        let len = |path: &Path| open(path)?.map_or(Ok(0), |file| Ok(file.metadata()?.len()));
        self.run(self.file(blob), len).await
    }

    async fn append(&self, blob: BlobId, at: u64, bytes: Bytes) -> Result<bool, StoreError> {
        let append = move |path: &Path| {
            if at == 0
                && let Some(folder) = path.parent()
            {
                process::make_private_folder(folder)?;
            }
            let file = OpenOptions::new().create(at == 0).write(true).mode(0o600).open(path)?;
            if file.metadata()?.len() != at {
                return Ok(false);
            }
            // What is there of a piece that did not fit would be taken for its end.
            file.write_all_at(&bytes, at).or_else(|error| file.set_len(at).and(Err(error)))?;
            Ok(true)
        };
        self.run(self.file(blob), append).await
    }

    async fn keep(&self, blob: BlobId) -> Result<(), StoreError> {
        let keep = |path: &Path| {
            let Some(file) = open(path)? else { return Ok(()) };
            file.sync_all()?;
            path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
        };
        self.run(self.file(blob), keep).await
    }

    async fn read(&self, blob: BlobId, at: u64) -> Result<Bytes, StoreError> {
        let read = move |path: &Path| {
            let Some(file) = open(path)? else { return Ok(Bytes::new()) };
            let left = usize::try_from(file.metadata()?.len().saturating_sub(at)).unwrap_or(usize::MAX);
            let mut bytes = vec![0; left.min(PIECE)];
            file.read_exact_at(&mut bytes, at)?;
            Ok(bytes.into())
        };
        self.run(self.file(blob), read).await
    }

    async fn remove(&self, blob: BlobId) -> Result<(), StoreError> {
        let remove = |path: &Path| match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        self.run(self.file(blob), remove).await
    }

    async fn list(&self, after: BlobId, limit: usize) -> Result<Vec<BlobId>, StoreError> {
        let list = move |path: &Path| {
            let entries = match std::fs::read_dir(path) {
                Ok(entries) => entries,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
                Err(error) => return Err(error),
            };
            let names = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<BlobId>().ok());
            let mut found: Vec<BlobId> = names.filter(|blob| *blob > after).collect();
            found.sort_unstable();
            found.truncate(limit);
            Ok(found)
        };
        self.run(self.path.clone(), list).await
    }
}
