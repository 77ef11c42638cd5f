//! The way to the API, with the account's key. Blocks.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

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
/// What a connection says that is closed at its other end.
const BROKEN: [io::ErrorKind; 3] =
    [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset, io::ErrorKind::UnexpectedEof];
/// Longest time after which a connection that breaks counts as one that was closed before: later, somebody has worked on
/// the request, and whether it is worth another one is for the CLI to say.
const BREAK_LIMIT: Duration = Duration::from_secs(10);
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

    /// Asks the API; once more, on a new connection, where the connection breaks at once, before there is an answer: the API
    /// may close one that was idle in the moment in which it is used again.
    ///
    /// # Errors
    /// Nothing answered.
    pub fn ask(
        &self,
        method: &Method,
        path: &str,
        of_cli: &HeaderMap,
        body: &[u8],
    ) -> Result<Response<Body>, ureq::Error> {
        let request = || self.request(method, path, of_cli, body);
        let asked = Instant::now();
        match self.agent.run(request()?) {
            Err(ureq::Error::Io(error)) if BROKEN.contains(&error.kind()) && asked.elapsed() < BREAK_LIMIT => {
                tracing::debug!(%error, "A connection to the API broke; it is asked once more");
                let request = self.agent.configure_request(request()?).max_idle_age(Duration::ZERO).build();
                self.agent.run(request)
            }
            answered => answered,
        }
    }

    fn request<'a>(
        &self,
        method: &Method,
        path: &str,
        of_cli: &HeaderMap,
        body: &'a [u8],
    ) -> Result<Request<&'a [u8]>, ureq::http::Error> {
        let mut request = Request::builder().method(method.clone()).uri(format!("{}{path}", self.base)).body(body)?;
        let headers = request.headers_mut();
        for (name, value) in of_cli.iter().filter(|(name, _)| !OWN.contains(&name.as_str()) && !is_credential(name)) {
            headers.append(name, value.clone());
        }
        for (name, value) in self.headers.iter() {
            headers.insert(name, value.clone());
        }
        Ok(request)
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::sync::atomic::{AtomicUsize, Ordering};

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

    /// Reads a request of a body of this length; less of it where the connection is to break.
    fn read(socket: &mut TcpStream, length: usize) {
        let mut all = Vec::new();
        let mut part = [0; 4096];
        while all.windows(4).position(|end| end == b"\r\n\r\n").is_none_or(|head| all.len() < head + 4 + length) {
            match socket.read(&mut part) {
                Ok(read @ 1..) => all.extend_from_slice(&part[..read]),
                _ => return,
            }
        }
    }

    /// An API that answers the first request of a connection, and breaks it in the second one, after this much of its body.
    /// Counts the connections.
    fn moody(breaks_after: usize, length: usize) -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        std::thread::spawn(move || {
            for mut socket in listener.incoming().map_while(Result::ok) {
                counted.fetch_add(1, Ordering::Relaxed);
                read(&mut socket, length);
                socket.write_all(ANSWER).expect("sent");
                read(&mut socket, breaks_after);
            }
        });
        (url, connections)
    }

    #[test]
    fn a_connection_that_breaks_before_an_answer_is_made_anew() {
        // In the head, in the body, and after all of it; a body that is one write, and one that is many.
        for (breaks_after, length) in [(0, 10), (10, 10), (0, 4 << 20), (1 << 20, 4 << 20), (4 << 20, 4 << 20)] {
            let (url, connections) = moody(breaks_after, length);
            let environment = [("ANTHROPIC_BASE_URL".to_owned(), url)].into_iter().collect();
            let upstream = Upstream::new(&environment).expect("a way");
            let body = vec![b'x'; length];
            for _ in 0..4 {
                let asked = upstream.ask(&Method::POST, "/v1/messages", &HeaderMap::new(), &body);
                let answer = asked.and_then(|answer| answer.into_body().read_to_string());
                assert_eq!(answer.as_deref().ok(), Some("ok"), "{answer:?}: {breaks_after} of {length}");
            }
            assert_eq!(connections.load(Ordering::Relaxed), 4);
        }
    }

    #[test]
    fn an_api_that_always_breaks_is_asked_twice() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = std::thread::spawn(move || {
            listener.incoming().map_while(Result::ok).take(2).for_each(|mut socket| read(&mut socket, 2));
        });
        let environment = [("ANTHROPIC_BASE_URL".to_owned(), url)].into_iter().collect();
        let upstream = Upstream::new(&environment).expect("a way");
        upstream.ask(&Method::POST, "/v1/messages", &HeaderMap::new(), b"{}").expect_err("no answer");
        asked.join().expect("two connections");
    }
}
