//! Contents of files as answers: whole, in part, and many as one archive. Sent piece by piece, as the client takes them.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use actix_web::body::SizedStream;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_RANGE, ContentDisposition, DispositionParam,
    DispositionType, ETAG, HeaderName, IF_NONE_MATCH, IF_RANGE, RANGE, Range,
};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream::{Stream, try_unfold};
use serde_json::json;
use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, ZipWriter};

use super::error::ApiError;
use crate::store::{Blobs, StoreError};
use crate::telemetry::chain;
use domain::{Artifact, BlobId, FileId};

/// Size from which on an entry of an archive has 64-bit lengths.
const LARGE: i64 = u32::MAX as i64;

/// A content that is there.
pub struct Content<'a> {
    /// Where it is stored.
    pub blob: BlobId,
    /// Number of bytes.
    pub bytes: i64,
    /// Its digest.
    pub digest: &'a FileId,
    /// Name under which a browser keeps it.
    pub name: &'a str,
}

/// Sends a content, or the part of it that the client asks for. Browsers keep it, and never show it: it is what others wrote.
pub async fn send(
    request: &HttpRequest,
    blobs: Arc<dyn Blobs>,
    content: Content<'_>,
) -> Result<HttpResponse, ApiError> {
    let Content { blob, bytes, digest, name } = content;
    let (bytes, etag) = (bytes.unsigned_abs(), format!("\"{digest}\""));
    let header = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    if header(IF_NONE_MATCH).is_some_and(|known| known.split(',').any(|one| one.trim() == etag)) {
        return Ok(HttpResponse::NotModified().insert_header((ETAG, etag)).finish());
    }
    if blobs.len(blob).await.map_err(crate::queue::QueueError::from)? < bytes {
        let message =
            "the content of this file is not there any more: the folder of files beside the database was changed";
        return Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "CONTENT_LOST", message));
    }
    // A part of another content is of no use.
    let asked = header(RANGE).filter(|_| header(IF_RANGE).is_none_or(|known| known == etag));
    let part = match asked.map(|asked| part_of(asked, bytes)) {
        None | Some(Part::Whole) => None,
        Some(Part::Bytes(first, last)) => Some((first, last)),
        Some(Part::Nothing) => {
            let message = format!("the file has {bytes} bytes, and none of those that were asked for");
            let error = ApiError::new(StatusCode::RANGE_NOT_SATISFIABLE, "RANGE_NOT_SATISFIABLE", message);
            return Err(error.with(json!({ "bytes": bytes })));
        }
    };
    let (first, len) = part.map_or((0, bytes), |(first, last)| (first, last - first + 1));
    let mut response = HttpResponse::build(if part.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK });
    if let Some((first, last)) = part {
        response.insert_header((CONTENT_RANGE, format!("bytes {first}-{last}/{bytes}")));
    }
    response.insert_header((ETAG, etag)).insert_header((ACCEPT_RANGES, "bytes"));
    Ok(as_file(&mut response, name).body(SizedStream::new(len, Box::pin(pieces(blobs, blob, first, len)))))
}

fn as_file<'r>(response: &'r mut actix_web::HttpResponseBuilder, name: &str) -> &'r mut actix_web::HttpResponseBuilder {
    let parameters = vec![DispositionParam::Filename(name.to_owned())];
    let disposition = ContentDisposition { disposition: DispositionType::Attachment, parameters };
    // As they are: a part of what is compressed is no part of the file.
    response
        .content_type("application/octet-stream")
        .insert_header((CONTENT_DISPOSITION, disposition))
        .insert_header((CONTENT_ENCODING, "identity"))
}

/// Part of a content that is asked for.
#[derive(Debug, PartialEq)]
enum Part {
    /// All of it: several parts, or what is no range of bytes, are answered so.
    Whole,
    /// From this byte to that one.
    Bytes(u64, u64),
    /// None that is there.
    Nothing,
}

fn part_of(asked: &str, bytes: u64) -> Part {
    match asked.parse::<Range>() {
        Ok(Range::Bytes(parts)) => match &parts[..] {
            [one] => one.to_satisfiable_range(bytes).map_or(Part::Nothing, |(first, last)| Part::Bytes(first, last)),
            _ => Part::Whole,
        },
        _ => Part::Whole,
    }
}

