//! The sysctls of a configuration: how they are named, in which order they are set, what they were before.
//!
//! Whatever reads or writes here works in the calling thread's namespace: [`libcni::netns::Netns::within`].

use std::collections::BTreeMap;

use linuxnet::sysctl::{self, SysctlError};
use nix::errno::Errno;

use crate::error::{Hint, TuningError};

/// Stands for the attachment's interface in a key.
const IFNAME: &str = "IFNAME";

/// Values by name, as `net/ipv4/conf/eth0/arp_filter`.
pub(crate) type Values = BTreeMap<String, String>;

/// A sysctl to be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sysctl {
    /// As it is written in the configuration.
    pub(crate) key: String,
    pub(crate) value: String,
    /// What the key means, and what else it may mean.
    name: String,
    alternative: Option<String>,
}

/// Why a key names no setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid net sysctl key: \"{0}\" (hint: only settings below net. are a container's own)")]
pub struct KeyError(String);

impl Sysctl {
    /// The setting `key`, with the interface `ifname` for its `IFNAME`.
    ///
    /// As in the reference, every `.` and every `/` separates, and what is between two of them may be empty. A key that
    /// has both may also be meant as sysctl(8) reads it: the first one separates, the other belongs to a name, as in
    /// `net/ipv4/conf/eth0.100/arp_filter` and `net.ipv4.conf.eth0/100.arp_filter`.
    pub(crate) fn parse(key: &str, value: &str, ifname: &str) -> Result<Self, KeyError> {
        let named = |text: String| text.replacen(IFNAME, ifname, 1);
        // The interface's name after the separators: its own dots separate nothing.
        let name = join(&named(key.replace('.', "/")));
        if !is_of_net(&name) {
            return Err(KeyError(key.to_owned()));
        }
        let alternative = Some(join(&named(with_slashes(key)))).filter(|other| *other != name && is_of_net(other));
        Ok(Self { key: key.to_owned(), value: value.to_owned(), name, alternative })
    }

    /// What the key means.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The meaning that this namespace has a setting for.
    fn present_name(&self) -> &str {
        match &self.alternative {
            Some(other) if !sysctl::exists(&self.name) && sysctl::exists(other) => other,
            _ => &self.name,
        }
    }

    fn set(&self) -> Result<(), TuningError> {
        let fault = |source: SysctlError| TuningError::Sysctl {
            key: self.key.clone(),
            value: self.value.clone(),
            hint: Hint::of(&source),
            source,
        };
        ensure(self.present_name(), &self.value).map_err(fault)
    }

    fn difference(&self) -> Option<String> {
        let Self { key, value, .. } = self;
        match sysctl::read(self.present_name()) {
            Ok(is) if is_same(&is, value) => None,
            Ok(is) => Some(format!("Tuning configured value of {key} is {value}, current value is {is}")),
            // Some can only be written, as net.ipv4.route.flush.
            Err(e) if !e.is_not_found() => None,
            Err(_) => Some(format!("Tuning configured value of {key} is {value}, and there is no such sysctl")),
        }
    }
}

/// `sysctls` in the order in which they are set, and set back: settings of everything before those of `all` interfaces,
/// those before `default`, those before single interfaces; by name otherwise. Setting the former changes the latter.
pub(crate) fn sort(sysctls: &mut [Sysctl]) {
    sysctls.sort_by(|a, b| rank(&a.name).cmp(&rank(&b.name)));
}

fn rank(name: &str) -> (usize, u8, &str) {
    let general = match name.split('/').nth_back(1) {
        Some("all") => 0,
        Some("default") => 1,
        _ => 2,
    };
    (name.split('/').count(), general, name)
}

/// What `sysctls` are set to. One that is not there, or cannot be read, is left out.
pub(crate) fn read(sysctls: &[Sysctl]) -> Values {
    let value = |sysctl: &Sysctl| {
        let name = sysctl.present_name();
        Some((name.to_owned(), sysctl::read(name).ok()?))
    };
    sysctls.iter().filter_map(value).collect()
}

/// Sets `sysctls`.
///
/// # Errors
/// The first that fails; those before it are set.
pub(crate) fn set(sysctls: &[Sysctl]) -> Result<(), TuningError> {
    sysctls.iter().try_for_each(Sysctl::set)
}

/// In what `sysctls` are not set as they should be, in words.
pub(crate) fn differences(sysctls: &[Sysctl]) -> Vec<String> {
    sysctls.iter().filter_map(Sysctl::difference).collect()
}

/// Sets everything to what `values` says. What is gone is passed over.
///
/// # Errors
/// All that failed, after trying everything.
pub(crate) fn restore(values: &Values) -> Vec<SysctlError> {
    let mut names: Vec<&String> = values.keys().filter(|name| is_of_net(name)).collect();
    names.sort_by(|a, b| rank(a).cmp(&rank(b)));
    let restored = names.into_iter().filter_map(|name| ensure(name, values.get(name)?).err());
    restored.filter(|fault| !fault.is_not_found()).collect()
}

/// Sets the value unless it is set already. So what cannot be written need not be.
fn ensure(name: &str, value: &str) -> Result<(), SysctlError> {
    match sysctl::read(name) {
        Ok(is) if is_same(&is, value) => Ok(()),
        _ => sysctl::write(name, value),
    }
}

