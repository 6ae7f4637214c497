//! Steps that look at links, addresses and routes, and compare them with a result or with what was there before.

use std::net::IpAddr;

use ipnet::IpNet;
use libcni::types::MacAddr;
use linuxnet::link::{Dev, Link};
use linuxnet::netlink::Netlink;
use linuxnet::route;
use linuxnet::snapshot::Source;
use serde_json::Value;

use super::acts::settled;
use super::{Stop, Trial, TrialError};
use crate::expect::addresses_of;
use crate::node::NodeError;
use crate::state::State;
use crate::step::{Aspect, InterfaceIs, Is, ResultHolds, Scope};

impl Trial {
    /// Writes down what is there.
    pub(super) fn note(&mut self, scope: &Scope) -> Result<(), Stop> {
        self.noted = self.state_of(scope)?;
        Ok(())
    }

    /// What is there is what was written down. The kernel may be late with what it does after a call.
    pub(super) fn unchanged(&mut self, scope: &Scope) -> Result<(), Stop> {
        let differs = settled(|| Ok(self.state_of(scope)?.differs_from(&self.noted)))?;
        let fault = || Stop::Fault(format!("nothing must change, but: {}", differs.join("; ")));
        if differs.is_empty() { Ok(()) } else { Err(fault()) }
    }

    fn state_of(&self, scope: &Scope) -> Result<State, NodeError> {
        let of = scope.of.as_deref();
        let mut state = if of.is_none_or(|of| of == "host") { self.state()? } else { State::default() };
        for name in self.node.containers.keys().filter(|name| of.is_none_or(|of| of == *name)) {
            state.add_container(name, Source::open_in(&self.node.netns(name)?)?.take()?);
        }
        Ok(state)
    }

    /// The interface of the container is there and up, or is not there.
    pub(super) fn interface_is(&mut self, wanted: &InterfaceIs) -> Result<(), Stop> {
        let name = wanted.ifname.clone().unwrap_or_else(|| self.network.ifname.clone());
        let found = Netlink::open_in(&self.node.netns(&wanted.container)?)?.find_link(&name)?;
        let place = format!("{name} in container {}", wanted.container);
        match (wanted.is, found) {
            (Is::Up, Some(link)) if !link.is_up => Err(Stop::Fault(format!("{place} must be up, but is down"))),
            (Is::Up, None) => Err(Stop::Fault(format!("there must be {place}"))),
            (Is::Absent, Some(_)) => Err(Stop::Fault(format!("there must be no {place}"))),
            (Is::Up, Some(_)) | (Is::Absent, None) => Ok(()),
        }
    }

    /// The kernel has what the result of the container's ADD says.
    pub(super) fn result_holds(&mut self, wanted: &ResultHolds) -> Result<(), Stop> {
        let missing = || TrialError::Case(format!("container {} was not added", wanted.container));
        let container = self.node.containers.get(&wanted.container).ok_or_else(missing)?;
        let result = container.result.clone().ok_or_else(missing)?;
        let mut look = Look {
            result: &result,
            netns: container.netns.display().to_string(),
            ifname: &self.network.ifname,
            host: Netlink::open()?,
            inside: Netlink::open_in(&self.node.netns(&wanted.container)?)?,
        };
        for aspect in &wanted.of {
            match aspect {
                Aspect::Interfaces => look.interfaces(),
                Aspect::Indices => look.indices(),
                Aspect::Addresses => look.addresses(),
                Aspect::Routes => look.routes(),
            }?;
        }
        Ok(())
    }
}

/// A result and the kernel that it is about.
struct Look<'a> {
    result: &'a Value,
    /// `CNI_NETNS`.
    netns: String,
    /// `CNI_IFNAME`.
    ifname: &'a str,
    host: Netlink,
    inside: Netlink,
}

