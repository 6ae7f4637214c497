//! Routing tables: which numbers are taken.
//!
//! The kernel has no list of tables. A number is taken if a route is in it, a rule looks into it, or a VRF has it.

use std::collections::BTreeSet;

use nix::errno::Errno;
use nix::libc;

use crate::error::NetlinkError;
use crate::netlink::{Mode, Netlink, Request};
use crate::nl::{attributes, ne32};
use crate::packet::{AddressFamily, RouteMessage};

/// The tables `default`, `main` and `local`, which are the kernel's even while they are empty.
const RESERVED: [u32; 3] = [253, 254, 255];

/// The numbers of the tables that a namespace uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables(BTreeSet<u32>);

impl Tables {
    /// Whether the table is used.
    #[must_use]
    pub fn contains(&self, table: u32) -> bool {
        self.0.contains(&table)
    }

    /// The lowest table from `first` on that nobody uses, which is used from now on. `None`: all are.
    pub fn take_free(&mut self, first: u32) -> Option<u32> {
        let free = (first..=u32::MAX).find(|table| !self.0.contains(table))?;
        self.0.insert(free);
        Some(free)
    }
}

impl FromIterator<u32> for Tables {
    /// These, and those that are always used.
    fn from_iter<I: IntoIterator<Item = u32>>(tables: I) -> Self {
        Self(tables.into_iter().chain(RESERVED).collect())
    }
}

impl Netlink {
    /// The tables in use: of all routes of both families, rules and VRFs.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn tables(&mut self) -> Result<Tables, NetlinkError> {
        let mut used = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            used.extend(self.tables_with_routes(family)?);
        }
        match self.rules() {
            Ok(rules) => used.extend(rules.into_iter().map(|rule| rule.table)),
            // Without policy routing there are no rules.
            Err(e) if e.errno() == Some(Errno::EOPNOTSUPP) => {}
            Err(e) => return Err(e),
        }
        used.extend(self.links()?.into_iter().filter_map(|link| link.vrf_table));
        Ok(used.into_iter().collect())
    }

    fn tables_with_routes(&mut self, family: AddressFamily) -> Result<Vec<u32>, NetlinkError> {
        let mut message = RouteMessage::default();
        message.header.address_family = family;
        let request = Request::new("list routes of all tables", libc::RTM_GETROUTE, Mode::Change, &message);
        match self.dump(&request, parse) {
            Err(e) if e.errno() == Some(Errno::EAFNOSUPPORT) => Ok(Vec::new()),
            done => done,
        }
    }
}

/// The table of an `RTM_NEWROUTE` of any type. `None`: it is cut off.
fn parse(message: &[u8]) -> Option<u32> {
    // struct rtmsg: the table is the fifth byte, where one byte is enough for it.
    let &[_, _, _, _, short] = message.first_chunk()?;
    let long = attributes(message.get(12..)?).find(|(kind, _)| *kind == libc::RTA_TABLE);
    Some(long.and_then(|(_, value)| ne32(value)).unwrap_or(u32::from(short)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_table_is_taken_once() {
        let mut tables: Tables = [0, 100, 102].into_iter().collect();
        assert_eq!([(); 3].map(|()| tables.take_free(100)), [Some(101), Some(103), Some(104)]);
        assert_eq!(tables.take_free(252), Some(252));
        assert_eq!(tables.take_free(252), Some(256), "default, main and local are the kernel's");
        assert!(tables.contains(256) && !tables.contains(257));
        assert_eq!([(); 2].map(|()| tables.take_free(u32::MAX)), [Some(u32::MAX), None]);
    }

    #[test]
    fn a_long_number_is_in_the_attribute() {
        let header = [2, 0, 0, 0, 252, 3, 0, 1, 0, 0, 0, 0];
        assert_eq!(parse(&header), Some(252));
        assert_eq!(parse(&[&header[..], &[8, 0, 15, 0, 0xe8, 3, 0, 0]].concat()), Some(1000));
        assert_eq!(parse(&header[..4]), None);
    }
}
