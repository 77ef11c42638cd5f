//! The proxy's process: `cc-anywhere agent-proxy`.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::sync::mpsc;

use super::messages::{Counted, FromProxy, ToPass, ToProxy};
use super::meter::Meter;
use super::upstream::Upstream;
use super::{Passes, lock, server};
use crate::config::{Environment, Log};
use crate::process::{self, ControlLines};
use crate::telemetry;

/// The proxy's command line. All else it is told.
#[derive(Debug, clap::Args)]
pub struct ProxyArgs {
    /// The number of the control socket
    #[arg(long)]
    control_fd: RawFd,
    /// By what the process is found
    #[arg(hide = true)]
    marks: Vec<String>,
}

/// An attempt that is let in: the hash of its token, and its socket.
type Guest = ([u8; 32], OwnedFd);

/// Runs the proxy to its end. Returns the exit code.
#[must_use]
pub fn run_proxy(args: &ProxyArgs) -> u8 {
    // Nobody looks into its memory or its descriptors, but root.
    process::close_memory();
    let Ok(control) = process::control_from_fd(args.control_fd) else { return 64 };
    let mut lines = ControlLines::new(control);
    let Ok(Some(line)) = lines.next() else { return 0 };
    let Ok(ToProxy::Begin { environment, log: (level, json) }) = serde_json::from_slice(&line) else { return 65 };
    // An error says that the filter can't be read: the worker has said so.
    telemetry::start(&Log { level, json }).unwrap_or_default();
    let system = actix::System::new();
    let served = system.block_on(serve(environment, lines));
    // Threads that ask the API are not waited for.
    std::mem::forget(system);
    match served {
        Ok(()) => 0,
        Err(error) => {
            tracing::error!(error = telemetry::chain(&error), "The credential proxy has failed");
            66
        }
    }
}

async fn serve(environment: Environment, lines: ControlLines) -> io::Result<()> {
    let passes: Arc<Passes> = Arc::new(Mutex::new(HashMap::new()));
    let url = match begin(&environment, &passes) {
        Ok(url) => url,
        Err(error) => {
            say(lines.socket(), &FromProxy::Failed { why: telemetry::chain(&error) })?;
            return Ok(());
        }
    };
    say(lines.socket(), &FromProxy::Listens { url })?;
    // Without a bound: the worker lets in as many as it has slots.
    let (sender, mut guests) = mpsc::unbounded_channel();
    std::thread::Builder::new().name("control".to_owned()).spawn(move || listen(lines, &sender))?;
    let mut held = tokio::task::JoinSet::new();
    while let Some((hash, socket)) = guests.recv().await {
        let passes = Arc::clone(&passes);
        held.spawn_local(async move {
            let meter = Arc::new(Meter::default());
            lock(&passes).insert(hash, Arc::clone(&meter));
            let left = attend(socket, &meter).await;
            lock(&passes).remove(&hash);
            if let Err(error) = left {
                tracing::debug!(%error, "A pass has ended");
            }
        });
        while held.try_join_next().is_some() {}
    }
    // The worker has left; attempts that it has handed over ask on.
    while held.join_next().await.is_some() {}
    Ok(())
}

fn begin(environment: &Environment, passes: &Arc<Passes>) -> io::Result<String> {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let url = format!("http://{}", listener.local_addr()?);
    server::run(listener, Arc::clone(passes), Upstream::new(environment)?)?;
    Ok(url)
}

fn say(mut to: &UnixStream, message: &FromProxy) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    to.write_all(&line)
}

/// Hears whom the worker lets in, until it is gone.
fn listen(mut lines: ControlLines, guests: &mpsc::UnboundedSender<Guest>) {
    while let Ok(Some(line)) = lines.next() {
        let passed = lines.passed().pop();
        let guest = match serde_json::from_slice(&line) {
            Ok(ToProxy::LetIn { hash }) => hex::decode(hash).ok().and_then(|hash| hash.try_into().ok()).zip(passed),
            _ => None,
        };
        let Some(guest) = guest else {
            tracing::warn!("The worker has said something that can't be read");
            continue;
        };
        if guests.send(guest).is_err() {
            return;
        }
    }
}

/// Answers about an attempt for as long as somebody holds its pass.
async fn attend(socket: OwnedFd, meter: &Meter) -> io::Result<()> {
    let socket = UnixStream::from(socket);
    socket.set_nonblocking(true)?;
    let mut socket = BufStream::new(tokio::net::UnixStream::from_std(socket)?);
    loop {
        let counted = Counted { spent: meter.spent(), resets_at: meter.resets_at() };
        let line = serde_json::to_string(&counted)? + "\n";
        socket.write_all(line.as_bytes()).await?;
        socket.flush().await?;
        let mut asked = String::new();
        if socket.read_line(&mut asked).await? == 0 {
            return Ok(());
        }
        match serde_json::from_str(&asked)? {
            ToPass::Limit { budget } => meter.limit(budget),
            ToPass::Count => {}
        }
    }
}
