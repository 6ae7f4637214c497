//! Filters of any kind, as a list.

use nix::libc;

use crate::error::NetlinkError;
use crate::link::Dev;
use crate::netlink::{Mode, Netlink, Request};
use crate::nl::{Attributes, find, text};

use super::{Head, redirect};

/// A filter, as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The index of the link that it is on.
    pub link: u32,
    /// The queueing discipline that it belongs to, as a handle.
    pub parent: u32,
    /// Its kind: `u32`, `matchall`, `flower`, `bpf`, …
    pub kind: String,
    /// Its handle within the kind; 0 for what has none.
    pub handle: u32,
    /// Its place among the filters, lowest first (`pref`).
    pub priority: u32,
    /// The indexes of the links that it sends packets to; [`GONE`](super::GONE) for one that is not there any more.
    pub targets: Vec<u32>,
}

impl Netlink {
    /// The filters of a queueing discipline, in order (`tc filter show dev DEV parent HANDLE`).
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn filters(&mut self, dev: Dev<'_>, parent: u32) -> Result<Vec<Filter>, NetlinkError> {
        let head = Head { link: dev.index, parent, ..Head::default() };
        let doing = format!("list the filters of {}", dev.name);
        let request: Request = head.request(doing, libc::RTM_GETTFILTER, Mode::Change, &Attributes::new());
        // u32 lists its hash tables, too: they have no options.
        self.dump(&request, |message| {
            parse(message).filter(|filter| filter.kind != "u32" || filter.handle & 0xfff != 0)
        })
    }
}

/// Reads an `RTM_NEWTFILTER`. `None`: it is cut off.
fn parse(message: &[u8]) -> Option<Filter> {
    let head = Head::parse(message)?;
    let kind = find(message.get(Head::BYTES..)?, libc::TCA_KIND).map(text).unwrap_or_default();
    let targets = redirect::targets(message);
    let priority = head.info >> 16;
    Some(Filter { link: head.link, parent: head.parent, kind, handle: head.handle, priority, targets })
}
