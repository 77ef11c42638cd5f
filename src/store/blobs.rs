//! Contents of files: bytes beside the tables, in pieces, each content under an id of its own. Which contents are needed, the
//! tables say; one that none of them names is removed after a time.

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};

use sha2::{Digest as _, Sha256};

use super::error::StoreError;
use domain::{BlobId, FileId};

/// The most that is added or read at once, in bytes.
pub const PIECE: usize = 256 << 10;

/// See the [module](self).
#[async_trait]
pub trait Blobs: Send + Sync {
    /// Returns the number of bytes of a content; 0 where there is none.
    async fn len(&self, blob: BlobId) -> Result<u64, StoreError>;

    /// Adds at most [`PIECE`] bytes at this place. Returns false where that is not its end. They stay only once
    /// [`keep`](Self::keep) has returned, or the content is lost with the machine.
    async fn append(&self, blob: BlobId, at: u64, bytes: Bytes) -> Result<bool, StoreError>;

    /// Waits until all of it is on the disk.
    async fn keep(&self, blob: BlobId) -> Result<(), StoreError>;

    /// Returns some bytes from this place on, at most [`PIECE`]; none at the end.
    async fn read(&self, blob: BlobId, at: u64) -> Result<Bytes, StoreError>;

    /// Removes a content, where it is there.
    async fn remove(&self, blob: BlobId) -> Result<(), StoreError>;

    /// Returns contents behind this one, in order of their ids.
    async fn list(&self, after: BlobId, limit: usize) -> Result<Vec<BlobId>, StoreError>;
}

/// Writes a content behind what is there, in pieces, and takes the digest of what it has written.
pub struct BlobWriter<'a> {
    blobs: &'a dyn Blobs,
    blob: BlobId,
    at: u64,
    piece: BytesMut,
    digest: Sha256,
}

impl<'a> BlobWriter<'a> {
    /// Begins at this place, which is the end of the content.
    #[must_use]
    pub fn new(blobs: &'a dyn Blobs, blob: BlobId, at: u64) -> Self {
        Self { blobs, blob, at, piece: BytesMut::new(), digest: Sha256::new() }
    }

    /// Adds bytes. Returns false where another writer has added some.
    ///
    /// # Errors
    /// The store's.
    pub async fn add(&mut self, mut bytes: &[u8]) -> Result<bool, StoreError> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PIECE - self.piece.len()));
            self.piece.extend_from_slice(now);
            bytes = later;
            if self.piece.len() == PIECE && !self.flush().await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn flush(&mut self) -> Result<bool, StoreError> {
        let piece = self.piece.split().freeze();
        self.digest.update(&piece);
        let (at, len) = (self.at, piece.len() as u64);
        let added = self.blobs.append(self.blob, at, piece).await?;
        self.at += len;
        Ok(added)
    }

    /// Writes the rest, and waits until all of it is on the disk. Returns the length of the whole, and the digest of what was
    /// added; `None` where another writer has added some.
    ///
    /// # Errors
    /// The store's.
    pub async fn finish(mut self) -> Result<Option<(u64, FileId)>, StoreError> {
        if !self.flush().await? {
            return Ok(None);
        }
        self.blobs.keep(self.blob).await?;
        Ok(Some((self.at, id_of(self.digest))))
    }
}

/// The id of a content with this digest.
#[must_use]
pub fn id_of(digest: Sha256) -> FileId {
    hex::encode(digest.finalize()).parse().unwrap_or_else(|_| unreachable!("64 digits"))
}

/// Reads a whole content, and returns its digest.
///
/// # Errors
/// The store's.
pub async fn digest_of(blobs: &dyn Blobs, blob: BlobId) -> Result<FileId, StoreError> {
    let (mut at, mut digest) = (0, Sha256::new());
    loop {
        let piece = blobs.read(blob, at).await?;
        if piece.is_empty() {
            return Ok(id_of(digest));
        }
        digest.update(&piece);
        at += piece.len() as u64;
    }
}
