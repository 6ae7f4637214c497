//! The places where a container can be let pass: our nftables table with the way through iptables, the chains of
//! iptables, a zone of firewalld. ADD chooses one; DEL and GC look into all.

use std::net::IpAddr;

use libcni::error::Failures;
use linuxnet::NetlinkError;
use linuxnet::iptables::{Family, Iptables, Variant};
use linuxnet::nft::Nfnetlink;
use linuxnet::tag::Valid;
use linuxnet::undo::Undo;

use crate::conf::{Backend, Conf};
use crate::container::Container;
use crate::error::FirewallError;
use crate::firewalld::{BusError, Firewalld};
use crate::iptables::{self, Whose};
use crate::nftables::Entry;
use crate::{foreign, forward, nftables};

/// The firewall of this host.
#[derive(Debug)]
pub(crate) struct Backends {
    /// `None` where the kernel has no nftables.
    nft: Option<Nfnetlink>,
    chosen: Backend,
    /// Where it was chosen.
    firewalld: Option<Firewalld>,
    /// What the operator should know about the choice.
    notes: Vec<String>,
}

impl Backends {
    /// With the backend that is asked for, or else the best that this host has:
    /// 1. firewalld, if somebody on the system bus has its name: it would drop what it was not told of;
    /// 2. nftables, if the kernel has it: with it come the way through iptables' FORWARD, and no programs;
    /// 3. iptables, if its programs are there.
    pub(crate) fn open(asked: Option<Backend>) -> Result<Self, FirewallError> {
        let nft = open_nft();
        let mut notes = Vec::new();
        let firewalld = match asked {
            Some(Backend::Firewalld) => Some(Firewalld::find()?.ok_or(BusError::NoOwner)?),
            Some(Backend::Nftables | Backend::Iptables) => None,
            None => Firewalld::find().unwrap_or_else(|e| {
                notes.push(format!("cannot tell whether firewalld runs: {}", told(&e)));
                None
            }),
        };
        let (chosen, nft) = match (asked, nft) {
            // Without privilege nothing else would work either; this error says why.
            (_, Err(e)) if e.is_denied() => return Err(e.into()),
            (asked, nft) if firewalld.is_some() || asked == Some(Backend::Firewalld) => (Backend::Firewalld, nft.ok()),
            (Some(Backend::Iptables), nft) => (Backend::Iptables, nft.ok()),
            (_, Ok(nft)) => (Backend::Nftables, Some(nft)),
            (None, Err(_)) if has_iptables() => (Backend::Iptables, None),
            (_, Err(e)) => return Err(e.into()),
        };
        Ok(Self { nft, chosen, firewalld, notes })
    }

    /// To remove whatever is there. firewalld is only asked where it was told something.
    pub(crate) fn of_host() -> Result<Self, FirewallError> {
        match open_nft() {
            Err(e) if e.is_denied() => Err(e.into()),
            nft => Ok(Self { nft: nft.ok(), chosen: Backend::Nftables, firewalld: None, notes: Vec::new() }),
        }
    }

    /// Lets the container's packets pass and isolates its bridge as wanted. Returns what the operator should know of a
    /// success.
    pub(crate) fn admit(
        &mut self,
        container: &Container,
        conf: &Conf,
        undo: &mut Undo<'_>,
    ) -> Result<Vec<String>, FirewallError> {
        let mut notes = std::mem::take(&mut self.notes);
        let (ours, zone) = (container.clone(), conf.zone.clone());
        // Before the change: that its answer is lost does not mean that it was not made.
        undo.push("take the container out of the firewall", move || Ok(Self::of_host()?.remove(&ours, &zone)?));
        let zoned = self.firewalld.is_some();
        match &mut self.nft {
            Some(nft) if self.chosen != Backend::Iptables => {
                nftables::admit(nft, container, zoned)?;
                undo.checkpoint()?;
                forward::open(nft, container, &conf.admin_chain)?;
                notes.extend(warnings(nft, zoned));
            }
            // Without nftables, firewalld does without a record of its sources; a policy is iptables' affair.
            None if zoned && container.isolation.is_none() => {}
            Some(_) | None => iptables::admit(container, &conf.admin_chain)?,
        }
        undo.checkpoint()?;
        if let Some(firewalld) = &mut self.firewalld {
            for ip in &container.ips {
                firewalld.add_source(&conf.zone, *ip)?;
            }
        }
        Ok(notes)
    }

    /// Removes all that is the container's, wherever it is. `zone`: where the Go plugin would have put its addresses.
    pub(crate) fn remove(&mut self, container: &Container, zone: &str) -> Result<(), FirewallError> {
        let mut failures = Failures::new();
        let mut zoned = Vec::new();
        if let Some(nft) = &mut self.nft {
            failures.note(nftables::release_bridge(nft, container));
            let found = nftables::of_container(nft, container);
            zoned = remove_entries(nft, found, &mut failures);
        }
        failures.note(take_out_of_zone(zone, &container.ips, &zoned));
        for failure in iptables::remove(self.nft.as_mut(), Whose::Container(container)) {
            failures.note(Err::<(), _>(failure));
        }
        failures.into_result(FirewallError::Several)
    }

