//! The client's side of DHCP (RFC 2131, figure 5) as a function: a state, what happened, and the time give the next
//! state and what is to be done. Nothing here knows a socket or a clock.
//!
//! ```text
//!            start                 NAK, or no ACK in time
//!   Selecting ──OFFER──▶ Requesting ─────────▶ Selecting
//!                            │ ACK
//!   Rebooting ──ACK──▶     Bound ──T1──▶ Renewing ──T2──▶ Rebinding ──lease over──▶ Ended
//!                            ▲──────ACK─────┘──────ACK───────┘
//! ```
//! It differs from the RFC where a container does: its address is its identity, and nobody can give it another. So
//! after a NAK the client asks for the same address once more, and the lease ends if that is refused.

mod exchange;
mod grant;
mod messages;
#[cfg(test)]
mod tests;

use std::net::Ipv4Addr;
use std::time::Duration;

use libcni::types::MacAddr;

use crate::packet::{Message, MessageType, Options, code};

pub(crate) use exchange::{Exchange, Timing};
pub(crate) use grant::{Grant, Unusable};

/// Time since the machine was started, suspension included (`CLOCK_BOOTTIME`).
pub(crate) type Time = Duration;

/// Where a client's message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// To everybody on the link, from 0.0.0.0: there is no address yet.
    Discovery,
    /// To the server that gave the lease.
    Server(Ipv4Addr),
    /// To everybody on the link, from the address.
    AllServers,
    /// To the server, by its frame address if that is known: the interface may have lost its address already.
    Farewell(Ipv4Addr, Option<MacAddr>),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Send a message.
    Send(Message, Way),
    /// Write the lease down: it is new, or was prolonged.
    Granted,
    /// Stop: see [`State::Ended`].
    Ended,
}

/// What happened.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// The time that [`State::deadline`] said has come.
    Timer,
    /// A message came, in a frame from this address.
    Received(Message, Option<MacAddr>),
    /// The container does not need its address any more.
    Release,
}

/// Now, and a random number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) now: Time,
    pub(crate) dice: u32,
}

/// Why a client ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Ending {
    #[error("the lease was released")]
    Released,
    #[error("no DHCP server offered an address within {} s: no more tries", .0.as_secs())]
    NoAnswer(Duration),
    #[error("a DHCP server gave a lease that cannot be used")]
    Unusable(#[from] Unusable),
    #[error("the lease of {0} ended: no DHCP server prolonged it")]
    Expired(Ipv4Addr),
    #[error("the lease of {0} ended: a DHCP server refused to prolong it, and gave it no more")]
    Refused(Ipv4Addr),
}

/// What a client knows of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    /// Its hardware address.
    pub(crate) mac: MacAddr,
    /// What it says of itself in each message: its identifier, and what the configuration gives.
    pub(crate) options: Options,
    /// Servers are to broadcast their answers.
    pub(crate) broadcast: bool,
    pub(crate) timing: Timing,
}

/// Where a client stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// DISCOVER is out. `kept`: the lease that is to be had again.
    Selecting { exchange: Exchange, kept: Option<Grant> },
    /// An offer was chosen, REQUEST is out.
    Requesting { exchange: Exchange, offer: Offer, kept: Option<Grant> },
    /// REQUEST for an address of an earlier time is out.
    Rebooting { exchange: Exchange, grant: Grant },
    /// The address may be used, nothing is to be done before T1.
    Bound { grant: Grant },
    /// The server is asked to prolong the lease.
    Renewing { exchange: Exchange, grant: Grant },
    /// Any server is asked to.
    Rebinding { exchange: Exchange, grant: Grant },
    /// Nothing will be done any more.
    Ended(Ending),
}

/// An offer that was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) address: Ipv4Addr,
    pub(crate) server: Ipv4Addr,
    pub(crate) server_mac: Option<MacAddr>,
    /// When it was asked for: the lease counts from here.
    pub(crate) requested: Time,
    /// When the server counts as gone.
    pub(crate) answer_by: Time,
}

type Step = (State, Vec<Action>);

impl State {
    /// When [`Event::Timer`] is due; `None`: never.
    pub(crate) fn deadline(&self) -> Option<Time> {
        match self {
            Self::Selecting { exchange, .. } | Self::Rebooting { exchange, .. } => Some(exchange.deadline()),
            Self::Requesting { exchange, offer, .. } => Some(exchange.deadline().min(offer.answer_by)),
            Self::Bound { grant } => grant.t1,
            Self::Renewing { exchange, grant } => grant.t2.map(|t2| t2.min(exchange.resend_at)),
            Self::Rebinding { exchange, grant } => grant.end.map(|end| end.min(exchange.resend_at)),
            Self::Ended(_) => None,
        }
    }

