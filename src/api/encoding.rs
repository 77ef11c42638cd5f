//! Which answers are compressed for clients that accept it: not streams, whose events must leave at once, and not what is
//! so short that it isn't worth it.

use actix_web::Error;
use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{CONTENT_ENCODING, HeaderMap, HeaderValue};
use actix_web::middleware::Next;

/// Length below which an answer is left as it is, in bytes.
const SHORT: u64 = 1_024;
/// The mark of an answer that is not to be compressed.
const IDENTITY: HeaderValue = HeaderValue::from_static("identity");

/// Marks the answers that are left as they are.
pub async fn mark(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let mut response = next.call(request).await?;
    let is_plain = match response.response().body().size() {
        BodySize::None => false,
        BodySize::Sized(bytes) => bytes < SHORT,
        BodySize::Stream => true,
    };
    if is_plain {
        response.headers_mut().insert(CONTENT_ENCODING, IDENTITY);
    }
    Ok(response)
}

/// Takes the mark away, which is for ourselves.
pub fn unmark(headers: &mut HeaderMap) {
    if headers.get(CONTENT_ENCODING) == Some(&IDENTITY) {
        headers.remove(CONTENT_ENCODING);
    }
}
