//! The master: the link that the container's interface is made on, on the host or in the container.

use std::fmt;

use libcni::error::{CniError, ErrorCode};
use libcni::json::FieldError;
use libcni::names::IfName;
use libcni::plugin::Call;
use libcni::types::ConfigError;
use serde::de::IntoDeserializer;
use serde::{Deserialize, Deserializer};

use crate::addr::Dad;
use crate::error::NetlinkError;
use crate::iface;
use crate::link::{self, Dev, Link, Upper};
use crate::netlink::Netlink;

use super::{AttachError, Found, Sandbox};

/// Why there is no master to make a link on.
#[derive(Debug, thiserror::Error)]
pub enum MasterError {
    /// None is named, and there is no default route to find one by.
    #[error("no default route interface found in {0} (hint: name the interface by \"master\")")]
    NoDefaultRoute(Place),
    /// There is no such link.
    #[error("failed to lookup master \"{name}\": {place} has no such interface")]
    NotFound {
        /// Its name.
        name: String,
        /// Where it was looked for.
        place: Place,
    },
    /// It is down, and links on it cannot be up then.
    #[error("master \"{name}\" is down (hint: ip link set {name} up)")]
    Down {
        /// Its name.
        name: String,
    },
    /// The interface would have a larger MTU than the master.
    #[error("invalid MTU {mtu}, must be [0, master MTU({max})] (the master is {master})")]
    Mtu {
        /// The MTU asked for, in bytes.
        mtu: u32,
        /// The master's, in bytes.
        max: u32,
        /// The master.
        master: String,
    },
    /// The kernel cannot be asked.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}

impl CniError for MasterError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Mtu { .. } => ErrorCode::INVALID_CONFIG,
            Self::NoDefaultRoute(_) | Self::NotFound { .. } | Self::Down { .. } | Self::Netlink(_) => {
                ErrorCode::INTERNAL
            }
        }
    }
}

/// Where a master is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the namespace that the plugin was started in.
    Host,
    /// In the container's.
    Container,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "the host",
            Self::Container => "the container",
        })
    }
}

/// What a configuration says of the master, and of the link on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterConf {
    /// `master`. `None`: the link of the default route.
    pub name: Option<IfName>,
    /// `linkInContainer`.
    pub place: Place,
    /// `mtu` of the new link in bytes. `None`: the master's.
    pub mtu: Option<u32>,
    /// `enabledad`: duplicate address detection for IPv6.
    pub dad: Dad,
    /// Not configured: whether links of the plugin's kind can be up only while the master is.
    pub must_be_up: bool,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Wire {
    /// The interface below; not given: that of the default route.
    #[cfg_attr(test, schemars(schema_with = "schemas::ifname"))]
    #[serde(deserialize_with = "name_unless_empty")]
    master: Option<IfName>,
    /// `master` is an interface of the container.
    link_in_container: bool,
    /// MTU in bytes; 0: the master's.
    #[cfg_attr(test, schemars(schema_with = "schemas::mtu"))]
    mtu: u32,
    /// Run duplicate address detection for IPv6 in the container.
    enabledad: bool,
}

fn name_unless_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<IfName>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() { Ok(None) } else { IfName::deserialize(text.into_deserializer()).map(Some) }
}

impl MasterConf {
    /// Reads `master`, `linkInContainer`, `mtu` and `enabledad`.
    ///
    /// # Errors
    /// If one of them is wrong.
    pub fn load(call: &Call<'_>) -> Result<Self, ConfigError> {
        let wire: Wire = call.config.decode()?;
        Self::check(wire).map_err(ConfigError::Field)
    }

    fn check(wire: Wire) -> Result<Self, FieldError> {
        Ok(Self {
            name: wire.master,
            place: if wire.link_in_container { Place::Container } else { Place::Host },
            mtu: link::configured_mtu(wire.mtu)?,
            dad: if wire.enabledad { Dad::Run } else { Dad::Skip },
            must_be_up: false,
        })
    }

    /// How a result is put on the new link: its neighbours, whom others on the network share, are told.
    #[must_use]
    pub fn apply_options(&self) -> iface::Options {
        iface::Options { dad: self.dad, ndisc_notify: true, ..iface::Options::default() }
    }

    /// Looks for the master, on the host by a new socket.
    ///
    /// # Errors
    /// If there is none, or its MTU is too small.
    pub fn find(&self, sandbox: &mut Sandbox) -> Result<Master, MasterError> {
        match self.place {
            Place::Host => {
                let mut host = Netlink::open()?;
                Ok(Master { link: self.find_by(&mut host)?, host: Some(host), mtu: self.mtu })
            }
            Place::Container => Ok(Master { link: self.find_by(&mut sandbox.netlink)?, host: None, mtu: self.mtu }),
        }
    }

