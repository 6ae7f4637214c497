//! What is there for all nodes together: our links, the plan, what this node says of itself.

use std::time::{Duration, Instant};

use ipnet::IpNet;
use libcni::error::causes;
use libcni::store::StoreError;
use linuxnet::link::{Dev, LinkError, Vnis};
use linuxnet::nexthop::{self, Encap, Nexthop};
use linuxnet::route::PROTOCOL_OVERLAY;
use linuxnet::wireguard::SecretKey;
use vxlan_delegate::Subnet;

use crate::config::Programming;
use crate::kernel::{DeviceError, Ensured, VxlanDevice, ensure_vxlan};
use crate::metrics::Kind;
use crate::network::{Backend, Vxlan};
use crate::roster::Own;
use crate::store::pause::Pauses;
use crate::subnet_file;

use super::check::Occasion;
use super::{Engine, layout};

/// What is there for all nodes together.
#[derive(Debug)]
pub(super) struct Base {
    /// How VXLAN is programmed, once that is known.
    pub(super) programming: Option<Programming>,
    /// Why something of it is missing.
    pub(super) fault: Option<String>,
    pub(super) pauses: Pauses,
    /// Our links are there.
    pub(super) has_links: bool,
    /// When that was looked at.
    looked: Option<Instant>,
    /// Of WireGuard, once it was read.
    pub(super) private_key: Option<SecretKey>,
}

impl Default for Base {
    fn default() -> Self {
        let pauses = Pauses::new(Duration::from_millis(200), Duration::from_secs(10));
        Self { programming: None, fault: None, pauses, has_links: false, looked: None, private_key: None }
    }
}

/// So long nothing was changed where nobody fights with us.
const CALM: Duration = Duration::from_millis(500);
/// A number for the test whether the kernel can; none of those that are given out.
const TRIAL_ID: u32 = 78_999_999;

impl Engine {
    /// The store gave this node its subnets.
    pub(super) fn set_subnets(&mut self, subnets: Vec<IpNet>) {
        if self.subnets.as_ref() == Some(&subnets) {
            return;
        }
        let shown: Vec<_> = subnets.iter().map(ToString::to_string).collect();
        tracing::info!(subnets = shown.join(" "), "this node's subnets");
        self.subnets = Some(subnets);
        self.agenda.snapshot_in(super::SNAPSHOT_PAUSE);
        self.ensure_base();
    }

    /// The kernel told of a change of a link of ours: it is looked at now, or, where somebody keeps changing it, soon.
    pub(super) fn base_changed(&mut self) {
        let is_fight = self.base.looked.is_some_and(|at| at.elapsed() < CALM);
        self.agenda.base_in(if is_fight { CALM / 5 } else { Duration::ZERO });
    }

    /// Has links, rules and files be as they should be; what fails is told once, and tried again.
    pub(super) fn ensure_base(&mut self) {
        let Some(subnets) = self.subnets.clone() else { return };
        self.base.looked = Some(Instant::now());
        match self.try_base(&subnets) {
            Ok(()) => {
                self.base.pauses.reset();
                if self.base.fault.take().is_some() {
                    tracing::info!("this node's own links and rules are right again");
                }
            }
            Err(why) => {
                if self.base.fault.as_ref() != Some(&why) {
                    tracing::error!(error = why, "this node's own links and rules are not right");
                }
                self.base.fault = Some(why);
                let pause = self.base.pauses.next();
                self.agenda.base_in(pause);
            }
        }
    }

    fn try_base(&mut self, subnets: &[IpNet]) -> Result<(), String> {
        let is_first = self.plan.is_none();
        let had_links = std::mem::replace(&mut self.base.has_links, false);
        let devices = self.ensure_devices(subnets).map_err(|e| causes(Some(&e)))?;
        self.base.has_links = true;
        if !is_first {
            for ensured in &devices {
                self.tell_of_device(ensured);
            }
        }
        let is_new = !had_links || devices.iter().any(|ensured| ensured.is_new);
        // Without it nodes are reached all the same.
        let masquerade = self.ensure_masquerade(subnets);
        self.kernel.devices = devices.into_iter().map(|ensured| ensured.device).collect();
        let programming = self.base.programming.unwrap_or_default();
        let plan = layout::plan(&self.config, &self.network, &self.node, &self.kernel.devices, programming);
        let is_different = self.plan.as_ref() != Some(&plan);
        self.plan = Some(plan);
        self.metrics.mtu.set(self.mtu().into());
        let changes = self.roster.set_own(self.own(subnets));
        self.change(changes, Instant::now());
        if is_new || is_different {
            // What was on a link that is gone is gone with it.
            self.check(Occasion::News);
        }
        masquerade?;
        self.write_subnet_file(subnets).map_err(|e| causes(Some(&e)))
    }

    /// From now on containers can be attached: so it comes last.
    fn write_subnet_file(&self, subnets: &[IpNet]) -> Result<(), StoreError> {
        let v4 = self.network.v4.map(|pool| IpNet::V4(pool.network));
        let v6 = self.network.v6.map(|pool| IpNet::V6(pool.network));
        let subnet = Subnet {
            networks: [v4, v6].into_iter().flatten().collect(),
            subnets: subnets.to_vec(),
            mtu: self.mtu(),
            masquerades: self.config.masquerade.is_some(),
        };
        if subnet_file::write(&self.config.subnet_file, &subnet)? {
            tracing::info!(path = %self.config.subnet_file.display(), mtu = subnet.mtu, "subnet file written");
        }
        Ok(())
    }