    /// The lease by which the container may use its address.
    pub(crate) fn grant(&self) -> Option<&Grant> {
        match self {
            Self::Selecting { kept, .. } | Self::Requesting { kept, .. } => kept.as_ref(),
            Self::Rebooting { grant, .. }
            | Self::Bound { grant }
            | Self::Renewing { grant, .. }
            | Self::Rebinding { grant, .. } => Some(grant),
            Self::Ended(_) => None,
        }
    }

    /// The exchange that an answer must belong to.
    fn exchange(&self) -> Option<&Exchange> {
        match self {
            Self::Selecting { exchange, .. }
            | Self::Requesting { exchange, .. }
            | Self::Rebooting { exchange, .. }
            | Self::Renewing { exchange, .. }
            | Self::Rebinding { exchange, .. } => Some(exchange),
            Self::Bound { .. } | Self::Ended(_) => None,
        }
    }
}

impl Client {
    /// Asks for an address.
    pub(crate) fn start(&self, at: Moment) -> Step {
        self.discover(None, at.now + self.timing.resend_timeout, at)
    }

    /// Goes on with a lease of an earlier process: as if there had been no pause, or, where it has ended meanwhile, by
    /// asking whether it may be had again (`INIT-REBOOT`).
    pub(crate) fn resume(&self, grant: Grant, at: Moment) -> Step {
        let is_past = |time: Option<Time>| time.is_some_and(|time| time <= at.now);
        if is_past(grant.end) {
            let exchange = Exchange::begin(&self.timing, at.now + self.timing.reply, at);
            let message = self.reboot(&grant, &exchange, at);
            return (State::Rebooting { exchange, grant }, vec![Action::Send(message, Way::Discovery)]);
        }
        if is_past(grant.t2) {
            return self.rebind(grant, at);
        }
        if is_past(grant.t1) { self.renew(grant, at) } else { (State::Bound { grant }, Vec::new()) }
    }

    /// The next state, and what is to be done.
    pub(crate) fn step(&self, state: State, event: Event, at: Moment) -> Step {
        match event {
            Event::Timer if state.deadline().is_some_and(|deadline| deadline <= at.now) => self.on_time(state, at),
            Event::Received(message, from) if self.is_answer(&state, &message) => {
                self.on_answer(state, message, from, at)
            }
            Event::Release => self.release(state, at),
            Event::Timer | Event::Received(..) => (state, Vec::new()),
        }
    }

    fn on_time(&self, state: State, at: Moment) -> Step {
        match state {
            State::Selecting { exchange, kept } | State::Requesting { exchange, kept, .. }
                if exchange.is_over(at.now) =>
            {
                ended(match kept {
                    Some(grant) => Ending::Refused(grant.address),
                    None => Ending::NoAnswer(self.timing.resend_timeout),
                })
            }
            State::Selecting { mut exchange, kept } => {
                exchange.again(&self.timing, at);
                let message = self.discovery(&exchange, kept.as_ref(), at);
                (State::Selecting { exchange, kept }, vec![Action::Send(message, Way::Discovery)])
            }
            // The server that made the offer does not answer any more.
            State::Requesting { exchange, offer, kept } if offer.answer_by <= at.now => {
                self.discover(kept, exchange.give_up_at, at)
            }
            State::Requesting { mut exchange, offer, kept } => {
                exchange.again(&self.timing, at);
                let message = self.request(&exchange, &offer, at);
                (State::Requesting { exchange, offer, kept }, vec![Action::Send(message, Way::Discovery)])
            }
            State::Rebooting { exchange, grant } if exchange.is_over(at.now) => ended(Ending::Expired(grant.address)),
            State::Rebooting { mut exchange, grant } => {
                exchange.again(&self.timing, at);
                let message = self.reboot(&grant, &exchange, at);
                (State::Rebooting { exchange, grant }, vec![Action::Send(message, Way::Discovery)])
            }
            State::Bound { grant } => self.renew(grant, at),
            State::Renewing { grant, .. } if grant.t2.is_some_and(|t2| t2 <= at.now) => self.rebind(grant, at),
            State::Renewing { mut exchange, grant } => {
                exchange.again_before(grant.t2, at.now);
                let (message, way) = (self.prolong(&grant, &exchange, at), Way::Server(grant.server));
                (State::Renewing { exchange, grant }, vec![Action::Send(message, way)])
            }
            State::Rebinding { grant, .. } if grant.end.is_some_and(|end| end <= at.now) => {
                ended(Ending::Expired(grant.address))
            }
            State::Rebinding { mut exchange, grant } => {
                exchange.again_before(grant.end, at.now);
                let message = self.prolong(&grant, &exchange, at);
                (State::Rebinding { exchange, grant }, vec![Action::Send(message, Way::AllServers)])
            }
            State::Ended(why) => (State::Ended(why), Vec::new()),
        }
    }

