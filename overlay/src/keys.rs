//! This node's key for WireGuard.

use std::path::Path;

use libcni::base64;
use libcni::store::{self, StoreError};
use linuxnet::NetlinkError;
use linuxnet::wireguard::SecretKey;

/// The name of the file in `state_dir`, and its mode: nobody else may read it.
const FILE: &str = "wireguard.key";
const MODE: u32 = 0o600;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "{path} has no private key of WireGuard (hint: remove it, and a new one is made, which the other nodes learn from \
         the store)"
    )]
    NotAKey { path: String },
    #[error(transparent)]
    Random(#[from] NetlinkError),
}

/// The private key in `state_dir`, made if there is none. The file is as `wg genkey` writes it.
pub(crate) fn ensure_private_key(state_dir: &Path) -> Result<SecretKey, KeyError> {
    let path = state_dir.join(FILE);
    if let Some(text) = store::read_if_present(&path)? {
        let bytes = std::str::from_utf8(&text).ok().and_then(|text| base64::decode(text.trim()));
        let key = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()).filter(|key| *key != [0; 32]);
        return key.map(SecretKey).ok_or_else(|| KeyError::NotAKey { path: path.display().to_string() });
    }
    let key = SecretKey::random()?;
    store::ensure_dir(state_dir, 0o700)?;
    store::write_atomic(&path, format!("{}\n", base64::encode(&key.0)).as_bytes(), MODE)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_nobody_else_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let key = ensure_private_key(&state).unwrap();
        assert!(ensure_private_key(&state).unwrap() == key);
        let mode = std::fs::metadata(state.join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(ensure_private_key(&dir.path().join("other")).unwrap() != key);
    }

    #[test]
    fn what_is_no_key_is_told_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "abc=\n", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"] {
            let path = dir.path().join(FILE);
            store::write_atomic(&path, text.as_bytes(), MODE).unwrap();
            let error = ensure_private_key(dir.path()).unwrap_err().to_string();
            assert!(error.contains("wireguard.key has no private key"), "{error}");
            assert_eq!(std::fs::read_to_string(path).unwrap(), text);
        }
    }
}
