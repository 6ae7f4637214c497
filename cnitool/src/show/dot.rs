//! The picture for Graphviz: `dot -Tsvg FILE`.

use std::fmt::Write;

use super::side::{Group, Side, groups};
use super::view::{Row, View};
use crate::report::counted;

/// The graph of a view.
pub(super) fn of(view: &View<'_>) -> String {
    let mut out = String::from(
        "digraph networks {\n  rankdir=LR;\n  ranksep=1.2;\n  bgcolor=white;\n  \
         node [shape=box, style=\"rounded,filled\", fillcolor=white, fontname=\"monospace\", fontsize=10];\n  \
         edge [dir=none];\n  host [label=\"host\", fillcolor=\"#e0e7ff\"];\n",
    );
    for (at, group) in groups(view).iter().enumerate() {
        cluster(&mut out, view, at, group);
    }
    for (at, overlay) in view.inventory.overlays.iter().enumerate() {
        let label =
            [format!("overlay {}", overlay.backend), overlay.subnets.join(" "), counted(overlay.peers.len(), "peer")];
        statement(&mut out, &format!("  overlay{at} [label={}, fillcolor=\"#e0e7ff\"];", label_of(&label)));
        statement(&mut out, &format!("  overlay{at} -> host;"));
    }
    out.push_str("}\n");
    out
}

fn statement(out: &mut String, line: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{line}");
}

fn cluster(out: &mut String, view: &View<'_>, at: usize, group: &Group<'_, '_>) {
    statement(out, &format!("  subgraph cluster{at} {{"));
    statement(
        out,
        &format!("    label={}; style=filled; fillcolor=\"#f3f4f6\"; color=\"#d1d5db\";", quoted(group.network)),
    );
    let style = match group.side {
        Side::Bridge(_) => "fillcolor=\"#dbeafe\"",
        Side::Routed | Side::On(_) | Side::Unknown => "style=\"rounded,dashed\"",
    };
    statement(out, &format!("    side{at} [label={}, {style}];", label_of(&side(view, group))));
    for row in &group.rows {
        let colour = if row.odd.is_empty() { "" } else { ", color=red, fontcolor=red, style=\"rounded,dashed\"" };
        let (name, tooltip) = (node(row), quoted(row.attached.id.container_id.as_str()));
        statement(out, &format!("    {name} [label={}, tooltip={tooltip}{colour}];", label_of(&container(row))));
        statement(out, &format!("    side{at} -> {name};"));
    }
    statement(out, "  }");
    statement(out, &format!("  host -> side{at};"));
}

fn side(view: &View<'_>, group: &Group<'_, '_>) -> Vec<String> {
    match group.side {
        Side::Bridge(name) => {
            let bridge = view.bridges.iter().find(|bridge| bridge.link.name == name);
            let addresses = bridge.into_iter().flat_map(|bridge| bridge.shown_addresses());
            std::iter::once(name.to_owned()).chain(addresses.map(ToString::to_string)).collect()
        }
        Side::Routed => vec!["routed, a veth each".to_owned()],
        Side::On(name) => vec![format!("on {name}")],
        Side::Unknown => vec!["no link known".to_owned()],
    }
}

fn node(row: &Row<'_>) -> String {
    format!("attachment{}", row.at)
}

fn container(row: &Row<'_>) -> Vec<String> {
    let mut lines = vec![row.name()];
    lines.extend(row.addresses.iter().map(ToString::to_string));
    lines.extend(row.ports.iter().map(|port| port.mapping.to_string()));
    lines.extend(row.odd.iter().cloned());
    lines
}

/// Lines as a label.
fn label_of(lines: &[String]) -> String {
    quoted(&lines.join("\n"))
}

/// A string of Graphviz's language.
fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let text: String = text.chars().filter(|character| !character.is_control()).collect();
    format!("\"{text}\"")
}
