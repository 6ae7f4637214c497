//! A DHCP server that does as it is told: leases of seconds, refusals, silence. Written against RFC 2131 alone, byte by
//! byte, so that it shares no mistake with the client.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::Bed;

const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACK: u8 = 5;
const NAK: u8 = 6;
const RELEASE: u8 = 7;
const COOKIE: [u8; 4] = [99, 130, 83, 99];

/// What a client said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) kind: u8,
    /// Who sent the packet.
    pub(crate) from: Ipv4Addr,
    pub(crate) ciaddr: Ipv4Addr,
    pub(crate) wants_broadcast: bool,
    mac: [u8; 6],
    xid: [u8; 4],
    options: HashMap<u8, Vec<u8>>,
}

impl Said {
    fn read(packet: &[u8], from: SocketAddr) -> Option<Self> {
        if packet.len() < 244 || packet[0] != 1 || packet[236..240] != COOKIE {
            return None;
        }
        let mut options = HashMap::new();
        let mut rest = &packet[240..];
        while let [code, tail @ ..] = rest {
            match code {
                0 => rest = tail,
                255 => break,
                _ => {
                    let length = usize::from(tail[0]);
                    options.insert(*code, tail[1..=length].to_vec());
                    rest = &tail[1 + length..];
                }
            }
        }
        let SocketAddr::V4(from) = from else { return None };
        Some(Self {
            kind: options[&53][0],
            from: *from.ip(),
            ciaddr: <[u8; 4]>::try_from(&packet[12..16]).unwrap().into(),
            wants_broadcast: packet[10] & 0x80 != 0,
            mac: packet[28..34].try_into().unwrap(),
            xid: packet[4..8].try_into().unwrap(),
            options,
        })
    }

    /// The bytes of an option.
    pub(crate) fn option(&self, code: u8) -> Option<&[u8]> {
        self.options.get(&code).map(Vec::as_slice)
    }

    fn requested(&self) -> Ipv4Addr {
        let bytes = self.option(50).map(|bytes| <[u8; 4]>::try_from(bytes).unwrap());
        bytes.map_or(self.ciaddr, Ipv4Addr::from)
    }
}

/// What the server does.
#[derive(Default)]
struct Orders {
    lease: AtomicU32,
    silent: AtomicBool,
    refuse: AtomicBool,
    noisy: AtomicBool,
    /// How many addresses further the next new client is.
    given: AtomicU32,
    stop: AtomicBool,
    said: Mutex<Vec<Said>>,
    addresses: Mutex<HashMap<Vec<u8>, Ipv4Addr>>,
}

/// The server; it ends when it is dropped.
pub(crate) struct Server {
    orders: Arc<Orders>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// On the server's machine of `bed`, with leases of `lease` seconds: 10.7.0.100, .101, …
    pub(crate) fn start(bed: &Bed, lease: u32) -> Self {
        let orders = Arc::new(Orders { lease: lease.into(), ..Orders::default() });
        let socket = bed.server.run(|| UdpSocket::bind("0.0.0.0:67")).expect("port 67");
        socket.set_broadcast(true).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let serving = Arc::clone(&orders);
        let thread = std::thread::spawn(move || {
            let mut packet = [0; 1500];
            while !serving.stop.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut packet) else { continue };
                let Some(said) = Said::read(&packet[..length], from) else { continue };
                if let Some((reply, to)) = serving.answer(&said) {
                    for noise in serving.noise(&reply) {
                        socket.send_to(&noise, (to, 68)).expect("noise");
                    }
                    socket.send_to(&reply, (to, 68)).expect("reply");
                }
            }
        });
        Self { orders, thread: Some(thread) }
    }

    /// From now on it answers nothing, or answers again.
    pub(crate) fn set_silent(&self, silent: bool) {
        self.orders.silent.store(silent, Ordering::Relaxed);
    }

    /// From now on it refuses requests, or grants them again.
    pub(crate) fn set_refusing(&self, refuse: bool) {
        self.orders.refuse.store(refuse, Ordering::Relaxed);
    }

    /// From now on each answer comes after many that are damaged.
    pub(crate) fn set_noisy(&self) {
        self.orders.noisy.store(true, Ordering::Relaxed);
    }

    /// Forgets its clients: each gets a new address.
    pub(crate) fn forget(&self) {
        self.orders.addresses.lock().unwrap().clear();
    }

    /// All that clients said.
    pub(crate) fn said(&self) -> Vec<Said> {
        self.orders.said.lock().unwrap().clone()
    }

    /// The messages of one kind: 1 DISCOVER, 3 REQUEST, 7 RELEASE.
    pub(crate) fn said_of_kind(&self, kind: u8) -> Vec<Said> {
        self.said().into_iter().filter(|said| said.kind == kind).collect()
    }

    /// The messages RELEASE.
    pub(crate) fn releases(&self) -> Vec<Said> {
        self.said_of_kind(RELEASE)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.orders.stop.store(true, Ordering::Relaxed);
        let outcome = self.thread.take().map(JoinHandle::join);
        assert!(matches!(outcome, Some(Ok(()))) || std::thread::panicking(), "the server failed");
    }
}

