//! The VRF itself, which the interfaces of one or several networks share.

use libcni::netns::Netns;
use linuxnet::NetlinkError;
use linuxnet::link::{self, Dev, Link};
use linuxnet::netlink::Netlink;
use linuxnet::undo::Undo;
use nix::errno::Errno;

use crate::conf::Conf;
use crate::error::VrfError;

/// The first number of a table that is chosen, as the reference's.
const FIRST_TABLE: u32 = 1;

/// A VRF of the container.
#[derive(Clone, Debug)]
pub(crate) struct Vrf {
    pub(crate) link: Link,
    pub(crate) table: u32,
}

/// The VRF called `name`, if there is one.
pub(crate) fn find(netlink: &mut Netlink, name: &str) -> Result<Option<Vrf>, VrfError> {
    match netlink.find_link(name)? {
        None => Ok(None),
        Some(link) => match link.vrf_table {
            Some(table) => Ok(Some(Vrf { link, table })),
            None => Err(VrfError::NotAVrf { name: link.name, kind: link.kind }),
        },
    }
}

/// The VRF that the configuration names, made and set up where that is missing. To be called under the namespace's lock.
pub(crate) fn ensure<'a>(
    netlink: &mut Netlink,
    netns: &'a Netns,
    conf: &Conf,
    undo: &mut Undo<'a>,
) -> Result<Vrf, VrfError> {
    let name = conf.name.as_str();
    let vrf = match find(netlink, name)? {
        Some(vrf) => vrf,
        None => create(netlink, netns, conf, undo)?,
    };
    if let Some(wanted) = conf.table.filter(|&wanted| wanted != vrf.table) {
        return Err(VrfError::OtherTable { name: name.to_owned(), is: vrf.table, wanted });
    }
    if !vrf.link.is_up {
        let down = vrf.link.clone();
        undo.push(format!("set {name} down"), move || {
            Ok(Netlink::open_in(netns)?.run(link::set_down(Dev::from(&down)))?)
        });
        netlink.run(link::set_up(Dev::from(&vrf.link)))?;
    }
    Ok(vrf)
}

fn create<'a>(netlink: &mut Netlink, netns: &'a Netns, conf: &Conf, undo: &mut Undo<'a>) -> Result<Vrf, VrfError> {
    let name = conf.name.as_str();
    let table = match conf.table {
        Some(table) => table,
        None => netlink.tables()?.take_free(FIRST_TABLE).ok_or(VrfError::NoFreeTable)?,
    };
    let made = conf.name.clone();
    undo.push(format!("remove VRF {name}"), move || {
        let mut netlink = Netlink::open_in(netns)?;
        match find(&mut netlink, made.as_str())? {
            Some(vrf) => Ok(remove_unused(&mut netlink, &vrf)?),
            None => Ok(()),
        }
    });
    match netlink.run(link::create_vrf(name, table)) {
        Err(e) if e.errno() == Some(Errno::EOPNOTSUPP) => return Err(VrfError::NoVrfs),
        // The Go plugin, which waits for no lock, was faster.
        Err(e) if e.is_exists() => {}
        done => done?,
    }
    find(netlink, name)?.ok_or_else(|| VrfError::Differs(format!("VRF {name} was made and is gone")))
}

/// Removes the VRF if it has no ports (any more).
pub(crate) fn remove_unused(netlink: &mut Netlink, vrf: &Vrf) -> Result<(), NetlinkError> {
    if netlink.links()?.iter().any(|link| link.master == Some(vrf.link.index)) {
        return Ok(());
    }
    netlink.remove_link(Dev::from(&vrf.link))
}
