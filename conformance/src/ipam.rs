//! `conformance-ipam`: an IPAM plugin that gives out addresses in order, and writes down how it was called. Plugins that
//! delegate are tested with it, so that a directory without IPAM plugins is enough, and what they hand on is seen.
//!
//! Its `ipam` object: `subnet` (default 10.77.0.0/16), `routes`, `dns`; `fail`, an object `{"ADD": {"code": 11, "msg":
//! "…"}}` of verbs that fail, and how; `delayMs`, by which ADD answers late.

use std::io::{Read, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::{Map, Value, json};

use crate::network::is_at_least;
use crate::sandbox;

/// Where it keeps what it gave out: a file for each address, with the attachment in it.
pub(crate) fn addresses_dir() -> PathBuf {
    Path::new(sandbox::DIR).join("ipam/addresses")
}

/// Where it writes down its calls, one JSON object a line.
pub(crate) fn calls_file() -> PathBuf {
    Path::new(sandbox::DIR).join("ipam/calls")
}

/// What was written down since this was asked last.
///
/// # Errors
/// If the file cannot be read, or emptied.
pub(crate) fn take_calls() -> std::io::Result<Vec<Value>> {
    let path = calls_file();
    let text = match std::fs::read_to_string(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text?,
    };
    std::fs::remove_file(&path)?;
    Ok(text.lines().map(|line| serde_json::from_str(line).unwrap_or_default()).collect())
}

/// A failure on the wire.
struct Fault {
    code: u64,
    msg: String,
}

impl Fault {
    fn new(code: u64, msg: impl Into<String>) -> Self {
        Self { code, msg: msg.into() }
    }

    fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |e| Self::new(5, format!("{}: {e}", path.display()))
    }
}

