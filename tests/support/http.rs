//! A client of the API.

use std::io::{BufRead, BufReader};

use serde_json::Value;

/// The longest answer that is read.
const MOST_BYTES: u64 = 256 << 20;

/// A server and the key to it.
#[derive(Clone)]
pub struct Client {
    pub url: String,
    pub key: String,
    agent: ureq::Agent,
}

impl Client {
    pub fn new(url: &str, key: &str) -> Self {
        // The server closes what is idle; on a machine that stalls, a request on a connection that is used again could
        // meet the close.
        let config = ureq::Agent::config_builder()
            .max_idle_connections(0)
            .http_status_as_error(false)
            .timeout_global(Some(2 * super::LIMIT));
        Self { url: url.to_owned(), key: key.to_owned(), agent: config.build().into() }
    }

    /// Asks; returns status and JSON.
    pub fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let body = body.map(|body| body.to_string());
        let (status, _, answer) = self.send(method, path, &[("content-type", "application/json")], body.as_deref());
        (status, answer)
    }

    /// The key that it shows.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Reads what is no JSON.
    pub fn raw(&self, path: &str) -> (u16, Vec<u8>) {
        let request = ureq::http::Request::builder().uri(format!("{}{path}", self.url)).header("x-api-key", &self.key);
        let mut answer = self.agent.run(request.body(()).expect("a request")).expect("an answer");
        (answer.status().as_u16(), answer.body_mut().with_config().limit(MOST_BYTES).read_to_vec().expect("a body"))
    }

    /// Asks with these headers and these bytes; returns status, headers and body as they are.
    pub fn bytes(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> (u16, ureq::http::HeaderMap, Vec<u8>) {
        let request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        let request = request.header("x-api-key", &self.key);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let sent = match body {
            Some(body) => self.agent.run(request.body(body).expect("a request")),
            None => self.agent.run(request.body(()).expect("a request")),
        };
        let mut answer = sent.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let body = answer.body_mut().with_config().limit(MOST_BYTES).read_to_vec().expect("a body");
        (answer.status().as_u16(), answer.headers().clone(), body)
    }

    /// Asks a server that may be down: `None` when there is no whole answer.
    pub fn try_ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Option<(u16, Value)> {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        request = request.header("x-api-key", &self.key).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let sent = match body {
            Some(body) => self.agent.run(request.body(body.to_string()).expect("a request")),
            None => self.agent.run(request.body(()).expect("a request")),
        };
        let mut answer = sent.ok()?;
        let text = answer.body_mut().with_config().limit(MOST_BYTES).read_to_string().ok()?;
        Some((answer.status().as_u16(), serde_json::from_str(&text).ok()?))
    }

    /// Asks with these headers, beside the key, and this body, as it is.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> (u16, ureq::http::HeaderMap, Value) {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        if !headers.iter().any(|(name, _)| *name == "x-api-key") {
            request = request.header("x-api-key", &self.key);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let sent = match body {
            Some(body) => self.agent.run(request.body(body.to_owned()).expect("a request")),
            None => self.agent.run(request.body(()).expect("a request")),
        };
        let mut answer = sent.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let text = answer.body_mut().with_config().limit(MOST_BYTES).read_to_string().expect("a body");
        let json = serde_json::from_str(&text).unwrap_or(Value::String(text));
        (answer.status().as_u16(), answer.headers().clone(), json)
    }

    /// The events of a server that may be down, until the stream ends.
    pub fn try_events(&self, path: &str, last: Option<&str>) -> Option<impl Iterator<Item = Value> + use<>> {
        let request = ureq::http::Request::builder().uri(format!("{}{path}", self.url)).header("x-api-key", &self.key);
        let request = request.header("accept", "text/event-stream").header("last-event-id", last.unwrap_or("0"));
        let answer =
            self.agent.run(request.body(()).expect("a request")).ok().filter(|answer| answer.status() == 200)?;
        let lines = BufReader::new(answer.into_body().into_reader()).lines().map_while(Result::ok);
        Some(lines.filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok()))
    }

    /// The events of a stream, until it ends.
    pub fn events(&self, path: &str, last: Option<&str>) -> impl Iterator<Item = Value> + use<> {
        let mut request = ureq::http::Request::builder()
            .uri(format!("{}{path}", self.url))
            .header("x-api-key", &self.key)
            .header("accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let answer = self.agent.run(request.body(()).expect("a request")).expect("a stream");
        assert_eq!(answer.status(), 200);
        let lines = BufReader::new(answer.into_body().into_reader()).lines().map_while(Result::ok);
        lines.filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok())
    }
}
