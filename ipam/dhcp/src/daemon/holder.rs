//! One attachment's client: its place, its state, and the socket that the state needs.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use libcni::error::causes;
use libcni::types::MacAddr;
use linuxnet::udp::PacketSocket;

use super::place::{Place, PlaceError, Presence};
use super::server::Settings;
use super::{clock, log};
use crate::lease::{Action, Client, Ending, Event, Grant, State, Way};
use crate::packet::{Message, MessageType, Options, SERVER_PORT, code};
use crate::record::{Owner, Record};

/// A client identifier has a type and at most this many bytes (RFC 2132, section 9.14).
const ID_BYTES: usize = 254;
/// The largest message that we ask servers for: what an Ethernet frame holds.
const MESSAGE_BYTES: u32 = 1500;
/// The least that a client may ask for (RFC 2132, section 9.10).
const LEAST_MESSAGE_BYTES: u32 = 576;
/// Links that share their hardware address with others: an answer to the address alone would not find them.
const SHARED_MAC: &str = "ipvlan";

/// What the server has to do for a holder.
#[derive(Debug)]
pub(super) enum Notice {
    /// Write the lease down, and answer who waits.
    Granted,
    /// There is no lease any more.
    Ended(Ending),
}

/// A socket for the state that the client is in.
#[derive(Debug)]
enum Transport {
    Packet(PacketSocket),
    Udp(UdpSocket),
}

/// An attachment with its client.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) owner: Owner,
    /// `CNI_NETNS`.
    pub(super) netns: PathBuf,
    place: Place,
    client: Client,
    state: State,
    transport: Option<Transport>,
}

impl Holder {
    /// A client that asks for an address.
    ///
    /// # Errors
    /// If the interface is not there, or cannot be set up.
    pub(super) fn start(
        owner: Owner,
        netns: PathBuf,
        provided: &Options,
        settings: &Settings,
    ) -> Result<(Self, Vec<Notice>), PlaceError> {
        let place = Place::open(&settings.on_host(&netns), owner.attachment.ifname.as_str())?;
        place.set_up()?;
        let options = options(&owner, provided, place.link.mtu);
        let client = client(place.mac, options, place.link.kind == SHARED_MAC, settings);
        let begun = client.start(clock::moment());
        let nowhere = State::Ended(Ending::Released);
        let mut holder = Self { owner, netns, place, client, state: nowhere, transport: None };
        let notices = holder.go_on(begun);
        Ok((holder, notices))
    }

    /// A client with a lease of an earlier daemon, if its interface is still there.
    ///
    /// # Errors
    /// If it is not.
    pub(super) fn resume(
        record: &Record,
        grant: Grant,
        settings: &Settings,
    ) -> Result<(Self, Vec<Notice>), PlaceError> {
        let owner = record.owner.clone();
        let ifname = owner.attachment.ifname.as_str();
        let place = Place::open(&settings.on_host(&record.netns), ifname)?;
        if (place.link.index, place.mac) != (record.index, record.mac) {
            return Err(PlaceError::NoLink(ifname.to_owned()));
        }
        let client = client(place.mac, record.client_options(), place.link.kind == SHARED_MAC, settings);
        let begun = client.resume(grant, clock::moment());
        let nowhere = State::Ended(Ending::Released);
        let netns = record.netns.clone();
        let mut holder = Self { owner, netns, place, client, state: nowhere, transport: None };
        let notices = holder.go_on(begun);
        Ok((holder, notices))
    }

    /// The lease.
    pub(super) fn grant(&self) -> Option<&Grant> {
        self.state.grant()
    }

    /// Why there is no lease any more.
    pub(super) fn ending(&self) -> Option<&Ending> {
        match &self.state {
            State::Ended(ending) => Some(ending),
            _ => None,
        }
    }

    /// When [`Event::Timer`] is due.
    pub(super) fn deadline(&self) -> Option<crate::lease::Time> {
        self.state.deadline()
    }

    /// Whether the interface is still there.
    pub(super) fn presence(&self) -> Presence {
        self.place.presence()
    }

