//! CNI05, first half: subnets, ranges and who assigns addresses.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::validate::document::{Kind, Node};
use crate::validate::finding::{Finding, Rule, Severity};
use crate::validate::host::HostNetwork;
use crate::validate::network::{Network, Plugin};
use crate::validate::rules::Survey;
use crate::validate::rules::ranges::{Fault, Range, Set, nets_overlap, sets};

pub(crate) static RULES: [&Rule; 10] =
    [&NO_RANGES, &SUBNET, &BOUNDS, &GATEWAY, &RANGES, &NETWORKS, &HOST, &SPECIAL, &WITHOUT_IPAM, &NO_IPAM_TYPE];

static NO_RANGES: Rule = Rule {
    code: "CNI0501",
    name: "no-ranges",
    severity: Severity::Error,
    summary: "host-local without a subnet, without ranges and without the capability ipRanges",
    why: "there are no addresses to take from, so every ADD fails",
    cure: "add \"ranges\": [[{\"subnet\": \"10.1.0.0/16\"}]] to `ipam`",
};
static SUBNET: Rule = Rule {
    code: "CNI0502",
    name: "unusable-subnet",
    severity: Severity::Error,
    summary: "a subnet that is none, or of which no address can be taken",
    why: "host-local refuses it, so every ADD fails",
    cure: "write a network such as 10.1.0.0/16",
};
static BOUNDS: Rule = Rule {
    code: "CNI0503",
    name: "range-outside-subnet",
    severity: Severity::Error,
    summary: "a range that leaves its subnet, or ends before it starts",
    why: "host-local refuses it, so every ADD fails",
    cure: "choose addresses of the subnet",
};
static GATEWAY: Rule = Rule {
    code: "CNI0504",
    name: "gateway-outside-subnet",
    severity: Severity::Warning,
    summary: "a gateway that is not in the subnet of its addresses",
    why: "containers have no way to it, so routes through it cannot be made",
    cure: "choose an address of the subnet, or leave it out",
};
static RANGES: Rule = Rule {
    code: "CNI0505",
    name: "ranges-conflict",
    severity: Severity::Error,
    summary: "ranges of one network that overlap, are of both families in one set, or a set without ranges",
    why: "host-local refuses them, so every ADD fails",
    cure: "let each address be in one range, and each set have one family",
};
static NETWORKS: Rule = Rule {
    code: "CNI0506",
    name: "networks-overlap",
    severity: Severity::Warning,
    summary: "two networks with the same addresses, or with overlapping subnets on different bridges",
    why: "two containers get one address, or the host sends packets for one network to the other",
    cure: "give each network a subnet of its own",
};
static HOST: Rule = Rule {
    code: "CNI0507",
    name: "host-overlap",
    severity: Severity::Warning,
    summary: "a subnet that overlaps a route of this host",
    why: "packets for one of the two go to the other: containers or that network cannot be reached",
    cure: "choose a subnet that no route of the host leads to",
};
static SPECIAL: Rule = Rule {
    code: "CNI0508",
    name: "special-subnet",
    severity: Severity::Warning,
    summary: "a subnet of addresses that hosts treat specially: loopback, link-local, multicast, reserved",
    why: "the kernel does not route them as others, so containers cannot be reached",
    cure: "choose a subnet of 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 or fd00::/8",
};
static WITHOUT_IPAM: Rule = Rule {
    code: "CNI0509",
    name: "gateway-without-ipam",
    severity: Severity::Warning,
    summary: "isGateway, isDefaultGateway or ipMasq without ipam",
    why: "without addresses there is no gateway and nothing to masquerade, so the option has no effect",
    cure: "add `ipam`, or remove the option",
};
static NO_IPAM_TYPE: Rule = Rule {
    code: "CNI0510",
    name: "ipam-without-type",
    severity: Severity::Warning,
    summary: "ipam without a type",
    why: "no IPAM plugin is called, and containers get no addresses",
    cure: "add \"type\": \"host-local\", or remove `ipam`",
};

