//! Nodes as keys of etcd v3, where flannel has them and as flannel writes them.

use std::path::PathBuf;

use serde::Deserialize;

/// The table `[store.etcd]`; flannel's flags `--etcd-…`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EtcdConf {
    /// URLs of the members. Default: `http://127.0.0.1:2379`.
    pub(crate) endpoints: Vec<String>,
    /// Default: `/coreos.com/network`.
    pub(crate) prefix: String,
    /// PEM files: the certificate authority of the servers, this client's certificate and key.
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) cert_file: Option<PathBuf>,
    pub(crate) key_file: Option<PathBuf>,
    pub(crate) username: Option<String>,
    /// A file, so that the configuration has no secret in it.
    pub(crate) password_file: Option<PathBuf>,
}
