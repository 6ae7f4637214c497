//! Simulated nodes: what a store says of nodes that do not exist.

use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use ipnet::Ipv4Net;
use libcni::types::MacAddr;
use serde_json::{Value, json};

/// How many there can be.
pub const MOST: u32 = 1 << 15;

/// A node that does not exist. Its containers are in 10.128.0.0/9, it is "reached" at an address of 198.19.0.0/16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// From 0 to [`MOST`].
    pub number: u32,
    /// How often it has changed its address and the hardware address of its VXLAN device.
    pub change: u8,
}

impl Peer {
    /// The node of this number.
    #[must_use]
    pub fn new(number: u32) -> Self {
        Self { number, change: 0 }
    }

    /// The same with another address and another hardware address.
    #[must_use]
    pub fn changed(self) -> Self {
        Self { change: self.change.wrapping_add(1), ..self }
    }

    /// Its name in the store.
    #[must_use]
    pub fn name(&self) -> String {
        format!("peer{:05}", self.number)
    }

    /// The addresses of its containers.
    #[must_use]
    pub fn subnet(&self) -> Ipv4Net {
        let [_, high, middle, low] = (self.number << 8 | 0x0a80_0000).to_be_bytes();
        Ipv4Net::new_assert(Ipv4Addr::new(10, high, middle, low), 24)
    }

    /// Where it is reached.
    #[must_use]
    pub fn endpoint(&self) -> Ipv4Addr {
        let [_, _, high, low] = (self.number + 1).to_be_bytes();
        // The upper half of the range is for those that changed once, or three times …
        Ipv4Addr::new(198, 19, high | (self.change & 1) << 7, low)
    }

    /// The hardware address of its VXLAN device.
    #[must_use]
    pub fn mac(&self) -> MacAddr {
        let [_, a, b, c] = self.number.to_be_bytes();
        MacAddr([0x0a, 0x58, self.change, a, b, c])
    }

    /// What its file says in the directory of the file store.
    #[must_use]
    pub fn file(&self) -> Value {
        json!({"subnets": [self.subnet().to_string()], "ipv4": self.endpoint(), "backend": "vxlan", "mac": self.mac()})
    }

    /// The name of its file.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}.json", self.name())
    }

    /// Writes its file into `directory`, in the way it comes from elsewhere: whole, by a rename.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, directory: &Path) -> io::Result<()> {
        write(directory, &self.file_name(), self.file().to_string().as_bytes())
    }

    /// Removes its file.
    ///
    /// # Errors
    /// If there is none.
    pub fn remove(&self, directory: &Path) -> io::Result<()> {
        std::fs::remove_file(directory.join(self.file_name()))
    }

    /// Its key below flannel's `<prefix>/subnets/`.
    #[must_use]
    pub fn key(&self) -> String {
        self.subnet().to_string().replace('/', "-")
    }

    /// flannel's value of that key.
    #[must_use]
    pub fn lease(&self) -> Value {
        json!({
            "PublicIP": self.endpoint(), "PublicIPv6": null, "BackendType": "vxlan",
            "BackendData": {"VNI": 1, "VtepMAC": self.mac()},
        })
    }
}

/// Writes a file of any content by a rename.
///
/// # Errors
/// If it cannot be written.
#[expect(clippy::disallowed_methods, reason = "it is read by another program while this one lives")]
pub fn write(directory: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let beside = directory.join(format!(".{name}.new"));
    std::fs::write(&beside, content)?;
    std::fs::rename(beside, directory.join(name))
}
