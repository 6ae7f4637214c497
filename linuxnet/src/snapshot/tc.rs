//! Queueing disciplines and filters, as lines.

use super::{Entry, Kind, Names, Object};
use crate::tc::{Filter, GONE, Qdisc, ROOT};

/// `TC_H_INGRESS` of linux/pkt_sched.h, also `TC_H_CLSACT`: the parent of `ingress` and `clsact`.
const INGRESS: u32 = 0xffff_fff1;
/// The places of `clsact` for filters: `TC_H_MIN_INGRESS` and `TC_H_MIN_EGRESS`.
const CLSACT: [u32; 2] = [0xffff_fff2, 0xffff_fff3];

/// Where the filters of a queueing discipline are.
pub(super) fn filter_parents(qdisc: &Qdisc) -> Vec<u32> {
    if qdisc.kind == "clsact" { CLSACT.to_vec() } else { vec![qdisc.handle] }
}

/// `tbf 1: dev veth0 root rate 125000 bytes/s limit 3125000 bytes`.
pub(super) fn qdisc(qdisc: Qdisc, names: &Names) -> Entry {
    let dev = names.of(qdisc.link);
    let place = match qdisc.parent {
        ROOT => "root".to_owned(),
        INGRESS => "ingress".to_owned(),
        parent => format!("parent {}", handle(parent)),
    };
    let tbf = qdisc
        .tbf
        .map(|tbf| format!(" rate {} bytes/s buffer {} ticks limit {} bytes", tbf.rate, tbf.buffer, tbf.limit));
    Entry {
        kind: Kind::Qdisc,
        is_automatic: qdisc.handle == 0,
        text: format!("{} {} dev {dev} {place}{}", qdisc.kind, handle(qdisc.handle), tbf.unwrap_or_default()),
        key: format!("{dev} {:x}", qdisc.parent),
        dev: Some(dev),
        object: Object::Qdisc(qdisc),
    }
}

/// `dev veth0 parent ffff: pref 1 u32 handle 80000800 redirect to ifb0`.
pub(super) fn filter(filter: Filter, names: &Names) -> Entry {
    let dev = names.of(filter.link);
    let key = format!("{dev} {:x} {} {} {:x}", filter.parent, filter.priority, filter.kind, filter.handle);
    let to = |index: &u32| if *index == GONE { "a link that is gone".to_owned() } else { names.of(*index) };
    let targets: String = filter.targets.iter().map(|index| format!(" redirect to {}", to(index))).collect();
    Entry {
        kind: Kind::Filter,
        is_automatic: false,
        text: format!(
            "dev {dev} parent {} pref {} {} handle {:x}{targets}",
            handle(filter.parent),
            filter.priority,
            filter.kind,
            filter.handle
        ),
        key,
        dev: Some(dev),
        object: Object::Filter(filter),
    }
}

/// A handle as `tc` writes it: `ffff:`, `1:10`.
fn handle(handle: u32) -> String {
    let (major, minor) = (handle >> 16, handle & 0xffff);
    if minor == 0 { format!("{major:x}:") } else { format!("{major:x}:{minor:x}") }
}
