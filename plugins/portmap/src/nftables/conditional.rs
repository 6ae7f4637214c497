//! Conditions in nftables' own language.
//!
//! A condition becomes a rule of the chain `conditional` that jumps to a chain with maps of its own; the mappings under
//! it are elements of these maps like all others. Only the rule needs the program `nft`, once for each condition.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use linuxnet::NetlinkError;
use linuxnet::nft::{Nfnetlink, Transaction};

use super::layout::{ATTEMPTS, CONDITIONAL, PortMaps, TABLE, Version};
use crate::conf::Conditions;
use crate::error::{ConditionError, PortmapError};

const SBIN: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Makes what mappings under this condition need, if it is missing. Without a condition there is nothing to do.
pub(super) fn ensure(
    nft: &mut Nfnetlink,
    version: &'static Version,
    maps: &PortMaps,
    words: &[String],
) -> Result<(), PortmapError> {
    let Some(chain) = &maps.chain else { return Ok(()) };
    let rules = maps.rules().len();
    let uses = ensure_chain(nft, maps, chain)?;
    // The jump to it counts too.
    if uses > rules {
        return Ok(());
    }
    let condition = words.join(" ");
    run_nft(&jump_rule(version, &condition, chain)).map_err(|source| PortmapError::Condition { condition, source })
}

/// Makes the chain that looks into the maps; how many rules it has and is jumped to by.
fn ensure_chain(nft: &mut Nfnetlink, maps: &PortMaps, chain: &str) -> Result<usize, NetlinkError> {
    for attempt in 1.. {
        if let Some(found) = nft.find_chain(TABLE, chain)? {
            return Ok(found.uses as usize);
        }
        let mut t = Transaction::new(TABLE);
        t.ensure_set(&maps.any_set()).ensure_set(&maps.specific_set()).create_chain(chain);
        for rule in maps.rules() {
            t.add_rule(chain, &rule);
        }
        match nft.commit(&t) {
            // Another plugin was faster.
            Err(e) if e.is_exists() && attempt < ATTEMPTS => {}
            outcome => outcome?,
        }
    }
    Ok(0)
}

/// The text for `nft -f -`. Mappings under a condition go before those without, whatever was there first.
fn jump_rule(version: &Version, condition: &str, chain: &str) -> String {
    format!("add rule {TABLE} {CONDITIONAL} meta nfproto {} {condition} jump {chain}\n", version.nfproto)
}

/// Whether a condition could be set up now: `nft` is there, or no condition needs it.
pub(super) fn status(conditions: &Conditions) -> Result<(), PortmapError> {
    match conditions.first() {
        Some(words) if find_nft().is_none() => {
            Err(PortmapError::Condition { condition: words.join(" "), source: ConditionError::Missing })
        }
        Some(_) | None => Ok(()),
    }
}

/// The program `nft` in `PATH`, or in the sbin directories, which the `PATH` of a daemon often lacks.
fn find_nft() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(SBIN.map(PathBuf::from));
    directories.map(|directory| directory.join("nft")).find(|program| program.is_file())
}

/// Has `nft` do it (`nft -f -`).
fn run_nft(commands: &str) -> Result<(), ConditionError> {
    let mut child = Command::new(find_nft().ok_or(ConditionError::Missing)?)
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(ConditionError::Run)?;
    if let Some(mut stdin) = child.stdin.take() {
        // If it ends before it has read all, its exit status and stderr say why.
        let _ = stdin.write_all(commands.as_bytes());
    }
    let output = child.wait_with_output().map_err(ConditionError::Run)?;
    if output.status.success() {
        return Ok(());
    }
    Err(ConditionError::Refused(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_condition_stands_in_one_rule() {
        let [v4, _] = Version::ALL;
        assert_eq!(
            jump_rule(v4, "ip saddr 10.0.0.0/8", "conditional4_ab"),
            "add rule inet ferrule_portmap conditional meta nfproto ipv4 ip saddr 10.0.0.0/8 jump conditional4_ab\n"
        );
    }
}
