//! CHECK: whether the addresses still have their rules, and these lead to the routes that ADD left.

use std::net::IpAddr;

use libcni::error::Failures;
use libcni::plugin::{Attachment, Call};
use libcni::types::AddResult;
use linuxnet::attach::Sandbox;
use linuxnet::link::Link;
use linuxnet::route::{Filter, Route};
use linuxnet::rule::Rule;

use crate::conf::Conf;
use crate::error::SbrError;
use crate::rules;
use crate::source::{self, Source};

/// Compares the container with `prevResult` and the configuration.
pub(crate) fn check(call: &Call<'_>, attachment: &Attachment) -> Result<(), SbrError> {
    let conf = Conf::load(call)?;
    let result = call.config.prev_result.as_ref().ok_or(SbrError::NotChained)?;
    let sources = source::of(result, attachment.ifname(), conf.gateways);
    let mut sandbox = Sandbox::open(attachment)?;
    let link: Link = sandbox.interface()?.ok_or_else(|| SbrError::NoInterface(attachment.ifname().to_owned()))?;
    let rules = rules::list(&mut sandbox.netlink)?;
    let routes = sandbox.netlink.routes(Filter { link: Some(link.index), table: None })?;
    let differences = sources.iter().flat_map(|source| match conf.table {
        Some(table) => rule_difference(source, table, &rules).into_iter().collect(),
        None => differences(source, &rules, &routes, result),
    });
    let failures: Failures<_> = differences.map(SbrError::Differs).collect();
    failures.into_result(SbrError::Several)
}

/// With the configuration's table there is nothing of ours but the rule.
fn rule_difference(source: &Source, table: u32, rules: &[Rule]) -> Option<String> {
    let is_there = rules.iter().any(|rule| rules::is_for(rule, source.ip()) && rule.table == table);
    (!is_there).then(|| format!("rule \"from {} lookup {table}\" is missing", source.ip()))
}

/// What is wrong with the address's own table.
fn differences(source: &Source, rules: &[Rule], routes: &[Route], result: &AddResult) -> Vec<String> {
    let ip = source.ip();
    // The first that matches decides.
    let Some(rule) = rules.iter().find(|rule| rules::is_for(rule, ip)) else {
        return vec![format!("there is no rule for packets from {ip}")];
    };
    let in_table: Vec<&Route> = routes.iter().filter(|route| route.table == rule.table).collect();
    let has = |dst, gw: Option<IpAddr>| in_table.iter().any(|is| is.dst == dst && (gw.is_none() || is.gw == gw));
    let mut missing = Vec::new();
    if let Some(gw) = source.gateway
        && !has(source.everywhere(), Some(gw))
    {
        missing.push(format!("default via {gw}"));
    }
    let subnet = source.address.trunc();
    if subnet.prefix_len() < subnet.max_prefix_len() && !has(subnet, None) {
        missing.push(subnet.to_string());
    }
    for reported in result.routes.iter().filter(|route| route.table == Some(rule.table) && !route.is_default()) {
        if !has(reported.dst.trunc(), reported.gw) {
            missing.push(reported.dst.to_string());
        }
    }
    missing
        .into_iter()
        .map(|what| format!("route {what} is missing in table {}, by which packets from {ip} are routed", rule.table))
        .collect()
}