    fn tell_of_device(&mut self, ensured: &Ensured) {
        if ensured.is_new || !ensured.changes.is_empty() {
            let name = &ensured.device.name;
            tracing::warn!(link = name, made = ensured.is_new, changes = ensured.changes.join("; "), "link put right");
            self.drift += 1;
            self.metrics.drift_repaired.get_or_create(&Kind { kind: "link" }).inc();
        }
    }

    /// What no other node may claim.
    fn own(&self, subnets: &[IpNet]) -> Own {
        let underlays = [&self.node.v4, &self.node.v6].into_iter().flatten();
        let macs = match &self.network.backend {
            Backend::Vxlan(vxlan) => {
                [false, true].map(|v6| crate::peer::vtep_mac(&self.node.identity, vxlan.vni, v6)).to_vec()
            }
            _ => Vec::new(),
        };
        Own {
            name: self.node.name.clone(),
            subnets: subnets.to_vec(),
            addresses: underlays.flat_map(|underlay| [underlay.address, underlay.public]).collect(),
            macs,
            public_key: self.node.public_key,
        }
    }

    pub(super) fn mtu(&self) -> u32 {
        self.node.mtu(&self.network.backend)
    }

    fn ensure_devices(&mut self, subnets: &[IpNet]) -> Result<Vec<Ensured>, DeviceError> {
        match self.network.backend.clone() {
            Backend::Vxlan(vxlan) => self.ensure_vxlan(subnets, &vxlan),
            Backend::Ipip { .. } => self.ensure_ipip(subnets),
            Backend::WireGuard(wireguard) => self.ensure_wireguard(subnets, &wireguard),
            Backend::Udp { port } => self.ensure_relay(subnets, port),
            Backend::HostGw | Backend::Bgp => Ok(Vec::new()),
        }
    }

    fn ensure_vxlan(&mut self, subnets: &[IpNet], vxlan: &Vxlan) -> Result<Vec<Ensured>, DeviceError> {
        let programming = match self.base.programming {
            Some(programming) => programming,
            None => self.choose_programming(subnets, vxlan)?,
        };
        self.base.programming = Some(programming);
        self.kernel.are_vxlan = true;
        let wanted = layout::vxlan_devices(&self.config, &self.network, &self.node, subnets, vxlan, programming);
        wanted.iter().map(|wanted| ensure_vxlan(&mut self.kernel.netlink, wanted)).collect()
    }

    /// Next hop objects, if the kernel has what they need. A link that is there already says how it was: to change it
    /// would cut off all nodes for a moment.
    fn choose_programming(&mut self, subnets: &[IpNet], vxlan: &Vxlan) -> Result<Programming, DeviceError> {
        if let Some(forced) = layout::forced_programming(&self.config, &self.network, vxlan) {
            if forced != self.config.kernel.programming && self.config.kernel.programming != Programming::Auto {
                tracing::warn!("next hop objects serve one family and no GBP: nodes are programmed as neighbours");
            }
            return Ok(forced);
        }
        let name = layout::vxlan_name(&self.config, vxlan, self.network.v4.is_none());
        match self.kernel.netlink.find_link(&name)?.and_then(|link| link.vxlan).map(|there| there.vnis) {
            Some(Vnis::One(_)) => return Ok(Programming::Neighbours),
            Some(Vnis::External { filter: true }) => return Ok(Programming::Nexthops),
            Some(Vnis::External { filter: false }) | None => {}
        }
        let wanted =
            layout::vxlan_devices(&self.config, &self.network, &self.node, subnets, vxlan, Programming::Nexthops);
        let Some(wanted) = wanted.first() else { return Ok(Programming::Neighbours) };
        match self.try_nexthops(wanted) {
            Ok(()) => Ok(Programming::Nexthops),
            Err(DeviceError::Link(LinkError::NoSuchKind { name, kind })) => {
                Err(LinkError::NoSuchKind { name, kind }.into())
            }
            Err(why) => {
                tracing::info!(
                    reason = causes(Some(&why)),
                    "no next hop objects here: nodes are programmed as neighbours"
                );
                if let Some(link) = self.kernel.netlink.find_link(&wanted.name)? {
                    self.kernel.netlink.remove_link(Dev::from(&link))?;
                }
                Ok(Programming::Neighbours)
            }
        }
    }

    /// Makes the link, and a next hop on it, which is removed again.
    fn try_nexthops(&mut self, wanted: &VxlanDevice) -> Result<(), DeviceError> {
        let link = ensure_vxlan(&mut self.kernel.netlink, wanted)?.device.index;
        let underlay = [&self.node.v4, &self.node.v6]
            .into_iter()
            .flatten()
            .find(|underlay| wanted.addresses.iter().all(|net| net.addr().is_ipv4() == underlay.address.is_ipv4()));
        let pool = self
            .network
            .v4
            .map_or_else(|| self.network.v6.map(|pool| IpNet::V6(pool.network)), |pool| Some(IpNet::V4(pool.network)));
        if let (Some(underlay), Some(pool)) = (underlay, pool) {
            let encap = Encap { id: wanted.vni, dst: underlay.address, src: None };
            // No subnet of ours begins there.
            let gw = pool.broadcast();
            let trial =
                Nexthop { id: TRIAL_ID, link, gw, onlink: true, encap: Some(encap), protocol: PROTOCOL_OVERLAY };
            self.kernel.netlink.run(nexthop::set(&trial))?;
            self.kernel.netlink.run(nexthop::remove(TRIAL_ID))?;
        }
        Ok(())
    }
}
