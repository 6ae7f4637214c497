//! The node's list of sysctls that a configuration may set: one regular expression per line, searched in the key as it
//! is written. Without the file, everything is allowed.

use std::path::Path;

use libcni::store::read_if_present;
use regex_lite::Regex;

use crate::error::TuningError;
use crate::sysctl::Sysctl;

const PATH: &str = "/etc/cni/tuning/allowlist.conf";

/// Refuses what the list does not allow.
///
/// # Errors
/// The first sysctl that is not allowed; or what is wrong with the list.
pub(crate) fn require_allowed(sysctls: &[Sysctl]) -> Result<(), TuningError> {
    if sysctls.is_empty() {
        return Ok(());
    }
    let Some(text) = read_if_present(Path::new(PATH))? else { return Ok(()) };
    AllowList::parse(&String::from_utf8_lossy(&text))?.require(sysctls)
}

#[derive(Debug)]
struct AllowList(Vec<Regex>);

impl AllowList {
    fn parse(text: &str) -> Result<Self, TuningError> {
        let lines = text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty());
        let expression = |(number, line): (usize, &str)| {
            Regex::new(line).map_err(|source| TuningError::AllowList {
                path: PATH,
                line: number + 1,
                expression: line.to_owned(),
                source,
            })
        };
        lines.map(expression).collect::<Result<_, _>>().map(Self)
    }

    fn require(&self, sysctls: &[Sysctl]) -> Result<(), TuningError> {
        let allowed = |key: &str| self.0.iter().any(|expression| expression.is_match(key));
        match sysctls.iter().find(|sysctl| !allowed(&sysctl.key)) {
            None => Ok(()),
            Some(sysctl) => Err(TuningError::NotAllowed {
                key: sysctl.key.clone(),
                allowed: self.0.iter().map(Regex::as_str).collect::<Vec<_>>().join(" "),
                path: PATH,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(list: &str, key: &str) -> bool {
        let sysctl = Sysctl::parse(key, "1", "eth0").unwrap();
        AllowList::parse(list).unwrap().require(&[sysctl]).is_ok()
    }

    #[test]
    fn expressions_are_searched_in_the_key_as_it_is_written() {
        let list = "\n  ^net\\.ipv4\\.conf\\.IFNAME\\.[a-z_]*$\r\nsomaxconn\n";
        assert!(allows(list, "net.ipv4.conf.IFNAME.arp_filter"));
        assert!(!allows(list, "net.ipv4.conf.eth0.arp_filter"));
        assert!(!allows(list, "net/ipv4/conf/IFNAME/arp_filter"));
        assert!(allows(list, "net.core.somaxconn"));
        assert!(allows("(?i)NET[.]core[.][[:alpha:]]+", "net.core.somaxconn"));
    }

    #[test]
    fn an_empty_list_allows_nothing() {
        assert!(!allows("\n\n", "net.core.somaxconn"));
    }

    #[test]
    fn faults_have_a_place() {
        let fault = AllowList::parse("net\n\nnet.(ipv4").unwrap_err().to_string();
        assert!(
            fault.starts_with("cannot understand line 3 of /etc/cni/tuning/allowlist.conf: \"net.(ipv4\""),
            "{fault}"
        );
    }
}
