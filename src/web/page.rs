//! What all pages have: the frame, and headers under which a browser runs nothing but our own scripts.

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, LOCATION};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use askama::Template;

use super::assets;
use super::door::{Turned, Visitor, is_ours, set_cookie};
use super::render::Html;
use crate::api::Shared;
use crate::queue::ListQuestions;
use wire::KeyScope;

/// Nothing from elsewhere, no style and no script within the page, and no text that becomes one.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types cc";

const HEADERS: [(HeaderName, &str); 2] = [(CONTENT_SECURITY_POLICY, POLICY), (CACHE_CONTROL, "no-store")];
const MORE_HEADERS: [(&str, &str); 2] = [
    ("cross-origin-opener-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
];

/// The frame of a page.
pub struct Shell {
    pub title: String,
    /// Path of the page in the navigation.
    pub here: &'static str,
    /// Number of open questions.
    pub waiting: i64,
    pub token: String,
    /// Name of the key.
    pub key: String,
    pub is_admin: bool,
    pub is_open: bool,
    pub host: String,
    pub css: &'static str,
    pub js: &'static str,
    /// Address of the page's stream.
    pub live: String,
}

/// A place of the navigation.
pub struct Place {
    pub path: &'static str,
    pub name: &'static str,
    /// The key that leads there, after `g`.
    pub key: &'static str,
    pub scope: KeyScope,
}

const fn place(path: &'static str, name: &'static str, key: &'static str, scope: KeyScope) -> Place {
    Place { path, name, key, scope }
}

/// The places, in order.
const PLACES: &[Place] = &[
    place("/", "Overview", "o", KeyScope::Read),
    place("/inbox", "Inbox", "i", KeyScope::Read),
    place("/tasks", "Tasks", "t", KeyScope::Read),
    place("/sessions", "Sessions", "s", KeyScope::Read),
    place("/schedules", "Schedules", "c", KeyScope::Read),
    place("/queue", "Queue", "q", KeyScope::Admin),
    place("/workers", "Workers", "w", KeyScope::Admin),
    place("/usage", "Usage", "u", KeyScope::Read),
    place("/settings", "Settings", ",", KeyScope::Admin),
];

impl Shell {
    /// The frame for this visitor.
    ///
    /// # Errors
    /// The questions can't be counted.
    pub async fn new(
        shared: &Shared,
        visitor: &Visitor,
        here: &'static str,
        title: impl Into<String>,
    ) -> Result<Self, Turned> {
        let count = ListQuestions { key: visitor.caller.own(), after: None, limit: 0 };
        let waiting = shared.queue.ask(count).await?.total;
        Ok(Self {
            title: title.into(),
            here,
            waiting,
            token: visitor.token.clone(),
            key: visitor.caller.name().to_owned(),
            is_admin: visitor.caller.is_admin(),
            is_open: visitor.is_open,
            host: crate::process::host_name(),
            css: assets::css(),
            js: assets::js(),
            live: "/web/live".to_owned(),
        })
    }

    /// The places that this visitor may go to.
    pub fn places(&self) -> impl Iterator<Item = &'static Place> {
        PLACES.iter().filter(|place| self.is_admin || place.scope != KeyScope::Admin)
    }
}

/// Names and paths that a visitor may go to.
pub fn places(is_admin: bool) -> impl Iterator<Item = (&'static str, &'static str)> {
    let places = PLACES.iter().filter(move |place| is_admin || place.scope != KeyScope::Admin);
    places.map(|place| (place.name, place.path)).chain([("New task", "/new")])
}

/// A page without a frame.
#[derive(Template)]
#[template(path = "plain.html")]
struct Plain<'a> {
    title: &'a str,
    message: &'a str,
    /// Where the page goes at once.
    next: Option<&'a str>,
    css: &'static str,
}

fn with_headers(builder: &mut HttpResponseBuilder) -> &mut HttpResponseBuilder {
    HEADERS.into_iter().for_each(|header| _ = builder.insert_header(header));
    MORE_HEADERS.into_iter().for_each(|header| _ = builder.insert_header(header));
    builder.content_type("text/html; charset=utf-8")
}

fn html(status: StatusCode, template: &impl Template) -> HttpResponse {
    match template.render() {
        Ok(text) => with_headers(&mut HttpResponse::build(status)).body(text),
        Err(error) => HttpResponse::InternalServerError().body(format!("the page can't be made: {error}")),
    }
}

/// A page.
pub fn page(request: &HttpRequest, visitor: &Visitor, template: &impl Template) -> HttpResponse {
    let mut response = html(StatusCode::OK, template);
    if let Some(cookie) = &visitor.renewed {
        add_cookie(request, &mut response, cookie);
    }
    response
}

/// Sets a cookie with an answer.
pub fn add_cookie(request: &HttpRequest, response: &mut HttpResponse, cookie: &str) {
    let (name, value) = set_cookie(request, cookie);
    if let Ok(value) = value.parse() {
        response.headers_mut().insert(name, value);
    }
}

/// A page of its own, without a visitor.
pub fn lone(template: &impl Template) -> HttpResponse {
    html(StatusCode::OK, template)
}

/// A piece of a page, for a script.
pub fn fragment(piece: &Html) -> HttpResponse {
    with_headers(&mut HttpResponse::Ok()).body(piece.as_str().to_owned())
}

/// Says what is wrong.
pub fn failure(status: StatusCode, message: &str) -> HttpResponse {
    html(status, &Plain { title: "That didn't work", message, next: None, css: assets::css() })
}

/// Lets the browser ask again by itself, as one that comes from here.
pub fn bounce(to: &str) -> HttpResponse {
    // Only within this server.
    let next = Some(to).filter(|to| is_local(to)).unwrap_or("/");
    html(
        StatusCode::OK,
        &Plain { title: "One moment", message: "Opening the page …", next: Some(next), css: assets::css() },
    )
}

/// True for a path of this server.
pub fn is_local(path: &str) -> bool {
    path.starts_with('/') && !path.starts_with("//") && !path.contains(['\\', '\r', '\n'])
}

/// The answer to a form: our scripts stay where they are, others are led on.
pub fn done(request: &HttpRequest, next: &str) -> HttpResponse {
    let next = if is_local(next) { next } else { "/" };
    if is_ours(request) {
        return HttpResponse::NoContent().insert_header(("x-next", next)).finish();
    }
    HttpResponse::SeeOther().insert_header((LOCATION, next)).finish()
}

/// The answer to a form that failed: our scripts show it at the form.
pub fn not_done(request: &HttpRequest, turned: Turned) -> Result<HttpResponse, Turned> {
    match turned {
        Turned::Failed(error) if is_ours(request) => {
            let status = actix_web::ResponseError::status_code(&error);
            Ok(HttpResponse::build(status).content_type("text/plain; charset=utf-8").body(error.message().to_owned()))
        }
        other => Err(other),
    }
}
