//! firewalld, by D-Bus: an address becomes a source of a zone.
//!
//! What is equal on the command line: `firewall-cmd --zone=trusted --add-source=10.1.0.2/32`. Such a source lasts until
//! firewalld is reloaded.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use linuxnet::nft;
use nix_of_rustbus::sys::socket::UnixAddr;
use rustbus::connection::Timeout;
use rustbus::message_builder::{MarshalledMessage, MessageBuilder, MessageType};
use rustbus::{RpcConn, connection};

/// The table that firewalld makes where it uses nftables itself.
pub(crate) const TABLE: nft::Table<'static> = nft::Table::inet("firewalld");

const NAME: &str = "org.fedoraproject.FirewallD1";
const OBJECT: &str = "/org/fedoraproject/FirewallD1";
const ZONE_INTERFACE: &str = "org.fedoraproject.FirewallD1.zone";

/// The variable that says where the system bus is, and where it is without it.
const ADDRESS: &str = "DBUS_SYSTEM_BUS_ADDRESS";
const SOCKET: &str = "/run/dbus/system_bus_socket";

/// How long firewalld may take for an answer: a reload takes seconds.
const PATIENCE: Timeout = Timeout::Duration(Duration::from_secs(25));

/// How much of an error of firewalld is told, in characters.
const SAID_MAX: usize = 300;

/// Why firewalld did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The bus cannot be reached.
    #[error("cannot reach the system bus at {}", path.display())]
    Unreachable {
        /// Its socket.
        path: PathBuf,
        /// Why.
        source: connection::Error,
    },
    /// Nobody on the bus is firewalld.
    #[error(
        "firewalld is not running: nobody owns the name org.fedoraproject.FirewallD1 (hint: start firewalld, or choose another backend)"
    )]
    NoOwner,
    /// The bus did not carry the call.
    #[error("cannot {action} by firewalld")]
    Call {
        /// What was to be done.
        action: String,
        /// Why.
        source: connection::Error,
    },
    /// firewalld said no.
    #[error("cannot {action}: firewalld says {said}")]
    Refused {
        /// What was to be done.
        action: String,
        /// The name of the error and its text.
        said: String,
    },
}

/// A firewalld that runs.
pub(crate) struct Firewalld {
    bus: RpcConn,
}

impl std::fmt::Debug for Firewalld {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Firewalld").finish_non_exhaustive()
    }
}

/// Where the system bus listens; `None` if it is nowhere. Of an address that is no path, or of several, the usual place
/// is taken.
fn socket() -> Option<PathBuf> {
    let said = std::env::var(ADDRESS).ok();
    let path = said.as_deref().and_then(|address| address.strip_prefix("unix:path=")?.split([',', ';']).next());
    Some(PathBuf::from(path.unwrap_or(SOCKET))).filter(|path| path.exists())
}

impl Firewalld {
    /// The firewalld of this host; `None` if there is no bus, or nobody of that name on it. It is not started.
    ///
    /// # Errors
    /// [`BusError`] if there is a bus that cannot be asked.
    pub(crate) fn find() -> Result<Option<Self>, BusError> {
        let Some(path) = socket() else { return Ok(None) };
        let connected = UnixAddr::new(&path)
            .map_err(connection::Error::from)
            .and_then(|address| RpcConn::connect_to_path(address, PATIENCE));
        let mut firewalld = match connected {
            Ok(bus) => Self { bus },
            Err(source) => return Err(BusError::Unreachable { path, source }),
        };
        let mut call = MessageBuilder::new()
            .call("NameHasOwner")
            .on("/org/freedesktop/DBus")
            .with_interface("org.freedesktop.DBus")
            .at("org.freedesktop.DBus")
            .build();
        let action = "look for firewalld on the system bus";
        let has_owner = firewalld.ask(&mut call, &[NAME], action)?;
        let has_owner = has_owner.body.parser().get::<bool>().unwrap_or(false);
        Ok(has_owner.then_some(firewalld))
    }

