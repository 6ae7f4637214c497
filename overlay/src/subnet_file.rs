//! The file from which the CNI plugin learns this node's subnet, in flannel's format.

use std::path::Path;

use ipnet::IpNet;
use libcni::store::{self, StoreError};
use vxlan_delegate::{Subnet, SubnetFileError};

/// flannel's modes: everybody may read it.
const FILE_MODE: u32 = 0o644;
const DIR_MODE: u32 = 0o755;

/// Writes the file, unless it says just this already; tells whether it did.
///
/// # Errors
/// [`StoreError`]; then the file is as it was.
pub(crate) fn write(path: &Path, subnet: &Subnet) -> Result<bool, StoreError> {
    let text = subnet.to_string();
    if store::read_if_present(path)?.is_some_and(|present| present == text.as_bytes()) {
        return Ok(false);
    }
    if let Some(dir) = path.parent() {
        store::ensure_dir(dir, DIR_MODE)?;
    }
    store::write_atomic(path, text.as_bytes(), FILE_MODE)?;
    Ok(true)
}

/// The subnets that this node had when the file was written; none if there is no file, or a damaged one.
pub(crate) fn subnets(path: &Path) -> Vec<IpNet> {
    match Subnet::read(path) {
        Ok(subnet) => subnet.subnets,
        Err(SubnetFileError::Missing(_)) => Vec::new(),
        Err(error) => {
            tracing::warn!(%error, "the subnets of this node before its restart are not known");
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_written_when_it_says_something_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("flannel/subnet.env");
        assert_eq!(subnets(&path), Vec::<IpNet>::new());
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        let mut subnet = Subnet {
            networks: vec![net("10.42.0.0/16")],
            subnets: vec![net("10.42.3.0/24"), net("fd42::/64")],
            mtu: 1450,
            masquerades: true,
        };
        assert!(write(&path, &subnet).unwrap());
        assert!(!write(&path, &subnet).unwrap(), "it says so already");
        assert_eq!(subnets(&path), subnet.subnets);
        subnet.mtu = 1400;
        assert!(write(&path, &subnet).unwrap());
        assert_eq!(Subnet::read(&path).unwrap(), subnet);
        store::write_atomic(&path, b"FLANNEL_SUBNET=10.42", 0o644).unwrap();
        assert_eq!(subnets(&path), Vec::<IpNet>::new(), "damaged");
        assert!(write(&path, &subnet).unwrap());
    }
}