/// The kernel separates several values by tabs, whatever was written.
fn is_same(a: &str, b: &str) -> bool {
    a.split_whitespace().eq(b.split_whitespace())
}

/// Whether the setting is one of a network namespace: others must not be changed for a container.
fn is_of_net(name: &str) -> bool {
    let parts_are_names = || name.split('/').all(|part| !matches!(part, "." | ".."));
    name.strip_prefix("net/").is_some_and(|rest| !rest.is_empty()) && parts_are_names()
}

/// `key` as sysctl(8) reads it: the first separator separates.
fn with_slashes(key: &str) -> String {
    let swapped = |c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    match key.find(['.', '/']) {
        Some(at) if key.get(at..).is_some_and(|rest| rest.starts_with('.')) => key.chars().map(swapped).collect(),
        _ => key.to_owned(),
    }
}

/// `path` without empty parts.
fn join(path: &str) -> String {
    path.split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}

/// Whether trying again is no use: the kernel does not take the value, or does not let us.
pub(crate) fn is_final(errno: Option<Errno>) -> bool {
    use Errno::{EACCES, EADDRNOTAVAIL, EBUSY, EINVAL, EOPNOTSUPP, EPERM, ERANGE, EROFS};
    matches!(errno, Some(EACCES | EADDRNOTAVAIL | EBUSY | EINVAL | EOPNOTSUPP | EPERM | ERANGE | EROFS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(key: &str, ifname: &str) -> Result<Sysctl, KeyError> {
        Sysctl::parse(key, "1", ifname)
    }

    #[test]
    fn either_separator_and_the_interfaces_name() {
        for (key, ifname, name) in [
            ("net.ipv4.conf.IFNAME.arp_filter", "eth0", "net/ipv4/conf/eth0/arp_filter"),
            ("net/ipv4/conf/IFNAME/arp_filter", "eth0.100", "net/ipv4/conf/eth0.100/arp_filter"),
            ("net.ipv4/conf.IFNAME/arp_filter", "a..b", "net/ipv4/conf/a..b/arp_filter"),
            ("net.ipv4.conf.IFNAME.IFNAME", "eth0", "net/ipv4/conf/eth0/IFNAME"),
            ("/net//core..somaxconn/", "eth0", "net/core/somaxconn"),
            (".net.core.somaxconn", "eth0", "net/core/somaxconn"),
        ] {
            assert_eq!(parsed(key, ifname).unwrap().name, name, "{key}");
        }
    }

    #[test]
    fn dots_in_written_names_of_interfaces() {
        for key in ["net/ipv4/conf/eth0.100/arp_filter", "net.ipv4.conf.eth0/100.arp_filter"] {
            let sysctl = parsed(key, "eth0").unwrap();
            assert_eq!(sysctl.name, "net/ipv4/conf/eth0/100/arp_filter");
            assert_eq!(sysctl.alternative.as_deref(), Some("net/ipv4/conf/eth0.100/arp_filter"));
        }
        assert_eq!(parsed("net.core.somaxconn", "eth0").unwrap().alternative, None);
    }

    #[test]
    fn only_settings_of_the_network() {
        for key in
            ["kernel.hostname", "net", "net.", "", "netx.a", "../net.a", "fs/../net/core/somaxconn", "/proc/sys/net/a"]
        {
            // In the reference, too, dots separate before anything is cleaned: `..` never leads up.
            let leads_nowhere = parsed(key, "eth0").map_or(true, |s| !s.name.contains(".."));
            assert!(leads_nowhere, "{key}");
        }
        for key in ["kernel.hostname", "net", "net.", "", "netx.a", "fs/../net/core/somaxconn", "/proc/sys/net/a"] {
            let fault = parsed(key, "eth0").unwrap_err().to_string();
            assert!(fault.starts_with(&format!("invalid net sysctl key: \"{key}\"")), "{fault}");
        }
        assert_eq!(parsed("net/ipv4/../../kernel/hostname", "eth0").unwrap().alternative, None);
    }

    #[test]
    fn general_settings_come_before_particular_ones() {
        let keys = [
            "net.ipv4.conf.eth0.forwarding",
            "net.ipv4.conf.default.forwarding",
            "net.ipv6.conf.all.forwarding",
            "net.ipv4.ip_forward",
            "net.ipv4.conf.all.forwarding",
        ];
        let mut sysctls: Vec<Sysctl> = keys.into_iter().map(|key| parsed(key, "eth0").unwrap()).collect();
        sort(&mut sysctls);
        let names: Vec<&str> = sysctls.iter().map(Sysctl::name).collect();
        assert_eq!(
            names,
            [
                "net/ipv4/ip_forward",
                "net/ipv4/conf/all/forwarding",
                "net/ipv6/conf/all/forwarding",
                "net/ipv4/conf/default/forwarding",
                "net/ipv4/conf/eth0/forwarding",
            ]
        );
    }

    #[test]
    fn white_space_does_not_count() {
        assert!(is_same("4096\t131072\t6291456", "4096 131072  6291456"));
        assert!(!is_same("4096 131072", "4096 131072 6291456"));
    }
}
