//! Alternative names of links (`ip link property`, Linux 5.5): up to 127 bytes each. Nothing uses them but who knows
//! them, and they go with the link to other namespaces.

use crate::netlink::{Mode, Request};
use crate::nl::{attributes, text};
use crate::packet::{LinkAttribute, Prop};

use super::{Dev, of};

/// `RTM_NEWLINKPROP` and `RTM_DELLINKPROP` of linux/rtnetlink.h.
const RTM_NEWLINKPROP: u16 = 108;
const RTM_DELLINKPROP: u16 = 109;
/// `IFLA_ALT_IFNAME` of linux/if_link.h.
const IFLA_ALT_IFNAME: u16 = 53;
/// `IFLA_PROP_LIST` of linux/if_link.h.
pub(super) const IFLA_PROP_LIST: u16 = 52;

/// The longest alternative name, in bytes (`ALTIFNAMSIZ` is 128, with the NUL).
pub const ALT_NAME_MAX: usize = 127;

/// Adds an alternative name (`ip link property add dev DEV altname NAME`). One that any link of the namespace has
/// already is refused.
#[must_use]
pub fn add_alt_name(dev: Dev<'_>, name: &str) -> Request {
    request(dev, name, RTM_NEWLINKPROP, format!("give {} the alternative name {name}", dev.name))
}

/// Removes an alternative name (`ip link property del dev DEV altname NAME`).
#[must_use]
pub fn remove_alt_name(dev: Dev<'_>, name: &str) -> Request {
    request(dev, name, RTM_DELLINKPROP, format!("take the alternative name {name} from {}", dev.name))
}

fn request(dev: Dev<'_>, name: &str, kind: u16, doing: String) -> Request {
    let mut message = of(dev);
    message.attributes.push(LinkAttribute::PropList(vec![Prop::AltIfName(name.to_owned())]));
    let mode = if kind == RTM_NEWLINKPROP { Mode::Create } else { Mode::Change };
    Request::new(doing, kind, mode, &message)
}

/// The names in an `IFLA_PROP_LIST`.
pub(super) fn parse(list: &[u8]) -> Vec<String> {
    attributes(list).filter(|(kind, _)| *kind == IFLA_ALT_IFNAME).map(|(_, name)| text(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_ip_link_property_says() {
        // ip link property add dev eth0 altname abc
        let request = add_alt_name(Dev { index: 3, name: "eth0" }, "abc");
        assert_eq!(request.doing(), "give eth0 the alternative name abc");
        let expected: &[u8] = &[12, 0, 52, 0x80, 8, 0, 53, 0, b'a', b'b', b'c', 0];
        assert_eq!(request.body().get(16..).unwrap(), expected);
        assert_eq!(parse(expected.get(4..).unwrap()), ["abc"]);
    }
}
