//! version, attachments.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use libcni::{SpecVersion, store};
use serde_json::{Value, json};

use crate::collect::is_alive;
use crate::error::ToolError;
use crate::node::Attached;
use crate::session::Session;
use crate::terminal::{Cell, Tone};

/// What each program in `CNI_PATH` gets to answer VERSION; some may be no plugin.
const VERSION_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) fn version(session: &mut Session<'_>) -> Result<(), ToolError> {
    session.runtime.timeout.get_or_insert(VERSION_TIMEOUT);
    let versions: Vec<&str> = SpecVersion::ALL.iter().map(|v| v.as_str()).collect();
    session.print(format_args!("cnitool {}, CNI {}\n", env!("CARGO_PKG_VERSION"), versions.join(", ")))?;
    let progress = session.progress("asking the plugins for their versions");
    let rows: Vec<[Cell; 3]> = plugins(&session.runtime.plugin_dirs)
        .into_iter()
        .map(|(name, path)| {
            progress.step(format!("asking {} for its versions", path.display()));
            let answer = match session.runtime.plugin_versions(&name) {
                Ok(versions) => versions.supported.join(", ").into(),
                Err(fault) => {
                    let causes = libcni::error::causes(Some(&fault));
                    Cell::new(Tone::Warning, format!("no answer to VERSION: {}", first_line(&causes)))
                }
            };
            [name.into(), path.display().to_string().into(), answer]
        })
        .collect();
    drop(progress);
    if rows.is_empty() {
        session.warn("no plugins found (hint: set CNI_PATH to their directory)");
        return Ok(());
    }
    session.table(["PLUGIN", "FILE", "CNI VERSIONS"], rows)
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// The executables of `dirs` by name; the first directory that has one counts.
fn plugins(dirs: &[PathBuf]) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    for path in dirs.iter().flat_map(|dir| store::files(dir).unwrap_or_default()) {
        let executable = path.metadata().is_ok_and(|meta| meta.permissions().mode() & 0o111 != 0);
        let name = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
        if let Some(name) = name.filter(|_| executable) {
            found.entry(name).or_insert(path);
        }
    }
    found
}

pub(crate) fn attachments(session: &mut Session<'_>, as_json: bool) -> Result<(), ToolError> {
    let cached = session.runtime.cache.attachments()?;
    for skipped in &cached.skipped {
        session.warn(skipped);
    }
    let attachments: Vec<Attached> = cached.attachments.into_iter().map(Attached::of).collect();
    if as_json {
        let list: Vec<Value> = attachments.iter().map(object).collect();
        return session.print(format_args!("{}\n", libcni::json::pretty(&list.into())));
    }
    let rows: Vec<[Cell; 5]> = attachments.iter().map(row).collect();
    session.table(["NETWORK", "CONTAINER", "INTERFACE", "ADDRESSES", "NAMESPACE"], rows)
}

fn row(attached: &Attached) -> [Cell; 5] {
    let netns = match &attached.netns {
        Some(path) if is_alive(path) => path.display().to_string().into(),
        Some(path) => Cell::new(Tone::Warning, format!("{} (gone)", path.display())),
        None => "-".into(),
    };
    let addresses = match addresses(attached) {
        none if none.is_empty() => "-".to_owned(),
        some => some.join(","),
    };
    let id = &attached.id;
    let [network, container, ifname] =
        [attached.network.to_string(), id.container_id.to_string(), id.ifname.to_string()].map(Cell::from);
    [network, container, ifname, addresses.into(), netns]
}

fn object(attached: &Attached) -> Value {
    let args: BTreeMap<_, _> = attached.args.pairs().iter().cloned().collect();
    json!({
        "network": attached.network,
        "containerID": attached.id.container_id,
        "ifname": attached.id.ifname,
        "netns": attached.netns,
        "netnsAlive": attached.netns.as_deref().is_some_and(is_alive),
        "addresses": addresses(attached),
        "args": args,
        "capabilityArgs": attached.capability_args,
        "result": attached.wire_result,
    })
}

/// The addresses of the result; none where it cannot be understood.
fn addresses(attached: &Attached) -> Vec<String> {
    attached.result.ips.iter().map(|ip| ip.address.to_string()).collect()
}