impl Orders {
    fn answer(&self, said: &Said) -> Option<(Vec<u8>, Ipv4Addr)> {
        self.said.lock().unwrap().push(said.clone());
        if self.silent.load(Ordering::Relaxed) {
            return None;
        }
        let address = self.address(said);
        // RFC 2131, section 4.1: to ciaddr if there is one, else to all; refusals to all.
        let to = if said.ciaddr.is_unspecified() { Ipv4Addr::BROADCAST } else { said.ciaddr };
        match said.kind {
            DISCOVER => Some((self.reply(said, OFFER, address), to)),
            REQUEST if self.refuse.load(Ordering::Relaxed) || said.requested() != address => {
                Some((self.reply(said, NAK, Ipv4Addr::UNSPECIFIED), Ipv4Addr::BROADCAST))
            }
            REQUEST => Some((self.reply(said, ACK, address), to)),
            _ => None,
        }
    }

    /// What resembles `reply` and is none: cut off, without its cookie, for others, with options that reach too far.
    fn noise(&self, reply: &[u8]) -> Vec<Vec<u8>> {
        if !self.noisy.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let mut noise: Vec<Vec<u8>> = (0..240).step_by(7).map(|length| reply[..length].to_vec()).collect();
        for (at, byte) in
            [(0, 1), (2, 16), (4, !reply[4]), (28, !reply[28]), (236, 0), (241, 255), (244, 0), (244, 255)]
        {
            let mut damaged = reply.to_vec();
            damaged[at] = byte;
            noise.push(damaged);
        }
        noise
    }

    fn address(&self, said: &Said) -> Ipv4Addr {
        let id = said.option(61).expect("a client identifier").to_vec();
        let next = || Ipv4Addr::new(10, 7, 0, 100 + u8::try_from(self.given.fetch_add(1, Ordering::Relaxed)).unwrap());
        *self.addresses.lock().unwrap().entry(id).or_insert_with(next)
    }

    fn reply(&self, said: &Said, kind: u8, address: Ipv4Addr) -> Vec<u8> {
        let mut packet = vec![0; 240];
        packet[..4].copy_from_slice(&[2, 1, 6, 0]);
        packet[4..8].copy_from_slice(&said.xid);
        packet[16..20].copy_from_slice(&address.octets());
        packet[28..34].copy_from_slice(&said.mac);
        packet[236..240].copy_from_slice(&COOKIE);
        packet.extend([53, 1, kind, 54, 4, 10, 7, 0, 1]);
        if kind != NAK {
            packet.extend([51, 4]);
            packet.extend(self.lease.load(Ordering::Relaxed).to_be_bytes());
            packet.extend([1, 4, 255, 255, 255, 0, 3, 4, 10, 7, 0, 1]);
        }
        packet.push(255);
        packet
    }
}
