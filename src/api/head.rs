//! Heads of requests, apart from the buffers that they came in.

use actix_web::dev::{ServiceRequest, Url};
use actix_web::http::header::{self, HeaderMap, HeaderValue};

/// Length of a body from which on its head is copied.
const LONG: u64 = 64 << 10;

/// Copies the head of a request with a long body. A head and what comes with it lie in one buffer, which has grown to some
/// hundred KiB by then, and would be kept for as long as the body comes.
pub fn leave_buffer(request: &mut ServiceRequest) {
    if !has_long_body(request.headers()) {
        return;
    }
    let head = request.head_mut();
    head.headers.retain(|_, value| {
        if let Ok(mut copy) = HeaderValue::from_bytes(value.as_bytes()) {
            copy.set_sensitive(value.is_sensitive());
            *value = copy;
        }
        true
    });
    if let Ok(uri) = head.uri.to_string().parse::<actix_web::http::Uri>() {
        head.uri = uri.clone();
        *request.match_info_mut().get_mut() = Url::new(uri);
    }
}

fn has_long_body(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    length.map_or_else(|| headers.contains_key(header::TRANSFER_ENCODING), |length: u64| length > LONG)
}
