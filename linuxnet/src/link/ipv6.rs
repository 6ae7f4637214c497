//! What IPv6 is set to on a link.

use nix::libc;

use crate::netlink::{Mode, Request};
use crate::nl::{Attributes, find, ne32};

use super::Dev;

/// What IPv6 is set to on a link (`/proc/sys/net/ipv6/conf/LINK/…`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6State {
    /// `disable_ipv6`: it accepts no IPv6 address.
    pub disabled: bool,
    /// `accept_dad`: its addresses are probed for duplicates first, unless told otherwise.
    pub accept_dad: bool,
    /// `ndisc_notify`: it announces its addresses when it comes up.
    pub ndisc_notify: bool,
    /// `keep_addr_on_down`: static addresses survive the link going down.
    pub keep_addr_on_down: bool,
    /// `accept_ra`: 0 takes nothing from routers, 1 does unless the namespace forwards, 2 always does.
    pub accept_ra: u32,
    /// It makes a link-local address for itself when it comes up (`addr_gen_mode` is not `none`).
    pub link_local: bool,
}

/// `DEVCONF_ACCEPT_RA`, `…_DISABLE_IPV6`, `…_ACCEPT_DAD`, `…_NDISC_NOTIFY` and `…_KEEP_ADDR_ON_DOWN` of linux/ipv6.h:
/// positions in `IFLA_INET6_CONF`.
const DEVCONF_ACCEPT_RA: usize = 3;
const DEVCONF_DISABLE_IPV6: usize = 26;
const DEVCONF_ACCEPT_DAD: usize = 27;
const DEVCONF_NDISC_NOTIFY: usize = 29;
const DEVCONF_KEEP_ADDR_ON_DOWN: usize = 42;
/// `IFLA_INET6_CONF` and `IFLA_INET6_ADDR_GEN_MODE` of linux/if_link.h, and two of the latter's values.
const IFLA_INET6_CONF: u16 = 2;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const ADDR_GEN_MODE_EUI64: u8 = 0;
const ADDR_GEN_MODE_NONE: u8 = 1;
/// `AF_INET6`, as a type of attribute.
const INET6: u16 = 10;
/// `struct ifinfomsg`, and where in it the link's index stands.
const HEADER: usize = 16;
const INDEX: usize = 4;

/// Whether a link makes an IPv6 link-local address for itself when it comes up (`ip link set DEV addrgenmode eui64|none`).
#[must_use]
pub fn set_link_local(dev: Dev<'_>, on: bool) -> Request {
    let mut header = [0; HEADER];
    if let Some(index) = header.get_mut(INDEX..INDEX + 4) {
        index.copy_from_slice(&dev.index.to_ne_bytes());
    }
    let mode = if on { ADDR_GEN_MODE_EUI64 } else { ADDR_GEN_MODE_NONE };
    let mut attributes = Attributes::new();
    attributes.nest(libc::IFLA_AF_SPEC, |families| {
        families.nest(INET6, |inet6| {
            inet6.u8(IFLA_INET6_ADDR_GEN_MODE, mode);
        });
    });
    let with = if on { "with" } else { "without" };
    let doing = format!("set up {} {with} an IPv6 link-local address", dev.name);
    Request::of_parts(doing, libc::RTM_SETLINK, Mode::Change, &header, &attributes)
}

/// Reads an `IFLA_AF_SPEC`. `None`: the kernel has no IPv6, or the link cannot have any.
pub(super) fn parse(af_spec: &[u8]) -> Option<Ipv6State> {
    let inet6 = find(af_spec, INET6)?;
    let settings = find(inet6, IFLA_INET6_CONF)?;
    let setting = |at: usize| settings.get(at * 4..at * 4 + 4).and_then(ne32).unwrap_or_default();
    let mode = find(inet6, IFLA_INET6_ADDR_GEN_MODE).and_then(<[u8]>::first).copied();
    Some(Ipv6State {
        disabled: setting(DEVCONF_DISABLE_IPV6) != 0,
        accept_dad: setting(DEVCONF_ACCEPT_DAD) != 0,
        ndisc_notify: setting(DEVCONF_NDISC_NOTIFY) != 0,
        keep_addr_on_down: setting(DEVCONF_KEEP_ADDR_ON_DOWN) != 0,
        accept_ra: setting(DEVCONF_ACCEPT_RA),
        link_local: mode != Some(ADDR_GEN_MODE_NONE),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_ip_link_says() {
        // ip link set vx addrgenmode none (which leaves the flags of nested attributes out)
        let request = set_link_local(Dev { index: 4, name: "vx" }, false);
        assert_eq!(request.doing(), "set up vx without an IPv6 link-local address");
        let expected: &[u8] = &[
            0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // ifinfomsg
            16, 0, 26, 0x80, 12, 0, 10, 0x80, 5, 0, 8, 0, 1, 0, 0, 0, // IFLA_AF_SPEC: AF_INET6
        ];
        assert_eq!(request.body(), expected);
    }
}