    /// Makes `ip` a source of `zone`. It may be one already.
    ///
    /// # Errors
    /// [`BusError`]; if it is a source of another zone, firewalld refuses.
    pub(crate) fn add_source(&mut self, zone: &str, ip: IpAddr) -> Result<(), BusError> {
        let action = format!("add source {ip} to zone {zone}");
        match self.zone("addSource", &[zone, &source(ip)], &action) {
            Err(BusError::Refused { said, .. }) if said.contains("ZONE_ALREADY_SET") => Ok(()),
            done => done.map(drop),
        }
    }

    /// Whether `ip` is a source of `zone`.
    ///
    /// # Errors
    /// [`BusError`].
    pub(crate) fn has_source(&mut self, zone: &str, ip: IpAddr) -> Result<bool, BusError> {
        let action = format!("look for source {ip} in zone {zone}");
        let answer = self.zone("querySource", &[zone, &source(ip)], &action)?;
        Ok(answer.body.parser().get::<bool>().unwrap_or(false))
    }

    /// Makes `ip` no source any more, of whichever zone. It may be none already.
    ///
    /// # Errors
    /// [`BusError`].
    pub(crate) fn remove_source(&mut self, ip: IpAddr) -> Result<(), BusError> {
        let zone = self.zone("getZoneOfSource", &[&source(ip)], &format!("look for the zone of source {ip}"))?;
        let zone = zone.body.parser().get::<String>().unwrap_or_default();
        if zone.is_empty() {
            return Ok(());
        }
        match self.zone("removeSource", &[&zone, &source(ip)], &format!("remove source {ip} from zone {zone}")) {
            Err(BusError::Refused { said, .. }) if said.contains("UNKNOWN_SOURCE") => Ok(()),
            done => done.map(drop),
        }
    }

    fn zone(&mut self, member: &str, args: &[&str], action: &str) -> Result<MarshalledMessage, BusError> {
        let call = MessageBuilder::new().call(member).on(OBJECT).with_interface(ZONE_INTERFACE).at(NAME);
        self.ask(&mut call.build(), args, action)
    }

    fn ask(
        &mut self,
        call: &mut MarshalledMessage,
        args: &[&str],
        action: &str,
    ) -> Result<MarshalledMessage, BusError> {
        let answer =
            self.exchange(call, args).map_err(|source| BusError::Call { action: action.to_owned(), source })?;
        if answer.typ == MessageType::Error {
            let name = answer.dynheader.error_name.as_deref().unwrap_or("an error");
            let text = answer.body.parser().get::<String>().unwrap_or_default();
            return Err(BusError::Refused { action: action.to_owned(), said: format!("{name}: {}", cut(&text)) });
        }
        Ok(answer)
    }

    fn exchange(
        &mut self,
        call: &mut MarshalledMessage,
        args: &[&str],
    ) -> Result<MarshalledMessage, connection::Error> {
        for arg in args {
            call.body.push_param(*arg).map_err(connection::Error::MarshalError)?;
        }
        let sending = self.bus.send_message(call)?;
        let serial = sending.write(PATIENCE).map_err(connection::ll_conn::force_finish_on_error)?;
        self.bus.wait_response(serial, PATIENCE)
    }
}

/// The beginning of what firewalld says: it may append all that it told nftables, thousands of characters.
fn cut(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let beginning: String = line.chars().take(SAID_MAX).collect();
    if beginning.len() < text.trim_end().len() { format!("{beginning}…") } else { beginning }
}

/// As the reference writes it: firewalld compares sources as text.
fn source(ip: IpAddr) -> String {
    format!("{ip}/{}", if ip.is_ipv4() { 32 } else { 128 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_firewalld_says_the_first_line_is_told() {
        assert_eq!(cut("INVALID_ZONE: nowhere"), "INVALID_ZONE: nowhere");
        assert_eq!(cut("COMMAND_FAILED: no such file\n\nJSON blob:\n{}"), "COMMAND_FAILED: no such file…");
        assert_eq!(cut(&"x".repeat(400)).chars().count(), SAID_MAX + 1);
    }
}
