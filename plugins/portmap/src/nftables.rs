//! Mappings in our nftables table, by nfnetlink: each is an element of a map, and what it takes to masquerade are
//! elements of sets, all with the attachment's tag as comment. [`layout`] has the table.

mod conditional;
mod layout;

use std::net::SocketAddr;

use linuxnet::NetlinkError;
use linuxnet::nft::{Element, ElementEntry, Field, Nfnetlink, Transaction, Value};
use linuxnet::tag::{Tag, Valid};

use crate::conf::{Conditions, Conf};
use crate::container::{Container, Reach};
use crate::error::PortmapError;
use crate::holder::{Holder, Owner, Place};
use crate::mapping::{Binding, HostPort, Protocol, unspecified_like};
use layout::{PortMaps, TABLE, Version};

/// An element that an attachment has.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    set: String,
    key: Value,
    target: Option<Value>,
}

/// The elements for these bindings under this configuration.
fn entries(bindings: &[Binding], container: &Container, conf: &Conf) -> Vec<Entry> {
    let ports = bindings.iter().map(|binding| {
        let (set, key) = locate(&binding.host, &maps_of(binding, &conf.conditions));
        let target = Value::from(binding.target.ip()).and(Field::InetService(binding.target.port()));
        Entry { set, key, target: Some(target) }
    });
    let reaches = container.reaches.iter().filter(|reach| bindings.iter().any(|b| b.target.ip() == reach.ip()));
    let masquerades = reaches.filter(|_| conf.snat).flat_map(|reach| masquerade_entries(reach, conf.masq_all));
    ports.chain(masquerades).collect()
}

/// The elements for these bindings under this configuration, whatever it says about masquerading.
fn possible_entries(bindings: &[Binding], container: &Container, conf: &Conf) -> Vec<Entry> {
    let masquerading = |masq_all| Conf { snat: true, masq_all, ..conf.clone() };
    let mut all = entries(bindings, container, &masquerading(false));
    for entry in entries(bindings, container, &masquerading(true)) {
        if !all.contains(&entry) {
            all.push(entry);
        }
    }
    all
}

fn masquerade_entries(reach: &Reach, masq_all: bool) -> Vec<Entry> {
    let ip = reach.ip();
    let version = Version::of(ip);
    let entry = |set: &str, key: Value| Entry { set: set.to_owned(), key, target: None };
    if masq_all {
        return vec![entry(version.masq_all.name, ip.into())];
    }
    let hairpin = reach.link.as_ref().map(|link| {
        let key = Value::from(ip).and(Field::IfName(link.clone())).and(Field::IfName(link.clone()));
        entry(version.hairpin.name, key)
    });
    let itself = entry(version.itself.name, Value::from(ip).and(ip));
    let localhost = version.localhost.map(|set| entry(set.name, ip.into()));
    hairpin.into_iter().chain([itself]).chain(localhost).collect()
}

fn maps_of(binding: &Binding, conditions: &Conditions) -> PortMaps {
    let container = binding.target.ip();
    PortMaps::new(Version::of(container), conditions.of(container))
}

/// The map and the key of a host port.
fn locate(host: &HostPort, maps: &PortMaps) -> (String, Value) {
    match host.specific_ip() {
        Some(ip) => (maps.specific.clone(), Value::from(ip).and(protocol(host)).and(Field::InetService(host.port))),
        None => (maps.any.clone(), any_key(host)),
    }
}

fn any_key(host: &HostPort) -> Value {
    Value::from(protocol(host)).and(Field::InetService(host.port))
}

fn protocol(host: &HostPort) -> Field {
    Field::InetProto(host.protocol.number())
}

/// The mapping that an element of the map `set` is; `None` if the set holds something else.
fn read_binding(set: &str, key: &Value, target: Option<&Value>) -> Option<Binding> {
    let (key_types, target_types) = PortMaps::types_of(set)?;
    let target = target?.fields(target_types)?;
    let &[Field::Ip(ip), Field::InetService(port)] = target.as_slice() else { return None };
    let (host_ip, protocol, host_port) = match *key.fields(key_types)?.as_slice() {
        [Field::InetProto(protocol), Field::InetService(port)] => (unspecified_like(ip), protocol, port),
        [Field::Ip(host_ip), Field::InetProto(protocol), Field::InetService(port)] => (host_ip, protocol, port),
        _ => return None,
    };
    let protocol = Protocol::from_number(protocol)?;
    Some(Binding { host: HostPort { protocol, ip: host_ip, port: host_port }, target: SocketAddr::new(ip, port) })
}

