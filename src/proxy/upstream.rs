//! The way to the API, with the account's key. Blocks.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ureq::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

use crate::config::Environment;

/// Address of the API where no other is set.
const API: &str = "https://api.anthropic.com";
/// Longest wait for the head of an answer: a model thinks before it says anything.
const ANSWER_LIMIT: Duration = Duration::from_secs(600);
/// Longest silence within an answer. The API sends a sign of life every few seconds.
const READ_LIMIT: Duration = Duration::from_secs(300);
/// Longest wait for a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);
/// Certificates of the system, in Debian's and Red Hat's place.
const SYSTEM: [&str; 2] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];
/// Headers that are between two peers, or that the proxy decides on.
const OWN: [&str; 12] = [
    "host",
    "connection",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "accept-encoding",
    "expect",
];

/// The way to the API. Clones share it.
#[derive(Clone)]
pub struct Upstream {
    agent: Agent,
    base: String,
    /// Headers of the account, and those that the operator wants.
    headers: Arc<HeaderMap>,
}

impl Upstream {
    /// Reads address, credential, headers, proxy and certificates from the environment that the CLI would have.
    ///
    /// # Errors
    /// A certificate can't be read, or the credential is no text of a header.
    pub fn new(environment: &Environment) -> io::Result<Self> {
        let value = |name: &str| environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let base = value("ANTHROPIC_BASE_URL").unwrap_or(API).trim_end_matches('/').to_owned();
        let is_plain = base.starts_with("http://");
        let via = if is_plain { ["HTTP_PROXY", "http_proxy"] } else { ["HTTPS_PROXY", "https_proxy"] };
        let via = via.iter().find_map(|name| value(name)).filter(|via| !via.is_empty());
        let via = via.map(ureq::Proxy::new).transpose().map_err(io::Error::other)?;
        let is_near = base.contains("://127.0.0.1") || base.contains("://localhost") || base.contains("://[::1]");
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(via.filter(|_| !is_near))
            .timeout_connect(Some(CONNECT_LIMIT))
            .timeout_recv_response(Some(ANSWER_LIMIT))
            .timeout_per_read(Some(READ_LIMIT))
            .tls_config(TlsConfig::builder().root_certs(roots(&value)?).build())
            .build();
        Ok(Self { agent: config.into(), base, headers: Arc::new(headers(&value)?) })
    }

    /// Asks the API.
    ///
    /// # Errors
    /// Nothing answered.
    pub fn ask(
        &self,
        method: Method,
        path: &str,
        of_cli: &HeaderMap,
        body: &[u8],
    ) -> Result<Response<Body>, ureq::Error> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base)).body(body)?;
        let headers = request.headers_mut();
        for (name, value) in of_cli.iter().filter(|(name, _)| !OWN.contains(&name.as_str()) && !is_credential(name)) {
            headers.append(name, value.clone());
        }
        for (name, value) in self.headers.iter() {
            headers.insert(name, value.clone());
        }
        self.agent.run(request)
    }
}

/// True if the CLI shows its token with it.
fn is_credential(name: &HeaderName) -> bool {
    name == "x-api-key" || name == "authorization"
}

/// True if a header of an answer is between two peers only.
pub fn is_own(name: &HeaderName) -> bool {
    OWN.contains(&name.as_str())
}

fn headers<'a>(value: &impl Fn(&str) -> Option<&'a str>) -> io::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    let mut add = |name: &str, value: &str| -> io::Result<()> {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(io::Error::other)?;
        let mut value = HeaderValue::from_str(value).map_err(io::Error::other)?;
        value.set_sensitive(true);
        headers.insert(name, value);
        Ok(())
    };
    if let Some(key) = value("ANTHROPIC_API_KEY").filter(|key| !key.is_empty()) {
        add("x-api-key", key)?;
    }
    if let Some(token) = value("ANTHROPIC_AUTH_TOKEN").filter(|token| !token.is_empty()) {
        add("authorization", &format!("Bearer {token}"))?;
    }
    for line in value("ANTHROPIC_CUSTOM_HEADERS").unwrap_or_default().lines() {
        if let Some((name, value)) = line.split_once(':') {
            add(name.trim(), value.trim())?;
        }
    }
    Ok(headers)
}

/// Mozilla's certificates, or the system's with those that the operator names.
fn roots<'a>(value: &impl Fn(&str) -> Option<&'a str>) -> io::Result<RootCerts> {
    let named: Vec<&str> = ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"].iter().filter_map(|name| value(name)).collect();
    if named.is_empty() {
        return Ok(RootCerts::WebPki);
    }
    let system = SYSTEM.into_iter().filter(|file| Path::new(file).is_file());
    let mut all: Vec<Certificate<'static>> = Vec::new();
    for file in named.into_iter().chain(system) {
        let text = std::fs::read(file).map_err(|error| io::Error::new(error.kind(), format!("{file}: {error}")))?;
        all.extend(parse_pem(&text).filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate.to_owned()),
            _ => None,
        }));
    }
    Ok(RootCerts::Specific(Arc::new(all)))
}
