//! Files that clients send: taken in pieces, named by the digest of their content, kept while they are of use.

use std::time::Duration;

use domain::{BlobId, FileId, Timestamp};
use serde_json::json;
use wire::response::FileView;

use super::{Caller, Kind, Refusal, Service, key_limit};
use crate::process::wall_now;
use crate::queue::{
    CountFileBytes, FilePut, FileRemoved, FileRow, FindFile, FindUnnamedBlobs, PutFile, QueueError, RemoveFile,
    RemoveIdleFiles,
};
use crate::store::StoreError;
use crate::store::blobs::{BlobWriter, digest_of};
use crate::telemetry::chain;

/// Time between two looks for files that are of no use.
const TIDY_EVERY: Duration = Duration::from_secs(600);
/// Time after which an upload that has not gone on is given up, and a content that nothing names is removed, in milliseconds.
const ABANDONED_MS: i64 = 24 * 3_600 * 1_000;
/// Contents of one look: each look reads the names of all.
const PAGE: usize = 10_000;

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        QueueError::Store(error).into()
    }
}

/// Checks that a file of this size may be taken. Where the size is not known, that any may.
///
/// # Errors
/// It is too large, or there is no room.
pub async fn check_size(service: &Service, bytes: Option<u64>) -> Result<(), Refusal> {
    let most = service.files.max_bytes;
    if bytes.is_some_and(|bytes| bytes > most) {
        return Err(too_large(service));
    }
    if let Some(room) = service.files.disk_bytes {
        let used = service.queue.ask(CountFileBytes).await?.unsigned_abs();
        if used.saturating_add(bytes.unwrap_or(1)) > room {
            let message = format!(
                "all files have {used} bytes, and may have {room} (FILES_DISK_BYTES): remove some with DELETE /api/files/ID"
            );
            return Err(Refusal::new(Kind::Full, "FILES_FULL", message).with(json!({ "bytes": used, "most": room })));
        }
    }
    Ok(())
}

/// Refusal of a file that is too large.
pub fn too_large(service: &Service) -> Refusal {
    let most = service.files.max_bytes;
    Refusal::new(Kind::TooLarge, "FILE_TOO_LARGE", format!("a file may have {most} bytes (MAX_FILE_BYTES)"))
        .with(json!({ "most": most }))
}

/// A file that is being sent.
pub struct Upload<'a> {
    service: &'a Service,
    caller: &'a Caller,
    blob: BlobId,
    writer: BlobWriter<'a>,
    /// The file that it is a part of, where its client has said which it will be.
    part_of: Option<FileRow>,
}

/// State of a file behind a part that was sent.
pub enum Sent {
    /// All of it is there; true where it was not before.
    Whole(FileRow, bool),
    /// More of it is to come.
    Part(FileRow),
}

impl<'a> Upload<'a> {
    /// Begins a file whose digest is not known yet.
    #[must_use]
    pub fn new(service: &'a Service, caller: &'a Caller) -> Self {
        let blob = BlobId::new();
        Self { service, caller, blob, writer: BlobWriter::new(&*service.blobs, blob, 0), part_of: None }
    }