    /// Readable when a message came.
    pub(super) fn messages(&self) -> Option<BorrowedFd<'_>> {
        self.transport.as_ref().map(|transport| match transport {
            Transport::Packet(socket) => socket.as_fd(),
            Transport::Udp(socket) => socket.as_fd(),
        })
    }

    /// Readable when the namespace's links change.
    pub(super) fn events(&self) -> BorrowedFd<'_> {
        self.place.events()
    }

    /// The lease as it is kept.
    pub(super) fn record(&self) -> Option<Record> {
        let (owner, netns) = (self.owner.clone(), self.netns.clone());
        let grant = self.grant()?;
        Some(Record::new(owner, netns, self.place.link.index, &self.client.options, grant, self.place.mac))
    }

    /// The lease has ended: nobody may use its address.
    pub(super) fn set_down(&self) {
        if let Err(e) = self.place.set_down() {
            self.log(causes(Some(&e)));
        }
    }

    /// Something happened.
    pub(super) fn handle(&mut self, event: Event) -> Vec<Notice> {
        let state = std::mem::replace(&mut self.state, State::Ended(Ending::Released));
        let step = self.client.step(state, event, clock::moment());
        self.go_on(step)
    }

    /// Reads what came, until there is no more, or it changed what is waited for.
    pub(super) fn receive(&mut self) -> Vec<Notice> {
        while let Some(transport) = &self.transport {
            match next_message(transport) {
                Ok(Some((message, from))) => {
                    if message.kind == MessageType::Nak {
                        let why = message.options.text(code::MESSAGE).unwrap_or_default();
                        self.log(format_args!("a server refuses: {why}"));
                    }
                    let notices = self.handle(Event::Received(message, from));
                    if !notices.is_empty() {
                        return notices;
                    }
                }
                Ok(None) => break,
                Err(e) => {
                    // The interface went down or away; the timer, or the news of that, finds out.
                    self.log(e);
                    break;
                }
            }
        }
        Vec::new()
    }

    fn go_on(&mut self, (state, actions): (State, Vec<Action>)) -> Vec<Notice> {
        self.state = state;
        self.choose_transport();
        let mut notices = Vec::new();
        for action in actions {
            match (action, &self.state) {
                (Action::Send(message, way), _) => self.send(&message, way),
                (Action::Granted, _) => notices.push(Notice::Granted),
                (Action::Ended, State::Ended(ending)) => notices.push(Notice::Ended(ending.clone())),
                (Action::Ended, _) => {}
            }
        }
        notices
    }

    /// Opens the socket that the state needs, and closes that of another one.
    fn choose_transport(&mut self) {
        let wanted = match (&self.state, self.transport.take()) {
            (State::Bound { .. } | State::Ended(_), _) => return,
            (
                State::Selecting { .. } | State::Requesting { .. } | State::Rebooting { .. },
                Some(Transport::Packet(socket)),
            ) => Ok(Transport::Packet(socket)),
            (State::Selecting { .. } | State::Requesting { .. } | State::Rebooting { .. }, _) => self.packet(),
            (State::Renewing { .. } | State::Rebinding { .. }, Some(transport)) => Ok(transport),
            (State::Renewing { grant, .. } | State::Rebinding { grant, .. }, None) => {
                self.place.udp_socket(grant.address).map(Transport::Udp).or_else(|e| {
                    self.log(format_args!("by packet socket, since {}", causes(Some(&e))));
                    self.packet()
                })
            }
        };
        match wanted {
            Ok(transport) => self.transport = Some(transport),
            Err(e) => self.log(causes(Some(&e))),
        }
    }

    fn packet(&self) -> Result<Transport, PlaceError> {
        self.place.packet_socket().map(Transport::Packet)
    }

    /// Sends a message. One that cannot be sent is as good as lost: the timer sends it again.
    fn send(&self, message: &Message, way: Way) {
        let bytes = message.encode();
        let sent = match way {
            Way::Farewell(server, mac) => self.say_farewell(message.ciaddr, server, mac, &bytes),
            Way::Discovery | Way::AllServers => self.send_to(message.ciaddr, Ipv4Addr::BROADCAST, None, &bytes),
            Way::Server(server) => {
                let mac = self.grant().and_then(|grant| grant.server_mac);
                self.send_to(message.ciaddr, server, mac, &bytes)
            }
        };
        if let Err(e) = sent {
            self.log(format_args!("cannot send {:?}: {e}", message.kind));
        }
    }

    fn send_to(&self, from: Ipv4Addr, to: Ipv4Addr, mac: Option<MacAddr>, bytes: &[u8]) -> io::Result<()> {
        let to = SocketAddrV4::new(to, SERVER_PORT);
        match &self.transport {
            Some(Transport::Packet(socket)) => socket.send(from, to, mac, bytes).map_err(io::Error::other),
            Some(Transport::Udp(socket)) => socket.send_to(bytes, to).map(drop),
            None => Err(io::Error::other("there is no socket")),
        }
    }

    /// RELEASE goes through the container's interface, which may have lost its address; else from the host.
    fn say_farewell(&self, from: Ipv4Addr, server: Ipv4Addr, mac: Option<MacAddr>, bytes: &[u8]) -> io::Result<()> {
        let to = SocketAddrV4::new(server, SERVER_PORT);
        let sent = self.place.packet_socket().and_then(|socket| Ok(socket.send(from, to, mac, bytes)?));
        sent.or_else(|_gone| send_from_host(server, bytes))
    }

    /// A line about this attachment.
    pub(super) fn log(&self, line: impl std::fmt::Display) {
        log(format_args!("{}: {line}", self.owner));
    }
}

