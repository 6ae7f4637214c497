//! Where the API is and who we are: a kubeconfig, or the service account of the pod.
//!
//! kube itself reads a service account's token and certificate authority again each minute. What a kubeconfig names is
//! looked at here: when a file has changed, everything begins anew with a new client.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::header::{HeaderValue, USER_AGENT};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use libcni::base64;
use sha2::{Digest, Sha256};

use super::KubernetesConf;
use super::api::Api;
use crate::tls::ExpiryWatch;

/// How often the files of a kubeconfig are looked at.
const LOOK: Duration = Duration::from_secs(30);
/// For whoever reads the API's audit log.
const NAME: HeaderValue = HeaderValue::from_static(concat!("overlayd/", env!("CARGO_PKG_VERSION")));
/// There is a file of this name in a pod with a service account.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionError {
    #[error("cannot use the kubeconfig {}", path.display())]
    Kubeconfig {
        path: PathBuf,
        #[source]
        source: Box<KubeconfigError>,
    },
    #[error("cannot use the pod's service account (hint: outside of a pod, a kubeconfig must be configured)")]
    ServiceAccount(#[source] kube::config::InClusterError),
    #[error("{url:?} is no URL of a Kubernetes API")]
    Url {
        url: String,
        #[source]
        source: http::uri::InvalidUri,
    },
    #[error("cannot make a client of the Kubernetes API")]
    Client(#[source] Box<kube::Error>),
}

/// Connects, by configuration; the connection itself is made when something is asked.
pub(super) async fn connect(conf: &KubernetesConf) -> Result<(Api, Files), ConnectionError> {
    let (mut config, files) = match &conf.kubeconfig {
        Some(path) => of_kubeconfig(path).await?,
        None => (of_pod(conf.api_url.is_some())?, Files::default()),
    };
    if let Some(url) = &conf.api_url {
        config.cluster_url = url.parse().map_err(|source| ConnectionError::Url { url: url.clone(), source })?;
    }
    config.headers.push((USER_AGENT, NAME));
    let client = Client::try_from(config).map_err(|source| ConnectionError::Client(Box::new(source)))?;
    Ok((Api::new(client), files))
}

async fn of_kubeconfig(path: &Path) -> Result<(Config, Files), ConnectionError> {
    let failed = |source| ConnectionError::Kubeconfig { path: path.to_owned(), source: Box::new(source) };
    let kubeconfig = Kubeconfig::read_from(path).map_err(failed)?;
    // Looked at before they are used: a change in between is seen later.
    let files = Files::of(path, &kubeconfig);
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.map_err(failed)?;
    Ok((config, files))
}

/// The pod's; with a URL of its own, a machine without service account may ask without credentials, as flannel does.
fn of_pod(has_url: bool) -> Result<Config, ConnectionError> {
    if !has_url {
        return Config::incluster_env().map_err(ConnectionError::ServiceAccount);
    }
    if Path::new(TOKEN).exists() {
        return Config::incluster_dns().map_err(ConnectionError::ServiceAccount);
    }
    Ok(Config::new(http::Uri::default()))
}

/// The files that credentials were read from.
#[derive(Debug, Default)]
pub(super) struct Files {
    paths: Vec<PathBuf>,
    seen: [u8; 32],
    /// Certificates that are in the kubeconfig itself, which is the file.
    inline: Vec<(PathBuf, Vec<u8>)>,
}

impl Files {
    /// A kubeconfig, and what it refers to.
    fn of(path: &Path, kubeconfig: &Kubeconfig) -> Self {
        let mut files = Self { paths: vec![path.to_owned()], ..Self::default() };
        let authorities = kubeconfig.clusters.iter().filter_map(|named| named.cluster.as_ref());
        files.paths.extend(authorities.filter_map(|cluster| cluster.certificate_authority.as_ref()).map(PathBuf::from));
        for user in kubeconfig.auth_infos.iter().filter_map(|named| named.auth_info.as_ref()) {
            files.paths.extend([&user.client_certificate, &user.client_key].into_iter().flatten().map(PathBuf::from));
            let inline = user.client_certificate_data.as_deref().and_then(base64::decode);
            files.inline.extend(inline.map(|pem| (path.to_owned(), pem)));
        }
        files.seen = files.digest();
        files
    }

    /// Returns when one of them has other content than before; looks meanwhile when certificates end.
    pub(super) async fn changed(&self, expiry: &mut ExpiryWatch) {
        if self.paths.is_empty() {
            return std::future::pending().await;
        }
        while !self.have_changed() {
            self.look(expiry);
            tokio::time::sleep(LOOK).await;
        }
    }

    pub(super) fn have_changed(&self) -> bool {
        self.digest() != self.seen
    }

    fn look(&self, expiry: &mut ExpiryWatch) {
        for path in &self.paths {
            // A kubeconfig and a key have no end.
            expiry.look(path, &std::fs::read(path).unwrap_or_default());
        }
        for (path, pem) in &self.inline {
            expiry.look(path, pem);
        }
    }

    /// Of what is in them; a file that cannot be read counts as empty.
    fn digest(&self) -> [u8; 32] {
        let mut all = Sha256::new();
        for path in &self.paths {
            all.update(Sha256::digest(std::fs::read(path).unwrap_or_default()));
        }
        all.finalize().into()
    }
}
