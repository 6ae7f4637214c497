//! This node's own file in a directory that nodes share.

use std::path::{Path, PathBuf};

use ipnet::IpNet;
use libcni::store::{Lock, StoreError, write_atomic};

use super::entry::Entry;
use super::read::{self, ReadError, node_of, paths_of};
use crate::network::{Network, Pool};
use crate::store::Registration;
use crate::store::allocate::{free_subnet, is_of_pool};

/// Held while a node looks for a subnet and takes it. The dot keeps it from being a node's.
const LOCK: &str = ".lock";
const FILE_MODE: u32 = 0o644;

/// Why this node cannot be made known.
#[derive(Debug, thiserror::Error)]
pub(super) enum PublishError {
    #[error("the node's name \"{0}\" cannot be a file's (hint: set `node`)")]
    Name(String),
    #[error("cannot read this node's own file")]
    Read(#[source] ReadError),
    #[error("cannot make this node known")]
    Write(#[source] StoreError),
    #[error("{0} has no free subnet left for this node")]
    Full(IpNet),
    #[error("cannot write {} in its format: {why}", path.display())]
    Format { path: PathBuf, why: String },
}

/// Makes this node known in `directory`, with the subnets that its file has already, else those that it wants, else free
/// ones. Nothing is written if the file says so already.
pub(super) fn publish(directory: &Path, network: &Network, us: &Registration) -> Result<Entry, PublishError> {
    let own =
        || -> Result<Option<Entry>, PublishError> { read::entry(directory, &us.name).map_err(PublishError::Read) };
    let [path, other_path] = paths_of(directory, &us.name);
    if path.parent() != Some(directory) || node_of(&path).as_ref() != Some(&us.name) {
        return Err(PublishError::Name(us.name.clone()));
    }
    if let Some(entry) = own()?
        && let Some(subnets) = kept(&entry, network)
        && entry == Entry::of(&us.claim, &subnets)
    {
        return Ok(entry);
    }
    let _lock = Lock::exclusive(&directory.join(LOCK)).map_err(PublishError::Write)?;
    let subnets = match own()?.and_then(|entry| kept(&entry, network)) {
        Some(subnets) => subnets,
        None => {
            let mine = own()?.map(|entry| entry.subnets()).unwrap_or_default();
            choose(&taken(directory, &us.name)?, network, us, &mine)?
        }
    };
    let entry = Entry::of(&us.claim, &subnets);
    let path = if other_path.exists() { other_path } else { path };
    write_atomic(&path, render(&entry, &path)?.as_bytes(), FILE_MODE).map_err(PublishError::Write)?;
    tracing::info!(path = %path.display(), subnets = ?subnets, "this node is made known");
    Ok(entry)
}

/// The subnets of a file, if they are one of each family of the network.
fn kept(entry: &Entry, network: &Network) -> Option<Vec<IpNet>> {
    let subnets = entry.subnets();
    let mut families =
        [network.v4.map(|pool| pool.network.into()), network.v6.map(|pool| pool.network.into())].into_iter().flatten();
    let one_of = |family: IpNet| subnets.iter().filter(|subnet| family.contains(*subnet)).count() == 1;
    let wanted = network.v4.iter().count() + network.v6.iter().count();
    (subnets.len() == wanted && families.all(one_of)).then_some(subnets)
}

/// One subnet of each family: of `mine` or those that this node had if they are free, else another.
fn choose(taken: &[IpNet], network: &Network, us: &Registration, mine: &[IpNet]) -> Result<Vec<IpNet>, PublishError> {
    let wanted: Vec<IpNet> = mine.iter().chain(&us.wanted).copied().collect();
    let v4 = network.v4.as_ref().map(|pool| subnet_of(pool, taken, &us.name, &wanted));
    let v6 = network.v6.as_ref().map(|pool| subnet_of(pool, taken, &us.name, &wanted));
    v4.into_iter().chain(v6).collect()
}

fn subnet_of<Net: Into<IpNet> + Copy>(
    pool: &Pool<Net>,
    taken: &[IpNet],
    name: &str,
    wanted: &[IpNet],
) -> Result<IpNet, PublishError> {
    let is_free = |subnet: &&IpNet| !taken.iter().any(|other| other.contains(*subnet) || subnet.contains(other));
    let again = wanted.iter().filter(is_free).find(|subnet| is_of_pool(pool, **subnet)).copied();
    again.or_else(|| free_subnet(pool, name, taken)).ok_or_else(|| PublishError::Full(pool.network.into()))
}

/// The subnets of all other nodes, as far as their files can be read.
fn taken(directory: &Path, name: &str) -> Result<Vec<IpNet>, PublishError> {
    let mut all = read::directory(directory).map_err(PublishError::Read)?;
    all.remove(name);
    Ok(all.into_values().flatten().flat_map(|entry| entry.subnets()).collect())
}

fn render(entry: &Entry, path: &Path) -> Result<String, PublishError> {
    let rendered = if path.extension().is_some_and(|extension| extension == "json") {
        serde_json::to_string_pretty(entry).map_err(|e| e.to_string())
    } else {
        toml::to_string(entry).map_err(|e| e.to_string())
    };
    rendered.map_err(|why| PublishError::Format { path: path.to_owned(), why })
}
