//! The cookie of a browser that is signed in.
//!
//! It counts only where a page of this server asks, or the person themselves; a change needs a header that no foreign page
//! can add.

use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap};

/// Name of the cookie.
pub const COOKIE: &str = "cc_session";
/// Header of requests that our scripts make, and no page of others can.
pub const OURS: &str = "x-cc-anywhere";

/// The cookie of a request that a page of this server, or a person, has made.
#[must_use]
pub fn cookie_of(headers: &HeaderMap) -> Option<&str> {
    let from = headers.get("sec-fetch-site").map(|site| site.to_str().unwrap_or_default());
    if !matches!(from, None | Some("same-origin" | "none")) {
        return None;
    }
    cookie_named(headers, COOKIE)
}

/// The first cookie of this name, whoever asks.
#[must_use]
pub fn cookie_named<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(header::COOKIE).filter_map(|cookies| cookies.to_str().ok());
    let mut named = all.flat_map(|cookies| cookies.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
    named.find(|(found, _)| *found == name).map(|(_, value)| value)
}

/// The cookie of a request to the API: a change needs more than a cookie.
#[must_use]
pub fn for_api<'a>(method: &Method, headers: &'a HeaderMap) -> Option<&'a str> {
    let is_read = *method == Method::GET || *method == Method::HEAD;
    if is_read || headers.contains_key(OURS) { cookie_of(headers) } else { None }
}
