//! The CNI plugin `sbr` (source-based routing): packets from an interface's addresses leave by that interface.

mod check;
mod conf;
mod error;
mod plan;
mod rules;
mod source;

use std::net::IpAddr;

use libcni::error::Failures;
use libcni::netns::Netns;
use libcni::plugin::{Attachment, Call, Plugin};
use libcni::types::{AddResult, AttachmentId};
use linuxnet::NetlinkError;
use linuxnet::attach::Sandbox;
use linuxnet::link::Dev;
use linuxnet::netlink::Netlink;
use linuxnet::route;
use linuxnet::rule::{self, Rule};
use linuxnet::undo::Undo;

use crate::conf::{Conf, StaticGateways};
pub use crate::error::SbrError;
use crate::plan::Plan;
use crate::source::Source;

/// The plugin `sbr`.
#[derive(Clone, Copy, Debug)]
pub struct Sbr;

impl Plugin for Sbr {
    type Error = SbrError;

    fn name(&self) -> &'static str {
        "sbr"
    }

    fn add(&self, call: &Call<'_>, attachment: &Attachment) -> Result<AddResult, SbrError> {
        let conf = Conf::load(call)?;
        let result = call.config.prev_result.as_ref().ok_or(SbrError::NotChained)?;
        let sources = source::of(result, attachment.ifname(), conf.gateways);
        if sources.is_empty() {
            return Err(SbrError::NoAddresses(attachment.ifname().to_owned()));
        }
        let mut sandbox = Sandbox::open(attachment)?;
        // Two of one container must not choose the same table.
        let _lock = sandbox.netns.lock()?;
        require_rules(&mut sandbox.netlink)?;
        let link = sandbox.interface()?.ok_or_else(|| SbrError::NoInterface(attachment.ifname().to_owned()))?;

        let Sandbox { netlink, netns, .. } = &mut sandbox;
        let dev = Dev::from(&link);
        let saved = netlink.save_routes(dev)?;
        let mut undo = Undo::new();
        if let Some(table) = conf.table {
            let rules = sources.iter().map(|source| rules::of(source.ip(), table));
            add_rules(netlink, netns, rules, &mut undo)?;
            undo.checkpoint()?;
            undo.commit();
            return Ok(result.clone());
        }
        let plan = Plan::new(&sources, &saved, netlink.tables()?, conf.add_source_hints)?;
        // The tables first, then the rules that lead there, and at last the main table's part: the container is never
        // without a route.
        undo.push(format!("put the routes of {} back", dev.name), || {
            Ok(route::put_back(&mut Netlink::open_in(netns)?, dev, &saved)?)
        });
        plan.fill(dev).send(netlink)?;
        undo.checkpoint()?;
        add_rules(netlink, netns, plan.rules(), &mut undo)?;
        undo.checkpoint()?;
        plan.clear_main(dev).send(netlink)?;
        undo.checkpoint()?;
        undo.commit();
        Ok(plan.report(result))
    }

    fn del(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), SbrError> {
        let conf = Conf::load_lenient(call);
        let Some(mut sandbox) = Sandbox::find(attachment)? else { return Ok(()) };
        let _lock = sandbox.netns.lock()?;
        let addresses = addresses(call, attachment, &mut sandbox)?;
        let rules = rules::of_attachment(&mut sandbox.netlink, &addresses, conf.table)?;
        let mut failures = Failures::new();
        for rule in &rules {
            failures.note(gone_is_fine(sandbox.netlink.run(rule::remove(rule))));
        }
        if conf.table.is_none() {
            failures.note(empty_tables(&mut sandbox, &rules));
        }
        failures.into_result(SbrError::Several)
    }

    fn check(&self, call: &Call<'_>, attachment: &Attachment) -> Result<(), SbrError> {
        check::check(call, attachment)
    }

    /// Nothing: rules and tables are the container's namespace's, and end with it.
    fn gc(&self, _call: &Call<'_>, _valid: &[AttachmentId]) -> Result<(), SbrError> {
        Ok(())
    }

    fn status(&self, call: &Call<'_>) -> Result<(), SbrError> {
        Conf::load(call)?;
        require_rules(&mut Netlink::open()?)
    }
}

/// Adds the rules that are not there yet, each with its undoing.
fn add_rules<'a>(
    netlink: &mut Netlink,
    netns: &'a Netns,
    rules: impl IntoIterator<Item = Rule>,
    undo: &mut Undo<'a>,
) -> Result<(), SbrError> {
    let present = netlink.rules()?;
    for rule in rules {
        // The kernel would take it a second time.
        if present.iter().any(|is| rules::is_for(is, rule.from.addr()) && is.table == rule.table) {
            continue;
        }
        let added = rule.clone();
        undo.push(format!("remove rule \"{rule}\""), move || {
            Ok(gone_is_fine(Netlink::open_in(netns)?.run(rule::remove(&added)))?)
        });
        netlink.run(rule::add(&rule))?;
    }
    Ok(())
}

/// Says so if the kernel has no rules.
fn require_rules(netlink: &mut Netlink) -> Result<(), SbrError> {
    match netlink.rules() {
        Err(e) if rules::is_unsupported(&e) => Err(SbrError::NoPolicyRouting),
        Err(e) => Err(e.into()),
        Ok(_) => Ok(()),
    }
}

/// The attachment's addresses: those that its interface has now, and those that it had by its result.
fn addresses(call: &Call<'_>, attachment: &Attachment, sandbox: &mut Sandbox) -> Result<Vec<IpAddr>, SbrError> {
    let result = call.config.prev_result.as_ref();
    let reported = result.map(|result| source::of(result, attachment.ifname(), StaticGateways::default()));
    let mut addresses: Vec<IpAddr> = reported.iter().flatten().map(Source::ip).collect();
    if let Some(link) = sandbox.interface()? {
        addresses.extend(sandbox.netlink.addresses(Dev::from(&link))?.into_iter().map(|address| address.net.addr()));
    }
    Ok(addresses)
}

/// Removes the interface's routes from the tables that these rules led to, if no other rule leads there.
fn empty_tables(sandbox: &mut Sandbox, removed: &[Rule]) -> Result<(), SbrError> {
    let Some(link) = sandbox.interface()? else { return Ok(()) };
    let dev = Dev::from(&link);
    let used: Vec<u32> = rules::list(&mut sandbox.netlink)?.iter().map(|rule| rule.table).collect();
    let is_left = |table: u32| removed.iter().any(|rule| rule.table == table) && !used.contains(&table);
    let mut failures = Failures::new();
    // Those by a gateway before the gateway's own.
    for saved in sandbox.netlink.save_routes(dev)?.iter().rev().filter(|saved| is_left(saved.route.table)) {
        failures.note(gone_is_fine(sandbox.netlink.run(saved.remove(dev))));
    }
    failures.into_result(SbrError::Several)
}

/// What somebody else has removed need not be removed.
fn gone_is_fine(done: Result<(), NetlinkError>) -> Result<(), NetlinkError> {
    match done {
        Err(e) if e.is_not_found() => Ok(()),
        done => done,
    }
}
