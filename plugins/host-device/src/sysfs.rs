//! What /sys tells about the hardware behind links. It shows the links of the namespace that it was mounted in, which
//! is the host's, as this plugin's.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Drivers that take a device away from the kernel's network stack, for programs that drive it themselves (DPDK).
const USER_SPACE_DRIVERS: [&str; 3] = ["vfio-pci", "uio_pci_generic", "igb_uio"];

/// What cannot be read in /sys.
#[derive(Debug, thiserror::Error)]
pub enum SysfsError {
    /// A directory or link that should be there cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A PCI device without a network link.
    #[error("no net directory under pci device {0}")]
    NoNetOfPci(String),
    /// The directory of links is empty.
    #[error("{} is empty", .0.display())]
    NoLink(PathBuf),
}

/// A sysfs.
#[derive(Clone, Debug)]
pub(crate) struct Sysfs {
    root: PathBuf,
}

impl Sysfs {
    /// This machine's.
    pub(crate) fn of_host() -> Self {
        Self::at("/sys")
    }

    /// One that is mounted elsewhere, or made for a test.
    pub(crate) fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Whether there is such a PCI device.
    pub(crate) fn has_pci(&self, address: &str) -> bool {
        self.pci(address).exists()
    }

    /// Whether there is such a device on the auxiliary bus (a function of a device that drivers split, as
    /// `mlx5_core.sf.2`).
    pub(crate) fn has_auxiliary(&self, name: &str) -> bool {
        self.auxiliary(name).exists()
    }

    /// Whether the driver of a PCI device is one for DPDK.
    pub(crate) fn has_user_space_driver(&self, address: &str) -> Result<bool, SysfsError> {
        let path = self.pci(address).join("driver");
        let driver = fs::read_link(&path).map_err(|source| SysfsError::Read { path, source })?;
        Ok(driver.file_name().is_some_and(|name| USER_SPACE_DRIVERS.iter().any(|driver| name == *driver)))
    }

    /// The names of the links of a PCI device; those of virtio stand one level deeper.
    pub(crate) fn links_of_pci(&self, address: &str) -> Result<Vec<String>, SysfsError> {
        let device = self.pci(address);
        let mut dirs = vec![device.join("net")];
        let children = names(&device)?.into_iter().filter(|name| name.starts_with("virtio"));
        dirs.extend(children.map(|name| device.join(name).join("net")));
        let dir = dirs.into_iter().find(|dir| dir.is_dir());
        links(&dir.ok_or_else(|| SysfsError::NoNetOfPci(address.to_owned()))?)
    }

    /// The names of the links of an auxiliary device.
    pub(crate) fn links_of_auxiliary(&self, name: &str) -> Result<Vec<String>, SysfsError> {
        links(&self.auxiliary(name).join("net"))
    }

    /// The names of the links of the device at `path`, which begins with `/sys`.
    pub(crate) fn links_of_path(&self, path: &Path) -> Result<Vec<String>, SysfsError> {
        let inside = path.strip_prefix("/sys").unwrap_or(path);
        links(&self.root.join(inside).join("net"))
    }

    fn pci(&self, address: &str) -> PathBuf {
        self.root.join("bus/pci/devices").join(address)
    }

    fn auxiliary(&self, name: &str) -> PathBuf {
        self.root.join("bus/auxiliary/devices").join(name)
    }
}

/// The names in a directory of links; at least one.
fn links(dir: &Path) -> Result<Vec<String>, SysfsError> {
    let names = names(dir)?;
    if names.is_empty() { Err(SysfsError::NoLink(dir.to_owned())) } else { Ok(names) }
}

/// The names in a directory, sorted.
fn names(dir: &Path) -> Result<Vec<String>, SysfsError> {
    let fault = |source| SysfsError::Read { path: dir.to_owned(), source };
    let entries = fs::read_dir(dir).and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(fault)?;
    let mut names: Vec<_> = entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Two PCI devices with links (one of virtio), one for DPDK, one without a driver, and an auxiliary device.
    pub(crate) fn tree() -> (tempfile::TempDir, Sysfs) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for path in [
            "devices/pci0000:00/0000:00:03.0/net/ens3",
            "bus/pci/devices/0000:00:03.0/net/ens3",
            "bus/pci/devices/0000:00:04.0/virtio1/net/eth9",
            "bus/pci/devices/0000:00:05.0",
            "bus/pci/devices/0000:00:06.0/net",
            "bus/auxiliary/devices/mlx5_core.sf.2/net/sf2",
            "drivers/virtio-pci",
            "drivers/vfio-pci",
        ] {
            fs::create_dir_all(root.join(path)).unwrap();
        }
        for (device, driver) in [("03", "virtio-pci"), ("04", "virtio-pci"), ("05", "vfio-pci")] {
            let link = root.join(format!("bus/pci/devices/0000:00:{device}.0/driver"));
            symlink(format!("../../../../drivers/{driver}"), link).unwrap();
        }
        let sysfs = Sysfs::at(root);
        (dir, sysfs)
    }

    #[test]
    fn links_of_each_bus() {
        let (_dir, sysfs) = tree();
        assert_eq!(sysfs.links_of_pci("0000:00:03.0").unwrap(), ["ens3"]);
        assert_eq!(sysfs.links_of_pci("0000:00:04.0").unwrap(), ["eth9"]);
        assert_eq!(sysfs.links_of_auxiliary("mlx5_core.sf.2").unwrap(), ["sf2"]);
        let path = Path::new("/sys/devices/pci0000:00/0000:00:03.0");
        assert_eq!(sysfs.links_of_path(path).unwrap(), ["ens3"]);
        assert!(sysfs.has_pci("0000:00:05.0") && !sysfs.has_pci("0000:00:07.0"));
        assert!(sysfs.has_auxiliary("mlx5_core.sf.2") && !sysfs.has_auxiliary("mlx5_core.sf.3"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let (_dir, sysfs) = tree();
        let text = sysfs.links_of_pci("0000:00:05.0").unwrap_err().to_string();
        assert_eq!(text, "no net directory under pci device 0000:00:05.0");
        assert!(sysfs.links_of_pci("0000:00:06.0").unwrap_err().to_string().ends_with("0000:00:06.0/net is empty"));
        assert!(sysfs.links_of_pci("0000:00:07.0").unwrap_err().to_string().contains("cannot read"));
    }

    #[test]
    fn drivers_for_dpdk_are_known() {
        let (_dir, sysfs) = tree();
        assert!(!sysfs.has_user_space_driver("0000:00:03.0").unwrap());
        assert!(sysfs.has_user_space_driver("0000:00:05.0").unwrap());
        assert!(sysfs.has_user_space_driver("0000:00:06.0").is_err());
    }
}
