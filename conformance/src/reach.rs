//! Real packets: echo requests, and services that tell who answered and whom they saw. By sockets alone, so that no
//! program is needed.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use libcni::netns::Netns;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, recv, sendto, socket,
};

/// How long an answer may take, on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long to wait where no answer is expected.
const IMPATIENCE: Duration = Duration::from_millis(700);

/// How often a packet is sent that may be lost while neighbours are found, and how long an answer to the first may take; to each
/// further one twice as long: on a busy machine all 25 s.
const ATTEMPTS: u16 = 7;
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// What a [`Service`] answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The name of the place where the service runs.
    pub from: String,
    /// The address that the service saw as its client's.
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
    /// Answers on a port of all addresses of the namespace, both families, with `name` and the client's address.
    ///
    /// # Errors
    /// If the port is taken.
    pub fn start(netns: &Netns, name: &str, port: u16, udp: bool) -> io::Result<Self> {
        let address = (Ipv6Addr::UNSPECIFIED, port);
        let name = name.to_owned();
        if udp {
            let socket = bind(netns, || UdpSocket::bind(address))?;
            return Ok(Self::of(move || {
                wait_readable(&socket, Duration::from_millis(50))?;
                let (_, peer) = socket.recv_from(&mut [0; 64])?;
                socket.send_to(format!("{name} {}", peer.ip().to_canonical()).as_bytes(), peer).map(drop)
            }));
        }
        let listener = bind(netns, || TcpListener::bind(address))?;
        Ok(Self::of(move || {
            wait_readable(&listener, Duration::from_millis(50))?;
            let (mut stream, peer) = listener.accept()?;
            stream.write_all(format!("{name} {}", peer.ip().to_canonical()).as_bytes())
        }))
    }

    fn of(mut serve: impl FnMut() -> io::Result<()> + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                // A client that is gone does not matter, and one that was not served says so.
                let _ = serve();
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

/// Binds a socket in the namespace. A port may still be taken by a closed socket of this very process: whoever is being
/// started by another thread holds a copy of it until its exec.
fn bind<S: Send>(netns: &Netns, bind: impl Fn() -> io::Result<S> + Sync) -> io::Result<S> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match within(netns, &bind) {
            Err(e) if e.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            outcome => return outcome,
        }
    }
}

/// Asks a TCP service at `address`.
///
/// # Errors
/// If nobody answers.
pub fn fetch_tcp(netns: &Netns, address: IpAddr, port: u16) -> io::Result<Answer> {
    within(netns, || {
        let mut stream = connect(SocketAddr::new(address, port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        answer(&text)
    })
}

/// Connects; again where a neighbour was not found, as one that is only just there.
fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match TcpStream::connect_timeout(&to, PATIENCE) {
            Err(e) if e.kind() == io::ErrorKind::HostUnreachable && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(100));
            }
            outcome => return outcome,
        }
    }
}

/// Asks a UDP service at `address`; asks again when a packet is lost.
///
/// # Errors
/// If nobody answers.
pub fn fetch_udp(netns: &Netns, address: IpAddr, port: u16) -> io::Result<Answer> {
    within(netns, || {
        let any: IpAddr = if address.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect((address, port))?;
        let mut last = io::Error::from(io::ErrorKind::TimedOut);
        for attempt in 0..ATTEMPTS {
            socket.set_read_timeout(Some(FIRST_WAIT * 2_u32.pow(attempt.into())))?;
            let mut buffer = [0; 128];
            match socket.send(b"who?").and_then(|_| socket.recv(&mut buffer)) {
                Ok(length) => return answer(&String::from_utf8_lossy(buffer.get(..length).unwrap_or_default())),
                Err(e) => last = e,
            }
        }
        Err(last)
    })
}

/// Whether a TCP connection to `address` is refused or ignored, waiting only briefly.
///
/// # Errors
/// If the namespace cannot be entered.
pub fn is_closed_tcp(netns: &Netns, address: IpAddr, port: u16) -> io::Result<bool> {
    within(netns, || Ok(TcpStream::connect_timeout(&SocketAddr::new(address, port), IMPATIENCE).is_err()))
}

