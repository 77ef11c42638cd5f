//! `/api/files`: files that clients send for their tasks.

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_LENGTH, CONTENT_RANGE, LOCATION};
use actix_web::web::{self, Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use super::super::answer;
use super::super::body::Chunks;
use super::super::caller::Caller;
use super::super::content::{self, Content};
use super::super::error::ApiError;
use super::super::input::Params;
use super::super::shared::Shared;
use super::resource;
use crate::queue::ListFiles;
use crate::service::files::{self, Sent, Upload};
use domain::{BlobId, FileId};
use wire::response::{FileRemoved, Files};

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(resource("/api/files").get(list).post(send))
        .service(resource("/api/files/{file}").get(show).put(send_part).delete(remove))
        .service(resource("/api/files/{file}/content").get(read));
}

async fn list(request: HttpRequest, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let params = Params::read(&request, &["limit", "cursor"])?;
    let limit = params.number("limit", 1, 100, 20)?;
    let before = params.text("cursor").map(str::parse::<BlobId>).transpose();
    let before = before.map_err(|_| ApiError::invalid("cursor", "must be the nextCursor of an answer before"))?;
    let key = caller.own();
    let rows = shared.queue.ask(ListFiles { key, before, limit }).await?;
    let next_cursor = rows.last().filter(|_| rows.len() as i64 == limit).map(|last| last.blob.to_string());
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        found.push(files::view(&shared, row).await?);
    }
    Ok(answer::list(&Files { files: found, next_cursor }))
}

/// `POST /api/files`: a whole file.
async fn send(
    request: HttpRequest,
    payload: Payload,
    caller: Caller,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    files::check_size(&shared, length(&request)).await?;
    to_its_end(async move {
        let upload = Upload::new(&shared, &caller);
        receive(&shared, upload, payload, shared.files.max_bytes, files::too_large(&shared).into()).await
    })
    .await
}

/// `PUT /api/files/{file}`: a file whose digest is known, in as many requests as it takes.
async fn send_part(
    id: Path<String>,
    request: HttpRequest,
    payload: Payload,
    caller: Caller,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let id: FileId = id.parse().map_err(|error: domain::Invalid| ApiError::invalid("file", error.rule))?;
    let part = part_of(&request)?;
    files::check_size(&shared, Some(part.whole)).await?;
    let file = files::begin(&shared, &caller, id, part.whole.cast_signed()).await?;
    if let Some(whole) = files::whole(&shared, &caller, &file).await? {
        return answered(&shared, whole).await;
    }
    to_its_end(async move {
        let upload = Upload::at(&shared, &caller, file, part.first).await?;
        let rule = format!("the body has more than the {} bytes that it says", part.len);
        receive(&shared, upload, payload, part.len, ApiError::invalid("Content-Range", rule)).await
    })
    .await
}

/// Runs it to its end: the server drops the handler of a client that has gone, and what that has sent is to be kept.
async fn to_its_end<T: 'static>(work: impl Future<Output = Result<T, ApiError>> + 'static) -> Result<T, ApiError> {
    actix_web::rt::spawn(work).await.unwrap_or_else(|_| Err(ApiError::panicked()))
}

/// Takes a body of at most `most` bytes; a longer one is refused so. Of a part that fails, what has come is kept; a whole file
/// that fails leaves nothing.
async fn receive(
    shared: &Shared,
    mut upload: Upload<'_>,
    payload: Payload,
    most: u64,
    too_long: ApiError,
) -> Result<HttpResponse, ApiError> {
    let (mut chunks, mut left) = (Chunks::of(payload), most);
    let failed = loop {
        match chunks.next().await {
            Ok(None) => return answered(shared, upload.finish().await?).await,
            Ok(Some(chunk)) if chunk.len() as u64 > left => break too_long,
            Ok(Some(chunk)) => {
                left -= chunk.len() as u64;
                if let Err(refusal) = upload.add(&chunk).await {
                    break refusal.into();
                }
            }
            Err(error) => break error,
        }
    };
    upload.keep().await?;
    Err(failed)
}

async fn answered(shared: &Shared, sent: Sent) -> Result<HttpResponse, ApiError> {
    let (status, file) = match sent {
        Sent::Whole(file, true) => (StatusCode::CREATED, file),
        Sent::Whole(file, false) => (StatusCode::OK, file),
        Sent::Part(file) => (StatusCode::ACCEPTED, file),
    };
    let view = files::view(shared, file).await?;
    Ok(HttpResponse::build(status).insert_header((LOCATION, format!("/api/files/{}", view.file_id))).json(view))
}

async fn show(id: Path<String>, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let file = files::find(&shared, &caller, &id).await?;
    Ok(HttpResponse::Ok().json(files::view(&shared, file).await?))
}

async fn read(
    id: Path<String>,
    request: HttpRequest,
    caller: Caller,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let file = files::find(&shared, &caller, &id).await?;
    if !file.complete {
        let message = "not all of the file is there; go on with PUT";
        return Err(ApiError::new(StatusCode::CONFLICT, "FILE_INCOMPLETE", message));
    }
    let content = Content { blob: file.blob, bytes: file.bytes, digest: &file.id, name: file.id.as_str() };
    content::send(&request, shared.blobs.clone(), content).await
}

async fn remove(id: Path<String>, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let file = files::find(&shared, &caller, &id).await?;
    let file = files::remove(&shared, file).await?;
    Ok(HttpResponse::Ok().json(FileRemoved { file_id: file.id, bytes: file.bytes }))
}

/// Length of the body, where the client says it.
fn length(request: &HttpRequest) -> Option<u64> {
    request.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The part of a file that a body is.
#[derive(Debug, PartialEq)]
struct FilePart {
    /// Place of its first byte.
    first: u64,
    /// Number of its bytes.
    len: u64,
    /// Number of bytes of the file.
    whole: u64,
}

/// The part that a request says, by `Content-Range: bytes FIRST-LAST/WHOLE`; without one, all of the file.
fn part_of(request: &HttpRequest) -> Result<FilePart, ApiError> {
    let rule = "must be bytes FIRST-LAST/WHOLE, or be left out where all of the file is sent with a Content-Length";
    let invalid = || ApiError::invalid("Content-Range", rule).with(json!({ "field": "Content-Range", "rule": rule }));
    let Some(range) = request.headers().get(CONTENT_RANGE) else {
        return length(request).map(|whole| FilePart { first: 0, len: whole, whole }).ok_or_else(invalid);
    };
    range.to_str().ok().and_then(parse_part).ok_or_else(invalid)
}

fn parse_part(range: &str) -> Option<FilePart> {
    let (range, whole) = range.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok())?;
    let (first, last, whole) = (number(first)?, number(last)?, number(whole)?);
    (first <= last && last < whole && whole <= i64::MAX.unsigned_abs()).then(|| FilePart {
        first,
        len: last - first + 1,
        whole,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_lies_within_its_file() {
        assert_eq!(parse_part("bytes 0-9/10"), Some(FilePart { first: 0, len: 10, whole: 10 }));
        assert_eq!(parse_part("bytes 4-5/10"), Some(FilePart { first: 4, len: 2, whole: 10 }));
        for bad in [
            "",
            "bytes",
            "bytes 0-9",
            "bytes 0-10/10",
            "bytes 5-4/10",
            "bytes */10",
            "bytes 0-9/*",
            "bytes -1-2/3",
            "bytes +1-2/3",
            "lines 0-9/10",
            "bytes 0-18446744073709551615/18446744073709551616",
            "bytes 0-1/9223372036854775808",
        ] {
            assert_eq!(parse_part(bad), None, "{bad}");
        }
    }
}