pub(crate) fn check(survey: &Survey<'_>, findings: &mut Vec<Finding>) {
    for (network, plugin) in survey.plugins() {
        ipam(&plugin, findings);
        let sets = sets(&plugin);
        for set in &sets {
            of_set(&plugin, set, findings);
        }
        findings.extend(overlap_between(&plugin, &sets));
        static_gateways(&plugin, findings);
        if let Some(host) = &survey.host.network {
            let ranges = sets.iter().flat_map(|set| &set.ranges);
            findings.extend(ranges.filter_map(|range| on_host(host, &plugin, range)));
        }
        findings.extend(no_ranges(network, &plugin, &sets));
    }
    between_networks(survey, findings);
}

fn ipam(plugin: &Plugin<'_>, findings: &mut Vec<Finding>) {
    // flannel's plugin completes what it hands on.
    if plugin.kind().is_empty() || matches!(plugin.kind(), "flannel" | "vxlan-delegate") || plugin.ipam().is_some() {
        return;
    }
    if let Some(ipam) = plugin.node.member("ipam").filter(|ipam| !ipam.value.members().is_empty()) {
        findings.push(Finding::new(&NO_IPAM_TYPE, plugin.file, &ipam.key_span, "`ipam` has no `type`"));
        return;
    }
    let options = ["isGateway", "isDefaultGateway", "ipMasq"].iter().filter(|_| plugin.kind() == "bridge");
    if let Some(member) = options.filter_map(|key| plugin.node.is_set(key)).next() {
        let problem = format!("`{}` without `ipam`", member.key);
        findings.push(Finding::new(&WITHOUT_IPAM, plugin.file, &member.key_span, problem));
    }
}

fn no_ranges(network: &Network<'_>, plugin: &Plugin<'_>, sets: &[Set<'_>]) -> Option<Finding> {
    let place = plugin.ipam().filter(|_| plugin.ipam_kind() == "host-local")?.get("type")?;
    let later = network.capabilities().contains(&"ipRanges");
    let problem = "`host-local` has neither `subnet` nor `ranges`";
    (sets.is_empty() && !later).then(|| Finding::new(&NO_RANGES, plugin.file, &place.span, problem))
}

fn of_set(plugin: &Plugin<'_>, set: &Set<'_>, findings: &mut Vec<Finding>) {
    let file = plugin.file;
    findings.extend(set.faults.iter().map(|fault| match fault {
        Fault::Subnet { span, problem, cure } => Finding::new(&SUBNET, file, span, problem).cure(cure),
        Fault::Bounds { span, problem } => Finding::new(&BOUNDS, file, span, problem),
    }));
    if matches!(&set.place.kind, Kind::List(items) if items.is_empty()) {
        findings.push(Finding::new(&RANGES, file, &set.place.opening(), "a range set is empty"));
    }
    for range in &set.ranges {
        if let Some((gateway, place)) = range.gateway.filter(|(gateway, _)| !range.subnet.contains(gateway)) {
            let problem = format!("the gateway {gateway} is not in {}", range.subnet);
            findings.push(Finding::new(&GATEWAY, file, &place.span, problem));
        }
        if let Some(what) = special(&range.subnet) {
            let problem = format!("{} has {what} addresses", range.subnet);
            findings.push(Finding::new(&SPECIAL, file, &range.place.span, problem));
        }
    }
    let is_ipv4 = |range: &Range<'_>| range.subnet.addr().is_ipv4();
    if let Some((first, others)) = set.ranges.split_first()
        && let Some(other) = others.iter().find(|other| is_ipv4(other) != is_ipv4(first))
    {
        let problem = format!("{} and {} are of different families, but in one set", first.subnet, other.subnet);
        let cure = "put each family into a set of its own: [[{…}], [{…}]]";
        findings.push(Finding::new(&RANGES, file, &other.place.span, problem).cure(cure));
    }
}

/// The first two ranges of all sets that overlap.
fn overlap_between(plugin: &Plugin<'_>, sets: &[Set<'_>]) -> Option<Finding> {
    let ranges: Vec<&Range<'_>> = sets.iter().flat_map(|set| &set.ranges).collect();
    ranges.iter().enumerate().find_map(|(i, range)| {
        let other = ranges.iter().take(i).find(|other| other.overlaps(range))?;
        let problem = format!("the range {} overlaps that of {}", range.in_words(), other.in_words());
        Some(Finding::new(&RANGES, plugin.file, &range.place.span, problem))
    })
}