    /// Goes on with a file at this place.
    ///
    /// # Errors
    /// That is not where it goes on.
    pub async fn at(service: &'a Service, caller: &'a Caller, file: FileRow, at: u64) -> Result<Self, Refusal> {
        let there = service.blobs.len(file.blob).await?;
        if there != at {
            return Err(elsewhere(there));
        }
        let writer = BlobWriter::new(&*service.blobs, file.blob, at);
        Ok(Self { service, caller, blob: file.blob, writer, part_of: Some(file) })
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// The store's, or another request sends the same file.
    pub async fn add(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        match self.writer.add(bytes).await? {
            true => Ok(()),
            false => Err(elsewhere(self.service.blobs.len(self.blob).await?)),
        }
    }

    /// Ends what has come of a file that broke off: a client that has said which it will be can go on with it.
    ///
    /// # Errors
    /// The store's.
    pub async fn keep(self) -> Result<(), Refusal> {
        match self.part_of {
            Some(_) => drop(self.writer.finish().await?),
            None => forget(self.service, self.blob).await,
        }
        Ok(())
    }

    /// Ends it.
    ///
    /// # Errors
    /// The store's, or the content is not the one that was announced.
    pub async fn finish(self) -> Result<Sent, Refusal> {
        let Self { service, caller, blob, writer, part_of } = self;
        let Some((bytes, digest)) = writer.finish().await? else {
            return Err(elsewhere(service.blobs.len(blob).await?));
        };
        match part_of {
            None => put(service, caller, digest, blob, bytes.cast_signed()).await,
            Some(file) if bytes < file.bytes.unsigned_abs() => Ok(Sent::Part(file)),
            Some(file) => complete(service, caller, file).await,
        }
    }
}

/// A file of which everything is there that was announced, where it is.
///
/// # Errors
/// The store's, or the content is not the one that was announced.
pub async fn whole(service: &Service, caller: &Caller, file: &FileRow) -> Result<Option<Sent>, Refusal> {
    if file.complete {
        return Ok(Some(Sent::Whole(file.clone(), false)));
    }
    // The process may have died before it noted that.
    match service.blobs.len(file.blob).await? == file.bytes.unsigned_abs() && file.bytes > 0 {
        true => complete(service, caller, file.clone()).await.map(Some),
        false => Ok(None),
    }
}

/// Completes a file whose last byte is there.
async fn complete(service: &Service, caller: &Caller, file: FileRow) -> Result<Sent, Refusal> {
    let digest = digest_of(&*service.blobs, file.blob).await?;
    if digest == file.id {
        return put(service, caller, digest, file.blob, file.bytes).await;
    }
    let message = format!("what was sent is {digest}, and not {}: it is forgotten; send the file again", file.id);
    // Where another request has sent it meanwhile, there is nothing to remove.
    drop(remove(service, file).await);
    Err(Refusal::new(Kind::Invalid, "DIGEST_DIFFERS", message).with(json!({ "sha256": digest })))
}

fn elsewhere(at: u64) -> Refusal {
    let message = format!("{at} bytes of the file are there: go on from byte {at} (Content-Range)");
    Refusal::new(Kind::Conflict, "UPLOAD_OFFSET", message).with(json!({ "received": at }))
}

/// Stores a file whose content is there.
async fn put(service: &Service, caller: &Caller, id: FileId, blob: BlobId, bytes: i64) -> Result<Sent, Refusal> {
    match ask_put(service, caller, id, blob, bytes, true).await? {
        FilePut::Stored(file) => Ok(Sent::Whole(file, true)),
        FilePut::Known(file) => {
            // Two requests may have sent the last part of one file.
            if file.blob != blob {
                forget(service, blob).await;
            }
            Ok(Sent::Whole(file, false))
        }
        FilePut::KeyLimit { most } => {
            forget(service, blob).await;
            Err(key_limit("maxStoredBytes", most))
        }
    }
}

/// Begins a file of this digest and size, or finds the one that was begun.
///
/// # Errors
/// It was begun with another size, or there is no room.
pub async fn begin(service: &Service, caller: &Caller, id: FileId, bytes: i64) -> Result<FileRow, Refusal> {
    match ask_put(service, caller, id, BlobId::new(), bytes, false).await? {
        FilePut::KeyLimit { most } => Err(key_limit("maxStoredBytes", most)),
        FilePut::Stored(file) | FilePut::Known(file) if file.bytes == bytes => Ok(file),
        FilePut::Stored(file) | FilePut::Known(file) => {
            let message = format!("the file was begun with {} bytes, and now has {bytes}", file.bytes);
            Err(Refusal::new(Kind::Conflict, "UPLOAD_SIZE", message).with(json!({ "bytes": file.bytes })))
        }
    }
}

async fn ask_put(
    service: &Service,
    caller: &Caller,
    id: FileId,
    blob: BlobId,
    bytes: i64,
    complete: bool,
) -> Result<FilePut, Refusal> {
    let (key, max_stored_bytes) = (caller.name().to_owned(), caller.limits().max_stored_bytes);
    Ok(service.queue.ask(PutFile { key, id, blob, bytes, complete, max_stored_bytes }).await?)
}

/// A file that the caller may read: its own; an admin's is any.
///
/// # Errors
/// There is none.
pub async fn find(service: &Service, caller: &Caller, id: &str) -> Result<FileRow, Refusal> {
    let file = id.parse::<FileId>().map_err(|_| unknown(id))?;
    let find = FindFile { key: caller.name().to_owned(), id: file, any: caller.is_admin() };
    service.queue.ask(find).await?.ok_or_else(|| unknown(id))
}

fn unknown(id: &str) -> Refusal {
    Refusal::new(Kind::Unknown, "FILE_NOT_FOUND", format!("there is no file {id}"))
}

/// Returns a file as clients see it.
///
/// # Errors
/// The store's.
pub async fn view(service: &Service, file: FileRow) -> Result<FileView, Refusal> {
    let received = match file.complete {
        true => file.bytes,
        false => service.blobs.len(file.blob).await?.cast_signed(),
    };
    Ok(FileView {
        file_id: file.id,
        key: file.key_name,
        bytes: file.bytes,
        received,
        complete: file.complete,
        created_at: file.created_at,
        used_at: file.used_at,
    })
}

/// Removes a file.
///
/// # Errors
/// It is not there, or a task that has not ended names it.
pub async fn remove(service: &Service, file: FileRow) -> Result<FileRow, Refusal> {
    match service.queue.ask(RemoveFile { key: file.key_name, id: file.id.clone(), blob: file.blob }).await? {
        FileRemoved::Done(file) => {
            forget(service, file.blob).await;
            Ok(file)
        }
        FileRemoved::InUse(task) => {
            let message = format!("task {task} names the file, and has not ended");
            Err(Refusal::new(Kind::Conflict, "FILE_IN_USE", message).with(json!({ "taskId": task })))
        }
        FileRemoved::Unknown => Err(unknown(file.id.as_str())),
    }
}

/// Refusal of a task that names a file which is not there.
pub fn not_there(id: &FileId) -> Refusal {
    let message = format!("context.files: there is no file {id}, or not all of it; send it with POST /api/files");
    Refusal::new(Kind::Unknown, "FILE_NOT_FOUND", message).with(json!({ "fileId": id }))
}

/// Removes a content that nothing names. One that stays is removed later.
async fn forget(service: &Service, blob: BlobId) {
    if let Err(error) = service.blobs.remove(blob).await {
        tracing::debug!(%blob, error = chain(&error), "a content stays for now");
    }
}

/// Removes files that were not used for long, uploads that have not gone on, and contents that nothing names, for as long as
/// the process lives.
pub async fn tidy_files_forever(service: Service) {
    loop {
        if service.leadership.is_ours()
            && let Err(refusal) = tidy(&service).await
        {
            tracing::warn!(error = refusal.message, "could not remove old files");
        }
        tokio::time::sleep(TIDY_EVERY).await;
    }
}

async fn tidy(service: &Service) -> Result<(), Refusal> {
    let abandoned = wall_now().plus_ms(-ABANDONED_MS);
    let before = service
        .files
        .retention
        .map_or(Timestamp(0), |kept| wall_now().plus_ms(-i64::try_from(kept.as_millis()).unwrap_or(i64::MAX)));
    loop {
        let idle = service.queue.ask(RemoveIdleFiles { before, incomplete_before: abandoned }).await?;
        if idle.is_empty() {
            break;
        }
        tracing::info!(files = idle.len(), "Removed files that were not used for long");
        for blob in idle {
            forget(service, blob).await;
        }
    }
    let mut after = BlobId::from_u128(0);
    loop {
        let page = service.blobs.list(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = *last;
        let old = page.into_iter().filter(|blob| blob.made_at().is_some_and(|at| at < abandoned)).collect();
        for blob in service.queue.ask(FindUnnamedBlobs(old)).await? {
            forget(service, blob).await;
        }
    }
}
