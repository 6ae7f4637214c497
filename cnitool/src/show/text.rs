//! For people: attachments by network, bridges, and what is odd; of a single attachment all that is known.

use crate::error::ToolError;
use crate::node::Life;
use crate::report::counted;
use crate::session::Session;
use crate::terminal::{Cell, Section, Tone};

use super::detail;
use super::view::{Bridge, Row, View};

/// From this width on, in columns, there is room for container IDs and namespaces beside the rest.
const WIDE: usize = 120;

/// Prints the view.
pub(crate) fn print(session: &mut Session<'_>, view: &View<'_>) -> Result<(), ToolError> {
    if let ([row], false) = (view.rows.as_slice(), view.is_whole) {
        return detail::print(session, view.inventory, row);
    }
    if !view.rows.is_empty() {
        attachments(session, view)?;
    }
    if !view.bridges.is_empty() {
        separate(session, !view.rows.is_empty())?;
        let rows: Vec<[Cell; 5]> = view.bridges.iter().map(bridge).collect();
        session.table(["BRIDGE", "ADDRESSES", "PORTS", "MTU", "NETWORKS"], rows)?;
    }
    let is_first = view.rows.is_empty() && view.bridges.is_empty();
    if view.rows.iter().any(|row| !row.odd.is_empty()) {
        separate(session, !is_first)?;
        odd(session, view)?;
    }
    if view.is_whole {
        separate(session, !is_first)?;
        summary(session, view)?;
    }
    Ok(())
}

/// An empty line, if something stands above it.
fn separate(session: &mut Session<'_>, is_needed: bool) -> Result<(), ToolError> {
    if is_needed { session.print("\n") } else { Ok(()) }
}

fn attachments(session: &mut Session<'_>, view: &View<'_>) -> Result<(), ToolError> {
    let is_wide = session.screen().width.is_none_or(|width| width >= WIDE);
    if is_wide {
        let head = ["CONTAINER", "ID", "IFACE", "ADDRESSES", "HOST END", "PUBLISHED", "NAMESPACE"];
        let sections = sections(view, |row, bridge| {
            [
                name(row),
                row.short_id().into(),
                ifname(row),
                addresses(row),
                host_end(row, bridge),
                ports(row),
                netns(row),
            ]
        });
        session.sections(head, &sections)
    } else {
        let head = ["CONTAINER", "IFACE", "ADDRESSES", "HOST END", "PUBLISHED"];
        let sections =
            sections(view, |row, bridge| [name(row), ifname(row), addresses(row), host_end(row, bridge), ports(row)]);
        session.sections(head, &sections)
    }
}

fn sections<const N: usize>(view: &View<'_>, cells: impl Fn(&Row<'_>, bool) -> [Cell; N]) -> Vec<Section<N>> {
    let section = |rows: &[Row<'_>]| {
        let names_bridge = common_bridge(rows).is_none();
        Section { title: title(rows), rows: rows.iter().map(|row| cells(row, names_bridge)).collect() }
    };
    view.networks().map(section).collect()
}

/// `pods: 25 attachments on cni0, by bridge, portmap, firewall`.
fn title(rows: &[Row<'_>]) -> String {
    let Some(first) = rows.first() else { return String::new() };
    let bridge = common_bridge(rows).map(|bridge| format!(" on {bridge}")).unwrap_or_default();
    let plugins = first.attached.list.as_ref().map(|list| {
        let types: Vec<&str> = list.plugins.iter().map(|plugin| plugin.plugin_type.as_str()).collect();
        format!(", by {}", types.join(", "))
    });
    let plugins = plugins.unwrap_or_default();
    format!("{}: {}{bridge}{plugins}", first.attached.network, counted(rows.len(), "attachment"))
}

/// The bridge that all are on that are on one.
fn common_bridge<'i>(rows: &[Row<'i>]) -> Option<&'i str> {
    let mut bridges = rows.iter().filter_map(|row| row.bridge);
    let first = bridges.next()?;
    bridges.all(|bridge| bridge == first).then_some(first)
}

fn name(row: &Row<'_>) -> Cell {
    if row.odd.is_empty() { row.name().into() } else { Cell::new(Tone::Warning, format!("{} (!)", row.name())) }
}

fn ifname(row: &Row<'_>) -> Cell {
    row.attached.id.ifname.to_string().into()
}

fn addresses(row: &Row<'_>) -> Cell {
    joined(row.addresses.iter()).into()
}