    /// STATUS: looks for the master on the host. What a container will have is not known yet.
    ///
    /// # Errors
    /// [`AttachError::MasterUnavailable`].
    pub fn status(&self) -> Result<(), AttachError> {
        let find = || Netlink::open().map_err(MasterError::from).and_then(|mut host| self.find_by(&mut host));
        match self.place {
            Place::Host => find().map(drop).map_err(AttachError::MasterUnavailable),
            Place::Container => Ok(()),
        }
    }

    fn find_by(&self, netlink: &mut Netlink) -> Result<Link, MasterError> {
        let link = match &self.name {
            Some(name) => netlink.find_link(name.as_str())?.ok_or_else(|| self.not_found(name))?,
            None => {
                let index = netlink.default_route()?.and_then(|route| route.link);
                let link = index.map(|index| netlink.find_link_by_index(index)).transpose()?.flatten();
                link.ok_or(MasterError::NoDefaultRoute(self.place))?
            }
        };
        match self.mtu {
            Some(mtu) if mtu > link.mtu => Err(MasterError::Mtu { mtu, max: link.mtu, master: link.name }),
            _ if self.must_be_up && !link.is_up => Err(MasterError::Down { name: link.name }),
            _ => Ok(link),
        }
    }

    fn not_found(&self, name: &IfName) -> MasterError {
        MasterError::NotFound { name: name.to_string(), place: self.place }
    }

    /// CHECK: the container's interface is on this master, and has the configured MTU. A master that was found by the
    /// default route may be another one by now, and is not compared.
    ///
    /// # Errors
    /// The first difference.
    pub fn verify(&self, found: &mut Found<'_>) -> Result<(), AttachError> {
        // A later plugin of the chain that changes the MTU says so in the result.
        if let Some(mtu) = self.mtu.filter(|_| found.reported.mtu != Some(found.link.mtu)) {
            found.expect_same("MTU", Some(found.link.mtu), mtu)?;
        }
        let Some(name) = &self.name else { return Ok(()) };
        let Found { sandbox, link, .. } = found;
        let (master, is_there) = match self.place {
            Place::Host => (Netlink::open()?.find_link(name.as_str())?, link.link_netns_id.is_some()),
            Place::Container => (sandbox.netlink.find_link(name.as_str())?, link.link_netns_id.is_none()),
        };
        let master = master.ok_or_else(|| AttachError::Differs(self.not_found(name).to_string()))?;
        if is_there && link.peer_index == Some(master.index) {
            return Ok(());
        }
        Err(AttachError::Differs(format!("interface {} is not on {name} of {}", link.name, self.place)))
    }
}

/// A master that was found.
#[derive(Debug)]
pub struct Master {
    /// The link.
    pub link: Link,
    /// A socket on the host; `None` where the master is in the container.
    host: Option<Netlink>,
    mtu: Option<u32>,
}

impl Master {
    /// The container's interface as a link on this master, with the socket to make it by.
    pub fn upper<'a>(&'a mut self, sandbox: &'a mut Sandbox) -> (&'a mut Netlink, Upper<'a>) {
        let Sandbox { netns, netlink, ifname } = sandbox;
        let upper = Upper { name: ifname, lower: Dev::from(&self.link), netns: None, mtu: self.mtu };
        match &mut self.host {
            Some(host) => (host, Upper { netns: Some(netns), ..upper }),
            None => (netlink, upper),
        }
    }
}

#[cfg(test)]
mod tests {
    use libcni::json;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_schema_is_that_of_the_types() {
        schemas::Schema::of_part::<Wire>("master").assert_is_current();
    }

    fn conf(value: &Value) -> Result<MasterConf, String> {
        json::decode(value).and_then(MasterConf::check).map_err(|e| e.to_string())
    }

    #[test]
    fn an_empty_configuration_means_the_default_route_of_the_host() {
        let plain = MasterConf { name: None, place: Place::Host, mtu: None, dad: Dad::Skip, must_be_up: false };
        assert_eq!(conf(&json!({})).as_ref(), Ok(&plain));
        assert_eq!(conf(&json!({"master": "", "mtu": 0, "linkInContainer": false})), Ok(plain));
    }

    #[test]
    fn every_field_is_read() {
        let full = json!({"master": "eth0.7", "linkInContainer": true, "mtu": 1400, "enabledad": true});
        let expected = MasterConf {
            name: "eth0.7".parse().ok(),
            place: Place::Container,
            mtu: Some(1400),
            dad: Dad::Run,
            must_be_up: false,
        };
        assert_eq!(conf(&full), Ok(expected));
    }

    #[test]
    fn bad_values_name_the_field() {
        let told = |value: Value| conf(&value).unwrap_err();
        let expected = "expected an interface name (1 to 15 characters, without / : or white space)";
        assert_eq!(told(json!({"master": "eth/0"})), format!("master: invalid value \"eth/0\", {expected}"));
        assert!(told(json!({"mtu": 67})).starts_with("mtu: invalid value 67"));
    }
}
