//! Leases on disk, one file each, so that they outlive the daemon. The plugin writes there only when the daemon is
//! absent: that a lease is to be released.

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use libcni::names::NetworkName;
use libcni::store::{self, StoreError};
use libcni::types::{AttachmentId, MacAddr};
use serde::{Deserialize, Serialize};

use crate::lease::{Grant, Time};
use crate::packet::Options;
use crate::protocol::WireOptions;

/// Where records are kept, each daemon's in a directory of its own.
const DATA_DIR: &str = "/var/lib/cni/dhcp";
/// The kernel's random name of this boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// Whose lease it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Owner {
    pub(crate) network: NetworkName,
    pub(crate) attachment: AttachmentId,
}

impl std::fmt::Display for Owner {
    /// `NETWORK CONTAINER IFNAME`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.network, self.attachment)
    }
}

impl Owner {
    /// The file's name. None of the parts has a colon.
    fn file_name(&self) -> String {
        let AttachmentId { container_id, ifname } = &self.attachment;
        format!("{}:{container_id}:{ifname}", self.network)
    }
}

/// A lease, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) owner: Owner,
    /// `CNI_NETNS`.
    pub(crate) netns: PathBuf,
    /// The interface's number in the namespace.
    pub(crate) index: u32,
    pub(crate) mac: MacAddr,
    /// The boot in which the times below count, and the namespace exists.
    pub(crate) boot_id: String,
    /// What the client says of itself.
    client: WireOptions,
    address: Ipv4Addr,
    server_mac: Option<MacAddr>,
    /// When the lease was asked for, in milliseconds since boot.
    since_ms: u64,
    /// What the server said.
    server: WireOptions,
    /// The container does not need it any more: a DEL or GC came while the daemon was absent.
    pub(crate) is_released: bool,
}

impl Record {
    pub(crate) fn new(owner: Owner, netns: PathBuf, index: u32, client: &Options, grant: &Grant, mac: MacAddr) -> Self {
        Self {
            owner,
            netns,
            index,
            mac,
            boot_id: boot_id(),
            client: client.into(),
            address: grant.address,
            server_mac: grant.server_mac,
            since_ms: u64::try_from(grant.since.as_millis()).unwrap_or(u64::MAX),
            server: (&grant.options).into(),
            is_released: false,
        }
    }

    /// What the client says of itself.
    pub(crate) fn client_options(&self) -> Options {
        (&self.client).into()
    }

    /// The lease; `None` if the file was changed by hand so that it is none any more.
    pub(crate) fn grant(&self) -> Option<Grant> {
        let since: Time = Duration::from_millis(self.since_ms);
        Grant::new(self.address, (&self.server).into(), self.server_mac, since).ok()
    }

    /// Whether it is of this boot: namespaces and times of another mean nothing.
    pub(crate) fn is_of_this_boot(&self) -> bool {
        self.boot_id == boot_id()
    }
}

/// Empty where /proc is not mounted: then every boot looks the same.
fn boot_id() -> String {
    std::fs::read_to_string(BOOT_ID).unwrap_or_default().trim().to_owned()
}

/// The records of one daemon.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    dir: PathBuf,
}

