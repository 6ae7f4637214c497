//! Token bucket filters: a rate, and how much may go at once.
//!
//! The kernel's unit of time in messages is a tick of 64 ns (`PSCHED_SHIFT` of net/pkt_sched.h, since Linux 2.6.31;
//! `/proc/net/psched` says the same), and it keeps the burst as the time that the burst takes at the rate.

use nix::libc;

use crate::error::NetlinkError;
use crate::link::{Dev, Link};
use crate::netlink::{Mode, Netlink, Request};
use crate::nl::{Attributes, find, ne32, ne64};

use super::{Head, ROOT};

pub(super) const KIND: &str = "tbf";
/// `1:`, the handle that the reference gives it too.
const HANDLE: u32 = 1 << 16;

/// Attributes of linux/pkt_sched.h.
const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_RATE64: u16 = 4;
const TCA_TBF_BURST: u16 = 6;
/// `TC_LINKLAYER_ETHERNET`.
const ETHERNET: u8 = 1;
/// Positions in `struct tc_tbf_qopt`: `rate.linklayer`, `rate.rate`, `limit`, `buffer`; and its size.
const LINKLAYER: usize = 1;
const RATE: usize = 8;
const LIMIT: usize = 24;
const BUFFER: usize = 28;
const QOPT: usize = 36;

const NS_PER_TICK: u128 = 64;
const NS_PER_SECOND: u128 = 1_000_000_000;
/// What stands before a packet beyond the MTU: an Ethernet header with two VLAN tags, in bytes.
const LINK_HEADER: u32 = 22;

/// A token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tbf {
    /// Bytes per second, at least 1.
    pub rate: u64,
    /// Bytes that may go at once after a silence, at least 1. Packets that are larger are dropped.
    pub burst: u32,
    /// Bytes that may wait.
    pub limit: u32,
}

/// What a token bucket is set to, in the kernel's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TbfState {
    /// Bytes per second.
    pub rate: u64,
    /// The time that the burst takes at the rate, in ticks of 64 ns, modulo 2^32.
    pub buffer: u32,
    /// Bytes that may wait.
    pub limit: u32,
}

/// Has a link send by a token bucket, in place of an earlier one
/// (`tc qdisc replace dev DEV root handle 1: tbf rate RATE burst BURST limit LIMIT`).
#[must_use]
pub fn set_tbf(link: &Link, tbf: &Tbf) -> Request {
    let ticks = tbf.ticks(link.mtu);
    let mut options = [0; QOPT];
    let mut put = |at: usize, word: u32| {
        if let Some(place) = options.get_mut(at..at + 4) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
    };
    put(RATE, u32::try_from(tbf.rate).unwrap_or(u32::MAX));
    put(LIMIT, tbf.limit);
    put(BUFFER, ticks.unwrap_or(u32::MAX));
    if let Some(linklayer) = options.get_mut(LINKLAYER) {
        *linklayer = ETHERNET;
    }
    let mut attributes = Attributes::new();
    attributes.string(libc::TCA_KIND, KIND).nest(libc::TCA_OPTIONS, |inner| {
        inner.bytes(TCA_TBF_PARMS, &options);
        if u32::try_from(tbf.rate).is_err() {
            inner.ne64(TCA_TBF_RATE64, tbf.rate);
        }
        if ticks.is_none() {
            inner.ne32(TCA_TBF_BURST, tbf.burst);
        }
    });
    let head = Head { link: link.index, handle: HANDLE, parent: ROOT, info: 0 };
    let doing = format!("limit {} to {} bytes/s", link.name, tbf.rate);
    head.request(doing, libc::RTM_NEWQDISC, Mode::Replace, &attributes)
}

impl Netlink {
    /// Has a link send without the token bucket that [`set_tbf`] set (`tc qdisc del dev DEV root handle 1: tbf`). Absent
    /// is success; another queue is left alone.
    ///
    /// # Errors
    /// If the kernel cannot be asked, or refuses.
    pub fn remove_tbf(&mut self, dev: Dev<'_>) -> Result<(), NetlinkError> {
        let place = Head { link: dev.index, handle: HANDLE, parent: ROOT, info: 0 };
        self.remove_qdisc(dev, place, KIND)
    }
}