    /// Whether a message answers what this client asked last.
    fn is_answer(&self, state: &State, message: &Message) -> bool {
        let is_own = |id: &[u8]| self.options.value(code::CLIENT_ID) == Some(id);
        state.exchange().is_some_and(|exchange| exchange.xid == message.xid)
            && message.mac == self.mac
            // Servers repeat the identifier (RFC 6842), older ones do not.
            && message.options.value(code::CLIENT_ID).is_none_or(is_own)
    }

    fn on_answer(&self, state: State, message: Message, from: Option<MacAddr>, at: Moment) -> Step {
        let server = message.options.address(code::SERVER);
        match (state, message.kind, server) {
            (State::Selecting { exchange, kept }, MessageType::Offer, Some(server))
                if is_assignable(message.yiaddr) && kept.as_ref().is_none_or(|k| k.address == message.yiaddr) =>
            {
                let answer_by = at.now + self.timing.reply;
                let offer = Offer { address: message.yiaddr, server, server_mac: from, requested: at.now, answer_by };
                let exchange = exchange.continued(&self.timing, at);
                let request = self.request(&exchange, &offer, at);
                (State::Requesting { exchange, offer, kept }, vec![Action::Send(request, Way::Discovery)])
            }
            (State::Requesting { offer, kept, .. }, MessageType::Ack, Some(server)) if server == offer.server => {
                if kept.as_ref().is_some_and(|kept| kept.address != message.yiaddr) {
                    return ended(Ending::Refused(offer.address));
                }
                self.accept(message, from, offer.requested, at)
            }
            (State::Requesting { exchange, offer, kept }, MessageType::Nak, server)
                if server.is_none_or(|server| server == offer.server) =>
            {
                // Not at once: a server that offers and refuses would do so for ever.
                let exchange = Exchange::pause(&self.timing, exchange.give_up_at, at);
                (State::Selecting { exchange, kept }, Vec::new())
            }
            (
                State::Rebooting { grant, exchange }
                | State::Renewing { grant, exchange }
                | State::Rebinding { grant, exchange },
                MessageType::Ack,
                Some(_),
            ) if grant.address == message.yiaddr => {
                self.accept(message, from.or(grant.server_mac), exchange.sent_at, at)
            }
            (
                State::Rebooting { grant, .. } | State::Renewing { grant, .. } | State::Rebinding { grant, .. },
                MessageType::Nak,
                _,
            ) => self.discover(Some(grant), at.now + self.timing.reply, at),
            (state, _, _) => (state, Vec::new()),
        }
    }

    /// Takes the lease of an ACK.
    fn accept(&self, ack: Message, from: Option<MacAddr>, requested: Time, at: Moment) -> Step {
        let (address, server) = (ack.yiaddr, ack.options.address(code::SERVER));
        match Grant::new(ack.yiaddr, ack.options, from, requested) {
            Ok(grant) => (State::Bound { grant }, vec![Action::Granted]),
            Err(fault) => {
                let mut actions: Vec<Action> =
                    server.map(|server| self.farewell(address, server, from, at)).into_iter().collect();
                actions.push(Action::Ended);
                (State::Ended(fault.into()), actions)
            }
        }
    }

    fn release(&self, state: State, at: Moment) -> Step {
        let held = match &state {
            // The server may have given it already.
            State::Requesting { offer, .. } => Some((offer.address, offer.server, offer.server_mac)),
            state => state.grant().map(|grant| (grant.address, grant.server, grant.server_mac)),
        };
        let farewell = held.map(|(address, server, mac)| self.farewell(address, server, mac, at));
        (State::Ended(Ending::Released), farewell.into_iter().chain([Action::Ended]).collect())
    }

    fn discover(&self, kept: Option<Grant>, give_up_at: Time, at: Moment) -> Step {
        let exchange = Exchange::begin(&self.timing, give_up_at, at);
        let message = self.discovery(&exchange, kept.as_ref(), at);
        (State::Selecting { exchange, kept }, vec![Action::Send(message, Way::Discovery)])
    }

    fn renew(&self, grant: Grant, at: Moment) -> Step {
        let mut exchange = Exchange::begin(&self.timing, Time::MAX, at);
        exchange.again_before(grant.t2, at.now);
        let (message, way) = (self.prolong(&grant, &exchange, at), Way::Server(grant.server));
        (State::Renewing { exchange, grant }, vec![Action::Send(message, way)])
    }

    fn rebind(&self, grant: Grant, at: Moment) -> Step {
        let mut exchange = Exchange::begin(&self.timing, Time::MAX, at);
        exchange.again_before(grant.end, at.now);
        let message = self.prolong(&grant, &exchange, at);
        (State::Rebinding { exchange, grant }, vec![Action::Send(message, Way::AllServers)])
    }
}

fn ended(why: Ending) -> Step {
    (State::Ended(why), vec![Action::Ended])
}

/// Whether a host can have this address.
fn is_assignable(address: Ipv4Addr) -> bool {
    !(address.is_unspecified() || address.is_broadcast() || address.is_multicast() || address.is_loopback())
}