    /// Removes all that this network's attachments have that are not valid.
    pub(crate) fn collect_garbage(&mut self, valid: &Valid) -> Result<(), FirewallError> {
        let mut failures = Failures::new();
        if let Some(nft) = &mut self.nft {
            failures.note(nftables::release_stale_bridges(nft, valid));
            let found = nftables::stale(nft, valid);
            remove_entries(nft, found, &mut failures);
        }
        for failure in iptables::remove(self.nft.as_mut(), Whose::Stale(valid)) {
            failures.note(Err::<(), _>(failure));
        }
        failures.into_result(FirewallError::Several)
    }

    /// What differs from what ADD made, in the place where the container is: an earlier setting, or the Go plugin, may
    /// have chosen another than now.
    pub(crate) fn verify(&mut self, container: &Container, conf: &Conf) -> Result<Vec<String>, FirewallError> {
        let mut differences = Vec::new();
        let ours_in_nft = match &mut self.nft {
            Some(nft) => nftables::has_any(nft, container)?,
            None => false,
        };
        let in_iptables =
            !ours_in_nft && (self.chosen == Backend::Iptables || iptables::has_any_of(self.nft.as_mut(), container)?);
        match &mut self.nft {
            Some(nft) if ours_in_nft => {
                differences.extend(nftables::verify(nft, container)?);
                differences.extend(forward::verify(nft, container, &conf.admin_chain)?);
            }
            _ if in_iptables => differences.extend(iptables::verify(container)?),
            // The Go plugin tells firewalld, and nobody else.
            _ if self.firewalld.is_some() => {}
            Some(nft) => differences.extend(nftables::verify(nft, container)?),
            None => {}
        }
        if let Some(firewalld) = &mut self.firewalld {
            for ip in &container.ips {
                if !firewalld.has_source(&conf.zone, *ip)? {
                    differences.push(format!("{ip} is no source of zone {} of firewalld", conf.zone));
                }
            }
        }
        Ok(differences)
    }

    /// Whether containers can be let pass. Returns what the operator should know though they can.
    pub(crate) fn status(&mut self) -> Result<Vec<String>, FirewallError> {
        let mut notes = std::mem::take(&mut self.notes);
        match &mut self.nft {
            Some(nft) if self.chosen != Backend::Iptables => notes.extend(warnings(nft, self.firewalld.is_some())),
            Some(_) | None if self.chosen == Backend::Iptables => iptables::status()?,
            Some(_) | None => {}
        }
        Ok(notes)
    }
}

/// Who else may drop the container's packets. That this cannot be told hinders nobody.
fn warnings(nft: &mut Nfnetlink, zoned: bool) -> Vec<String> {
    foreign::warnings(nft, zoned).unwrap_or_else(|e| vec![format!("cannot tell who else drops packets: {e}")])
}

fn open_nft() -> Result<Nfnetlink, NetlinkError> {
    Nfnetlink::open().and_then(|mut nft| nftables::probe(&mut nft).map(|()| nft))
}

fn has_iptables() -> bool {
    Iptables::of_host().is_installed(Variant::Default, Family::V4)
}

fn told(error: &BusError) -> String {
    format!("{error}: {}", libcni::error::causes(std::error::Error::source(error)))
}

/// Removes entries; of those that say so, the address from its zone of firewalld first. Returns these addresses.
fn remove_entries(
    nft: &mut Nfnetlink,
    found: Result<Vec<Entry>, NetlinkError>,
    failures: &mut Failures<FirewallError>,
) -> Vec<IpAddr> {
    let entries = match found {
        Ok(entries) => entries,
        Err(e) => {
            failures.note(Err::<(), _>(e));
            return Vec::new();
        }
    };
    let zoned: Vec<IpAddr> = entries.iter().filter(|entry| entry.is_zoned).map(|entry| entry.ip).collect();
    let outcome = unzone(&zoned);
    // As long as firewalld has the address, the record of it stays for the next DEL or GC.
    let keeps_record = outcome.is_err();
    failures.note(outcome);
    let removable: Vec<Entry> = entries.into_iter().filter(|entry| !(entry.is_zoned && keeps_record)).collect();
    failures.note(nftables::remove(nft, &removable));
    zoned
}

/// Takes addresses out of whichever zones of firewalld they are in. If it does not run, it has forgotten them.
fn unzone(ips: &[IpAddr]) -> Result<(), FirewallError> {
    if ips.is_empty() {
        return Ok(());
    }
    let Some(mut firewalld) = Firewalld::find()? else { return Ok(()) };
    ips.iter().try_for_each(|ip| firewalld.remove_source(*ip))?;
    Ok(())
}

/// Takes out of `zone` what the Go plugin put there, which keeps no record of it: the addresses but those of `done`.
fn take_out_of_zone(zone: &str, ips: &[IpAddr], done: &[IpAddr]) -> Result<(), FirewallError> {
    let mut rest = ips.iter().filter(|ip| !done.contains(ip)).peekable();
    if rest.peek().is_none() {
        return Ok(());
    }
    let Ok(Some(mut firewalld)) = Firewalld::find() else { return Ok(()) };
    for ip in rest {
        if firewalld.has_source(zone, *ip)? {
            firewalld.remove_source(*ip)?;
        }
    }
    Ok(())
}
