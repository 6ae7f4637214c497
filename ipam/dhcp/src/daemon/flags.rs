//! The daemon's flags: the reference's, read as Go reads flags.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::duration;
use super::server::Settings;
use crate::conf::DEFAULT_SOCKET;
use crate::lease::Timing;

pub(super) const USAGE: &str = "usage: dhcp daemon [FLAG…]
  -socketpath PATH     where to listen (default /run/cni/dhcp.sock), unless systemd passes a socket
  -hostprefix PATH     where the root of the host is seen: put before the paths of the socket, the leases and the
                       containers' namespaces
  -pidfile PATH        write the process id there; an absolute path
  -broadcast           ask DHCP servers to broadcast their answers
  -timeout DURATION    how long to wait for the answer to a REQUEST (default 10s)
  -resendmax DURATION  the longest pause before a message is sent again (default 1m2s)
  -resendtimeout DURATION  how long an ADD tries in all (default 3m28s)
Flags have one dash or two; values follow after a space or `=`. Durations are Go's: 300ms, 10s, 1m30s.";

/// The flags, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flags {
    pub(super) pidfile: Option<PathBuf>,
    pub(super) host_prefix: String,
    pub(super) socket: PathBuf,
    broadcast: bool,
    timing: Timing,
}

impl Default for Flags {
    fn default() -> Self {
        Self {
            pidfile: None,
            host_prefix: String::new(),
            socket: DEFAULT_SOCKET.into(),
            broadcast: false,
            timing: Timing {
                reply: Duration::from_secs(10),
                resend_max: Duration::from_secs(62),
                resend_timeout: Duration::from_secs(208),
            },
        }
    }
}

impl Flags {
    pub(super) fn settings(&self) -> Settings {
        Settings { host_prefix: self.host_prefix.clone(), broadcast: self.broadcast, timing: self.timing }
    }
}

/// What the arguments ask for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    Flags(Flags),
    Help,
}

/// What is wrong with the arguments.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FlagError {
    #[error("flag provided but not defined: -{0}")]
    Unknown(String),
    #[error("flag needs an argument: -{0}")]
    Missing(String),
    #[error("invalid value \"{value}\" for flag -{name}: expected {expected}")]
    Value { name: String, value: String, expected: &'static str },
    #[error("unexpected argument \"{0}\" (hint: -broadcast is written without a value, or as -broadcast=false)")]
    Argument(String),
    #[error("an argument is not UTF-8")]
    NotText,
}

/// Reads the arguments after `daemon`.
///
/// # Errors
/// [`FlagError`]
pub(super) fn parse(arguments: &[OsString]) -> Result<Parsed, FlagError> {
    let mut flags = Flags::default();
    let mut arguments = arguments.iter().map(|argument| argument.to_str().ok_or(FlagError::NotText));
    while let Some(argument) = arguments.next().transpose()? {
        let Some(flag) = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')) else {
            return Err(FlagError::Argument(argument.to_owned()));
        };
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (flag, None),
        };
        if matches!(name, "h" | "help") {
            return Ok(Parsed::Help);
        }
        if name == "broadcast" {
            flags.broadcast = boolean(value.unwrap_or("true"))?;
            continue;
        }
        let mut value = || match value {
            Some(value) => Ok(value),
            None => arguments.next().transpose()?.ok_or_else(|| FlagError::Missing(name.to_owned())),
        };
        match name {
            "pidfile" => flags.pidfile = Some(value()?).filter(|path| !path.is_empty()).map(PathBuf::from),
            "hostprefix" => value()?.clone_into(&mut flags.host_prefix),
            "socketpath" => {
                let path = value()?;
                flags.socket = if path.is_empty() { DEFAULT_SOCKET.into() } else { path.into() };
            }
            "timeout" => flags.timing.reply = time(name, value()?)?,
            "resendmax" => flags.timing.resend_max = time(name, value()?)?,
            "resendtimeout" => flags.timing.resend_timeout = time(name, value()?)?,
            _ => return Err(FlagError::Unknown(name.to_owned())),
        }
    }
    Ok(Parsed::Flags(flags))
}

/// As Go's `strconv.ParseBool`.
fn boolean(value: &str) -> Result<bool, FlagError> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(FlagError::Value { name: "broadcast".to_owned(), value: value.to_owned(), expected: "true or false" }),
    }
}

fn time(name: &str, value: &str) -> Result<Duration, FlagError> {
    duration::parse(value).filter(|time| !time.is_zero()).ok_or_else(|| FlagError::Value {
        name: name.to_owned(),
        value: value.to_owned(),
        expected: "a duration above 0 such as 300ms, 10s or 1m30s",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Parsed, FlagError> {
        parse(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn flags_are_read_as_go_reads_them() {
        assert_eq!(read(""), Ok(Parsed::Flags(Flags::default())));
        let line = "-pidfile /run/d.pid --hostprefix=/host -socketpath /run/d.sock --broadcast -timeout=2s \
            -resendmax 300ms --resendtimeout 1m30s";
        let Ok(Parsed::Flags(flags)) = read(line) else { panic!("{line}") };
        assert_eq!(flags.pidfile, Some("/run/d.pid".into()));
        assert_eq!((flags.host_prefix.as_str(), flags.socket), ("/host", "/run/d.sock".into()));
        assert!(flags.broadcast);
        let timing = [flags.timing.reply, flags.timing.resend_max, flags.timing.resend_timeout];
        assert_eq!(timing.map(|time| time.as_millis()), [2000, 300, 90_000]);
        assert_eq!(read("-socketpath= -broadcast=false -pidfile="), Ok(Parsed::Flags(Flags::default())));
        assert_eq!(read("--help"), Ok(Parsed::Help));
    }

    #[test]
    fn mistakes_are_told() {
        let told = |line: &str| read(line).unwrap_err().to_string();
        assert_eq!(told("-socket /x"), "flag provided but not defined: -socket");
        assert_eq!(told("-pidfile"), "flag needs an argument: -pidfile");
        assert!(told("-timeout 10").starts_with("invalid value \"10\" for flag -timeout: expected a duration"));
        assert!(told("-timeout 0").contains("above 0"));
        assert!(told("-broadcast true").starts_with("unexpected argument \"true\""));
    }
}
