//! This node's own place in etcd: a key that is its subnets, created by one transaction, and kept.

use std::time::Duration;

use ipnet::IpNet;
use serde_json::{Value, json};

use super::client::Client;
use super::error::EtcdError;
use super::layout::{self, Layout};
use super::messages::{self, KeyValue, LeaseResponse, RangeResponse, TxnResponse};
use super::pick;
use crate::claim::Claim;
use crate::network::Network;
use crate::store::Registration;
use crate::store::pause::Pauses;

/// How many nodes are listed at once.
const PAGE: usize = 10_000;
/// How long to wait when another node was quicker: the first time, and at most.
const COLLISION_FIRST: Duration = Duration::from_millis(10);
const COLLISION_LONGEST: Duration = Duration::from_secs(1);

/// What this node has in etcd.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Own {
    pub(super) subnets: Vec<IpNet>,
    pub(super) key: String,
    pub(super) value: Vec<u8>,
    /// 0: the key is a reservation and never ends.
    pub(super) lease: i64,
}

impl Own {
    /// Whether `kv` is what this node wrote.
    pub(super) fn wrote(&self, kv: &KeyValue) -> bool {
        self.key.as_bytes() == kv.key && self.value == kv.value && self.lease == kv.lease
    }
}

/// What this node has after a look.
#[derive(Debug)]
pub(super) struct Ensured {
    pub(super) own: Own,
    /// It was not what this node had written.
    pub(super) was_lost: bool,
}

/// All nodes at a revision.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) cluster: u64,
    pub(super) revision: i64,
    pub(super) kvs: Vec<KeyValue>,
}

/// A listing, looked at by a node.
struct Sorted<'a> {
    /// The key with this node's address, and its subnets.
    mine: Option<(&'a KeyValue, Vec<IpNet>)>,
    /// What the other keys take.
    taken: Vec<IpNet>,
}

/// The part of etcd that this cluster's nodes are in.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) client: Client,
    pub(super) layout: Layout,
    pub(super) network: Network,
    /// How long a key outlives its node.
    pub(super) ttl: Duration,
    /// How often the certificates are looked at, and a silent server is asked whether it is still there.
    pub(super) check: Duration,
}

impl Place {
    /// # Errors
    /// [`EtcdError`].
    pub(super) async fn list(&self) -> Result<Listing, EtcdError> {
        list(&self.client, &self.layout).await
    }

    /// A subnet for this node: the one it has, which is that with its address; else `wanted`, if that is free; else
    /// another. Others who want the same are let go first.
    ///
    /// The listing is of just before.
    ///
    /// # Errors
    /// [`EtcdError`], but no [`EtcdError::Collision`].
    pub(super) async fn acquire(&self, us: &Registration, wanted: &[IpNet]) -> Result<(Own, Listing), EtcdError> {
        let mut lease = None;
        let mut pause = Pauses::new(COLLISION_FIRST, COLLISION_LONGEST);
        let mut attempt = 0;
        loop {
            let listing = self.list().await?;
            let error = match self.try_acquire(us, wanted, &listing, attempt, &mut lease).await {
                Ok(own) => return Ok((own, listing)),
                Err(error) => error,
            };
            if !matches!(error, EtcdError::Collision { .. }) {
                self.give_back(lease).await;
                return Err(error);
            }
            attempt += 1;
            tokio::time::sleep(pause.next()).await;
        }
    }

    async fn try_acquire(
        &self,
        us: &Registration,
        wanted: &[IpNet],
        listing: &Listing,
        attempt: u32,
        lease: &mut Option<i64>,
    ) -> Result<Own, EtcdError> {
        let Sorted { mine, taken } = self.sort(&us.claim, wanted, listing)?;
        if let Some((kv, subnets)) = mine {
            if pick::fits(&self.network, &subnets) {
                return self.take_over(kv, subnets, us, lease).await;
            }
            tracing::warn!(key = self.layout.name(&kv.key), "this node's subnet is not of the network any more");
            self.remove(kv).await?;
        }
        let is_free = pick::fits(&self.network, wanted) && !pick::overlap(wanted, &taken);
        let subnets = if is_free { wanted.to_vec() } else { self.pick(&taken, us, attempt, listing)? };
        self.create(subnets, us, lease).await
    }