/// Whether `address` answers one of several echo requests; where that `is_wanted` it is asked more patiently.
///
/// # Errors
/// If no echo request can be made.
pub fn ping(netns: &Netns, address: IpAddr, is_wanted: bool) -> io::Result<bool> {
    let (family, protocol) = match address {
        IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp),
        IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6),
    };
    let socket = within(netns, || Ok(socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?))?;
    let (attempts, mut wait) = if is_wanted { (ATTEMPTS, FIRST_WAIT) } else { (1, IMPATIENCE) };
    for sequence in 1..=attempts {
        match send_echo_request(&socket, address, sequence) {
            Ok(()) if is_answered(&socket, address, sequence, wait)? => return Ok(true),
            Ok(()) => {}
            // No route: there may be one later.
            Err(_) if sequence < attempts => std::thread::sleep(Duration::from_millis(100)),
            Err(_) => {}
        }
        wait *= 2;
    }
    Ok(false)
}

/// `ICMP_ECHO`, `ICMPV6_ECHO_REQUEST`, and their replies.
const ECHO: (u8, u8) = (8, 0);
const ECHO6: (u8, u8) = (128, 129);
/// What tells ours from another's, besides the sequence number.
const IDENTIFIER: u16 = 0xc21;

fn send_echo_request(socket: &OwnedFd, address: IpAddr, sequence: u16) -> io::Result<()> {
    let kind = if address.is_ipv4() { ECHO.0 } else { ECHO6.0 };
    let ([id1, id2], [s1, s2]) = (IDENTIFIER.to_be_bytes(), sequence.to_be_bytes());
    // The checksum of one's complement over three words; the kernel fills in ICMPv6's itself.
    let sum = u32::from(u16::from_be_bytes([kind, 0])) + u32::from(IDENTIFIER) + u32::from(sequence);
    let folded = u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap_or(u16::MAX);
    let [c1, c2] = if address.is_ipv4() { (!folded).to_be_bytes() } else { [0, 0] };
    let packet = [kind, 0, c1, c2, id1, id2, s1, s2];
    let sent = match address {
        IpAddr::V4(ip) => sendto(
            socket.as_raw_fd(),
            &packet,
            &SockaddrIn::from(std::net::SocketAddrV4::new(ip, 0)),
            MsgFlags::empty(),
        ),
        IpAddr::V6(ip) => {
            let to = SockaddrIn6::from(std::net::SocketAddrV6::new(ip, 0, 0, 0));
            sendto(socket.as_raw_fd(), &packet, &to, MsgFlags::empty())
        }
    };
    sent.map(drop).map_err(Into::into)
}

fn is_answered(socket: &OwnedFd, address: IpAddr, sequence: u16, wait: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + wait;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || wait_readable(socket, left).is_err() {
            return Ok(false);
        }
        let mut buffer = [0; 256];
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        let packet = buffer.get(..length).unwrap_or_default();
        // IPv4 gives the header, too: its length is in the low four bits of the first byte, in words.
        let header = match (address, packet.first()) {
            (IpAddr::V4(_), Some(first)) => usize::from(first & 0xf) * 4,
            _ => 0,
        };
        let reply = if address.is_ipv4() { ECHO.1 } else { ECHO6.1 };
        let ([id1, id2], [s1, s2]) = (IDENTIFIER.to_be_bytes(), sequence.to_be_bytes());
        if let Some(&[kind, 0, _, _, i1, i2, r1, r2]) = packet.get(header..).and_then(|rest| rest.first_chunk())
            && kind == reply
            && [i1, i2, r1, r2] == [id1, id2, s1, s2]
        {
            return Ok(true);
        }
    }
}

/// Runs `work` on a thread in the namespace.
fn within<T: Send>(netns: &Netns, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    netns.run(work).map_err(io::Error::other)?
}

/// Waits with a limit, so that a service sees when it is to stop.
fn wait_readable(socket: &impl AsFd, limit: Duration) -> io::Result<()> {
    let mut sockets = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
    match poll(&mut sockets, limit)? {
        0 => Err(io::ErrorKind::TimedOut.into()),
        _ => Ok(()),
    }
}

fn answer(text: &str) -> io::Result<Answer> {
    let (from, saw) = text.split_once(' ').ok_or_else(|| io::Error::other(format!("unexpected answer {text:?}")))?;
    let saw = saw.parse().map_err(io::Error::other)?;
    Ok(Answer { from: from.to_owned(), saw })
}
