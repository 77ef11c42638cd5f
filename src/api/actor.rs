//! The life of the HTTP server: start, drain, stop.

use std::any::Any;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix::prelude::*;
use actix_web::dev::{Extensions, Server, ServerHandle};
use actix_web::middleware::{Compress, from_fn};
use actix_web::rt::net::TcpStream;
use actix_web::web::ServiceConfig;
use actix_web::{App, HttpServer, web};
use tokio::sync::watch;

use super::connections::Connections;
use super::shared::Shared;
use super::{encoding, guard, no_body, routes};
use crate::process;
use crate::service::Phase;

/// Two messages in its life.
pub const MAILBOX: usize = 16;
/// Time that requests under way get when the server stops.
const STOP_LIMIT_SECONDS: u64 = 5;
/// A client that sends its head slower than this is cut off.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// Maximum number of connections, where there are descriptors for them.
const MAX_CONNECTIONS: usize = 4_096;
/// Connections of those that are kept for `/health`: others are turned away before.
const FOR_HEALTH: usize = 8;
/// Connections that ask for metrics at an address of their own.
const FOR_METRICS: usize = 16;
/// HTTP is a small part of the work; two threads keep it from waiting on itself.
const THREADS: usize = 2;

/// Routes of pages beside the API.
pub type Pages = fn(&mut ServiceConfig);

/// Accepts no tasks any more; everything else is answered.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Drain;

/// Ends the server. Answered when it has ended.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Stop;

/// See the [module](self).
pub struct ApiActor {
    /// The running server; kept over a restart of the actor.
    server: ServerHandle,
    /// The same for the metrics alone, where they have an address of their own.
    metrics: Option<ServerHandle>,
    /// Phase of the server, for every handler and stream.
    phase: watch::Sender<Phase>,
}

impl ApiActor {
    /// Starts the server on a socket that listens already, for at most `connections`, with these pages beside the API, and the metrics on a
    /// further socket where there is one. The sender tells handlers and streams where the server stands.
    ///
    /// # Errors
    /// The socket can't be used.
    pub fn start_server(
        listener: TcpListener,
        shared: Shared,
        phase: watch::Sender<Phase>,
        connections: usize,
        pages: Option<Pages>,
        metrics: Option<TcpListener>,
    ) -> io::Result<Self> {
        let limit = shared.server.slow_client_limit;
        let most = connections.min(MAX_CONNECTIONS);
        let open = Connections::new(most - FOR_HEALTH);
        let shared = Shared { connections: open.clone(), ..shared };
        let data = web::Data::new(shared);
        let metrics = metrics.map(|listener| start_metrics(listener, data.clone())).transpose()?;
        let server = HttpServer::new(move || {
            App::new()
                .app_data(data.clone())
                .wrap(from_fn(encoding::mark))
                .wrap(Compress::default())
                .wrap(from_fn(no_body::answer_head))
                .wrap(from_fn(guard::guard))
                .configure(routes::all)
                .configure(|config| pages.iter().for_each(|add| add(config)))
                .default_service(web::to(routes::not_found))
        })
        .on_connect(move |connection: &dyn Any, kept: &mut Extensions| {
            kept.insert(open.add());
            if let Some(stream) = connection.downcast_ref::<TcpStream>()
                && let Err(error) = process::cut_off_after(stream, limit)
            {
                tracing::debug!(%error, "a connection has no limit for a client that doesn't read");
            }
        })
        .workers(THREADS)
        .max_connections(most / THREADS)
        .client_request_timeout(HEAD_LIMIT)
        // A client that has closed its end has left: its stream ends with it.
        .h1_allow_half_closed(false)
        .shutdown_timeout(STOP_LIMIT_SECONDS)
        .disable_signals()
        .listen(listener)?
        .run();
        Ok(Self { server: run(server), metrics, phase })
    }
}

/// The metrics on an address of their own, for those who need no key.
fn start_metrics(listener: TcpListener, data: web::Data<Shared>) -> io::Result<ServerHandle> {
    let server = HttpServer::new(move || {
        App::new()
            .app_data(data.clone())
            .wrap(Compress::default())
            .wrap(from_fn(no_body::answer_head))
            .configure(routes::metrics_alone)
            .default_service(web::to(routes::not_found))
    });
    let server = server.workers(1).max_connections(FOR_METRICS).client_request_timeout(HEAD_LIMIT);
    Ok(run(server.shutdown_timeout(STOP_LIMIT_SECONDS).disable_signals().listen(listener)?.run()))
}

fn run(server: Server) -> ServerHandle {
    let handle = server.handle();
    actix::spawn(async {
        if let Err(error) = server.await {
            tracing::error!(error = crate::telemetry::chain(&error), "The server ended");
        }
    });
    handle
}

/// Binds the address before anything else is started: a port in use is found out at once.
///
/// # Errors
/// The system's.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

impl Actor for ApiActor {
    type Context = Context<Self>;
}

impl Supervised for ApiActor {}

impl Handler<Drain> for ApiActor {
    type Result = ();

    fn handle(&mut self, _: Drain, _: &mut Context<Self>) {
        self.phase.send_replace(Phase::Draining);
    }
}

impl Handler<Stop> for ApiActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Stop, _: &mut Context<Self>) -> ResponseFuture<()> {
        self.phase.send_replace(Phase::Stopping);
        let (server, metrics) = (self.server.clone(), self.metrics.clone());
        Box::pin(async move {
            server.stop(true).await;
            if let Some(metrics) = metrics {
                metrics.stop(false).await;
            }
        })
    }
}