fn tag_of(element: &ElementEntry) -> Option<Tag> {
    element.comment.as_deref()?.parse().ok()
}

/// Whoever has one of these host ports under the same conditions.
pub(crate) fn holders(
    nft: &mut Nfnetlink,
    bindings: &[Binding],
    conditions: &Conditions,
) -> Result<Vec<Holder>, NetlinkError> {
    let mut holders = Vec::new();
    let mut listed: Vec<String> = Vec::new();
    for binding in bindings {
        let maps = maps_of(binding, conditions);
        let (set, key) = locate(&binding.host, &maps);
        holders.extend(nft.find_element(TABLE, &set, &key)?.and_then(|element| holder(&set, element)));
        if binding.host.specific_ip().is_some() {
            let every = nft.find_element(TABLE, &maps.any, &any_key(&binding.host))?;
            holders.extend(every.and_then(|element| holder(&maps.any, element)));
        } else if !listed.contains(&maps.specific) {
            // A port of every address is also wanted by those of one; there are few.
            let each = nft.elements(TABLE, &maps.specific)?;
            holders.extend(each.into_iter().filter_map(|element| holder(&maps.specific, element)));
            listed.push(maps.specific);
        }
    }
    Ok(holders)
}

fn holder(set: &str, element: ElementEntry) -> Option<Holder> {
    let binding = read_binding(set, &element.key, element.value())?;
    let owner = tag_of(&element).map_or_else(
        || Owner::Untagged { network: None, container_id: element.comment.clone().unwrap_or_default() },
        Owner::Tagged,
    );
    let place = Place::Element { set: set.to_owned(), key: element.key };
    Some(Holder { host: binding.host, target: Some(binding.target.ip()), owner, place })
}

/// Makes the elements for `bindings` in one transaction, which also removes what gives way.
pub(crate) fn publish(
    nft: &mut Nfnetlink,
    bindings: &[Binding],
    container: &Container,
    conf: &Conf,
    gives_way: &[Place],
) -> Result<(), PortmapError> {
    layout::ensure(nft)?;
    for reach in container.reaches.iter().filter(|reach| bindings.iter().any(|b| b.target.ip() == reach.ip())) {
        let (version, words) = (Version::of(reach.ip()), conf.conditions.of(reach.ip()));
        conditional::ensure(nft, version, &PortMaps::new(version, words), words)?;
    }
    let mut t = Transaction::new(TABLE);
    add_removals(&mut t, gives_way);
    for entry in entries(bindings, container, conf) {
        let given_up = gives_way.contains(&Place::Element { set: entry.set.clone(), key: entry.key.clone() });
        if !given_up && nft.find_element(TABLE, &entry.set, &entry.key)?.is_some_and(|_| entry.target.is_none()) {
            // An address is one container's: who had it before us is gone, or it was us.
            t.destroy_element(&entry.set, &entry.key);
        }
        let element = Element::new(entry.key).comment(container.tag.to_string());
        let element = entry.target.into_iter().fold(element, Element::data);
        t.create_element(&entry.set, &element);
    }
    Ok(nft.commit(&t)?)
}

/// Removes what gives way to mappings in iptables.
pub(crate) fn remove_places(nft: &mut Nfnetlink, places: &[Place]) -> Result<(), NetlinkError> {
    let mut t = Transaction::new(TABLE);
    add_removals(&mut t, places);
    nft.commit(&t)
}

/// Adds the removal of what stands in nftables.
fn add_removals(t: &mut Transaction<'static>, places: &[Place]) {
    for place in places {
        match place {
            // Deleted, not expired: the same transaction may make the key anew.
            Place::Element { set, key } => t.at(TABLE).destroy_element(set, key),
            Place::Rule { table, chain, handle } => t.at(*table).remove_rule(chain, *handle),
            Place::Chain { .. } => continue,
        };
    }
    t.at(TABLE);
}