impl<'a> Look<'a> {
    fn list(&self, key: &str) -> Vec<&'a Value> {
        let result = self.result;
        result.get(key).and_then(Value::as_array).into_iter().flatten().collect()
    }

    fn is_inside(&self, interface: &Value) -> bool {
        text(interface, "sandbox") == self.netns
    }

    /// Each interface is where the result says, and `CNI_IFNAME` is one of them.
    fn interfaces(&mut self) -> Result<(), Stop> {
        let is_own = |interface: &&&Value| self.is_inside(interface) && text(interface, "name") == self.ifname;
        if self.list("interfaces").iter().find(is_own).is_none() {
            let (ifname, netns) = (self.ifname, &self.netns);
            return Err(Stop::Fault(format!("the result must have the interface {ifname} with sandbox {netns}")));
        }
        for interface in self.list("interfaces") {
            let is_inside = self.is_inside(interface);
            let netlink = if is_inside { &mut self.inside } else { &mut self.host };
            if !is_inside && !text(interface, "sandbox").is_empty() {
                continue; // In a namespace that is nobody's business here.
            }
            let found = netlink.find_link(text(interface, "name"))?;
            let place = if is_inside { "in the container" } else { "on the host" };
            let Some(link) = found else {
                return Err(Stop::Fault(format!("the result says {interface}, but there is none {place}")));
            };
            same_link(interface, &link).map_err(Stop::Fault)?;
        }
        Ok(())
    }

    /// Each index is that of an interface in the container.
    fn indices(&mut self) -> Result<(), Stop> {
        let interfaces = self.list("interfaces");
        let ips = self.list("ips");
        if ips.is_empty() {
            return Err(Stop::Fault("the result must have the address in ips".to_owned()));
        }
        for ip in ips {
            let Some(index) = ip.get("interface") else {
                return Err(Stop::Fault(format!("the address {ip} must say its interface")));
            };
            let interface = index.as_u64().and_then(|index| interfaces.get(usize::try_from(index).ok()?));
            if !interface.is_some_and(|interface| self.is_inside(interface)) {
                let problem = format!("the address {ip} must have the index of an interface in the container");
                return Err(Stop::Fault(problem));
            }
        }
        Ok(())
    }

    /// `CNI_IFNAME` has each address that is not said to be elsewhere.
    fn addresses(&mut self) -> Result<(), Stop> {
        let interfaces = self.list("interfaces");
        let elsewhere: Vec<&str> = self
            .list("ips")
            .into_iter()
            .filter(|ip| {
                let index = ip.get("interface").and_then(Value::as_u64).and_then(|index| usize::try_from(index).ok());
                let owner = index.and_then(|index| interfaces.get(index));
                owner.is_some_and(|owner| text(owner, "name") != self.ifname || !self.is_inside(owner))
            })
            .map(|ip| text(ip, "address"))
            .collect();
        let wanted: Vec<String> =
            addresses_of(self.result).into_iter().filter(|net| !elsewhere.contains(&net.as_str())).collect();
        let Some(link) = self.inside.find_link(self.ifname)? else {
            return Err(Stop::Fault(format!("there must be {} in the container", self.ifname)));
        };
        let found = self.inside.addresses(Dev::from(&link))?;
        if wanted.is_empty() {
            return Err(Stop::Fault("the result must have an address".to_owned()));
        }
        let is_there = |net: &IpNet| found.iter().any(|address| address.net == *net);
        match wanted.iter().find(|net| !net.parse().is_ok_and(|net| is_there(&net))) {
            Some(net) => Err(Stop::Fault(format!("{} in the container must have {net}", self.ifname))),
            None => Ok(()),
        }
    }

    /// The container has each route.
    fn routes(&mut self) -> Result<(), Stop> {
        let found = self.inside.routes(route::Filter::default())?;
        let old = ["/ip4/routes", "/ip6/routes"].into_iter().filter_map(|pointer| self.result.pointer(pointer));
        let old = old.filter_map(Value::as_array).flatten();
        for wanted in self.list("routes").into_iter().chain(old) {
            let dst: Option<IpNet> = text(wanted, "dst").parse().ok();
            let gw: Option<IpAddr> = text(wanted, "gw").parse().ok();
            let is_it = |route: &route::Route| Some(route.dst) == dst && (gw.is_none() || route.gw == gw);
            if !found.iter().any(is_it) {
                return Err(Stop::Fault(format!("the container must have the route {wanted}")));
            }
        }
        Ok(())
    }
}

fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// What the result says of a link is so.
fn same_link(interface: &Value, link: &Link) -> Result<(), String> {
    let said: Option<MacAddr> = text(interface, "mac").parse().ok();
    match (said, link.mac) {
        (Some(said), Some(mac)) if said != mac => {
            return Err(format!("the result says {interface}, but its hardware address is {mac}"));
        }
        _ => {}
    }
    match interface.get("mtu").and_then(Value::as_u64) {
        Some(mtu) if mtu != u64::from(link.mtu) => {
            Err(format!("the result says {interface}, but its MTU is {}", link.mtu))
        }
        _ => Ok(()),
    }
}