/// Some bytes of a content. Where they end too early the connection breaks, so that nobody takes them for whole.
fn pieces(
    blobs: Arc<dyn Blobs>,
    blob: BlobId,
    first: u64,
    len: u64,
) -> impl Stream<Item = Result<Bytes, actix_web::Error>> {
    try_unfold((blobs, first, len), move |(blobs, at, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let mut piece = blobs.read(blob, at).await.map_err(broken)?;
        if piece.is_empty() {
            return Err(actix_web::error::ErrorInternalServerError("the content is cut"));
        }
        piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        let len = piece.len() as u64;
        Ok(Some((piece, (blobs, at + len, left - len))))
    })
}

fn broken(error: StoreError) -> actix_web::Error {
    tracing::warn!(error = chain(&error), "A file can't be read");
    actix_web::error::ErrorInternalServerError("the content can't be read")
}

/// Sends files as one archive, not compressed.
pub fn send_archive(blobs: Arc<dyn Blobs>, name: &str, files: Vec<Artifact>) -> HttpResponse {
    let archive = Archive::new(blobs, files);
    let pieces =
        try_unfold(archive, |mut archive| async move { Ok(archive.next().await?.map(|piece| (piece, archive))) });
    let mut response = HttpResponse::Ok();
    as_file(&mut response, name).content_type("application/zip").streaming::<_, actix_web::Error>(Box::pin(pieces))
}

/// What the archive's writer has written and nobody has taken.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn take(&self) -> Bytes {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).into()
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// An archive that is being written.
struct Archive {
    blobs: Arc<dyn Blobs>,
    left: VecDeque<Artifact>,
    /// The file that is being written, and the place in it.
    current: Option<(Artifact, u64)>,
    /// `None` when it has ended.
    writer: Option<ZipWriter<StreamWriter<Written>>>,
    written: Written,
}

impl Archive {
    fn new(blobs: Arc<dyn Blobs>, files: Vec<Artifact>) -> Self {
        let written = Written::default();
        let writer = Some(ZipWriter::new_stream(written.clone()));
        Self { blobs, left: files.into(), current: None, writer, written }
    }

    /// The next bytes of it.
    async fn next(&mut self) -> Result<Option<Bytes>, actix_web::Error> {
        let failed = actix_web::error::ErrorInternalServerError::<zip::result::ZipError>;
        while let Some(writer) = &mut self.writer {
            match self.current.take() {
                Some((file, at)) if at < file.bytes.unsigned_abs() => {
                    let piece = self.blobs.read(file.blob, at).await.map_err(broken)?;
                    if piece.is_empty() {
                        return Err(actix_web::error::ErrorInternalServerError("the content is cut"));
                    }
                    writer.write_all(&piece)?;
                    self.current = Some((file, at + piece.len() as u64));
                }
                _ => match self.left.pop_front() {
                    Some(file) => {
                        let options = SimpleFileOptions::default()
                            .compression_method(CompressionMethod::Stored)
                            .large_file(file.bytes >= LARGE);
                        writer.start_file(&*file.path, options).map_err(failed)?;
                        self.current = Some((file, 0));
                    }
                    None => {
                        if let Some(writer) = self.writer.take() {
                            drop(writer.finish().map_err(failed)?);
                        }
                    }
                },
            }
            let bytes = self.written.take();
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_part_of_what_is_there_is_sent() {
        for (asked, part) in [
            ("bytes=0-3", Part::Bytes(0, 3)),
            ("bytes=4-", Part::Bytes(4, 9)),
            ("bytes=-3", Part::Bytes(7, 9)),
            ("bytes=5-99", Part::Bytes(5, 9)),
            ("bytes=10-", Part::Nothing),
            ("bytes=-0", Part::Nothing),
            ("bytes=0-1,3-4", Part::Whole),
            ("lines=0-1", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("bytes=18446744073709551615-", Part::Nothing),
        ] {
            assert_eq!(part_of(asked, 10), part, "{asked}");
        }
        assert_eq!(part_of("bytes=0-", 0), Part::Nothing);
    }
}
