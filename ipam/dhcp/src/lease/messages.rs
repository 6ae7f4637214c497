//! What a client says (RFC 2131, table 5): which message has which fields.

use std::net::Ipv4Addr;

use libcni::types::MacAddr;

use super::{Action, Client, Exchange, Grant, Moment, Offer, Way};
use crate::packet::{Message, MessageType, Options, code};

impl Client {
    /// `DISCOVER`, for the address of `kept` if there is one.
    pub(super) fn discovery(&self, exchange: &Exchange, kept: Option<&Grant>, at: Moment) -> Message {
        let mut options = self.options.clone();
        if let Some(kept) = kept {
            options.set(code::REQUESTED_ADDRESS, kept.address.octets());
        }
        self.message(MessageType::Discover, exchange, options, at)
    }

    /// `REQUEST` for an offer.
    pub(super) fn request(&self, exchange: &Exchange, offer: &Offer, at: Moment) -> Message {
        let mut options = self.options.clone();
        options.set(code::REQUESTED_ADDRESS, offer.address.octets());
        options.set(code::SERVER, offer.server.octets());
        self.message(MessageType::Request, exchange, options, at)
    }

    /// `REQUEST` of INIT-REBOOT: the address as an option, and no server.
    pub(super) fn reboot(&self, grant: &Grant, exchange: &Exchange, at: Moment) -> Message {
        let mut options = self.options.clone();
        options.set(code::REQUESTED_ADDRESS, grant.address.octets());
        self.message(MessageType::Request, exchange, options, at)
    }

    /// `REQUEST` of RENEWING and REBINDING: the address as `ciaddr`, and neither as an option nor a server.
    pub(super) fn prolong(&self, grant: &Grant, exchange: &Exchange, at: Moment) -> Message {
        let message = self.message(MessageType::Request, exchange, self.options.clone(), at);
        Message { ciaddr: grant.address, broadcast: false, ..message }
    }

    /// `RELEASE`.
    pub(super) fn farewell(&self, address: Ipv4Addr, server: Ipv4Addr, mac: Option<MacAddr>, at: Moment) -> Action {
        let mut options = Options::default();
        if let Some(id) = self.options.value(code::CLIENT_ID) {
            options.set(code::CLIENT_ID, id);
        }
        options.set(code::SERVER, server.octets());
        let exchange = Exchange::begin(&self.timing, at.now, at);
        let message = self.message(MessageType::Release, &exchange, options, at);
        Action::Send(Message { ciaddr: address, broadcast: false, ..message }, Way::Farewell(server, mac))
    }

    fn message(&self, kind: MessageType, exchange: &Exchange, options: Options, at: Moment) -> Message {
        Message {
            kind,
            xid: exchange.xid,
            secs: u16::try_from(at.now.saturating_sub(exchange.begun).as_secs()).unwrap_or(u16::MAX),
            broadcast: self.broadcast,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            yiaddr: Ipv4Addr::UNSPECIFIED,
            mac: self.mac,
            options,
        }
    }
}