fn joined<T: ToString>(values: impl Iterator<Item = T>) -> String {
    values.map(|value| value.to_string()).collect::<Vec<_>>().join(" ")
}

/// `veth1a2b3c4d`, and on which bridge if that is not said elsewhere.
fn host_end(row: &Row<'_>, names_bridge: bool) -> Cell {
    let bridge = row.bridge.filter(|_| names_bridge);
    let ends = [row.host_link.map(|link| link.name.as_str()), bridge];
    let ends = ends.into_iter().flatten().collect::<Vec<_>>().join(" on ");
    if ends.is_empty() { "-".into() } else { ends.into() }
}

fn ports(row: &Row<'_>) -> Cell {
    joined(row.ports.iter().map(|port| &port.mapping)).into()
}

fn netns(row: &Row<'_>) -> Cell {
    match (&row.attached.netns, row.attached.life) {
        (None, _) => "-".into(),
        (Some(path), Life::Gone) => Cell::new(Tone::Warning, format!("{} (gone)", path.display())),
        (Some(path), _) => path.display().to_string().into(),
    }
}

fn bridge(bridge: &Bridge<'_>) -> [Cell; 5] {
    let name = if bridge.link.is_up {
        bridge.link.name.clone().into()
    } else {
        Cell::new(Tone::Warning, format!("{} (down)", bridge.link.name))
    };
    [
        name,
        joined(bridge.shown_addresses()).into(),
        bridge.ports.len().to_string().into(),
        bridge.link.mtu.to_string().into(),
        joined(bridge.networks.iter()).into(),
    ]
}

/// What is not as ADD left it, by name.
fn odd(session: &mut Session<'_>, view: &View<'_>) -> Result<(), ToolError> {
    let screen = session.screen();
    for row in view.rows.iter().filter(|row| !row.odd.is_empty()) {
        let name = screen.paint(Tone::Warning, format!("(!) {}", row.name()));
        let text = format!(" on {}: {}", row.attached.network, row.odd.join(", "));
        session.print(format_args!("{name}{}\n", screen.wrapped(&text, 4)))?;
    }
    Ok(())
}

/// What is left to say of a whole node.
fn summary(session: &mut Session<'_>, view: &View<'_>) -> Result<(), ToolError> {
    let networks = view.networks().count();
    let ports = view.rows.iter().map(|row| row.ports.len()).sum::<usize>() + view.stray_ports.len();
    session.line(format!(
        "{} to {}, {}, {}.",
        counted(view.rows.len(), "attachment"),
        counted(networks, "network"),
        counted(view.bridges.len(), "bridge"),
        counted(ports, "published port"),
    ))?;
    let (dead, nobodys) = view.leftovers();
    if dead > 0 {
        let gone = view.networks().filter(|rows| rows.iter().any(|row| row.attached.life == Life::Gone));
        let cure: Vec<String> =
            gone.filter_map(|rows| Some(format!("cnitool gc {}", rows.first()?.attached.network))).collect();
        let left = verb(dead, "thing is", "things are");
        session.line(format!("{left} left by attachments that are gone; to remove: {}", cure.join("; ")))?;
    }
    if nobodys > 0 {
        session.line(format!(
            "{} that no attachment in the cache owns; see: cnitool doctor",
            verb(nobodys, "thing is there", "things are there")
        ))?;
    }
    for overlay in &view.inventory.overlays {
        let count = counted(overlay.peers.len(), "peer");
        let ill = overlay.peers.iter().filter(|peer| peer.state != "ok").count();
        let ill = if ill == 0 { String::new() } else { format!(", {ill} of them not well") };
        let subnets = overlay.subnets.join(" ");
        session.line(format!(
            "Overlay {}: {subnets} on this node, {count}{ill}; see: cnitool overlay peers",
            overlay.backend
        ))?;
        for reason in &overlay.not_ready {
            session
                .line(session.screen().paint(Tone::Error, format!("The overlay is not ready: {reason}")).to_string())?;
        }
    }
    for binding in &view.stray_ports {
        session
            .line(format!("Port {} is published to {} for nobody in the cache.", binding.mapping, binding.target))?;
    }
    for note in &view.inventory.notes {
        session.warn(note);
    }
    for unreadable in &view.inventory.unreadable {
        session.warn(unreadable);
    }
    Ok(())
}

fn verb(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
