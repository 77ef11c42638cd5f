//! Machines: threads with a network of their own, in which nothing is but what is led there.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::mpsc::{Sender, channel};

use super::wire::Wire;

type Dial = (SocketAddr, Sender<io::Result<TcpStream>>);

/// The network of a machine.
pub struct Network {
    dials: Sender<Dial>,
    /// True if it is one of its own; that needs root.
    pub is_own: bool,
}

impl Network {
    /// A wire from a port of this machine to a port of the tests.
    pub fn lead(&self, port: u16) -> Wire {
        let dials = self.dials.clone();
        Wire::over(port, move |to| {
            let (answer, answered) = channel();
            dials.send((to, answer)).map_err(io::Error::other)?;
            answered.recv().map_err(io::Error::other)?
        })
    }
}

/// Works on another machine: processes and sockets of this thread, and of those that it starts, are in a network of their own.
pub fn on_machine<T: Send>(work: impl FnOnce(&Network) -> T + Send) -> T {
    let (dials, asked) = channel::<Dial>();
    // Of the network of the tests.
    std::thread::spawn(move || {
        for (to, answer) in asked {
            answer.send(TcpStream::connect(to)).ok();
        }
    });
    std::thread::scope(|scope| {
        let there = scope.spawn(move || {
            #[expect(unsafe_code, reason = "only the network of this thread is changed")]
            let own = unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) };
            if own.is_ok() {
                let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip, of iproute2");
                assert!(up.success());
            }
            work(&Network { dials, is_own: own.is_ok() })
        });
        there.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