    /// If several keys have this node's address, the one with the subnets `wanted` is its own.
    fn sort<'a>(&self, claim: &Claim, wanted: &[IpNet], listing: &'a Listing) -> Result<Sorted<'a>, EtcdError> {
        if claim.public_ip.is_none() && claim.public_ipv6.is_none() {
            return Err(EtcdError::NoAddress);
        }
        let mut mine = None;
        let mut taken = Vec::new();
        for kv in &listing.kvs {
            let Some(subnets) = layout::subnets(&self.layout.name(&kv.key)) else { continue };
            let is_ours = self.layout.record(&kv.key, &kv.value).claim.is_ok_and(|other| same_node(&other, claim));
            if is_ours && (mine.is_none() || subnets == wanted) {
                mine = Some((kv, subnets));
            } else {
                taken.extend(subnets);
            }
        }
        Ok(Sorted { mine, taken })
    }

    fn pick(
        &self,
        taken: &[IpNet],
        us: &Registration,
        attempt: u32,
        listing: &Listing,
    ) -> Result<Vec<IpNet>, EtcdError> {
        pick::pick(&self.network, taken, &us.name, attempt)
            .ok_or_else(|| EtcdError::Exhausted { pool: pick::pool(&self.network), taken: listing.kvs.len() })
    }

    /// Makes a key that this node had before its own again. Nothing is written if it says the same: nobody else need know
    /// that this node was restarted.
    async fn take_over(
        &self,
        kv: &KeyValue,
        subnets: Vec<IpNet>,
        us: &Registration,
        spare: &mut Option<i64>,
    ) -> Result<Own, EtcdError> {
        let lease = match kv.lease {
            // An operator's reservation: it does not end.
            0 => 0,
            lease if self.renew(lease).await? == self.ttl => lease,
            _ => self.grant(spare).await?,
        };
        let own =
            Own { subnets, key: String::from_utf8_lossy(&kv.key).into_owned(), value: layout::value(&us.claim), lease };
        if !own.wrote(kv) {
            self.write(&own, kv.mod_revision).await?;
        }
        tracing::info!(key = self.layout.name(&kv.key), "this node has its subnet again");
        Ok(own)
    }

    async fn create(&self, subnets: Vec<IpNet>, us: &Registration, lease: &mut Option<i64>) -> Result<Own, EtcdError> {
        let key = self.layout.key(&subnets);
        let own = Own { subnets, value: layout::value(&us.claim), lease: self.grant(lease).await?, key };
        let names = messages::range(messages::names(&self.layout.subnets));
        let put = messages::put(&own.key, &own.value, own.lease);
        let answer = self.transact(&own.key, 0, json!([put, names])).await?;
        let all =
            answer.responses.into_iter().filter_map(|response| response.response_range).flat_map(|range| range.kvs);
        for other in all {
            // The key is ours alone, but others may be of another size, or share one family with it. Who came first stays.
            let name = self.layout.name(&other.key);
            let is_earlier = other.create_revision < answer.header.revision;
            if is_earlier && layout::subnets(&name).is_some_and(|subnets| pick::overlap(&subnets, &own.subnets)) {
                self.transact(&own.key, answer.header.revision, json!([messages::delete(&own.key)])).await?;
                return Err(EtcdError::Collision { key: own.key });
            }
        }
        tracing::info!(key = self.layout.name(own.key.as_bytes()), "this node has a new subnet");
        Ok(own)
    }

    /// Sees to it that etcd has what this node says of itself, with a lease that is alive: looks, writes what is
    /// different, and gets a place again if it was lost, the same if possible.
    ///
    /// # Errors
    /// [`EtcdError`].
    pub(super) async fn ensure(&self, own: &Own, us: &Registration) -> Result<Ensured, EtcdError> {
        let is_alive = own.lease == 0 || !self.renew(own.lease).await?.is_zero();
        let range: RangeResponse = self.client.call("/v3/kv/range", &messages::one(&own.key)).await?;
        let found = range.kvs.into_iter().next();
        let key = self.layout.name(own.key.as_bytes());
        match &found {
            Some(kv) if is_alive && own.wrote(kv) => {
                let now = Own { value: layout::value(&us.claim), ..own.clone() };
                if now == *own || self.is_written(&now, kv.mod_revision).await? {
                    return Ok(Ensured { own: now, was_lost: false });
                }
            }
            Some(_) => tracing::warn!(
                key,
                hint = "does flanneld still run here, or has another node this address?",
                "somebody changed this node's key"
            ),
            None => tracing::warn!(key, "this node's key is gone"),
        }
        Ok(Ensured { own: self.acquire(us, &own.subnets).await?.0, was_lost: true })
    }

    /// Writes the key as long as it was last changed at `revision`; false: somebody was quicker.
    async fn is_written(&self, own: &Own, revision: i64) -> Result<bool, EtcdError> {
        match self.write(own, revision).await {
            Ok(()) => Ok(true),
            Err(EtcdError::Collision { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Gives the subnets of the node with `claim`'s address back; those that it had. What an operator reserved stays
    /// reserved, and says the address alone.
    ///
    /// # Errors
    /// [`EtcdError`].
    pub(super) async fn leave(client: &Client, layout: &Layout, claim: &Claim) -> Result<Vec<IpNet>, EtcdError> {
        let mut left = Vec::new();
        for kv in list(client, layout).await?.kvs {
            let Ok(other) = layout.record(&kv.key, &kv.value).claim else { continue };
            if !same_node(&other, claim) {
                continue;
            }
            let key = String::from_utf8_lossy(&kv.key).into_owned();
            let change = if kv.lease == 0 {
                let reserved = Claim { public_ip: other.public_ip, public_ipv6: other.public_ipv6, ..Claim::default() };
                messages::put(&key, &layout::value(&reserved), 0)
            } else {
                messages::delete(&key)
            };
            transact(client, &key, kv.mod_revision, json!([change])).await?;
            left.extend(other.subnets);
        }
        Ok(left)
    }

    /// Writes the key as long as it was last changed at `revision`.
    async fn write(&self, own: &Own, revision: i64) -> Result<(), EtcdError> {
        self.transact(&own.key, revision, json!([messages::put(&own.key, &own.value, own.lease)])).await?;
        Ok(())
    }

    async fn remove(&self, kv: &KeyValue) -> Result<(), EtcdError> {
        let key = String::from_utf8_lossy(&kv.key).into_owned();
        self.transact(&key, kv.mod_revision, json!([messages::delete(&key)])).await?;
        Ok(())
    }

    async fn transact(&self, key: &str, revision: i64, changes: Value) -> Result<TxnResponse, EtcdError> {
        transact(&self.client, key, revision, changes).await
    }

    /// A new lease, or the one that was granted already and is not used yet.
    async fn grant(&self, spare: &mut Option<i64>) -> Result<i64, EtcdError> {
        if let Some(lease) = *spare {
            return Ok(lease);
        }
        let body = json!({ "TTL": self.ttl.as_secs().to_string() });
        let answer: LeaseResponse = self.client.call("/v3/lease/grant", &body).await?;
        *spare = Some(answer.id);
        Ok(answer.id)
    }

    /// Lets a lease begin anew: its whole length, or zero if there is no such lease any more.
    async fn renew(&self, lease: i64) -> Result<Duration, EtcdError> {
        let body = json!({ "ID": lease.to_string() });
        let answer: LeaseResponse = self.client.call_stream("/v3/lease/keepalive", &body).await?;
        Ok(Duration::from_secs(u64::try_from(answer.ttl).unwrap_or(0)))
    }

    /// Ends a lease that nothing hangs on; if that fails, it ends by itself.
    async fn give_back(&self, lease: Option<i64>) {
        if let Some(lease) = lease {
            let body = json!({ "ID": lease.to_string() });
            let _ = self.client.call::<Value>("/v3/lease/revoke", &body).await;
        }
    }
}

/// Whether both are said by a node with the same address: that of IPv4, if there is one, as flannel knows nodes.
fn same_node(a: &Claim, b: &Claim) -> bool {
    match (a.public_ip, b.public_ip) {
        (None, None) => a.public_ipv6.is_some() && a.public_ipv6 == b.public_ipv6,
        (a, b) => a == b,
    }
}

/// All nodes, as they were at one moment.
async fn list(client: &Client, layout: &Layout) -> Result<Listing, EtcdError> {
    let mut limit = PAGE;
    let mut all = Listing { cluster: 0, revision: 0, kvs: Vec::new() };
    loop {
        let after = all.kvs.last().map(|kv| kv.key.as_slice());
        let page = messages::page(&layout.subnets, after, all.revision, limit);
        match client.list::<RangeResponse>("/v3/kv/range", &page).await {
            // Somebody has written large values.
            Err(error) if error.is_of_size() && limit > 1 => limit = (limit / 8).max(1),
            Err(error) => return Err(error),
            Ok(answer) => {
                if all.revision == 0 {
                    (all.cluster, all.revision) = (answer.header.cluster_id, answer.header.revision);
                }
                all.kvs.extend(answer.kvs);
                if !answer.more {
                    return Ok(all);
                }
            }
        }
    }
}

/// Makes `changes` as long as `key` was last changed at `revision` (0: as long as there is none).
async fn transact(client: &Client, key: &str, revision: i64, changes: Value) -> Result<TxnResponse, EtcdError> {
    let body = json!({ "compare": [messages::if_unchanged(key, revision)], "success": changes });
    let answer: TxnResponse = client.call("/v3/kv/txn", &body).await?;
    if !answer.succeeded {
        return Err(EtcdError::Collision { key: key.to_owned() });
    }
    Ok(answer)
}
