//! What is this machine's alone.

use std::io::Read as _;
use std::path::Path;

use libcni::store::{self, StoreError};
use sha2::{Digest as _, Sha256};

/// systemd's file, and D-Bus's on machines without systemd (machine-id(5)).
const MACHINE_ID: [&str; 2] = ["/etc/machine-id", "/var/lib/dbus/machine-id"];
/// What this daemon makes itself on a machine that has neither, in its `state_dir`.
const OWN_ID: &str = "machine-id";

/// 32 bytes that are always the same on this machine for this name, and others elsewhere. The name is part of it, as
/// machines that were copied from one image may have one machine ID.
///
/// # Errors
/// If the machine has no ID and none can be kept in `state_dir`.
pub(crate) fn identity(name: &str, state_dir: &Path) -> Result<[u8; 32], StoreError> {
    let found = MACHINE_ID.iter().find_map(|path| machine_id(Path::new(path)));
    let id = match found {
        Some(id) => id,
        None => own_id(state_dir)?,
    };
    Ok(of_machine(&id, name))
}

fn of_machine(id: &str, name: &str) -> [u8; 32] {
    // The ID itself must not leave the machine, says machine-id(5): others see no more than a hash.
    let hash = Sha256::new().chain_update(b"ferrule machine\0").chain_update(id).chain_update(b"\0");
    hash.chain_update(name).finalize().0
}

/// The ID in a file; none before the first boot is over (`uninitialized`), and where it cannot be read.
fn machine_id(path: &Path) -> Option<String> {
    let text = store::read_if_present(path).ok().flatten()?;
    let id = String::from_utf8(text).ok()?.trim().to_owned();
    (id.len() >= 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}

fn own_id(state_dir: &Path) -> Result<String, StoreError> {
    let path = state_dir.join(OWN_ID);
    if let Some(id) = machine_id(&path) {
        return Ok(id);
    }
    let mut bytes = [0; 16];
    let random = Path::new("/dev/urandom");
    let read = std::fs::File::open(random).and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(StoreError::on("read", random))?;
    let id: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    store::ensure_dir(state_dir, 0o700)?;
    store::write_atomic(&path, format!("{id}\n").as_bytes(), 0o600)?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_of_the_machine_and_the_name() {
        let all = [of_machine("a", "n1"), of_machine("a", "n2"), of_machine("b", "n1"), of_machine("a\0n", "1")];
        for (i, one) in all.iter().enumerate() {
            assert!(!all[..i].contains(one), "{i}");
        }
        assert_eq!(of_machine("a", "n1"), all[0]);
    }

    #[test]
    fn what_is_no_machine_id_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("machine-id");
        for text in ["", "uninitialized\n", "short"] {
            store::write_atomic(&path, text.as_bytes(), 0o600).unwrap();
            assert_eq!(machine_id(&path), None, "{text}");
        }
        let id = "0123456789abcdef0123456789abcdef";
        store::write_atomic(&path, format!("{id}\n").as_bytes(), 0o600).unwrap();
        assert_eq!(machine_id(&path).as_deref(), Some(id));
    }

    #[test]
    fn an_own_id_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let id = own_id(&state).unwrap();
        assert_eq!(own_id(&state).unwrap(), id);
        assert_ne!(own_id(dir.path()).unwrap(), id);
    }
}
