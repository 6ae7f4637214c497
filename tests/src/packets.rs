//! Real packets: echo requests, and services that tell who answered and whom they saw.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::Place;
use crate::patience::{PATIENCE, within};

/// How long to wait where no answer is expected.
const IMPATIENCE: Duration = Duration::from_millis(700);

/// What a [`Service`] answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The name of the place where the service runs.
    pub from: String,
    /// The address that the service saw as its peer: tells whether the sender was masqueraded.
    pub saw: IpAddr,
}

/// A service on a port of a place; it ends when it is dropped.
#[derive(Debug)]
pub struct Service {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A service that failed has failed its client already.
            let _ = thread.join();
        }
    }
}

impl Service {
    fn start(mut serve: impl FnMut() -> io::Result<()> + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                match serve() {
                    Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                    Err(e) if e.kind() == io::ErrorKind::ConnectionReset => {}
                    outcome => outcome.expect("service"),
                }
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Place {
    /// Answers on a TCP port of all addresses, both families.
    ///
    /// # Panics
    /// If the port is taken.
    #[must_use]
    pub fn serve_tcp(&self, port: u16) -> Service {
        let listener = self.bind(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)));
        let name = self.name.clone();
        // poll(2) with a limit, so that the thread sees when it is to stop.
        Service::start(move || {
            wait_readable(&listener)?;
            let (mut stream, peer) = listener.accept()?;
            // A client that is gone does not matter.
            let _ = stream.write_all(format!("{name} {}", peer.ip().to_canonical()).as_bytes());
            Ok(())
        })
    }

    /// Answers on a UDP port of all addresses, both families.
    ///
    /// # Panics
    /// If the port is taken.
    #[must_use]
    pub fn serve_udp(&self, port: u16) -> Service {
        let socket = self.bind(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)));
        let name = self.name.clone();
        Service::start(move || {
            wait_readable(&socket)?;
            let (_, peer) = socket.recv_from(&mut [0; 64])?;
            socket.send_to(format!("{name} {}", peer.ip().to_canonical()).as_bytes(), peer).map(|_| ())
        })
    }

    /// Binds a socket in the namespace. A port may still be taken by a closed socket of this very process: whoever is
    /// being started by another test holds a copy of it until its exec.
    fn bind<S: Send>(&self, bind: impl Fn() -> io::Result<S> + Sync) -> S {
        let mut outcome = Err(io::ErrorKind::AddrInUse.into());
        within(PATIENCE, || {
            outcome = self.run(&bind);
            !matches!(&outcome, Err(e) if e.kind() == io::ErrorKind::AddrInUse)
        });
        outcome.expect("bind")
    }

    /// Asks a TCP service at `address`.
    ///
    /// # Errors
    /// If nobody answers.
    pub fn fetch_tcp(&self, address: IpAddr, port: u16) -> io::Result<Answer> {
        self.run(|| {
            let mut stream = TcpStream::connect_timeout(&SocketAddr::new(address, port), PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            answer(&text)
        })
    }

    /// Asks a UDP service at `address`; asks again when a packet is lost.
    ///
    /// # Errors
    /// If nobody answers.
    pub fn fetch_udp(&self, address: IpAddr, port: u16) -> io::Result<Answer> {
        self.run(|| {
            let any: IpAddr = if address.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
            let socket = UdpSocket::bind((any, 0))?;
            socket.connect((address, port))?;
            socket.set_read_timeout(Some(IMPATIENCE))?;
            let mut last = io::Error::from(io::ErrorKind::TimedOut);
            for _ in 0..4 {
                let mut buffer = [0; 128];
                match socket.send(b"who?").and_then(|_| socket.recv(&mut buffer)) {
                    Ok(length) => return answer(&String::from_utf8_lossy(&buffer[..length])),
                    Err(e) => last = e,
                }
            }
            Err(last)
        })
    }

    /// Whether a TCP connection to `address` is refused or ignored, waiting only briefly.
    #[must_use]
    pub fn is_closed_tcp(&self, address: IpAddr, port: u16) -> bool {
        self.run(|| TcpStream::connect_timeout(&SocketAddr::new(address, port), IMPATIENCE)).is_err()
    }

    /// Whether `address` answers echo requests: one answer of up to three requests.
    #[must_use]
    pub fn ping(&self, address: IpAddr) -> bool {
        (0..3).any(|_| self.try_sh(&format!("ping -n -q -c 1 -W 3 {address}")).is_ok())
    }

    /// Whether an echo request to `address` stays without an answer, waiting only briefly.
    #[must_use]
    pub fn is_unreachable(&self, address: IpAddr) -> bool {
        self.try_sh(&format!("ping -n -q -c 1 -W 1 {address}")).is_err()
    }
}

fn wait_readable(socket: &impl std::os::fd::AsFd) -> io::Result<()> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut sockets = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    match poll(&mut sockets, PollTimeout::from(50u8))? {
        0 => Err(io::ErrorKind::TimedOut.into()),
        _ => Ok(()),
    }
}

fn answer(text: &str) -> io::Result<Answer> {
    let (from, saw) = text.split_once(' ').ok_or_else(|| io::Error::other(format!("unexpected answer {text:?}")))?;
    let saw = saw.parse().map_err(io::Error::other)?;
    Ok(Answer { from: from.to_owned(), saw })
}
