//! How attachments hang on the host: on a bridge, on a link of their own, on an uplink.

use super::view::{Row, View};

/// The host's side of an attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side<'i> {
    /// A port of this bridge.
    Bridge(&'i str),
    /// It has a link of the host for itself, between which the host routes.
    Routed,
    /// It lies on this link of the host, as a macvlan does.
    On(&'i str),
    /// Nothing is known of it.
    Unknown,
}

/// The attachments of one network on one side.
pub(super) struct Group<'v, 'i> {
    pub(super) network: &'i str,
    pub(super) side: Side<'i>,
    pub(super) rows: Vec<&'v Row<'i>>,
}

/// The attachments of a view, by network and side.
pub(super) fn groups<'v, 'i>(view: &'v View<'i>) -> Vec<Group<'v, 'i>> {
    let mut groups: Vec<Group<'v, 'i>> = Vec::new();
    for row in &view.rows {
        let (network, side) = (row.attached.network.as_str(), side(view, row));
        match groups.iter_mut().find(|group| group.network == network && group.side == side) {
            Some(group) => group.rows.push(row),
            None => groups.push(Group { network, side, rows: vec![row] }),
        }
    }
    groups
}

/// The side of one whose namespace is gone is what its result says.
fn side<'i>(view: &View<'i>, row: &Row<'i>) -> Side<'i> {
    let reported = || row.attached.result.host_interfaces();
    let bridge =
        || reported().find_map(|interface| view.bridges.iter().find(|bridge| bridge.link.name == interface.name));
    if let Some(bridge) = row.bridge.or_else(|| bridge().map(|bridge| bridge.link.name.as_str())) {
        return Side::Bridge(bridge);
    }
    match row.host_link {
        Some(link) if link.kind != "veth" => Side::On(&link.name),
        Some(_) => Side::Routed,
        None if reported().next().is_some() => Side::Routed,
        None => Side::Unknown,
    }
}
