//! All that is known of one attachment.

use libcni::types::Route;

use crate::error::ToolError;
use crate::node::{Inventory, Life};
use crate::session::Session;
use crate::terminal::Tone;

use super::view::Row;

/// The values stand behind their names, in columns.
const INDENT: usize = 13;

/// Prints it, a line for each property.
pub(super) fn print(session: &mut Session<'_>, inventory: &Inventory, row: &Row<'_>) -> Result<(), ToolError> {
    let screen = session.screen();
    for (name, values) in properties(inventory, row) {
        let tone = if name == "odd" { Tone::Error } else { Tone::Plain };
        let mut name = name;
        for value in values {
            let value = screen.paint(tone, screen.wrapped(&value, INDENT));
            let label = screen.paint(Tone::Heading, format!("{name:<INDENT$}"));
            session.print(format_args!("{label}{value}\n"))?;
            name = "";
        }
    }
    Ok(())
}

/// Names and values; what there is nothing to say of has none.
fn properties(inventory: &Inventory, row: &Row<'_>) -> Vec<(&'static str, Vec<String>)> {
    let attached = row.attached;
    let netns = attached.netns.as_ref().map(|path| path.display().to_string());
    let netns = netns.map(|path| if attached.life == Life::Gone { format!("{path} (gone)") } else { path });
    let plugins = attached.list.as_ref().map(|list| {
        let types: Vec<&str> = list.plugins.iter().map(|plugin| plugin.plugin_type.as_str()).collect();
        format!("{} (CNI {})", types.join(", "), list.cni_version)
    });
    let owned = inventory.owned.iter().filter(|owned| owned.attachments.contains(&row.at));
    vec![
        ("network", vec![attached.network.to_string()]),
        ("plugins", plugins.into_iter().collect()),
        ("pod", attached.pod.iter().map(ToString::to_string).collect()),
        ("container", vec![attached.id.container_id.to_string()]),
        ("namespace", netns.into_iter().collect()),
        ("interface", vec![interface(row)]),
        ("addresses", addresses(row)),
        ("routes", attached.result.routes.iter().map(route).collect()),
        ("host end", host_end(row).into_iter().collect()),
        ("published", row.ports.iter().map(|port| port.mapping.to_string()).collect()),
        ("arguments", attached.args.pairs().iter().map(|(key, value)| format!("{key}={value}")).collect()),
        ("owns", owned.map(|owned| owned.object.to_string()).collect()),
        ("odd", row.odd.clone()),
    ]
}

/// `eth0, 0a:58:0a:01:00:02, MTU 1500, up`.
fn interface(row: &Row<'_>) -> String {
    let mut words = vec![row.attached.id.ifname.to_string()];
    if let Some(link) = row.link {
        words.extend(Some(link.kind.clone()).filter(|kind| !kind.is_empty()));
        words.extend(link.mac.map(|mac| mac.to_string()));
        words.push(format!("MTU {}", link.mtu));
        words.push(if link.is_up { "up" } else { "down" }.to_owned());
    }
    words.join(", ")
}

fn addresses(row: &Row<'_>) -> Vec<String> {
    let address = |ip: &libcni::types::IpConfig| match ip.gateway {
        Some(gateway) => format!("{}, gateway {gateway}", ip.address),
        None => ip.address.to_string(),
    };
    row.attached.result.ips.iter().map(address).collect()
}

fn route(route: &Route) -> String {
    match route.gw {
        Some(gateway) => format!("{} via {gateway}", route.dst),
        None => route.dst.to_string(),
    }
}

fn host_end(row: &Row<'_>) -> Option<String> {
    let link = row.host_link?;
    let bridge = row.bridge.map(|bridge| format!(" on bridge {bridge}")).unwrap_or_default();
    let state = if link.is_up { "up" } else { "down" };
    Some(format!("{}{bridge}, MTU {}, {state}", link.name, link.mtu))
}
