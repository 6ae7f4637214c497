//! The whole of it for programs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use libcni::runtime::NetworkList;
use serde_json::{Value, json};

use super::view::{Bridge, Port, Row, View};
use crate::node::{Binding, Inventory, Life, LinkAt, Owned, Standing};

/// The view as one object.
pub(crate) fn of(view: &View<'_>) -> Value {
    let inventory = view.inventory;
    json!({
        "attachments": view.rows.iter().map(attachment).collect::<Vec<_>>(),
        "bridges": view.bridges.iter().map(bridge).collect::<Vec<_>>(),
        "networks": inventory.networks.iter().map(network).collect::<Vec<_>>(),
        "namespaces": (0..inventory.namespaces.len()).filter_map(|at| namespace(inventory, at)).collect::<Vec<_>>(),
        "strayPorts": view.stray_ports.iter().map(|binding| stray(binding)).collect::<Vec<_>>(),
        "overlays": inventory.overlays,
        "owned": inventory.owned.iter().map(|owned| object(inventory, owned)).collect::<Vec<_>>(),
        "unreadable": inventory.unreadable.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "notes": inventory.notes.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

fn attachment(row: &Row<'_>) -> Value {
    let attached = row.attached;
    let args: BTreeMap<_, _> = attached.args.pairs().iter().cloned().collect();
    json!({
        "network": attached.network,
        "containerID": attached.id.container_id,
        "ifname": attached.id.ifname,
        "pod": attached.pod,
        "netns": attached.netns,
        "netnsAlive": match attached.life {
            Life::Alive(_) => Some(true),
            Life::Gone => Some(false),
            Life::Unknown => None,
        },
        "addresses": texts(&row.addresses),
        "hostLink": row.host_link.map(|link| &link.name),
        "bridge": row.bridge,
        "ports": row.ports.iter().map(port).collect::<Vec<_>>(),
        "odd": row.odd,
        "args": args,
        "capabilityArgs": attached.capability_args,
        "result": attached.wire_result,
    })
}

fn port(port: &Port) -> Value {
    let mapping = &port.mapping;
    json!({
        "protocol": mapping.protocol,
        "hostIP": mapping.host_ip,
        "hostPort": mapping.host_port,
        "containerPort": mapping.container_port,
        "asked": port.is_asked,
        "published": port.is_published,
    })
}

fn stray(binding: &Binding) -> Value {
    let mapping = &binding.mapping;
    json!({
        "protocol": mapping.protocol,
        "hostIP": mapping.host_ip,
        "hostPort": mapping.host_port,
        "containerPort": mapping.container_port,
        "target": binding.target,
        "mark": binding.owner.to_string(),
    })
}

fn network((path, list): &(PathBuf, NetworkList)) -> Value {
    json!({
        "name": list.name,
        "file": path,
        "cniVersion": list.cni_version,
        "plugins": list.plugins.iter().map(|plugin| &plugin.plugin_type).collect::<Vec<_>>(),
    })
}

fn namespace(inventory: &Inventory, at: usize) -> Option<Value> {
    let namespace = inventory.namespaces.get(at)?;
    let links = namespace.links.iter().map(|link| {
        let master = link.master.and_then(|master| namespace.link(master));
        let end = inventory.other_end(LinkAt { namespace: at, index: link.index });
        let addresses: Vec<String> = namespace.addresses_of(link).map(|address| address.net.to_string()).collect();
        json!({
            "index": link.index,
            "name": link.name,
            "kind": link.kind,
            "mac": link.mac.map(|mac| mac.to_string()),
            "mtu": link.mtu,
            "up": link.is_up,
            "running": link.is_running,
            "alias": link.alias,
            "master": master.map(|master| &master.name),
            "leadsTo": end.and_then(|end| Some(json!({
                "namespace": end.namespace,
                "name": inventory.link(end)?.name,
            }))),
            "addresses": addresses,
        })
    });
    Some(json!({"isHost": namespace.is_host, "paths": namespace.paths, "links": links.collect::<Vec<_>>()}))
}

fn bridge(bridge: &Bridge<'_>) -> Value {
    json!({
        "name": bridge.link.name,
        "addresses": texts(&bridge.addresses),
        "mtu": bridge.link.mtu,
        "up": bridge.link.is_up,
        "ports": bridge.ports.iter().map(|link| &link.name).collect::<Vec<_>>(),
        "networks": bridge.networks,
    })
}

fn object(inventory: &Inventory, owned: &Owned) -> Value {
    let owners = owned.attachments.iter().filter_map(|&at| inventory.attachments.get(at));
    let owners: Vec<Value> = owners
        .map(|attached| json!({"network": attached.network, "containerID": attached.id.container_id, "ifname": attached.id.ifname}))
        .collect();
    json!({
        "object": owned.object.to_string(),
        "mark": owned.owner.to_string(),
        "owners": owners,
        "standing": match inventory.standing(owned) {
            Standing::Alive => "alive",
            Standing::Dead => "dead",
            Standing::Nobodys => "nobody's",
            Standing::Doubtful => "doubtful",
        },
    })
}
