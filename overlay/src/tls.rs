//! Certificates: what a client needs to speak TLS, read from PEM files that are replaced from time to time.

mod expiry;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper_rustls::ConfigBuilderExt;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};

pub(crate) use expiry::ExpiryWatch;

/// Which PEM files there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    /// The authorities that servers are believed by. None: the system's.
    pub(crate) ca: Option<PathBuf>,
    /// The client's own certificate, and those above it.
    pub(crate) cert: Option<PathBuf>,
    /// Its key.
    pub(crate) key: Option<PathBuf>,
}

/// What was in the files: two that are equal make the same client.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Certificates {
    ca: Option<Pem>,
    cert: Option<Pem>,
    key: Option<Pem>,
}

#[derive(Clone, PartialEq, Eq)]
struct Pem {
    path: PathBuf,
    bytes: Vec<u8>,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("cannot read {path}", path = .path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path} is no PEM file of {expected}", path = .path.display())]
    Pem { path: PathBuf, expected: &'static str, source: rustls::pki_types::pem::Error },
    #[error("{path} has no certificate (BEGIN CERTIFICATE) in it", path = .path.display())]
    Empty { path: PathBuf },
    #[error("a certificate without its key, or a key without its certificate: set both cert_file and key_file")]
    Half,
    #[error("the system's certificate authorities cannot be read (hint: set ca_file)")]
    System(#[source] std::io::Error),
    #[error("the certificates are refused")]
    Refused(#[source] rustls::Error),
}

impl TlsFiles {
    /// Reads them.
    ///
    /// # Errors
    /// [`TlsError::Read`].
    pub(crate) fn read(&self) -> Result<Certificates, TlsError> {
        let pem = |path: &Option<PathBuf>| path.as_deref().map(Pem::read).transpose();
        Ok(Certificates { ca: pem(&self.ca)?, cert: pem(&self.cert)?, key: pem(&self.key)? })
    }
}

impl Pem {
    fn read(path: &Path) -> Result<Self, TlsError> {
        match std::fs::read(path) {
            Ok(bytes) => Ok(Self { path: path.to_owned(), bytes }),
            Err(source) => Err(TlsError::Read { path: path.to_owned(), source }),
        }
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(&self.bytes)
            .collect::<Result<_, _>>()
            .map_err(|source| TlsError::Pem { path: self.path.clone(), expected: "certificates", source })?;
        if certificates.is_empty() {
            return Err(TlsError::Empty { path: self.path.clone() });
        }
        Ok(certificates)
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_slice(&self.bytes).map_err(|source| TlsError::Pem {
            path: self.path.clone(),
            expected: "a private key",
            source,
        })
    }
}

impl Certificates {
    /// How a client speaks TLS with them.
    ///
    /// # Errors
    /// All but [`TlsError::Read`].
    pub(crate) fn client(&self) -> Result<ClientConfig, TlsError> {
        let builder = match &self.ca {
            Some(pem) => builder()?.with_root_certificates(roots(pem)?),
            None => builder()?.with_native_roots().map_err(TlsError::System)?,
        };
        match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                builder.with_client_auth_cert(cert.certificates()?, key.key()?).map_err(TlsError::Refused)
            }
            (None, None) => Ok(builder.with_no_client_auth()),
            _ => Err(TlsError::Half),
        }
    }

    /// The files that have certificates in them, with what is in them.
    pub(crate) fn dated(&self) -> impl Iterator<Item = (&Path, &[u8])> {
        self.ca.iter().chain(&self.cert).map(|pem| (pem.path.as_path(), pem.bytes.as_slice()))
    }
}

// Not derived: there is a key in it.
impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let paths: Vec<_> = [&self.ca, &self.cert, &self.key].into_iter().flatten().map(|pem| &pem.path).collect();
        f.debug_tuple("Certificates").field(&paths).finish()
    }
}

/// A client that believes no server, for a connector that wants one where there is no TLS.
///
/// # Errors
/// [`TlsError::Refused`].
pub(crate) fn believing_nobody() -> Result<ClientConfig, TlsError> {
    Ok(builder()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, TlsError> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Refused)
}

fn roots(pem: &Pem) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in pem.certificates()? {
        roots.add(certificate).map_err(TlsError::Refused)?;
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(dir: &Path) -> TlsFiles {
        let at = |name: &str| Some(dir.join(name));
        TlsFiles { ca: at("ca.pem"), cert: at("cert.pem"), key: at("key.pem") }
    }

    #[test]
    fn files_that_are_wrong_are_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let refusal = files(dir.path()).read().expect_err("nothing there").to_string();
        assert!(refusal.ends_with("ca.pem"), "{refusal}");

        for name in ["ca.pem", "cert.pem", "key.pem"] {
            std::fs::File::create(dir.path().join(name)).expect("an empty file");
        }
        let empty = files(dir.path()).read().expect("files");
        let refusal = empty.client().expect_err("nothing in it").to_string();
        assert!(refusal.contains("ca.pem has no certificate"), "{refusal}");

        let half = TlsFiles { key: None, ..files(dir.path()) };
        let refusal = TlsFiles { ca: None, ..half }.read().expect("files").client().expect_err("no key").to_string();
        assert!(refusal.contains("key_file") || refusal.contains("system"), "{refusal}");
    }
}
