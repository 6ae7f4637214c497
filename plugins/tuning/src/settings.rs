//! What the container's interface can be set to. The same type says what is wanted, what the interface is set to now,
//! and what it was set to before; the last is written to disk in this very form.

use libcni::types::{AddResult, MacAddr};
use linuxnet::link::{Dev, Link, set_all_multicast, set_mac, set_mtu, set_promiscuous, set_tx_queue_len};
use linuxnet::netlink::Request;
use serde::{Deserialize, Serialize};

/// Settings of an interface; `None` for what is of no interest. On the wire and on disk
/// `{"mac": …, "promisc": …, "mtu": …, "allmulti": …, "txQLen": …}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Settings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mac: Option<MacAddr>,
    /// Whether it takes every frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) promisc: Option<bool>,
    /// In bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mtu: Option<u32>,
    /// Whether it takes every multicast frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) allmulti: Option<bool>,
    /// In packets.
    #[serde(rename = "txQLen", skip_serializing_if = "Option::is_none")]
    pub(crate) tx_queue_len: Option<u32>,
}

impl Settings {
    /// What `link` is set to.
    pub(crate) fn of(link: &Link) -> Self {
        Self {
            mac: link.mac,
            promisc: Some(link.is_promiscuous),
            mtu: Some(link.mtu),
            allmulti: Some(link.is_all_multicast),
            tx_queue_len: Some(link.tx_queue_len),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Of these settings, those that `wanted` says something about.
    pub(crate) fn only(self, wanted: &Self) -> Self {
        Self {
            mac: self.mac.filter(|_| wanted.mac.is_some()),
            promisc: self.promisc.filter(|_| wanted.promisc.is_some()),
            mtu: self.mtu.filter(|_| wanted.mtu.is_some()),
            allmulti: self.allmulti.filter(|_| wanted.allmulti.is_some()),
            tx_queue_len: self.tx_queue_len.filter(|_| wanted.tx_queue_len.is_some()),
        }
    }

    /// These settings, and those of `other` that they say nothing about.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            mac: self.mac.or(other.mac),
            promisc: self.promisc.or(other.promisc),
            mtu: self.mtu.or(other.mtu),
            allmulti: self.allmulti.or(other.allmulti),
            tx_queue_len: self.tx_queue_len.or(other.tx_queue_len),
        }
    }

    /// What is to be done to `link` so that it is set so; nothing where it is.
    pub(crate) fn changes(&self, link: &Link) -> Vec<Request> {
        let (is, dev) = (Self::of(link), Dev::from(link));
        let changes = [
            self.mac.filter(|_| self.mac != is.mac).map(|mac| set_mac(dev, mac)),
            self.promisc.filter(|_| self.promisc != is.promisc).map(|on| set_promiscuous(dev, on)),
            self.mtu.filter(|_| self.mtu != is.mtu).map(|mtu| set_mtu(dev, mtu)),
            self.allmulti.filter(|_| self.allmulti != is.allmulti).map(|on| set_all_multicast(dev, on)),
            self.tx_queue_len
                .filter(|_| self.tx_queue_len != is.tx_queue_len)
                .map(|packets| set_tx_queue_len(dev, packets)),
        ];
        changes.into_iter().flatten().collect()
    }

    /// In what `link` is not set so, in words.
    pub(crate) fn differences(&self, link: &Link) -> Vec<String> {
        let is = Self::of(link);
        let name = &link.name;
        let differences = [
            difference(format_args!("Ethernet of {name}"), self.mac, is.mac),
            difference(format_args!("promiscuous mode of {name}"), self.promisc, is.promisc),
            difference(format_args!("MTU of {name}"), self.mtu, is.mtu),
            difference(format_args!("all-multicast mode of {name}"), self.allmulti, is.allmulti),
            difference(format_args!("Transmit Queue Length of {name}"), self.tx_queue_len, is.tx_queue_len),
        ];
        differences.into_iter().flatten().collect()
    }

    /// Has `result` say of the container's interface what it is set to now.
    pub(crate) fn report_in(&self, result: &mut AddResult, ifname: &str) {
        for interface in result.interfaces.iter_mut().filter(|i| i.name == ifname && !i.sandbox.is_empty()) {
            if let Some(mac) = self.mac {
                interface.mac = mac.to_string();
            }
            interface.mtu = self.mtu.or(interface.mtu);
        }
    }
}

/// `Tuning configured MTU of eth0 is 1400, current value is 1500`: the reference's words.
fn difference<T: PartialEq + std::fmt::Display>(
    what: std::fmt::Arguments<'_>,
    wanted: Option<T>,
    is: Option<T>,
) -> Option<String> {
    let wanted = wanted?;
    match is {
        Some(is) if is == wanted => None,
        Some(is) => Some(format!("Tuning configured {what} is {wanted}, current value is {is}")),
        None => Some(format!("Tuning configured {what} is {wanted}, and it has none")),
    }
}
