//! The way to the server: where it is, the key, and requests.

use std::io::BufReader;

use anyhow::Context;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::ExposeSecret as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::{Config, Flags};

/// The longest answer, in bytes.
const MAX_REPLY: u64 = 256 << 20;

/// A server, and the key that it wants.
pub struct Server {
    url: String,
    key: String,
    agent: ureq::Agent,
}

impl Server {
    /// The server that the settings of this folder and environment describe.
    pub fn find() -> anyhow::Result<Self> {
        let config = Config::load(&Flags::default())?;
        let host =
            if config.server.host.is_unspecified() { "127.0.0.1".to_owned() } else { config.server.host.to_string() };
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        let file = config.store.data_dir.join("api-key");
        let key = match config.server.api_key {
            Some(key) => key.expose_secret().to_owned(),
            // Without the file there may be a server without a key; it will say so.
            None => std::fs::read_to_string(file).unwrap_or_default().trim().to_owned(),
        };
        // The server closes what is idle for longer; a request must not meet the close.
        let idle = std::time::Duration::from_secs(2);
        let agent = ureq::Agent::config_builder().max_idle_age(idle).http_status_as_error(false).build().into();
        Ok(Self { url: format!("http://{host}:{}", config.server.port), key, agent })
    }

    /// The same, asked no longer than this.
    pub fn within(mut self, limit: std::time::Duration) -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(limit));
        self.agent = config.build().into();
        self
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The key that it is asked with.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Asks with a method that has no body.
    pub fn ask(&self, method: &str, path: &str) -> anyhow::Result<Reply> {
        Reply::read(self.send(method, path, None, &[])?)
    }

    /// Asks with a body.
    pub fn send_json(&self, method: &str, path: &str, body: &impl Serialize) -> anyhow::Result<Reply> {
        self.send_with(method, path, body, &[])
    }

    /// The same with these headers.
    pub fn send_with(
        &self,
        method: &str,
        path: &str,
        body: &impl Serialize,
        headers: &[(&str, &str)],
    ) -> anyhow::Result<Reply> {
        Reply::read(self.send(method, path, Some(serde_json::to_string(body)?), headers)?)
    }

    /// Opens a stream of lines; the inner error is what the server said instead.
    pub fn stream(&self, path: &str) -> anyhow::Result<Result<BufReader<impl std::io::Read + use<>>, Reply>> {
        let response = self.send("GET", path, None, &[])?;
        if response.status().is_success() {
            return Ok(Ok(BufReader::new(response.into_body().into_reader())));
        }
        Ok(Err(Reply::read(response)?))
    }

    /// Sends a file from where it stands.
    pub fn send_file(
        &self,
        method: &str,
        path: &str,
        file: std::fs::File,
        headers: &[(&str, &str)],
    ) -> anyhow::Result<Reply> {
        let request = self.request(method, path, headers).header("content-type", "application/octet-stream");
        Reply::read(self.sent(self.agent.run(request.body(ureq::SendBody::from_owned_reader(file))?))?)
    }

    fn request(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> ureq::http::request::Builder {
        let request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        let request = request.header("x-api-key", &self.key);
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
    }

    fn sent<T>(&self, sent: Result<T, ureq::Error>) -> anyhow::Result<T> {
        sent.with_context(|| format!("can't reach {}; is `cc-anywhere serve` running there?", self.url))
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<String>,
        headers: &[(&str, &str)],
    ) -> anyhow::Result<ureq::http::Response<ureq::Body>> {
        let request = self.request(method, path, headers);
        self.sent(match body {
            Some(body) => {
                let request = request.header("content-type", "application/json");
                self.agent.run(request.body(body)?)
            }
            None => self.agent.run(request.body(())?),
        })
    }
}

/// Reply of the server.
pub struct Reply {
    /// True if it agreed.
    pub ok: bool,
    /// The answer, as it came.
    pub body: String,
}

impl Reply {
    fn read(mut response: ureq::http::Response<ureq::Body>) -> anyhow::Result<Self> {
        let body = response.body_mut().with_config().limit(MAX_REPLY).read_to_string();
        Ok(Self { ok: response.status().is_success(), body: body.context("the answer broke off")? })
    }

    /// The answer as what it must be.
    pub fn content<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        parse(&self.body)
    }
}

/// Reason for which an answer can't be read.
pub const OTHER_VERSION: &str =
    "the server is of another version: its answer can't be read; --json prints it as it came";

/// Reads JSON of the server.
pub fn parse<T: DeserializeOwned>(text: &str) -> anyhow::Result<T> {
    serde_json::from_str(text).context(OTHER_VERSION)
}

/// A value of a query.
pub fn encode(value: &str) -> String {
    utf8_percent_encode(value, NON_ALPHANUMERIC).to_string()
}
