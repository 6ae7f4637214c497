//! Traffic control: the queueing disciplines of links, and filters that send packets elsewhere (`tc`).

mod filter;
mod ingress;
mod redirect;
mod tbf;
#[cfg(test)]
mod tests;

use nix::libc;

use crate::error::NetlinkError;
use crate::link::Dev;
use crate::netlink::{Mode, Netlink, Request};
use crate::nl::{Attributes, find, ne32, text};

pub use filter::Filter;
pub use ingress::ensure_ingress;
pub use redirect::{GONE, redirect};
pub use tbf::{Tbf, TbfState, set_tbf};

/// `TC_H_ROOT` of linux/pkt_sched.h: the parent of what a link sends by.
pub const ROOT: u32 = 0xffff_ffff;

/// A queueing discipline, as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Qdisc {
    /// The index of the link that it is on.
    pub link: u32,
    /// Its kind: `tbf`, `ingress`, `fq_codel`, …
    pub kind: String,
    /// Its handle: the major number in the upper half, the minor in the lower. 0: nobody gave it one.
    pub handle: u32,
    /// Where it is, as a handle: [`ROOT`] for what the link sends by, `ffff:fff1` for what comes in.
    pub parent: u32,
    /// What it is set to as a token bucket; `None` for other kinds.
    pub tbf: Option<TbfState>,
}

impl Netlink {
    /// The queueing disciplines of all links, also those for what comes in (`tc qdisc show`).
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn qdiscs(&mut self) -> Result<Vec<Qdisc>, NetlinkError> {
        let request =
            Head::default().request("list queueing disciplines", libc::RTM_GETQDISC, Mode::Change, &Attributes::new());
        self.dump(&request, parse)
    }

    /// What a link sends by (`tc qdisc show dev DEV root`); `None` if it has no queue.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn root_qdisc(&mut self, dev: Dev<'_>) -> Result<Option<Qdisc>, NetlinkError> {
        self.qdisc_at(dev, ROOT)
    }

    /// The queueing discipline at a place of a link.
    fn qdisc_at(&mut self, dev: Dev<'_>, parent: u32) -> Result<Option<Qdisc>, NetlinkError> {
        let head = Head { link: dev.index, parent, ..Head::default() };
        let doing = format!("look up the queueing discipline of {}", dev.name);
        // The kernel answers with what it tells those who listen to changes; and nothing where it made the queue.
        self.get(&head.request(doing, libc::RTM_GETQDISC, Mode::Echo, &Attributes::new()), parse)
    }

    /// Removes the queueing discipline of this handle and kind from its place, if it is there. (What the kernel says of
    /// one that is not there depends on what is in its place.)
    fn remove_qdisc(&mut self, dev: Dev<'_>, place: Head, kind: &str) -> Result<(), NetlinkError> {
        let found = self.qdisc_at(dev, place.parent)?;
        if !found.is_some_and(|qdisc| qdisc.kind == kind && qdisc.handle == place.handle) {
            return Ok(());
        }
        let mut attributes = Attributes::new();
        attributes.string(libc::TCA_KIND, kind);
        let doing = format!("remove the queueing discipline {kind} of {}", dev.name);
        self.run(place.request(doing, libc::RTM_DELQDISC, Mode::Change, &attributes))
    }
}

/// Reads an `RTM_NEWQDISC`. `None`: it is cut off.
fn parse(message: &[u8]) -> Option<Qdisc> {
    let head = Head::parse(message)?;
    let attributes = message.get(Head::BYTES..)?;
    let kind = find(attributes, libc::TCA_KIND).map(text).unwrap_or_default();
    let tbf = match kind.as_str() {
        tbf::KIND => find(attributes, libc::TCA_OPTIONS).and_then(TbfState::parse),
        _ => None,
    };
    Some(Qdisc { link: head.link, kind, handle: head.handle, parent: head.parent, tbf })
}

/// `struct tcmsg` of linux/rtnetlink.h, without its family, which does not matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Head {
    link: u32,
    handle: u32,
    parent: u32,
    info: u32,
}

impl Head {
    const BYTES: usize = 20;

    fn request(self, doing: impl Into<String>, kind: u16, mode: Mode, attributes: &Attributes) -> Request {
        let words = [0, self.link, self.handle, self.parent, self.info];
        Request::of_parts(doing, kind, mode, words.map(u32::to_ne_bytes).as_flattened(), attributes)
    }

    fn parse(message: &[u8]) -> Option<Self> {
        let word = |at: usize| message.get(at * 4..at * 4 + 4).and_then(ne32);
        Some(Self { link: word(1)?, handle: word(2)?, parent: word(3)?, info: word(4)? })
    }
}
