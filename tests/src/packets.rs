//! Real packets between places.

use std::io;
use std::net::IpAddr;

use conformance::reach;
pub use conformance::reach::{Answer, Service};

use crate::Place;

impl Place {
    /// Answers on a TCP port of all addresses, both families.
    ///
    /// # Panics
    /// If the port is taken.
    #[must_use]
    pub fn serve_tcp(&self, port: u16) -> Service {
        self.serve(port, false)
    }

    /// Answers on a UDP port of all addresses, both families.
    ///
    /// # Panics
    /// If the port is taken.
    #[must_use]
    pub fn serve_udp(&self, port: u16) -> Service {
        self.serve(port, true)
    }

    fn serve(&self, port: u16, udp: bool) -> Service {
        let service = Service::start(&self.open(), &self.name, port, udp);
        service.unwrap_or_else(|e| panic!("{}: port {port}: {e}", self.name))
    }

    /// Asks a TCP service at `address`.
    ///
    /// # Errors
    /// If nobody answers.
    pub fn fetch_tcp(&self, address: IpAddr, port: u16) -> io::Result<Answer> {
        reach::fetch_tcp(&self.open(), address, port)
    }

    /// Asks a UDP service at `address`; asks again when a packet is lost.
    ///
    /// # Errors
    /// If nobody answers.
    pub fn fetch_udp(&self, address: IpAddr, port: u16) -> io::Result<Answer> {
        reach::fetch_udp(&self.open(), address, port)
    }

    /// Whether a TCP connection to `address` is refused or ignored, waiting only briefly.
    #[must_use]
    pub fn is_closed_tcp(&self, address: IpAddr, port: u16) -> bool {
        reach::is_closed_tcp(&self.open(), address, port).expect("a connection")
    }

    /// Whether `address` answers one of several echo requests.
    #[must_use]
    pub fn ping(&self, address: IpAddr) -> bool {
        reach::ping(&self.open(), address, true).expect("echo requests")
    }

    /// Whether an echo request to `address` stays without an answer, waiting only briefly.
    #[must_use]
    pub fn is_unreachable(&self, address: IpAddr) -> bool {
        !reach::ping(&self.open(), address, false).expect("an echo request")
    }
}