/// Runs the plugin as this process.
#[must_use]
pub fn main() -> ExitCode {
    let mut text = String::new();
    let config = match std::io::stdin().read_to_string(&mut text) {
        Ok(_) => serde_json::from_str(&text).unwrap_or_default(),
        Err(_) => Value::Null,
    };
    let version = config.get("cniVersion").and_then(Value::as_str).unwrap_or("0.1.0").to_owned();
    let (reply, code) = match answer(&config, &version) {
        Ok(reply) => (reply, ExitCode::SUCCESS),
        Err(fault) => {
            let error = json!({"cniVersion": version, "code": fault.code, "msg": fault.msg});
            (Some(error), ExitCode::FAILURE)
        }
    };
    if let Some(reply) = reply {
        // A caller that is gone learns nothing anyway.
        let _ = std::io::stdout().write_all(reply.to_string().as_bytes());
    }
    code
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

fn answer(config: &Value, version: &str) -> Result<Option<Value>, Fault> {
    let verb = variable("CNI_COMMAND");
    if verb == "VERSION" {
        return Ok(Some(json!({"cniVersion": "1.1.0", "supportedVersions": crate::case::VERSIONS})));
    }
    write_down(&verb, config)?;
    if let Some(fail) = config.pointer("/ipam/fail").and_then(|verbs| verbs.get(&verb)) {
        let code = fail.get("code").and_then(Value::as_u64).unwrap_or(11);
        let msg = fail.get("msg").and_then(Value::as_str).unwrap_or("this IPAM plugin was told to fail");
        return Err(Fault::new(code, msg));
    }
    match verb.as_str() {
        "ADD" => add(config, version).map(Some),
        "DEL" => release(|owner| owner == this_owner()).map(|_count| None),
        "CHECK" => check().map(|()| None),
        "GC" => gc(config).map(|()| None),
        "STATUS" => Ok(None),
        _ => Err(Fault::new(4, format!("unknown CNI_COMMAND {verb}"))),
    }
}

fn write_down(verb: &str, config: &Value) -> Result<(), Fault> {
    let env: Map<String, Value> = std::env::vars()
        .filter(|(name, _)| name.starts_with("CNI_"))
        .map(|(name, value)| (name, Value::String(value)))
        .collect();
    let line = format!("{}\n", json!({"verb": verb, "env": env, "stdin": config}));
    let path = calls_file();
    let dir = addresses_dir();
    std::fs::create_dir_all(&dir).map_err(Fault::io(&dir))?;
    // One write of a line at the end of the file: lines of several at once do not mix.
    let mut file = std::fs::File::options().create(true).append(true).open(&path).map_err(Fault::io(&path))?;
    file.write_all(line.as_bytes()).map_err(Fault::io(&path))
}

fn this_owner() -> String {
    format!("{} {}", variable("CNI_CONTAINERID"), variable("CNI_IFNAME"))
}

fn add(config: &Value, version: &str) -> Result<Value, Fault> {
    if let Some(delay) = config.pointer("/ipam/delayMs").and_then(Value::as_u64) {
        std::thread::sleep(Duration::from_millis(delay));
    }
    let subnet = config.pointer("/ipam/subnet").and_then(Value::as_str).unwrap_or("10.77.0.0/16");
    let subnet: IpNet = subnet.parse().map_err(|_invalid| Fault::new(7, format!("ipam.subnet: invalid {subnet}")))?;
    let mut hosts = subnet.hosts();
    let gateway = hosts.next().ok_or_else(|| Fault::new(7, "ipam.subnet: no addresses"))?;
    let taken = hosts.find(|ip| take(*ip));
    let address = taken.ok_or_else(|| Fault::new(100, format!("no addresses left in {subnet}")))?;
    let address = format!("{address}/{}", subnet.prefix_len());
    let routes = config.pointer("/ipam/routes").cloned().unwrap_or_else(|| json!([]));
    let dns = config.pointer("/ipam/dns").cloned().unwrap_or_else(|| json!({}));
    let family = if gateway.is_ipv4() { "4" } else { "6" };
    Ok(if is_at_least(version, "1.0.0") {
        json!({"cniVersion": version, "ips": [{"address": address, "gateway": gateway}], "routes": routes, "dns": dns})
    } else if is_at_least(version, "0.3.0") {
        let ip = json!({"version": family, "address": address, "gateway": gateway});
        json!({"cniVersion": version, "ips": [ip], "routes": routes, "dns": dns})
    } else {
        let ip = json!({"ip": address, "gateway": gateway, "routes": routes});
        json!({"cniVersion": version, format!("ip{family}"): ip, "dns": dns})
    })
}

/// Whether the address was free and is this attachment's now. The owner is written before the file gets its name, so that
/// one that is killed leaves a file with an owner or none.
fn take(ip: IpAddr) -> bool {
    let dir = addresses_dir();
    let named = libcni::store::anonymous(&dir, this_owner().as_bytes(), 0o644)
        .and_then(|file| libcni::store::name(&file, &dir.join(ip.to_string())));
    named.is_ok()
}

/// Releases what belongs to those that `is_released` says, and gives how many addresses that were.
fn release(is_released: impl Fn(&str) -> bool) -> Result<usize, Fault> {
    let dir = addresses_dir();
    let mut count = 0;
    for file in libcni::store::files(&dir).map_err(|e| Fault::new(5, e.to_string()))? {
        let Ok(owner) = std::fs::read_to_string(&file) else { continue };
        if is_released(&owner) {
            libcni::store::remove_file(&file).map_err(|e| Fault::new(5, e.to_string()))?;
            count += 1;
        }
    }
    Ok(count)
}

fn check() -> Result<(), Fault> {
    let dir = addresses_dir();
    let files = libcni::store::files(&dir).map_err(|e| Fault::new(5, e.to_string()))?;
    let is_there = files.iter().any(|file| std::fs::read_to_string(file).is_ok_and(|owner| owner == this_owner()));
    if is_there { Ok(()) } else { Err(Fault::new(101, format!("{} has no address", this_owner()))) }
}

fn gc(config: &Value) -> Result<(), Fault> {
    let Some(valid) = config.get("cni.dev/valid-attachments") else { return Ok(()) };
    let text = |entry: &Value, key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let valid: Vec<String> = valid
        .as_array()
        .into_iter()
        .flatten()
        .map(|entry| format!("{} {}", text(entry, "containerID"), text(entry, "ifname")))
        .collect();
    release(|owner| !valid.iter().any(|kept| kept == owner)).map(drop)
}
