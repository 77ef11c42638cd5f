//! `POST /mcp`: the tasks as tools of a model, over HTTP (the Model Context Protocol, without sessions or streams).
//!
//! Each call of a tool is a request of the API to this very server, with the key that the caller has shown: it has the rights,
//! the limits and the refusals that any request has.

use std::time::Duration;

use actix_web::http::header::{self, HeaderMap};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};
use wire::request::ToolMessage;

use super::super::body::body;
use super::super::error::ApiError;
use super::super::input;
use super::super::shared::Shared;
use crate::mcp::{self, INSTRUCTIONS, request_of, said, tools};

/// Versions of the protocol that are spoken, newest first.
const VERSIONS: [&str; 3] = ["2025-11-25", "2025-06-18", "2025-03-26"];
/// Longest time of a call.
const LIMIT: Duration = Duration::from_secs(60);
/// Longest answer of the API that is read, in bytes; what a model reads of it is shorter.
const MAX_BYTES: u64 = 64 << 20;
/// Header that names the task from inside which a client asks.
const PARENT: &str = "x-parent-task";

const METHOD_NOT_FOUND: i64 = -32601;
const INVALID_PARAMS: i64 = -32602;
const INVALID_REQUEST: i64 = -32600;

/// `POST /mcp`
pub async fn call(request: HttpRequest, payload: Payload, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let message: ToolMessage = input::json(&request, &body(payload, &shared.bodies).await?)?;
    let Some(id) = message.id else {
        // A notification, or an answer: nothing is asked of us.
        return Ok(HttpResponse::Accepted().finish());
    };
    let params = message.params.unwrap_or_default();
    let answer = match (message.jsonrpc.as_deref(), message.method.as_deref()) {
        (Some("2.0"), Some("initialize")) => Ok(about(&params)),
        (Some("2.0"), Some("ping")) => Ok(json!({})),
        (Some("2.0"), Some("tools/list")) => Ok(json!({ "tools": listed() })),
        (Some("2.0"), Some("tools/call")) => called(&request, &params).await,
        (Some("2.0"), Some(method)) => Err((METHOD_NOT_FOUND, format!("there is no method {method}"))),
        _ => Err((INVALID_REQUEST, "must have \"jsonrpc\": \"2.0\" and a method".to_owned())),
    };
    Ok(HttpResponse::Ok().json(match answer {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err((code, message)) => json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } }),
    }))
}

fn about(params: &Value) -> Value {
    let wanted = params["protocolVersion"].as_str().unwrap_or_default();
    let version = VERSIONS.iter().find(|version| **version == wanted).unwrap_or(&VERSIONS[0]);
    json!({
        "protocolVersion": version,
        "capabilities": { "tools": {} },
        "serverInfo": { "name": "cc-anywhere", "version": env!("CARGO_PKG_VERSION") },
        "instructions": INSTRUCTIONS,
    })
}

fn listed() -> Vec<Value> {
    let tool = |(name, description, schema)| json!({ "name": name, "description": description, "inputSchema": schema });
    tools().into_iter().map(tool).collect()
}

/// Calls a tool. What the server refuses is a result that the model reads; an error is a call that is none.
async fn called(request: &HttpRequest, params: &Value) -> Result<Value, (i64, String)> {
    let tool = params["name"].as_str().unwrap_or_default().to_owned();
    let none = json!({});
    let arguments = params.get("arguments").unwrap_or(&none);
    let parent = request.headers().get(PARENT).and_then(|parent| parent.to_str().ok());
    let parent = parent.filter(|parent| !parent.is_empty()).map(|parent| json!(parent));
    let asked = request_of(&tool, arguments, parent.as_ref()).map_err(|why| (INVALID_PARAMS, why))?;
    let ourselves = Ourselves::of(request);
    // Not among `process::blocking`: what is asked may need a place there itself.
    let asked = tokio::task::spawn_blocking(move || ourselves.ask(&asked)).await;
    let answer = match asked {
        Ok(Ok((ok, answer))) => said(&tool, ok, answer),
        Ok(Err(error)) => Err(format!("the server did not answer: {error}")),
        Err(failed) => Err(format!("the server did not answer: {failed}")),
    };
    let is_error = answer.is_err();
    let text = answer.unwrap_or_else(|why| why);
    Ok(json!({ "content": [{ "type": "text", "text": text }], "isError": is_error }))
}

/// The way to this very server, with the key of a caller.
struct Ourselves {
    url: String,
    headers: Vec<(header::HeaderName, header::HeaderValue)>,
}

impl Ourselves {
    fn of(request: &HttpRequest) -> Self {
        let mut address = request.app_config().local_addr();
        if address.ip().is_unspecified() {
            address.set_ip(match address.ip() {
                std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        Self { url: format!("http://{address}"), headers: key_of(request.headers()) }
    }

    /// Blocks. Returns whether it was carried out, and the answer.
    fn ask(&self, asked: &mcp::Request) -> Result<(bool, String), ureq::Error> {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(LIMIT)).proxy(None);
        let agent: ureq::Agent = agent.build().into();
        let mut request =
            ureq::http::Request::builder().method(asked.method).uri(format!("{}{}", self.url, asked.path));
        for (name, value) in &self.headers {
            request = request.header(name.as_str(), value.as_bytes());
        }
        let sent = match &asked.body {
            Some(body) => agent.run(request.header("content-type", "application/json").body(body.to_string())?)?,
            None => agent.run(request.body(())?)?,
        };
        let ok = sent.status().is_success();
        Ok((ok, sent.into_body().with_config().limit(MAX_BYTES).read_to_string()?))
    }
}

/// The headers that show a key.
fn key_of(headers: &HeaderMap) -> Vec<(header::HeaderName, header::HeaderValue)> {
    let names = [header::AUTHORIZATION, header::HeaderName::from_static("x-api-key")];
    names.into_iter().filter_map(|name| Some((name.clone(), headers.get(&name)?.clone()))).collect()
}