/// Releases a lease whose interface is gone: servers look at what the message says, not at where it comes from.
pub(super) fn release_from_host(record: &Record, grant: Grant, settings: &Settings) {
    let client = client(record.mac, record.client_options(), false, settings);
    let (_, actions) = client.step(State::Bound { grant }, Event::Release, clock::moment());
    for action in actions {
        if let Action::Send(message, Way::Farewell(server, _)) = action
            && let Err(e) = send_from_host(server, &message.encode())
        {
            log(format_args!("{}: cannot send a RELEASE: {e}", record.owner));
        }
    }
}

fn send_from_host(server: Ipv4Addr, bytes: &[u8]) -> io::Result<()> {
    UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?.send_to(bytes, (server, SERVER_PORT)).map(drop)
}

fn next_message(transport: &Transport) -> io::Result<Option<(Message, Option<MacAddr>)>> {
    loop {
        let (bytes, from) = match transport {
            Transport::Packet(socket) => match socket.receive().map_err(io::Error::other)? {
                Some(datagram) => (datagram.payload, datagram.source_mac),
                None => return Ok(None),
            },
            Transport::Udp(socket) => {
                let mut buffer = [0; 4096];
                match socket.recv(&mut buffer) {
                    Ok(length) => (buffer.get(..length).unwrap_or_default().to_vec(), None),
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                    Err(e) => return Err(e),
                }
            }
        };
        // Others talk on this port, too.
        if let Ok(message) = Message::decode(&bytes) {
            return Ok(Some((message, from)));
        }
    }
}

fn client(mac: MacAddr, options: Options, needs_broadcast: bool, settings: &Settings) -> Client {
    Client { mac, options, broadcast: settings.broadcast || needs_broadcast, timing: settings.timing }
}

/// What the client says of itself: its identifier is the reference's, so that servers with reservations know it.
fn options(owner: &Owner, provided: &Options, mtu: u32) -> Options {
    let id = format!("{}/{}/{}", owner.attachment.container_id, owner.network, owner.attachment.ifname);
    let id: Vec<u8> = std::iter::once(0).chain(id.bytes().take(ID_BYTES)).collect();
    let size = u16::try_from(mtu.clamp(LEAST_MESSAGE_BYTES, MESSAGE_BYTES)).unwrap_or_default();
    let mut options = Options::default();
    options.set(code::CLIENT_ID, id);
    options.set(code::MAX_MESSAGE_SIZE, size.to_be_bytes());
    provided.iter().for_each(|(code, value)| options.set(code, value));
    options
}
