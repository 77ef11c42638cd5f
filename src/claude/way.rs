//! The way between a worker and the shim of a run: orders go down, with what goes with them; up come its confirmations, and
//! how the CLI has ended.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;

use tokio::io::{AsyncBufReadExt as _, Interest};
use tokio::net::UnixStream as Stream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot};

use super::limits::RunLimits;
use super::run::Exit;
use super::shim::{FromShim, Signed, ToShim};
use crate::process;
use crate::sandbox::Held;

/// The way to a shim. Dropped, the shim sees the end of its control socket, and ends the tree.
pub(super) struct Way {
    /// Orders, in sequence. Without a bound: a shim that reads nothing must not hold its worker up.
    orders: mpsc::UnboundedSender<Order>,
    /// The same socket, to be closed.
    control: UnixStream,
    /// What it confirms.
    pub(super) acks: mpsc::Receiver<Ack>,
}

/// What a shim says, on its way up.
pub(super) struct FromBelow {
    control: OwnedReadHalf,
    acks: mpsc::Sender<Ack>,
}

/// Confirmation of a shim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ack {
    Holds,
    LetGo,
}

/// A message for the shim, with what goes with it.
pub(super) struct Order {
    /// A line, or what is left of it.
    line: Vec<u8>,
    passed: Vec<OwnedFd>,
}

impl Order {
    /// A message alone.
    pub(super) fn of(message: &ToShim) -> io::Result<Self> {
        Self::with(message, Vec::new())
    }

    /// A message with descriptors.
    pub(super) fn with(message: &ToShim, passed: Vec<OwnedFd>) -> io::Result<Self> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        Ok(Self { line, passed })
    }
}

impl Way {
    /// The way over this control socket, in both directions.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn over(control: UnixStream) -> io::Result<(Self, FromBelow)> {
        let (orders, order_receiver) = mpsc::unbounded_channel();
        let (ack_sender, acks) = mpsc::channel(2);
        let (reader, writer) = Stream::from_std(control.try_clone()?)?.into_split();
        tokio::spawn(give_orders(writer, order_receiver));
        Ok((Self { orders, control, acks }, FromBelow { control: reader, acks: ack_sender }))
    }

    /// What limits tell the shim with: it does not keep the way open.
    pub(super) const fn orders(&self) -> &mpsc::UnboundedSender<Order> {
        &self.orders
    }

    /// Sends the first order: at once what the socket takes, and the rest in its turn. It carries nothing else.
    ///
    /// # Errors
    /// The shim is gone.
    pub(super) fn begin(&self, mut order: Order) -> io::Result<()> {
        // Where it takes nothing, the rest is all, and finds out why.
        if let Ok(sent) = process::send_with(&self.control, &order.line, &[]) {
            order.line.drain(..sent);
        }
        self.send(order)
    }

    /// Sends an order.
    ///
    /// # Errors
    /// The shim is gone.
    pub(super) fn send(&self, order: Order) -> io::Result<()> {
        self.orders.send(order).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    pub(super) fn tell(&self, message: &ToShim) {
        // Closed: the shim is gone, or frozen; then the deadline decides.
        if Order::of(message).and_then(|order| self.send(order)).is_err() {
            tracing::debug!("the shim takes no message");
        }
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.control.shutdown(std::net::Shutdown::Write).unwrap_or_default();
    }
}

async fn give_orders(control: OwnedWriteHalf, mut orders: mpsc::UnboundedReceiver<Order>) {
    while let Some(order) = orders.recv().await {
        if let Err(error) = give(control.as_ref(), &order).await {
            tracing::debug!(%error, "the shim takes no message");
            return;
        }
    }
}

async fn give(control: &Stream, order: &Order) -> io::Result<()> {
    let (bytes, passed) = (&order.line, order.passed.iter().map(OwnedFd::as_fd).collect::<Vec<_>>());
    let mut sent = 0;
    while sent < bytes.len() {
        control.writable().await?;
        let with: &[_] = if sent == 0 { &passed } else { &[] };
        match control.try_io(Interest::WRITABLE, || process::send_with(control, &bytes[sent..], with)) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads what the shim says until it says how the CLI ended, then collects the shim itself.
pub(super) async fn wait_for_exit(
    shim: Option<Child>,
    from: FromBelow,
    secret: String,
    limits: RunLimits,
    to: oneshot::Sender<Exit>,
) {
    let FromBelow { control, acks } = from;
    let mut exit = Exit::LOST;
    let mut lines = tokio::io::BufReader::new(control).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match serde_json::from_str::<Signed>(&line) {
            Ok(signed) if signed.secret != secret => tracing::error!("a message in the name of a shim was not its own"),
            Ok(Signed { says: FromShim::Started { isolation, held }, .. }) => {
                tracing::debug!(?isolation, held = ?held.unwrap_or(Held::default()), "the CLI runs");
            }
            Ok(Signed { says: FromShim::StartFailed { message, is_transient, is_of_the_task }, .. }) => {
                let start_error = Some(message);
                exit = Exit { start_error, is_of_the_task, gone: true, is_transient, ..Exit::LOST };
            }
            // Each is asked for once.
            Ok(Signed { says: FromShim::Holds, .. }) => acks.try_send(Ack::Holds).unwrap_or_default(),
            Ok(Signed { says: FromShim::LetGo, .. }) => acks.try_send(Ack::LetGo).unwrap_or_default(),
            Ok(Signed { says: FromShim::Offer { .. }, .. }) => tracing::warn!("a shim offers what this worker has"),
            Ok(Signed { says: FromShim::Exited { code, signal, gone, limit }, .. }) => {
                exit = Exit { code, signal, gone, limit, ..Exit::LOST };
            }
            Err(error) => {
                tracing::warn!(error = crate::telemetry::chain(&error), "the shim said something that can't be read");
            }
        }
    }
    // That of another worker is not our child.
    if let Some(mut shim) = shim {
        match shim.wait().await {
            Ok(status) if exit == Exit::LOST && status.code() == Some(process::NO_PROCESS) => {
                let message = "no process could be made".to_owned();
                exit = Exit { start_error: Some(message), gone: true, is_transient: true, ..Exit::LOST };
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(error = crate::telemetry::chain(&error), "could not collect the shim"),
        }
    }
    exit.limit = exit.limit.or(limits.hit());
    // Nobody waits any more where the run was dropped.
    to.send(exit).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};

    use super::*;

    #[actix::test]
    async fn an_order_that_is_too_long_for_the_socket_arrives_whole() {
        for bytes in [0, 8 << 20] {
            let (ours, theirs) = UnixStream::pair().expect("a socket");
            ours.set_nonblocking(true).expect("an option");
            let message = ToShim::Hold { state: "é".repeat(bytes / 2), parts: Vec::new() };
            let whole = serde_json::to_vec(&message).expect("a text");
            let reader = std::thread::spawn(move || {
                let mut line = Vec::new();
                BufReader::new(theirs).read_until(b'\n', &mut line).map(|_| line)
            });
            let (way, _from_below) = Way::over(ours).expect("a way");
            way.begin(Order::of(&message).expect("an order")).expect("sent");
            let read = process::blocking(std::time::Duration::from_secs(20), || reader.join().expect("a thread"));
            let mut read = read.await.expect("an end").expect("a line");
            assert_eq!(read.pop(), Some(b'\n'));
            assert!(read == whole, "{} bytes of {}", read.len(), whole.len());
        }
    }
}
