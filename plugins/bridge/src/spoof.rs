//! The MAC spoof check (`macspoofchk`): frames that come in by the container's port with another source address than
//! the container's are dropped.
//!
//! In `nft`'s words:
//! ```text
//! table bridge ferrule_spoof {
//!     set ports   { type ifname; flags timeout; elements = { "veth1a2b3c4d" comment "net id eth0" } }
//!     set allowed { type ifname . ether_addr; flags timeout; elements = { "veth1a2b3c4d" . 0a:58:0a:01:00:02 comment … } }
//!     chain prerouting {
//!         type filter hook prerouting priority dstnat; policy accept;
//!         iifname @ports iifname . ether saddr != @allowed drop
//!     }
//! }
//! ```

use libcni::names::IfName;
use libcni::types::{AttachmentId, MacAddr};
use linuxnet::NetlinkError;
use linuxnet::nft::{
    BaseChain, ChainKind, DataType, Element, Family, Field, Hook, Load, Nfnetlink, Policy, Rule, Set, Table,
    Transaction, Value, Verdict, priority,
};
use linuxnet::tag::{Tag, Valid};

const TABLE: Table<'static> = Table::new(Family::Bridge, "ferrule_spoof");
const CHAIN: &str = "prerouting";
const PORTS: Set<'static> = Set::of("ports", &[DataType::IfName]).with_timeouts();
const ALLOWED: Set<'static> = Set::of("allowed", &[DataType::IfName, DataType::EtherAddr]).with_timeouts();

/// What the Go plugin uses: a chain per attachment, jumped to from this chain of `bridge nat`.
const REFERENCE_TABLE: Table<'static> = Table::new(Family::Bridge, "nat");
const REFERENCE_CHAIN: &str = "PREROUTING";

/// How often the set-up begins again because another ADD made the chain at the same time.
const ATTEMPTS: u32 = 5;

/// Drops what comes in by `port` and is not from `mac`.
pub(crate) fn set_up(nft: &mut Nfnetlink, tag: &Tag, port: &IfName, mac: MacAddr) -> Result<(), NetlinkError> {
    let mut attempt = 1;
    loop {
        let chain_exists = nft.find_chain(TABLE, CHAIN)?.is_some();
        match nft.commit(&drop_others(chain_exists, tag, port, mac)) {
            Err(e) if e.is_exists() && attempt < ATTEMPTS => attempt += 1,
            done => return done,
        }
    }
}

fn drop_others(chain_exists: bool, tag: &Tag, port: &IfName, mac: MacAddr) -> Transaction<'static> {
    let mut transaction = Transaction::new(TABLE);
    if !chain_exists {
        let hooked = BaseChain {
            name: CHAIN,
            kind: ChainKind::Filter,
            hook: Hook::Prerouting,
            priority: priority::BRIDGE_DSTNAT,
            policy: Policy::Accept,
        };
        let rule = Rule::new()
            .in_set(&[Load::Iifname], PORTS.name)
            .not_in_set(&[Load::Iifname, Load::EtherSaddr], ALLOWED.name)
            .verdict(Verdict::Drop);
        transaction
            .ensure_table()
            .ensure_set(&PORTS)
            .ensure_set(&ALLOWED)
            .create_base_chain(&hooked)
            .add_rule(CHAIN, &rule);
    }
    // The allowed address first in thought and in the batch: both appear to packets at once.
    transaction
        .add_element(ALLOWED.name, &Element::new(allowed(port, mac)).comment(tag.to_string()))
        .add_element(PORTS.name, &Element::new(port.clone()).comment(tag.to_string()));
    transaction
}

fn allowed(port: &IfName, mac: MacAddr) -> Value {
    Value::from(port.clone()).and(Field::EtherAddr(mac.0))
}

/// Whether the check is there: as we make it, or as the Go plugin does.
pub(crate) fn is_set_up(
    nft: &mut Nfnetlink,
    id: &AttachmentId,
    port: &IfName,
    mac: MacAddr,
) -> Result<bool, NetlinkError> {
    let ours = nft.find_chain(TABLE, CHAIN)?.is_some()
        && nft.find_element(TABLE, PORTS.name, &Value::from(port.clone()))?.is_some()
        && nft.find_element(TABLE, ALLOWED.name, &allowed(port, mac))?.is_some();
    Ok(ours || nft.find_chain(REFERENCE_TABLE, &reference_chain(id))?.is_some())
}

/// Removes the check of one attachment, ours and the Go plugin's. Absent is success.
pub(crate) fn remove(nft: &mut Nfnetlink, tag: &Tag, id: &AttachmentId) -> Result<(), NetlinkError> {
    remove_elements(nft, |found| found.is_same_attachment(tag))?;
    let chain = reference_chain(id);
    if nft.find_chain(REFERENCE_TABLE, &chain)?.is_none() {
        return Ok(());
    }
    let mut transaction = Transaction::new(REFERENCE_TABLE);
    for rule in nft.rules(REFERENCE_TABLE, REFERENCE_CHAIN)? {
        if rule.verdict().is_some_and(|verdict| verdict.chain() == Some(&chain)) {
            transaction.remove_rule(REFERENCE_CHAIN, rule.handle);
        }
    }
    transaction.remove_chain(&chain).remove_chain(&format!("{chain}-mac"));
    nft.commit(&transaction)
}

/// Removes the checks of this network's attachments that are not valid. (The Go plugin's do not name the network.)
pub(crate) fn collect_garbage(nft: &mut Nfnetlink, valid: &Valid) -> Result<(), NetlinkError> {
    remove_elements(nft, |found| valid.is_stale(found))
}

fn remove_elements(nft: &mut Nfnetlink, is_meant: impl Fn(&Tag) -> bool) -> Result<(), NetlinkError> {
    if !nft.table_exists(TABLE)? {
        return Ok(());
    }
    let mut transaction = Transaction::new(TABLE);
    for set in [PORTS.name, ALLOWED.name] {
        for element in nft.elements(TABLE, set)? {
            let tag = element.comment.as_deref().and_then(|comment| comment.parse::<Tag>().ok());
            if tag.is_some_and(|tag| is_meant(&tag)) {
                transaction.remove_element(set, &element.key);
            }
        }
    }
    nft.commit(&transaction)
}

/// The chain that the Go plugin makes for an attachment.
fn reference_chain(id: &AttachmentId) -> String {
    format!("cni-br-iface-{}-{}", id.container_id, id.ifname)
}