impl Tbf {
    /// The burst as time, to the microsecond, as `tc` and the reference say it. `None` where the kernel would take
    /// less from that than is meant, so that it has to be told bytes:
    /// * the field ends at 275 s;
    /// * from more than 4.29 s it takes the largest packet to be what goes in 4.29 s;
    /// * what a fraction of a microsecond matters to, at a high rate.
    fn ticks(&self, mtu: u32) -> Option<u32> {
        let rate = u128::from(self.rate.max(1));
        let microseconds = u128::from(self.burst) * 1_000_000 / rate;
        let ticks = u32::try_from(microseconds * 1000 / NS_PER_TICK).ok()?;
        let nanoseconds = (u128::from(ticks) * NS_PER_TICK).min(u128::from(u32::MAX));
        let largest_packet = nanoseconds * rate / NS_PER_SECOND;
        (largest_packet >= u128::from(self.burst.min(mtu.saturating_add(LINK_HEADER)))).then_some(ticks)
    }

    /// Whether a token bucket has this burst, but for the microsecond that the kernel or the one who set it may have
    /// rounded away.
    #[must_use]
    pub fn has_burst_of(&self, state: &TbfState) -> bool {
        let ticks = u128::from(self.burst) * NS_PER_SECOND / NS_PER_TICK / u128::from(self.rate.max(1));
        // Modulo 2^32, as the kernel tells it.
        let told = u32::try_from(ticks & u128::from(u32::MAX)).unwrap_or_default();
        let difference = told.wrapping_sub(state.buffer).min(state.buffer.wrapping_sub(told));
        // The kernel's own arithmetic has 31 significant bits.
        u128::from(difference) <= 16 + (ticks >> 28)
    }
}

impl TbfState {
    /// Reads `TCA_OPTIONS`. `None`: it is cut off.
    pub(super) fn parse(options: &[u8]) -> Option<Self> {
        let qopt = find(options, TCA_TBF_PARMS)?;
        let word = |at: usize| qopt.get(at..at + 4).and_then(ne32);
        let rate = match find(options, TCA_TBF_RATE64).and_then(ne64) {
            Some(rate) => rate,
            None => u64::from(word(RATE)?),
        };
        Some(Self { rate, buffer: word(BUFFER)?, limit: word(LIMIT)? })
    }

    /// Bytes that may go at once, as far as [`buffer`](Self::buffer) tells.
    #[must_use]
    pub fn burst(&self) -> u64 {
        let bytes = u128::from(self.buffer) * NS_PER_TICK * u128::from(self.rate) / NS_PER_SECOND;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tbf(rate: u64, burst: u32) -> Tbf {
        Tbf { rate, burst, limit: 0 }
    }

    #[test]
    fn a_burst_is_said_as_time_where_that_says_it() {
        // What the reference sent (v1.9.1, strace): 1 MB/s with 125,000 bytes, 5 GB/s with 536,870,911 bytes.
        assert_eq!(tbf(1_000_000, 125_000).ticks(1500), Some(1_953_125));
        assert_eq!(tbf(5_000_000_000, 536_870_911).ticks(1500), Some(1_677_718));
        // The burst of containerd: 430 s at 10 Mbit/s do not fit.
        assert_eq!(tbf(1_250_000, 536_870_911).ticks(1500), None);
        // 12.5 s fit, but 4.29 s of 120 bytes/s are less than a packet.
        assert_eq!(tbf(120, 1500).ticks(1500), None);
        assert_eq!(tbf(1_000_000, 12_500_000).ticks(1500), Some(195_312_500));
        // 1.2 µs at 10 Gbit/s.
        assert_eq!(tbf(1_250_000_000, 1500).ticks(1500), None);
        assert_eq!(tbf(1_250_000_000, 2500).ticks(1500), Some(31));
    }

    #[test]
    fn a_burst_is_recognized_as_the_kernel_tells_it() {
        let told = |rate, buffer| TbfState { rate, buffer, limit: 0 };
        assert!(tbf(1_000_000, 125_000).has_burst_of(&told(1_000_000, 1_953_125)));
        assert!(!tbf(1_000_000, 125_100).has_burst_of(&told(1_000_000, 1_953_125)));
        assert!(tbf(5_000_000_000, 536_870_911).has_burst_of(&told(5_000_000_000, 1_677_718)));
        // 6,710,886,387 ticks, modulo 2^32.
        assert!(tbf(1_250_000, 536_870_911).has_burst_of(&told(1_250_000, 2_415_919_091)));
        assert!(!tbf(1_250_000, 536_870_911).has_burst_of(&told(1_250_000, 1_953_125)));
        assert_eq!(told(1_000_000, 1_953_125).burst(), 125_000);
    }
}
