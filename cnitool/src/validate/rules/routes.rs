//! CNI05, second half: routes that IPAM gives.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::validate::document::Node;
use crate::validate::finding::{Finding, Rule, Severity};
use crate::validate::network::{Network, Plugin};
use crate::validate::rules::Survey;
use crate::validate::rules::ranges::sets;

pub(crate) static RULES: [&Rule; 3] = [&DEFAULT_TWICE, &UNREACHABLE, &FAMILY];

static DEFAULT_TWICE: Rule = Rule {
    code: "CNI0511",
    name: "default-route-twice",
    severity: Severity::Warning,
    summary: "two default routes of one family",
    why: "some plugins fail on the second, others let the kernel choose between the two",
    cure: "leave the route out of `ipam`, or write isGateway for isDefaultGateway",
};
static UNREACHABLE: Rule = Rule {
    code: "CNI0512",
    name: "unreachable-gateway",
    severity: Severity::Warning,
    summary: "a route by a gateway that is in none of the subnets",
    why: "the kernel refuses such a route, so every ADD fails",
    cure: "choose a gateway of a subnet, or leave `gw` out",
};
static FAMILY: Rule = Rule {
    code: "CNI0513",
    name: "route-without-address",
    severity: Severity::Warning,
    summary: "a route of a family of which the container has no address",
    why: "packets that take it have no address to come from; where IPv6 is off the kernel refuses it, and ADD fails",
    cure: "add a range of that family, or remove the route",
};

/// A route that stands in a configuration.
struct Route<'f> {
    place: &'f Node,
    dst: IpNet,
    gw: Option<IpAddr>,
    /// Routes that differ in one of these do not meet: table and metric.
    realm: (Option<u64>, Option<u64>),
}

impl<'f> Route<'f> {
    /// None where a text is no address, which the schema tells.
    fn of(node: &'f Node) -> Option<Self> {
        let place = node.get("dst")?;
        let gw = node.text_of("gw").and_then(|text| text.parse().ok());
        let realm = (node.number_of("table"), node.number_of("priority"));
        Some(Self { place, dst: place.text()?.parse().ok()?, gw, realm })
    }

    fn is_ipv4(&self) -> bool {
        self.dst.addr().is_ipv4()
    }
}

pub(crate) fn check(survey: &Survey<'_>, findings: &mut Vec<Finding>) {
    for (network, plugin) in survey.plugins() {
        let listed = plugin.ipam().and_then(|ipam| ipam.get("routes")).map_or(&[][..], Node::items);
        let routes: Vec<Route<'_>> = listed.iter().filter_map(Route::of).collect();
        defaults(&plugin, &routes, findings);
        if let Some(subnets) = subnets(network, &plugin) {
            against_subnets(&plugin, &routes, &subnets, findings);
        }
    }
}

fn defaults(plugin: &Plugin<'_>, routes: &[Route<'_>], findings: &mut Vec<Finding>) {
    let mut seen: Vec<&Route<'_>> = Vec::new();
    for route in routes.iter().filter(|route| route.dst.prefix_len() == 0) {
        let other = seen.iter().any(|other| other.is_ipv4() == route.is_ipv4() && other.realm == route.realm);
        let by_bridge = plugin.node.is_set("isDefaultGateway").is_some() && route.gw.is_none();
        let problem = match (other, by_bridge) {
            (true, _) => format!("the default route {} stands in this list twice", route.dst),
            (false, true) => format!("`isDefaultGateway` makes the default route {}, too", route.dst),
            _ => String::new(),
        };
        if !problem.is_empty() {
            let finding = Finding::new(&DEFAULT_TWICE, plugin.file, &route.place.span, problem);
            findings.push(finding.perhaps(other.then(|| "remove one of the two".to_owned())));
        }
        seen.push(route);
    }
}

/// The subnets of the container's addresses; `None` where they are known later, or to somebody else.
fn subnets(network: &Network<'_>, plugin: &Plugin<'_>) -> Option<Vec<IpNet>> {
    let is_open = network.capabilities().iter().any(|name| matches!(*name, "ips" | "ipRanges"));
    let subnets: Vec<IpNet> = match plugin.ipam_kind() {
        "host-local" => sets(plugin).iter().flat_map(|set| &set.ranges).map(|range| range.subnet).collect(),
        "static" => {
            let entries = plugin.ipam()?.get("addresses").map_or(&[][..], Node::items);
            entries.iter().filter_map(|entry| entry.text_of("address")?.parse().ok()).collect()
        }
        _ => return None,
    };
    (!is_open && !subnets.is_empty()).then_some(subnets)
}

fn against_subnets(plugin: &Plugin<'_>, routes: &[Route<'_>], subnets: &[IpNet], findings: &mut Vec<Finding>) {
    for route in routes {
        let at = |rule, problem| Finding::new(rule, plugin.file, &route.place.span, problem);
        let on_link = |gw: &IpAddr| subnets.iter().any(|subnet| subnet.contains(gw)) || is_link_local(gw);
        if let Some(gw) = route.gw.filter(|gw| !on_link(gw)) {
            findings.push(at(&UNREACHABLE, format!("the gateway {gw} of the route to {} is in no subnet", route.dst)));
        } else if !subnets.iter().any(|subnet| subnet.addr().is_ipv4() == route.is_ipv4()) {
            let family = if route.is_ipv4() { "IPv4" } else { "IPv6" };
            findings.push(at(&FAMILY, format!("a route to {}, but no address is of {family}", route.dst)));
        }
    }
}

fn is_link_local(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}
