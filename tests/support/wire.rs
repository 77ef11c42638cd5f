//! A wire between a program and a server, which can be cut, frozen, or cut at the very moment of a commit.

#![expect(clippy::disallowed_methods, reason = "a frozen wire waits")]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The message of a commit, as the engine sends it: a simple query.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";

/// See the [module](self).
pub struct Wire {
    /// Port on 127.0.0.1.
    pub port: u16,
    inner: Arc<Inner>,
}

struct Inner {
    to: Mutex<SocketAddr>,
    open: Mutex<Vec<TcpStream>>,
    is_frozen: AtomicBool,
    /// True while nobody is connected.
    is_shut: AtomicBool,
    /// True if the next cut shuts it.
    shuts: AtomicBool,
    /// Commits that pass before one is cut; negative: none is.
    commits: AtomicI64,
    /// True if the commit that is cut still reaches the server.
    is_late: AtomicBool,
    cuts: AtomicI64,
}

impl Wire {
    /// A wire to this port.
    pub fn to(port: u16) -> Self {
        Self::over(port, TcpStream::connect)
    }

    /// A wire to this port, by connections that are made so.
    pub fn over(port: u16, connect: impl Fn(SocketAddr) -> std::io::Result<TcpStream> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let own = listener.local_addr().expect("an address").port();
        let inner = Arc::new(Inner {
            to: Mutex::new(([127, 0, 0, 1], port).into()),
            open: Mutex::default(),
            is_frozen: AtomicBool::new(false),
            is_shut: AtomicBool::new(false),
            shuts: AtomicBool::new(false),
            commits: AtomicI64::new(-1),
            is_late: AtomicBool::new(false),
            cuts: AtomicI64::new(0),
        });
        let shared = Arc::clone(&inner);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if shared.is_shut.load(Ordering::Relaxed) {
                    continue;
                }
                let to = *shared.to.lock().expect("an address");
                let Ok(server) = connect(to) else { continue };
                for socket in [&client, &server] {
                    socket.set_nodelay(true).ok();
                    shared.open.lock().expect("sockets").extend(socket.try_clone());
                }
                let back = (server.try_clone().expect("a socket"), client.try_clone().expect("a socket"));
                let (there, here) = (Arc::clone(&shared), Arc::clone(&shared));
                std::thread::spawn(move || there.carry(client, server, true));
                std::thread::spawn(move || here.carry(back.0, back.1, false));
            }
        });
        Self { port: own, inner }
    }

    /// Cuts all connections.
    pub fn cut(&self) {
        for socket in self.inner.open.lock().expect("sockets").drain(..) {
            socket.shutdown(Shutdown::Both).ok();
        }
    }

    /// Carries nothing more, and says nothing of it.
    pub fn freeze(&self, is_frozen: bool) {
        self.inner.is_frozen.store(is_frozen, Ordering::Relaxed);
    }

    /// Cuts the connection of the commit after this many: before it reaches the server, or, with `late`, before the
    /// answer comes back.
    pub fn cut_at_commit(&self, after: i64, late: bool) {
        self.inner.is_late.store(late, Ordering::Relaxed);
        self.inner.commits.store(after, Ordering::Relaxed);
    }

    /// Cuts the connection of the next commit before it reaches the server, and connects nobody until it is opened.
    pub fn shut_at_commit(&self) {
        self.inner.shuts.store(true, Ordering::Relaxed);
        self.cut_at_commit(0, false);
    }

    /// Connects again.
    pub fn open(&self) {
        self.inner.is_shut.store(false, Ordering::Relaxed);
    }

    /// Number of commits that were cut.
    pub fn cuts(&self) -> i64 {
        self.inner.cuts.load(Ordering::Relaxed)
    }
}

impl Inner {
    fn carry(&self, mut from: TcpStream, mut to: TcpStream, is_there: bool) {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            while self.is_frozen.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(10));
            }
            let bytes = &buffer[..read];
            let commits = is_there && bytes.windows(COMMIT.len()).any(|window| window == COMMIT);
            let is_cut = commits && self.commits.fetch_sub(1, Ordering::Relaxed) == 0;
            if is_cut {
                if self.shuts.swap(false, Ordering::Relaxed) {
                    self.is_shut.store(true, Ordering::Relaxed);
                }
                self.cuts.fetch_add(1, Ordering::Relaxed);
                // Nothing of the answer comes back.
                from.shutdown(Shutdown::Both).ok();
                if self.is_late.load(Ordering::Relaxed) {
                    to.write_all(bytes).ok();
                }
                to.shutdown(Shutdown::Write).ok();
                return;
            }
            // A server whose answers nobody takes would end its transaction before the commit that has reached it.
            if to.write_all(bytes).is_err() && is_there {
                break;
            }
        }
        from.shutdown(Shutdown::Both).ok();
        to.shutdown(Shutdown::Both).ok();
    }
}