/// Whether the attachment has any element here for these bindings.
pub(crate) fn has_any(
    nft: &mut Nfnetlink,
    bindings: &[Binding],
    container: &Container,
    conf: &Conf,
) -> Result<bool, NetlinkError> {
    for entry in entries(bindings, container, conf) {
        if nft.find_element(TABLE, &entry.set, &entry.key)?.is_some_and(|element| is_of(&element, container)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What differs from what ADD made: missing elements, and elements that lead elsewhere or are another's.
pub(crate) fn verify(
    nft: &mut Nfnetlink,
    bindings: &[Binding],
    container: &Container,
    conf: &Conf,
) -> Result<Vec<String>, NetlinkError> {
    let mut differences = Vec::new();
    if !layout::is_complete(nft)? {
        differences.push(format!("the chains of table {TABLE} are damaged"));
    }
    let mut ours = Vec::new();
    for binding in bindings {
        let (set, key) = locate(&binding.host, &maps_of(binding, &conf.conditions));
        let holder = nft.find_element(TABLE, &set, &key)?.and_then(|element| tag_of(&element));
        // The port may lead to this container through another of its networks; then ADD left it there.
        if !holder.is_some_and(|tag| is_sibling(&tag, container)) {
            ours.push(*binding);
        }
    }
    for Entry { set, key, target } in entries(&ours, container, conf) {
        match nft.find_element(TABLE, &set, &key)? {
            None => differences.push(format!("element {key} of {set} is missing")),
            Some(element) if !is_of(&element, container) => {
                let owner = element.comment.as_deref().unwrap_or("nobody");
                differences.push(format!("element {key} of {set} belongs to \"{owner}\""));
            }
            Some(element) if element.value() != target.as_ref() => {
                differences.push(format!("element {key} of {set} leads elsewhere"));
            }
            Some(_) => {}
        }
    }
    Ok(differences)
}

fn is_of(element: &ElementEntry, container: &Container) -> bool {
    tag_of(element).is_some_and(|tag| tag.is_same_attachment(&container.tag))
}

fn is_sibling(tag: &Tag, container: &Container) -> bool {
    tag.container_id() == container.tag.container_id() && !tag.is_same_attachment(&container.tag)
}

/// Removes the attachment's elements and returns its mappings among them: by their keys where these are known, by a
/// look at all elements where they are not, or not all are there.
pub(crate) fn remove(
    nft: &mut Nfnetlink,
    bindings: &[Binding],
    container: &Container,
    conf: Option<&Conf>,
) -> Result<Vec<Binding>, NetlinkError> {
    let known = match conf {
        Some(conf) if bindings.is_empty() && has_no_masquerade(nft, container, conf)? => Some(Vec::new()),
        Some(conf) if !bindings.is_empty() => by_keys(nft, bindings, container, conf)?,
        Some(_) | None => None,
    };
    let found = match known {
        Some(found) => found,
        None => by_tag(nft, |tag| tag.is_same_attachment(&container.tag))?,
    };
    remove_found(nft, found)
}

/// Whether the container's addresses are known and none is masqueraded: then it has no mappings either, unless `snat` is
/// off. Most containers publish nothing; their DEL need not look at everybody's elements.
fn has_no_masquerade(nft: &mut Nfnetlink, container: &Container, conf: &Conf) -> Result<bool, NetlinkError> {
    for reach in &container.reaches {
        for entry in [false, true].into_iter().flat_map(|masq_all| masquerade_entries(reach, masq_all)) {
            if nft.find_element(TABLE, &entry.set, &entry.key)?.is_some_and(|element| is_of(&element, container)) {
                return Ok(false);
            }
        }
    }
    Ok(conf.snat && !container.reaches.is_empty())
}

/// Removes the elements of this network's attachments that are not valid, and returns the mappings among them.
pub(crate) fn collect_garbage(nft: &mut Nfnetlink, valid: &Valid) -> Result<Vec<Binding>, NetlinkError> {
    let found = by_tag(nft, |tag| valid.is_stale(tag))?;
    remove_found(nft, found)
}

fn remove_found(nft: &mut Nfnetlink, found: Vec<(String, ElementEntry)>) -> Result<Vec<Binding>, NetlinkError> {
    let mut t = Transaction::new(TABLE);
    let mut bindings = Vec::new();
    for (set, element) in found {
        t.remove_element(&set, &element.key);
        bindings.extend(read_binding(&set, &element.key, element.value()));
    }
    nft.commit(&t)?;
    Ok(bindings)
}

/// The attachment's elements, if their keys are known and all that this configuration makes are there. Those that only
/// another `snat` or `masqAll` would have made are among them.
fn by_keys(
    nft: &mut Nfnetlink,
    bindings: &[Binding],
    container: &Container,
    conf: &Conf,
) -> Result<Option<Vec<(String, ElementEntry)>>, NetlinkError> {
    if container.reaches.iter().any(|reach| reach.link.is_none()) {
        return Ok(None);
    }
    let made = entries(bindings, container, conf);
    let mut found = Vec::new();
    for entry in possible_entries(bindings, container, conf) {
        let element = nft.find_element(TABLE, &entry.set, &entry.key)?;
        match element.filter(|element| is_of(element, container)) {
            Some(element) => found.push((entry.set, element)),
            None if made.contains(&entry) => return Ok(None),
            None => {}
        }
    }
    Ok(Some(found))
}

/// All elements whose tag is one of those meant.
fn by_tag(nft: &mut Nfnetlink, is_meant: impl Fn(&Tag) -> bool) -> Result<Vec<(String, ElementEntry)>, NetlinkError> {
    let mut found = Vec::new();
    for set in nft.sets(TABLE)? {
        let elements = nft.elements(TABLE, &set.name)?;
        let meant = elements.into_iter().filter(|element| tag_of(element).is_some_and(|tag| is_meant(&tag)));
        found.extend(meant.map(|element| (set.name.clone(), element)));
    }
    Ok(found)
}

/// Whether nftables can be used: the kernel has it, and we may.
pub(crate) fn probe(nft: &mut Nfnetlink) -> Result<(), NetlinkError> {
    nft.table_exists(TABLE).map(drop)
}

/// Whether conditions can be set up.
pub(crate) fn status(conditions: &Conditions) -> Result<(), PortmapError> {
    conditional::status(conditions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::bindings;
    use libcni::types::AttachmentId;
    use serde_json::{Value as Json, json};

    fn container() -> Container {
        let id = AttachmentId { container_id: "c1".parse().unwrap(), ifname: "eth0".parse().unwrap() };
        let network = "net".parse().unwrap();
        let reach = |address: &str| Reach { address: address.parse().unwrap(), link: "cni0".parse().ok() };
        let reaches = vec![reach("10.1.0.2/16"), reach("fd00::2/64")];
        Container { tag: Tag::new(&network, &id), network, id, reaches }
    }

    fn shown(settings: &Json) -> Vec<String> {
        let mut config = settings.clone();
        config["runtimeConfig"]["portMappings"] = json!([
            {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
            {"hostPort": 53, "containerPort": 5353, "protocol": "udp", "hostIP": "192.0.2.1"},
        ]);
        let conf = Conf::from_value(&config).unwrap();
        let entries = entries(&bindings(&conf.mappings, container().ips()), &container(), &conf);
        let data = |target: Option<Value>| target.map(|target| format!(" : {target}")).unwrap_or_default();
        entries.into_iter().map(|entry| format!("{} {}{}", entry.set, entry.key, data(entry.target))).collect()
    }

    #[test]
    fn an_attachment_is_a_few_elements() {
        let ports = [
            "hostports4 tcp . 8080 : 10.1.0.2 . 80",
            "hostip_hostports4 192.0.2.1 . udp . 53 : 10.1.0.2 . 5353",
            "hostports6 tcp . 8080 : fd00::2 . 80",
        ];
        let masquerades = [
            "hairpin4 10.1.0.2 . \"cni0\" . \"cni0\"",
            "itself4 10.1.0.2 . 10.1.0.2",
            "localhost4 10.1.0.2",
            "hairpin6 fd00::2 . \"cni0\" . \"cni0\"",
            "itself6 fd00::2 . fd00::2",
        ];
        assert_eq!(shown(&json!({})), [&ports[..], &masquerades[..]].concat());
        assert_eq!(shown(&json!({"masqAll": true}))[3..], ["masq_all4 10.1.0.2", "masq_all6 fd00::2"]);
        assert_eq!(shown(&json!({"snat": false, "masqAll": true})), ports);
        let conditional = shown(&json!({"conditionsV6": ["ip6 saddr ::2"]}));
        assert_eq!(conditional[1], ports[1]);
        assert!(conditional[2].starts_with("hostports6_"), "{conditional:?}");
    }

    #[test]
    fn an_element_is_read_as_the_mapping_that_it_was() {
        let conf = json!({"runtimeConfig": {"portMappings": [
            {"hostPort": 8080, "containerPort": 80, "protocol": "sctp"},
            {"hostPort": 53, "containerPort": 5353, "protocol": "udp", "hostIP": "2001:db8::1"},
        ]}});
        let conf = Conf::from_value(&conf).unwrap();
        for binding in bindings(&conf.mappings, container().ips()) {
            let entry = entries(&[binding], &container(), &conf).remove(0);
            assert_eq!(read_binding(&entry.set, &entry.key, entry.target.as_ref()), Some(binding));
            assert_eq!(read_binding("hairpin4", &entry.key, entry.target.as_ref()), None);
        }
    }
}
