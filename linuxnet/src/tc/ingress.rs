//! What comes in by a link: the queueing discipline `ingress`, which queues nothing and holds filters.

use nix::libc;

use crate::error::NetlinkError;
use crate::link::Dev;
use crate::netlink::{Mode, Netlink, Request};
use crate::nl::Attributes;

use super::Head;

const KIND: &str = "ingress";
/// `TC_H_INGRESS` of linux/pkt_sched.h.
const PARENT: u32 = 0xffff_fff1;
/// `ffff:`, the only handle that it can have.
pub(super) const HANDLE: u32 = 0xffff_0000;

/// Lets a link have filters for what comes in (`tc qdisc replace dev DEV ingress`). Those that it has stay.
#[must_use]
pub fn ensure_ingress(dev: Dev<'_>) -> Request {
    let mut attributes = Attributes::new();
    attributes.string(libc::TCA_KIND, KIND);
    let doing = format!("add the queueing discipline {KIND} to {}", dev.name);
    place(dev).request(doing, libc::RTM_NEWQDISC, Mode::Replace, &attributes)
}

impl Netlink {
    /// Removes what [`ensure_ingress`] made, with its filters (`tc qdisc del dev DEV ingress`). Absent is success.
    ///
    /// # Errors
    /// If the kernel cannot be asked, or refuses.
    pub fn remove_ingress(&mut self, dev: Dev<'_>) -> Result<(), NetlinkError> {
        self.remove_qdisc(dev, place(dev), KIND)
    }
}

fn place(dev: Dev<'_>) -> Head {
    Head { link: dev.index, handle: HANDLE, parent: PARENT, info: 0 }
}
