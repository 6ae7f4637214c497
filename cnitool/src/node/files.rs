//! What plugins keep in files for their attachments.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use libcni::json;
use libcni::store;
use serde_json::Value;

use super::owned::{Object, Owned, Owner};
use super::{Inventory, Note, config};

/// Where the plugins keep their files, unless `dataDir` says otherwise.
const HOST_LOCAL_DIR: &str = "/var/lib/cni/networks";
const TUNING_DIR: &str = "/run/cni/tuning";
const DELEGATE_DIR: &str = "/var/lib/cni/flannel";
/// Each daemon has a directory below it.
const DHCP_DIR: &str = "/var/lib/cni/dhcp";

/// More than any reservation has, in bytes: a longer file is none.
const RESERVATION_MAX: usize = 4096;

/// All of them.
pub(super) fn read(inventory: &mut Inventory) -> Vec<Owned> {
    let mut found = Vec::new();
    let mut notes = Vec::new();
    for dir in config::data_dirs(inventory, &["host-local"], HOST_LOCAL_DIR) {
        for network in directories(&dir, &mut notes) {
            found.extend(files(&network, &mut notes).into_iter().filter_map(|path| reservation(path, &mut notes)));
        }
    }
    for dir in config::data_dirs(inventory, &["tuning"], TUNING_DIR) {
        found.extend(files(&dir, &mut notes).into_iter().filter_map(tuning));
    }
    for dir in config::data_dirs(inventory, &["vxlan-delegate", "flannel"], DELEGATE_DIR) {
        found.extend(files(&dir, &mut notes).into_iter().filter_map(delegate));
    }
    for daemon in directories(Path::new(DHCP_DIR), &mut notes) {
        found.extend(files(&daemon, &mut notes).into_iter().filter_map(lease));
    }
    inventory.notes.append(&mut notes);
    found
}

/// The files of a directory; none if it is missing.
fn files(dir: &Path, notes: &mut Vec<Note>) -> Vec<PathBuf> {
    store::files(dir).unwrap_or_else(|fault| {
        notes.push(Note::of(format!("directory {}", dir.display()), &fault));
        Vec::new()
    })
}

/// The directories in a directory, sorted; none if it is missing, and none that is hidden.
fn directories(dir: &Path, notes: &mut Vec<Note>) -> Vec<PathBuf> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(fault) if fault.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(fault) => {
            notes.push(Note::of(format!("directory {}", dir.display()), &fault));
            return Vec::new();
        }
    };
    let mut paths: Vec<PathBuf> =
        entries.flatten().filter(|entry| !name_of(&entry.path()).starts_with('.')).map(|entry| entry.path()).collect();
    paths.retain(|path| path.is_dir());
    paths.sort();
    paths
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// `<dataDir>/<network>/<address>`: container ID and interface in two lines; of old files the container ID alone. One
/// without content names nobody and counts as free.
fn reservation(path: PathBuf, notes: &mut Vec<Note>) -> Option<Owned> {
    let name = name_of(&path);
    let address: IpAddr = name.parse().ok().filter(|address: &IpAddr| address.to_string() == name)?;
    let content = match store::read_if_present(&path) {
        Ok(content) => content.filter(|content| content.len() < RESERVATION_MAX)?,
        Err(fault) => {
            notes.push(Note::of(format!("the reservation of {address}"), &fault));
            return None;
        }
    };
    let content = String::from_utf8(content).ok()?;
    let mut lines = content.lines().map(str::trim).filter(|line| !line.is_empty());
    let container = lines.next()?.to_owned();
    let owner =
        Owner::Named { network: path.parent().map(name_of), container, ifname: lines.next().map(str::to_owned) };
    Some(Owned { object: Object::Reservation { address, path }, owner, attachments: Vec::new() })
}

fn file(what: &'static str, path: PathBuf, network: Option<String>, container: &str, ifname: Option<&str>) -> Owned {
    let owner = Owner::Named { network, container: container.to_owned(), ifname: ifname.map(str::to_owned) };
    Owned { object: Object::File { what, path }, owner, attachments: Vec::new() }
}

/// `<dataDir>/<container ID>_<ifname>.json`; ours says the network.
fn tuning(path: PathBuf) -> Option<Owned> {
    let name = name_of(&path);
    // Both may have an underscore; interfaces have one less often.
    let (container, ifname) = name.strip_suffix(".json")?.rsplit_once('_')?;
    let value = store::read_if_present(&path).ok().flatten().and_then(|text| json::parse(&text).ok());
    let network = value.as_ref().and_then(|value| value.pointer("/ferrule/network")).and_then(Value::as_str);
    Some(file("settings before tuning", path, network.map(str::to_owned), container, Some(ifname)))
}

/// `<dataDir>/<container ID>:<ifname>`, and flannel's, `<dataDir>/<container ID>`, which may be the same file.
fn delegate(path: PathBuf) -> Option<Owned> {
    let name = name_of(&path);
    if name.starts_with('.') {
        return None;
    }
    let (container, ifname) = name.split_once(':').map_or((name.as_str(), None), |(id, ifname)| (id, Some(ifname)));
    Some(file("configuration of a delegate", path, None, container, ifname))
}

/// `<network>:<container ID>:<ifname>`.
fn lease(path: PathBuf) -> Option<Owned> {
    let name = name_of(&path);
    let mut parts = name.split(':');
    let (Some(network), Some(container), Some(ifname), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    Some(file("DHCP lease", path, Some(network.to_owned()), container, Some(ifname)))
}
