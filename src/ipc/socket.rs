//! Sockets, and frames on them.

use std::io::{self, ErrorKind};
use std::marker::PhantomData;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use interprocess::local_socket::tokio::prelude::*;
use interprocess::local_socket::{GenericFilePath, ListenerOptions};
use interprocess::os::unix::local_socket::ListenerOptionsExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use tokio_util::codec::{Decoder as _, FramedRead, FramedWrite, LengthDelimitedCodec};

/// Maximum length of a frame in bytes; a peer that announces more is cut off.
const MAX_FRAME_BYTES: usize = 1 << 20;
/// The kernel takes 107 bytes for the name of a socket.
const MAX_PATH_BYTES: usize = 100;

/// Returns the path of this data folder's socket: inside it, or, where that path is too long for a socket, in the
/// folder for temporary files, under a name that the data folder decides.
#[must_use]
pub fn socket_path(data_dir: &Path) -> PathBuf {
    let inside = data_dir.join("run").join("link.sock");
    if inside.as_os_str().len() <= MAX_PATH_BYTES {
        return inside;
    }
    let digest = Sha256::digest(data_dir.as_os_str().as_encoded_bytes());
    let name = hex::encode(&digest[..8]);
    PathBuf::from(format!("/tmp/cc-anywhere-{}-{name}", crate::process::effective_uid())).join("link.sock")
}

/// A socket that listens. Its file goes with it, and so does the right to the data folder.
pub struct Listening {
    listener: LocalSocketListener,
    /// Lock that is held while we listen: a second supervisor of the same folder is refused.
    _lock: std::fs::File,
}

/// Listens on this path: folder 0700, socket 0600 from the first moment on.
///
/// # Errors
/// `AddrInUse` where another process listens there; the system's otherwise.
pub fn listen(path: &Path) -> io::Result<Listening> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    crate::process::make_own_folder(folder)?;
    let mut private = std::fs::File::options();
    let lock = private.create(true).write(true).truncate(false).mode(0o600).open(folder.join("link.lock"))?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| io::Error::new(ErrorKind::AddrInUse, "another server manages the workers of this data folder"))?;
    // We hold the lock, so a socket that is there was left by a process that is gone.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let name = path.to_owned().to_fs_name::<GenericFilePath>()?;
    let listener = ListenerOptions::new().name(name).mode(0o600).create_tokio()?;
    Ok(Listening { listener, _lock: lock })
}

impl Listening {
    /// The next peer of our own uid, with its process as the kernel knows it; others are turned away.
    ///
    /// # Errors
    /// The system's.
    pub async fn accept<In: DeserializeOwned, Out: Serialize>(
        &self,
    ) -> io::Result<(Option<u32>, Incoming<In>, Outgoing<Out>)> {
        loop {
            let stream = self.listener.accept().await?;
            let peer = stream.peer_creds()?;
            if peer.euid() == Some(crate::process::effective_uid()) {
                let pid = peer.pid().and_then(|pid| u32::try_from(pid).ok());
                let (incoming, outgoing) = framed(stream);
                return Ok((pid, incoming, outgoing));
            }
            tracing::warn!(uid = peer.euid(), "turned away a peer of another user");
        }
    }
}

/// Connects to a supervisor's socket.
///
/// # Errors
/// The system's: nobody listens there.
pub async fn connect<In: DeserializeOwned, Out: Serialize>(path: &Path) -> io::Result<(Incoming<In>, Outgoing<Out>)> {
    let name = path.to_owned().to_fs_name::<GenericFilePath>()?;
    LocalSocketStream::connect(name).await.map(framed)
}

fn framed<In, Out>(stream: LocalSocketStream) -> (Incoming<In>, Outgoing<Out>) {
    let stream = Arc::new(stream);
    let incoming = FramedRead::new(SharedStream(Arc::clone(&stream)), codec());
    let outgoing = FramedWrite::new(SharedStream(stream), codec());
    (Incoming { frames: incoming, kind: PhantomData }, Outgoing { frames: outgoing, kind: PhantomData })
}

fn codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder().max_frame_length(MAX_FRAME_BYTES).new_codec()
}

/// The frames of a stream that ends behind these bytes, up to the first that can't be read.
pub fn frames(bytes: &[u8]) -> impl Iterator<Item = Bytes> {
    let (mut codec, mut left) = (codec(), bytes::BytesMut::from(bytes));
    std::iter::from_fn(move || Some(codec.decode(&mut left).ok()??.freeze()))
}

/// One direction of a stream: `&Stream` reads and writes.
struct SharedStream(Arc<LocalSocketStream>);

impl tokio::io::AsyncRead for SharedStream {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut &*self.0).poll_read(cx, buffer)
    }
}

impl tokio::io::AsyncWrite for SharedStream {
    fn poll_write(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buffer: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        std::pin::Pin::new(&mut &*self.0).poll_write(cx, buffer)
    }

    fn poll_flush(self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut &*self.0).poll_flush(cx)
    }

    fn poll_shutdown(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut &*self.0).poll_shutdown(cx)
    }
}

/// Frames that come.
pub struct Incoming<In> {
    frames: FramedRead<SharedStream, LengthDelimitedCodec>,
    kind: PhantomData<In>,
}

impl<In: DeserializeOwned> Incoming<In> {
    /// The next frame; `None` when the peer is gone, or says what can't be read.
    pub async fn next(&mut self) -> Option<In> {
        let frame = self.frames.next().await?.ok()?;
        serde_json::from_slice(&frame).ok()
    }
}

/// Frames that go.
pub struct Outgoing<Out> {
    frames: FramedWrite<SharedStream, LengthDelimitedCodec>,
    kind: PhantomData<Out>,
}

impl<Out: Serialize> Outgoing<Out> {
    /// Sends a frame.
    ///
    /// # Errors
    /// The peer is gone.
    pub async fn send(&mut self, frame: &Out) -> io::Result<()> {
        let bytes = Bytes::from(serde_json::to_vec(frame)?);
        self.frames.send(bytes).await
    }
}
