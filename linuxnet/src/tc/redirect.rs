//! The filter that sends all that comes in by a link to another link: `u32` that matches everything, with the action
//! `mirred`. (`matchall` would say it in fewer words; kernels have `u32` since the beginning, and not all have that.)

use nix::libc;

use crate::error::NetlinkError;
use crate::link::Dev;
use crate::netlink::{Mode, Netlink, Request};
use crate::nl::{Attributes, attributes, find, ne32, text};

use super::{Head, ingress};

const KIND: &str = "u32";
/// `800::800`: the first place in the first hash table. Given by its name, it is replaced and not added to.
const HANDLE: u32 = 0x8000_0800;
/// `tcm_info`: priority 1 in the upper half, `ETH_P_ALL` (3) in network byte order in the lower.
const INFO: u32 = 1 << 16 | 3u16.to_be() as u32;
/// `1:1`, which is looked at by nobody; as the reference.
const CLASS: u32 = 1 << 16 | 1;

/// Attributes and flags of linux/pkt_cls.h and linux/tc_act/tc_mirred.h.
const TCA_U32_CLASSID: u16 = 1;
const TCA_U32_SEL: u16 = 5;
const TCA_U32_ACT: u16 = 7;
const TC_U32_TERMINAL: u8 = 1;
const TCA_ACT_KIND: u16 = 1;
const TCA_ACT_OPTIONS: u16 = 2;
const MIRRED: &str = "mirred";
const TCA_MIRRED_PARMS: u16 = 2;
const TC_ACT_STOLEN: u32 = 4;
const TCA_EGRESS_REDIR: u32 = 1;

/// `struct tc_u32_sel` with one `struct tc_u32_key`: 16 and 16 bytes. The key's mask is 0, so it matches everything.
const MATCH_ALL: [u8; 32] = {
    let mut selector = [0; 32];
    // flags, offshift, nkeys
    selector[0] = TC_U32_TERMINAL;
    selector[2] = 1;
    selector
};

/// The index of no link: packets that are redirected there are dropped.
pub const GONE: u32 = 0;

/// Sends all that comes in by `from` to `to`, as if it left by that; in place of an earlier such redirection
/// (`tc filter replace dev FROM ingress protocol all pref 1 handle 800::800 u32 match u32 0 0
/// action mirred egress redirect dev TO`). `from` needs [`ensure_ingress`](super::ensure_ingress) before.
#[must_use]
pub fn redirect(from: Dev<'_>, to: Dev<'_>) -> Request {
    // struct tc_mirred: index, capab, action, refcnt, bindcnt; eaction, ifindex.
    let mirred = [0, 0, TC_ACT_STOLEN, 0, 0, TCA_EGRESS_REDIR, to.index].map(u32::to_ne_bytes);
    let mut message = Attributes::new();
    message.string(libc::TCA_KIND, KIND).nest(libc::TCA_OPTIONS, |options| {
        options.bytes(TCA_U32_SEL, &MATCH_ALL).ne32(TCA_U32_CLASSID, CLASS).nest(TCA_U32_ACT, |actions| {
            actions.nest(1, |action| {
                action.string(TCA_ACT_KIND, MIRRED).nest(TCA_ACT_OPTIONS, |options| {
                    options.bytes(TCA_MIRRED_PARMS, mirred.as_flattened());
                });
            });
        });
    });
    let head = Head { link: from.index, handle: HANDLE, parent: ingress::HANDLE, info: INFO };
    let doing = format!("redirect what comes in by {} to {}", from.name, to.name);
    head.request(doing, libc::RTM_NEWTFILTER, Mode::Replace, &message)
}

impl Netlink {
    /// The indexes of the links that `u32` filters send to what comes in by a link (`tc filter show dev DEV ingress`);
    /// [`GONE`] for a link that is not there any more.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn redirections(&mut self, dev: Dev<'_>) -> Result<Vec<u32>, NetlinkError> {
        let head = Head { link: dev.index, parent: ingress::HANDLE, ..Head::default() };
        let doing = format!("list the filters of what comes in by {}", dev.name);
        let request = head.request(doing, libc::RTM_GETTFILTER, Mode::Change, &Attributes::new());
        Ok(self.dump(&request, |message| Some(targets(message)))?.into_iter().flatten().collect())
    }
}

/// The links that an `RTM_NEWTFILTER` sends to.
pub(super) fn targets(message: &[u8]) -> Vec<u32> {
    let whole = message.get(Head::BYTES..).unwrap_or_default();
    if find(whole, libc::TCA_KIND).map(text).as_deref() != Some(KIND) {
        return Vec::new();
    }
    let actions = find(whole, libc::TCA_OPTIONS).and_then(|options| find(options, TCA_U32_ACT)).unwrap_or_default();
    attributes(actions).filter_map(|(_, action)| target(action)).collect()
}

/// The link that an action redirects to.
fn target(action: &[u8]) -> Option<u32> {
    if text(find(action, TCA_ACT_KIND)?) != MIRRED {
        return None;
    }
    let mirred = find(find(action, TCA_ACT_OPTIONS)?, TCA_MIRRED_PARMS)?;
    let word = |at: usize| mirred.get(at * 4..at * 4 + 4).and_then(ne32);
    word(6).filter(|_| word(5) == Some(TCA_EGRESS_REDIR))
}
