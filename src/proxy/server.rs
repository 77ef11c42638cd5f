//! The side of the proxy that the CLI asks.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use actix_web::http::{StatusCode, header};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use bytes::Bytes;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use ureq::Body;
use ureq::http::response::Parts;
use ureq::http::{HeaderMap, HeaderName, HeaderValue, Method, Response};

use super::meter::{Answer, Meter};
use super::upstream::{Upstream, is_own};
use super::{Passes, hash, lock};
use crate::process;

/// Path of the calls that cost something.
const MESSAGES: &str = "/v1/messages";
/// Paths of the API that the CLI needs, and the method of each.
const PATHS: &[(&str, &str)] =
    &[("POST", MESSAGES), ("POST", "/v1/messages/count_tokens"), ("GET", "/v1/models"), ("HEAD", "/")];
/// Largest request, in bytes. The API takes 32 MB.
const MAX_BODY_BYTES: usize = 64 << 20;
/// Parts of an answer that wait for the CLI.
const PARTS_AHEAD: usize = 16;
/// Size of a part, in bytes.
const PART_BYTES: usize = 16 << 10;
/// Stack of a thread that passes an answer on, in bytes.
const STACK_BYTES: usize = 512 << 10;
/// What the CLI is told when the budget is spent; `claude/ending.rs` knows it.
const SPENT: &str = "the budget of this attempt is spent";

/// Serves until the end of the process.
pub fn run(listener: TcpListener, passes: Arc<Passes>, upstream: Upstream) -> io::Result<()> {
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::from(Arc::clone(&passes)))
            .app_data(web::Data::new(upstream.clone()))
            .app_data(web::PayloadConfig::new(MAX_BODY_BYTES))
            .default_service(web::to(pass_on))
    });
    // The worker decides when it ends; the requests end with the CLIs.
    let server = server.workers(1).disable_signals().shutdown_timeout(0).listen(listener)?.run();
    actix::spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(error = crate::telemetry::chain(&error), "the credential proxy has ended");
        }
    });
    Ok(())
}

async fn pass_on(
    request: HttpRequest,
    body: Bytes,
    passes: web::Data<Passes>,
    upstream: web::Data<Upstream>,
) -> HttpResponse {
    let Some(meter) = token(&request).and_then(|token| lock(&passes).get(&hash(token)).cloned()) else {
        return refuse(StatusCode::UNAUTHORIZED, "authentication_error", "the token is of no running attempt");
    };
    let (method, path) = (request.method().as_str(), request.path());
    if !passed_on(method, path) {
        return refuse(StatusCode::NOT_FOUND, "not_found_error", "the proxy passes on what the CLI needs alone");
    }
    if path == "/" {
        return HttpResponse::Ok().finish();
    }
    let Some(call) = meter.begin() else {
        return refuse(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", "too many calls of this attempt at a time");
    };
    if !meter.has_budget() {
        return refuse(StatusCode::BAD_REQUEST, "invalid_request_error", SPENT);
    }
    let counts = path == MESSAGES;
    let path = request.uri().path_and_query().map_or(path, |all| all.as_str()).to_owned();
    let (Ok(method), headers) = (Method::from_bytes(method.as_bytes()), headers(&request)) else {
        return refuse(StatusCode::BAD_REQUEST, "invalid_request_error", "no method");
    };
    let work = move |upstream: Upstream| upstream.ask(&method, &path, &headers, &body);
    ask(upstream.as_ref().clone(), work, counts.then_some(meter), call).await
}

/// True if the CLI needs this of the API.
fn passed_on(method: &str, path: &str) -> bool {
    let is_name = |name: &str| {
        !name.contains("..") && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.@:".contains(&byte))
    };
    PATHS.contains(&(method, path)) || method == "GET" && path.strip_prefix("/v1/models/").is_some_and(is_name)
}

fn token(request: &HttpRequest) -> Option<&str> {
    let value = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    value("x-api-key").or_else(|| value("authorization")?.strip_prefix("Bearer "))
}

fn headers(request: &HttpRequest) -> HeaderMap {
    let all = request.headers().iter().filter_map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
        Some((name, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    });
    let mut headers = HeaderMap::new();
    all.for_each(|(name, value)| _ = headers.append(name, value));
    headers
}

/// Asks in a thread of its own, and passes on what comes as it comes; counted on the meter, if there is one.
async fn ask(
    upstream: Upstream,
    work: impl FnOnce(Upstream) -> Result<Response<Body>, ureq::Error> + Send + 'static,
    meter: Option<Arc<Meter>>,
    call: OwnedSemaphorePermit,
) -> HttpResponse {
    let (head_sender, head) = oneshot::channel();
    let (parts, mut part_receiver) = mpsc::channel::<io::Result<Bytes>>(PARTS_AHEAD);
    let work = move || {
        let _call = call;
        let (head, body) = match work(upstream) {
            Ok(answer) => answer.into_parts(),
            Err(error) => return head_sender.send(Err(error)).unwrap_or_default(),
        };
        let is_stream =
            head.headers.get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        if let Some(meter) = &meter {
            meter.note_limit(limit(&head, process::wall_now().0 / 1_000));
        }
        let meter = meter.filter(|_| head.status.is_success());
        if head_sender.send(Ok(head)).is_ok() {
            copy(body.into_reader(), &parts, meter.as_deref().map(|meter| Answer::new(meter, is_stream)));
        }
    };
    let thread = std::thread::Builder::new().name("proxied-call".to_owned()).stack_size(STACK_BYTES);
    if let Err(error) = thread.spawn(work) {
        tracing::warn!(error = crate::telemetry::chain(&error), "no thread for a call of the model");
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "api_error", "the worker has no thread for the call");
    }
    match head.await {
        Ok(Ok(head)) => {
            if !head.status.is_success() {
                tracing::debug!(status = head.status.as_u16(), "The API has refused a call");
            }
            let mut answer =
                HttpResponse::build(StatusCode::from_u16(head.status.as_u16()).unwrap_or(StatusCode::BAD_GATEWAY));
            for (name, value) in head.headers.iter().filter(|(name, _)| !is_own(name)) {
                answer.append_header((name.as_str(), value.as_bytes()));
            }
            answer.streaming(futures_util::stream::poll_fn(move |context| part_receiver.poll_recv(context)))
        }
        Ok(Err(error)) => {
            tracing::warn!(error = crate::telemetry::chain(&error), "The API can't be reached");
            refuse(StatusCode::BAD_GATEWAY, "api_error", &format!("the API can't be reached: {error}"))
        }
        Err(_) => refuse(StatusCode::BAD_GATEWAY, "api_error", "the call has failed"),
    }
}

