use std::fmt;

use serde::{Deserialize, Serialize};

use crate::names::{ContainerId, IfName};

/// What identifies an attachment within its network: the pair of container ID and interface name
/// (specification, section "Overview"). On the wire `{"containerID": …, "ifname": …}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttachmentId {
    /// `CNI_CONTAINERID`.
    #[serde(rename = "containerID")]
    pub container_id: ContainerId,
    /// `CNI_IFNAME`.
    pub ifname: IfName,
}

impl fmt::Display for AttachmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.container_id, self.ifname)
    }
}
