//! VRFs (virtual routing and forwarding): links whose ports route by a table of their own.

use nix::errno::Errno;

use crate::error::NetlinkError;
use crate::netlink::{Netlink, Request};
use crate::nl::{find, ne32};
use crate::packet::{InfoData, InfoKind, InfoVrf};

use super::create::NewLink;

/// [`Link::kind`](super::Link::kind) of a VRF.
pub(super) const KIND: &str = "vrf";
/// `IFLA_VRF_TABLE` of linux/if_link.h.
const IFLA_VRF_TABLE: u16 = 1;

/// Makes a VRF, and sets it up (`ip link add NAME up type vrf table TABLE`). The kernel lets several have one table.
#[must_use]
pub fn create_vrf(name: &str, table: u32) -> Request {
    request(format!("create VRF {name} with table {table}"), name, vec![InfoVrf::TableId(table)])
}

fn request(doing: String, name: &str, data: Vec<InfoVrf>) -> Request {
    NewLink { up: true, ..NewLink::called(name) }.request(doing, InfoKind::Vrf, InfoData::Vrf(data))
}

impl Netlink {
    /// Whether the kernel knows VRFs, which its modules may bring. Nothing is made: the kernel is asked for a VRF
    /// without a table, which it refuses when it knows what a VRF is (`EINVAL`), and when it does not (`EOPNOTSUPP`).
    ///
    /// # Errors
    /// If the kernel says something else, as that the caller may not make links.
    pub fn knows_vrfs(&mut self) -> Result<bool, NetlinkError> {
        match self.run(request("ask for VRFs".to_owned(), "vrf%d", Vec::new())) {
            Ok(()) => Ok(true),
            Err(e) if e.errno() == Some(Errno::EINVAL) => Ok(true),
            Err(e) if e.errno() == Some(Errno::EOPNOTSUPP) => Ok(false),
            Err(e) => Err(e),
        }
    }
}

/// The table in `IFLA_INFO_DATA` of a VRF.
pub(super) fn parse_table(data: &[u8]) -> Option<u32> {
    find(data, IFLA_VRF_TABLE).and_then(ne32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_ip_link_says() {
        // ip link add red up type vrf table 1000 (which leaves the NUL of the kind out)
        let request = create_vrf("red", 1000);
        assert_eq!(request.doing(), "create VRF red with table 1000");
        let expected: &[u8] = &[
            0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, // ifinfomsg: IFF_UP
            8, 0, 3, 0, b'r', b'e', b'd', 0, // IFLA_IFNAME
            24, 0, 18, 0, 8, 0, 1, 0, b'v', b'r', b'f', 0, // IFLA_LINKINFO: IFLA_INFO_KIND
            12, 0, 2, 0, 8, 0, 1, 0, 0xe8, 3, 0, 0, // IFLA_INFO_DATA: IFLA_VRF_TABLE
        ];
        assert_eq!(request.body(), expected);
        assert_eq!(parse_table(&expected[40..]), Some(1000));
        assert_eq!(parse_table(&[]), None);
    }
}
