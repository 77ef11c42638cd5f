//! `cc-anywhere mcp`: the server as tools of a model, over standard input and output (the Model Context Protocol).
//!
//! Each tool is one request of the API, with the key and the rights of the client. What a task of the server submits from
//! inside is its child.

use std::future::Future;
use std::sync::Arc;

use anyhow::Context as _;
use rmcp::handler::server::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation, JsonObject, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::{RequestContext, RoleServer};
use rmcp::{ErrorData, ServiceExt as _};
use serde_json::{Value, json};

use super::http::Server;
use crate::config::task_of_this_process;
use crate::mcp::{Described, INSTRUCTIONS, Request, request_of, said, tools};

/// Serves the tools until the input ends. Returns the exit code.
///
/// # Errors
/// The streams can't be used.
pub fn run(server: Server) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        let running = Box::pin(Tools { server: Arc::new(server) }.serve(rmcp::transport::stdio())).await;
        running.context("no client has begun")?.waiting().await.context("the client can't be served")
    });
    // A read of standard input can't be taken back.
    runtime.shutdown_background();
    served.map(|_| 0)
}

#[derive(Clone)]
struct Tools {
    server: Arc<Server>,
}

impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        let about = Implementation::new("cc-anywhere", env!("CARGO_PKG_VERSION"));
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(about)
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tool = |(name, description, schema): Described| Tool::new(name, description, object(schema));
        Ok(ListToolsResult::with_all_items(tools().into_iter().map(tool).collect()))
    }

    fn call_tool(
        &self,
        call: CallToolRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> impl Future<Output = Result<CallToolResponse, ErrorData>> + Send + '_ {
        let server = Arc::clone(&self.server);
        async move {
            let arguments = Value::Object(call.arguments.unwrap_or_default());
            let parent = task_of_this_process().map(|parent| json!(parent));
            let request = request_of(&call.name, &arguments, parent.as_ref())
                .map_err(|why| ErrorData::invalid_params(why, None))?;
            let name = call.name.into_owned();
            // The client waits for its answers.
            let asked = tokio::task::spawn_blocking(move || answer(&server, &name, &request)).await;
            let said = asked.map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
            Ok(match said {
                Ok(text) => CallToolResult::success(vec![ContentBlock::text(text)]),
                Err(text) => CallToolResult::error(vec![ContentBlock::text(text)]),
            }
            .into())
        }
    }
}

fn object(value: Value) -> JsonObject {
    if let Value::Object(object) = value { object } else { JsonObject::new() }
}

/// Asks the server. Returns what the model reads: the answer, or the error.
fn answer(server: &Server, tool: &str, request: &Request) -> Result<String, String> {
    let Request { method, path, body } = request;
    let asked = match body {
        Some(body) => server.send_json(method, path, body),
        None => server.ask(method, path),
    };
    let reply = asked.map_err(|error| format!("{error:#}"))?;
    said(tool, reply.ok, reply.body)
}