fn static_gateways(plugin: &Plugin<'_>, findings: &mut Vec<Finding>) {
    let Some(ipam) = plugin.ipam().filter(|_| plugin.ipam_kind() == "static") else { return };
    for entry in ipam.get("addresses").map_or(&[][..], Node::items) {
        let address = entry.text_of("address").and_then(|text| text.parse::<IpNet>().ok());
        let gateway = entry.text_of("gateway").and_then(|text| text.parse::<IpAddr>().ok());
        if let (Some(address), Some(gateway), Some(place)) = (address, gateway, entry.get("gateway"))
            && !address.contains(&gateway)
        {
            let problem = format!("the gateway {gateway} is not in {}", address.trunc());
            findings.push(Finding::new(&GATEWAY, plugin.file, &place.span, problem));
        }
    }
}

fn special(subnet: &IpNet) -> Option<&'static str> {
    let nets = [
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("0.0.0.0/8", "reserved"),
        ("::1/128", "loopback"),
        ("fe80::/10", "link-local"),
        ("ff00::/8", "multicast"),
    ];
    nets.into_iter()
        .find(|(net, _)| net.parse().is_ok_and(|net: IpNet| net.contains(&subnet.network())))
        .map(|(_, what)| what)
}

/// The bridge of `plugin`, if it is one that has a segment of its own.
fn segment<'f>(plugin: &Plugin<'f>) -> Option<&'f str> {
    match plugin.kind() {
        "bridge" => Some(plugin.node.text_of("bridge").unwrap_or("cni0")),
        // Each container has a link of its own.
        "ptp" => Some(""),
        // The others share a network outside with the host.
        _ => None,
    }
}

/// The route of the host that leads into the subnet, unless it is there because of this very network.
fn on_host(host: &HostNetwork, plugin: &Plugin<'_>, range: &Range<'_>) -> Option<Finding> {
    let bridge = segment(plugin)?;
    let is_own = |link: &str, dst: &IpNet| {
        let is_veth = host.link(link).is_some_and(|link| link.kind == "veth");
        link == bridge || (is_veth && range.subnet.contains(dst))
    };
    let mut routes = host.routes.iter().filter(|route| nets_overlap(&route.dst, &range.subnet));
    let route = routes.find(|route| !is_own(&route.link, &route.dst))?;
    let problem = format!("the host has a route to {} by {}, which overlaps {}", route.dst, route.link, range.subnet);
    Some(Finding::new(&HOST, plugin.file, &range.place.span, problem))
}

fn between_networks(survey: &Survey<'_>, findings: &mut Vec<Finding>) {
    let mut seen: Vec<(&Network<'_>, Plugin<'_>, Range<'_>)> = Vec::new();
    for (network, plugin) in survey.plugins() {
        for range in sets(&plugin).into_iter().flat_map(|set| set.ranges) {
            // What is in another directory is of another node.
            let others = seen
                .iter()
                .filter(|(other, ..)| other.file != network.file && survey.dir(other.file) == survey.dir(network.file));
            let conflict = others.filter_map(|(other, its, theirs)| {
                // Networks of one name share their reservations, and are told by a rule of their own.
                let shares_store = other.name() == network.name();
                let segments = segment(its).zip(segment(&plugin));
                let apart = segments.is_some_and(|(a, b)| a != b || a.is_empty());
                let place = survey.where_is(its.file, theirs.place.span.start);
                if range.overlaps(theirs) && !shares_store {
                    Some(format!("the addresses {} are given away by {place}, too", range.in_words()))
                } else if apart && nets_overlap(&range.subnet, &theirs.subnet) {
                    Some(format!("{} overlaps {} of {place}, on another link", range.subnet, theirs.subnet))
                } else {
                    None
                }
            });
            let found =
                conflict.take(1).map(|problem| Finding::new(&NETWORKS, plugin.file, &range.place.span, problem));
            findings.extend(found);
            seen.push((network, plugin, range));
        }
    }
}
