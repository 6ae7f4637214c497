//! The configuration: JSON in, checked types out.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use libcni::json::FieldError;
use libcni::types::{CniArgs, NetworkConfig, RequestedIps, Route};
use serde::Deserialize;

use crate::error::Error;
use crate::range::{Range, RangeSet, first_pair};
use crate::store::Place;

const DEFAULT_DATA_DIR: &str = "/var/lib/cni/networks";

/// What ADD, CHECK and STATUS need.
#[derive(Debug)]
pub(crate) struct Conf {
    pub(crate) place: Place,
    /// One address is taken of each. No two overlap.
    pub(crate) sets: Vec<RangeSet>,
    /// `ipam.routes`, returned as they are.
    pub(crate) routes: Vec<Route>,
    /// `ipam.resolvConf`.
    pub(crate) resolv_conf: Option<PathBuf>,
    /// Addresses asked for by `CNI_ARGS`, `args.cni.ips` and `runtimeConfig.ips`, each once.
    pub(crate) requested: Vec<IpAddr>,
}

/// The configuration on the wire, as much of it as the verbs about reservations alone need. A fault in another key
/// must not keep an address from being released.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default)]
struct PlaceDocument {
    /// Of this plugin.
    ipam: Option<PlaceIpam>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PlaceIpam {
    /// Where the reservations are kept.
    #[cfg_attr(test, schemars(extend("default" = DEFAULT_DATA_DIR)))]
    data_dir: String,
    /// Reservations from before a reboot are free.
    reclaim_after_reboot: bool,
}

/// The configuration on the wire.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Document {
    /// Of this plugin.
    ipam: Ipam,
    /// What the runtime says.
    runtime_config: RuntimeConfig,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Ipam {
    /// Range sets: one address is taken of each set, from the first of its ranges that has one.
    ranges: Vec<Vec<RangeDocument>>,
    /// Routes of the container, returned as they are.
    #[cfg_attr(test, schemars(schema_with = "schemas::routes"))]
    routes: Vec<Route>,
    /// A resolv.conf of the host that the DNS settings are read from.
    resolv_conf: String,
}

/// The old way: `ipam` itself is the one range.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default)]
struct OldStyle {
    /// Of this plugin; its own keys are one range.
    ipam: RangeDocument,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RangeDocument {
    /// The network.
    #[cfg_attr(test, schemars(schema_with = "schemas::cidr"))]
    subnet: String,
    /// The first address; by default the subnet's second.
    #[cfg_attr(test, schemars(schema_with = "schemas::ip"))]
    range_start: String,
    /// The last address; by default the subnet's last, of IPv4 the one before.
    #[cfg_attr(test, schemars(schema_with = "schemas::ip"))]
    range_end: String,
    /// The gateway, which is never given away; by default the subnet's second address.
    #[cfg_attr(test, schemars(schema_with = "schemas::ip"))]
    gateway: String,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(default)]
struct RuntimeConfig {
    /// More range sets (capability `ipRanges`), before those of the configuration.
    #[serde(rename = "ipRanges")]
    ip_ranges: Vec<Vec<RangeDocument>>,
}

impl Place {
    /// Where the network of `config` has its reservations.
    ///
    /// # Errors
    /// [`Error::IpamMissing`], [`Error::Config`].
    pub(crate) fn of(config: &NetworkConfig) -> Result<Self, Error> {
        let PlaceIpam { data_dir, reclaim_after_reboot } =
            config.decode::<PlaceDocument>()?.ipam.ok_or(Error::IpamMissing)?;
        let data_dir = if data_dir.is_empty() { DEFAULT_DATA_DIR.into() } else { PathBuf::from(data_dir) };
        Ok(Self { data_dir, network: config.name.clone(), reclaim_after_reboot })
    }
}

impl Conf {
    /// Reads `config` and, where the call is about an attachment, its `CNI_ARGS`.
    ///
    /// # Errors
    /// What is wrong with it, with the path of the field.
    pub(crate) fn parse(config: &NetworkConfig, args: Option<&CniArgs>) -> Result<Self, Error> {
        let place = Place::of(config)?;
        let document: Document = config.decode()?;
        let sets = range_sets(&document, &config.decode::<OldStyle>()?.ipam)?;
        if let Some(((a, _), (b, _))) = first_pair(&sets, RangeSet::overlaps) {
            return Err(Error::SetsOverlap(a, b));
        }
        let of_ipv4 = sets.iter().filter(|set| set.is_ipv4()).count();
        if !config.cni_version.can_hold(of_ipv4, sets.len() - of_ipv4) {
            return Err(Error::FamilyTwice(config.cni_version));
        }
        let requested = requested(config, args)?;
        let resolv_conf = Some(document.ipam.resolv_conf).filter(|path| !path.is_empty()).map(PathBuf::from);
        Ok(Self { place, sets, routes: document.ipam.routes, resolv_conf, requested })
    }
}

/// A list of range sets with the path it stands under.
type Listed<'a> = (&'static str, &'a [Vec<RangeDocument>]);

/// All range sets in the reference's order: those of the runtime, the one of the old keys, those of the configuration.
fn range_sets(document: &Document, old_style: &RangeDocument) -> Result<Vec<RangeSet>, Error> {
    let of_runtime: Listed<'_> = ("runtimeConfig.ipRanges", &document.runtime_config.ip_ranges);
    let of_config: Listed<'_> = ("ipam.ranges", &document.ipam.ranges);
    let mut sets = Vec::new();
    push_sets(&mut sets, of_runtime)?;
    if !old_style.subnet.is_empty() {
        let range = old_style.check(sets.len(), "ipam")?;
        sets.push(range_set(sets.len(), "ipam", vec![range])?);
    }
    push_sets(&mut sets, of_config)?;
    if sets.is_empty() { Err(Error::NoRanges) } else { Ok(sets) }
}

fn push_sets(sets: &mut Vec<RangeSet>, (list, documents): Listed<'_>) -> Result<(), Error> {
    for (i, documents) in documents.iter().enumerate() {
        let (set, path) = (sets.len(), format!("{list}[{i}]"));
        let ranges = documents.iter().enumerate().map(|(j, range)| range.check(set, &format!("{path}[{j}]")));
        sets.push(range_set(set, &path, ranges.collect::<Result<_, _>>()?)?);
    }
    Ok(())
}

fn range_set(set: usize, path: &str, ranges: Vec<Range>) -> Result<RangeSet, Error> {
    RangeSet::new(ranges).map_err(|fault| Error::RangeSet { set, path: path.to_owned(), fault: fault.to_string() })
}

impl RangeDocument {
    /// The range, which stands at `path` and belongs to range set number `set`.
    fn check(&self, set: usize, path: &str) -> Result<Range, Error> {
        let subnet: IpNet = self.subnet.parse().map_err(|_fault: ipnet::AddrParseError| {
            let expected = "a network such as 10.1.0.0/16 or fd00:1::/64";
            Error::Field(FieldError::new(format!("{path}.subnet"), format_args!("{:?}", self.subnet), expected))
        })?;
        let address = |key: &str, text: &str| optional_address(&format!("{path}.{key}"), text);
        let start = address("rangeStart", &self.range_start)?;
        let end = address("rangeEnd", &self.range_end)?;
        let gateway = address("gateway", &self.gateway)?;
        Range::new(subnet, start, end, gateway).map_err(|fault| Error::RangeSet {
            set,
            path: format!("{path}.{}", fault.key()),
            fault: fault.to_string(),
        })
    }
}

/// The address that `text` at `path` is; `None` for the empty text.
fn optional_address(path: &str, text: &str) -> Result<Option<IpAddr>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    let address: IpAddr = text.parse().map_err(|_fault: std::net::AddrParseError| {
        let expected = "an address such as 10.1.2.3 or fd00:1::3";
        Error::Field(FieldError::new(path, format_args!("{text:?}"), expected))
    })?;
    Ok(Some(address.to_canonical()))
}

/// The requested addresses of all three sources, in the reference's order. A prefix length behind one is ignored.
fn requested(config: &NetworkConfig, args: Option<&CniArgs>) -> Result<Vec<IpAddr>, Error> {
    if let Some(args) = args {
        args.require_known(&["IP"])?;
    }
    let mut addresses = Vec::new();
    for requested in RequestedIps::of(config, args)?.iter() {
        let address = bare_address(&requested.text).ok_or_else(|| Error::RequestedAddress(requested.clone()))?;
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

/// `10.1.2.3` or `10.1.2.3/16`.
fn bare_address(text: &str) -> Option<IpAddr> {
    let address = text.parse().or_else(|_no_address| text.parse().map(|net: IpNet| net.addr())).ok()?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_that_of_the_types() {
        schemas::Schema::of_ipam("host-local", env!("CARGO_PKG_DESCRIPTION"))
            .with_part("ips")
            .with::<PlaceDocument>()
            .with::<OldStyle>()
            .with::<Document>()
            .assert_is_current();
    }
}