/// End of the limit that an answer tells of, in seconds of Unix time.
fn limit(head: &Parts, now: i64) -> Option<i64> {
    let number = |name: &str| head.headers.get(name)?.to_str().ok()?.trim().parse::<i64>().ok();
    let after = || number("retry-after").filter(|seconds| *seconds >= 0).map(|seconds| now.saturating_add(seconds));
    (head.status.as_u16() == 429).then(|| number("anthropic-ratelimit-unified-reset").or_else(after)).flatten()
}

/// Copies the answer until its end, or until nobody wants it any more.
fn copy(mut reader: impl io::Read, parts: &mpsc::Sender<io::Result<Bytes>>, mut answer: Option<Answer<'_>>) {
    let mut part = vec![0; PART_BYTES];
    loop {
        let read = match reader.read(&mut part) {
            Ok(0) => return,
            Ok(count) => {
                if let Some(answer) = &mut answer {
                    answer.pass(&part[..count]);
                }
                Ok(Bytes::copy_from_slice(&part[..count]))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // The CLI sees that the answer was broken off, and asks again.
            Err(error) => Err(error),
        };
        let is_end = read.is_err();
        if parts.blocking_send(read).is_err() || is_end {
            return;
        }
    }
}

/// An answer in the API's own form.
fn refuse(status: StatusCode, kind: &str, message: &str) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(json!({ "type": "error", "error": { "type": kind, "message": message } }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_cli_needs_alone_is_passed_on() {
        for (method, path) in [("POST", "/v1/messages"), ("GET", "/v1/models"), ("GET", "/v1/models/claude-opus-4-5")] {
            assert!(passed_on(method, path), "{method} {path}");
        }
        for path in ["/v1/models/../organizations", "/v1/models/%2e%2e/x", "/v1/models/a/b", "/v1/files", "//v1/models"]
        {
            assert!(!passed_on("GET", path), "{path}");
        }
        assert!(!passed_on("POST", "/v1/messages/batches"));
    }

    #[test]
    fn the_end_of_a_limit_is_read_from_the_answer() {
        let head = |status: u16, headers: &[(&str, &str)]| {
            let answer =
                headers.iter().fold(Response::builder().status(status), |all, (name, value)| all.header(*name, *value));
            answer.body(()).expect("an answer").into_parts().0
        };
        let reset = ("anthropic-ratelimit-unified-reset", "2000");
        assert_eq!(limit(&head(429, &[reset, ("retry-after", "5")]), 1_000), Some(2_000));
        assert_eq!(limit(&head(429, &[("retry-after", "5")]), 1_000), Some(1_005));
        for other in [head(429, &[("retry-after", "soon")]), head(429, &[("retry-after", "-5")]), head(200, &[reset])] {
            assert_eq!(limit(&other, 1_000), None);
        }
    }
}