impl Records {
    /// Those of the daemon that listens at `socket`, on the host whose root is `prefix`. Plugin and daemon know the
    /// socket, and so both the directory: `/run/cni/dhcp.sock` has `/var/lib/cni/dhcp/run%2Fcni%2Fdhcp.sock`.
    pub(crate) fn of_socket(prefix: &str, socket: &Path) -> Self {
        let mut name = OsString::new();
        for part in socket.as_os_str().as_bytes().split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
            if !name.is_empty() {
                name.push("%2F");
            }
            name.push(std::ffi::OsStr::from_bytes(part));
        }
        Self { dir: PathBuf::from(format!("{prefix}{DATA_DIR}")).join(name) }
    }

    /// The directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    fn path(&self, owner: &Owner) -> PathBuf {
        self.dir.join(owner.file_name())
    }

    /// Writes a record down, in the place of an older one.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(crate) fn save(&self, record: &Record) -> Result<(), StoreError> {
        store::ensure_dir(&self.dir, DIR_MODE)?;
        let path = self.path(&record.owner);
        let text = serde_json::to_vec_pretty(record).map_err(|e| StoreError::on("write", &path)(e.into()))?;
        store::write_atomic(&path, &text, FILE_MODE)
    }

    /// Forgets a record; absent is success.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(crate) fn remove(&self, owner: &Owner) -> Result<(), StoreError> {
        store::remove_file(&self.path(owner))
    }

    /// All records, and the files that are none.
    ///
    /// # Errors
    /// [`StoreError`] if the directory cannot be listed.
    pub(crate) fn all(&self) -> Result<(Vec<Record>, Vec<PathBuf>), StoreError> {
        let (mut records, mut others) = (Vec::new(), Vec::new());
        for path in store::files(&self.dir)? {
            let text = store::read_if_present(&path)?.unwrap_or_default();
            match serde_json::from_slice(&text) {
                Ok(record) => records.push(record),
                Err(_) => others.push(path),
            }
        }
        Ok((records, others))
    }

    /// Notes that the leases that `stale` chooses are to be released, for the daemon to find when it starts.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(crate) fn release(&self, stale: impl Fn(&Owner) -> bool) -> Result<(), StoreError> {
        let (records, _) = self.all()?;
        for mut record in records.into_iter().filter(|record| !record.is_released && stale(&record.owner)) {
            record.is_released = true;
            self.save(&record)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::code;

    fn owner(network: &str, id: &str) -> Owner {
        let attachment = AttachmentId { container_id: id.parse().unwrap(), ifname: "eth0".parse().unwrap() };
        Owner { network: network.parse().unwrap(), attachment }
    }

    fn record(owner: Owner) -> Record {
        let options: Options = [
            (code::SUBNET_MASK, vec![255, 255, 0, 0]),
            (code::SERVER, vec![10, 1, 0, 1]),
            (code::LEASE_TIME, vec![0, 0, 0, 120]),
        ]
        .into_iter()
        .collect();
        let mac = MacAddr([2, 0, 0, 0, 0, 1]);
        let grant = Grant::new([10, 1, 0, 5].into(), options, Some(mac), Duration::from_millis(1500)).unwrap();
        let client = [(code::CLIENT_ID, vec![0, 7])].into_iter().collect();
        Record::new(owner, "/run/netns/x".into(), 7, &client, &grant, mac)
    }

    #[test]
    fn what_is_saved_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records { dir: dir.path().join("a/b") };
        assert!(records.all().unwrap().0.is_empty());
        let (first, second) = (record(owner("net", "one")), record(owner("net", "two")));
        records.save(&first).unwrap();
        records.save(&second).unwrap();
        store::write_atomic(&records.dir().join("garbled"), b"{", FILE_MODE).unwrap();
        let (found, others) = records.all().unwrap();
        assert_eq!(found, [first.clone(), second]);
        assert_eq!(others, [records.dir().join("garbled")]);
        let grant = first.grant().unwrap();
        assert_eq!(grant.end, Some(Duration::from_millis(121_500)));
        assert!(first.is_of_this_boot());
        records.release(|owner| owner.attachment.container_id.as_str() == "one").unwrap();
        records.remove(&owner("net", "two")).unwrap();
        let (found, _) = records.all().unwrap();
        assert_eq!(found.len(), 1);
        assert!(found[0].is_released);
    }

    #[test]
    fn the_directory_has_the_sockets_name() {
        let dir = |prefix, socket: &str| Records::of_socket(prefix, Path::new(socket)).dir;
        assert_eq!(dir("", "/run/cni/dhcp.sock"), Path::new("/var/lib/cni/dhcp/run%2Fcni%2Fdhcp.sock"));
        assert_eq!(dir("/host", "/run//a_b"), Path::new("/host/var/lib/cni/dhcp/run%2Fa_b"));
    }
}
