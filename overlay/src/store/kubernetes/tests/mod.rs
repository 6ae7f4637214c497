//! The store against an API in this process.

mod credentials;
mod fake;
mod faults;
mod wire;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Builder;
use tokio::sync::watch;

use self::fake::Fake;
use super::{KubernetesConf, Records, chosen_addresses, leave, run};
use crate::claim::Claim;
use crate::event::Event;
use crate::metrics::Metrics;
use crate::network::{Backend, Network, Pool};
use crate::store::{News, Record, Registration, Teller};

/// Nothing here takes long; machines may.
const PATIENCE: Duration = Duration::from_secs(60);

/// The store of the node n1, and the API.
struct Bed {
    api: Fake,
    news: Receiver<Event>,
    us: watch::Sender<Registration>,
}

impl Bed {
    fn start(api: Fake, records: Records) -> Self {
        let (events, news) = channel();
        let (us, registration) =
            watch::channel(Registration { name: "n1".to_owned(), claim: ours(), wanted: Vec::new() });
        let conf = conf(&api, records);
        std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(run(conf, network(), registration, Teller::new(events), Arc::new(Metrics::new())));
        });
        Self { api, news, us }
    }

    /// What the engine is told next.
    fn next(&self) -> News {
        match self.news.recv_timeout(PATIENCE).expect("news within a minute") {
            Event::Store(news, _) => news,
            other => panic!("{other:?} is no news"),
        }
    }

    /// What it is told next of nodes: not whether the API answers.
    fn next_of_nodes(&self) -> News {
        loop {
            match self.next() {
                News::Reachable | News::Unreachable(_) => {}
                news => return news,
            }
        }
    }

    /// Waits until both watches are at work again: then a change is told.
    fn settle(&self) {
        self.api.put("nodes", node("n1", "10.244.8.0/24"));
        self.api.put("overlaynodes", overlay_node("last", "10.244.99.0/24"));
        let mut missing = 2;
        while missing > 0 {
            match self.next_of_nodes() {
                News::Subnets(_) => missing -= 1,
                News::Changed(record) if record.name == "last" => missing -= 1,
                _ => {}
            }
        }
    }

    /// This node has its subnet, and the others are known.
    fn settled(api: Fake, records: Records) -> Self {
        let bed = Self::start(api, records);
        assert_eq!(bed.next(), News::Subnets(vec!["10.244.1.0/24".parse().unwrap()]));
        assert!(matches!(bed.next(), News::All(_)));
        bed
    }

    /// Waits until this node has written all that it has to say.
    fn published(&self) -> Value {
        self.wait("nodes", "n1", "condition", |node| node["status"]["conditions"][1]["status"] == "False")
    }

    /// Waits until an object of the API is as wanted.
    fn wait(&self, resource: &str, name: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let object = self.api.find(resource, name);
            if let Some(object) = object.as_ref().filter(|object| wanted(object)) {
                return object.clone();
            }
            assert!(std::time::Instant::now() < deadline, "no {what} in {object:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn conf(api: &Fake, records: Records) -> KubernetesConf {
    KubernetesConf { api_url: Some(api.url()), records, ..KubernetesConf::default() }
}

fn network() -> Network {
    let network = "10.244.0.0/16".parse().unwrap();
    let pool = Pool { network, subnet_len: 24, first: network, last: network };
    Network { v4: Some(pool), v6: None, backend: Backend::HostGw }
}

fn ours() -> Claim {
    Claim {
        public_ip: Some("192.0.2.1".parse().unwrap()),
        backend: "vxlan".to_owned(),
        v4_data: Some(json!({ "VNI": 1, "VtepMAC": "0a:58:00:00:00:01" })),
        mtu: Some(1450),
        ..Claim::default()
    }
}

fn node(name: &str, pod_cidr: &str) -> Value {
    json!({
        "metadata": { "name": name, "labels": { "a": "b" }, "annotations": { "other": "thing" } },
        "spec": { "podCIDR": pod_cidr, "podCIDRs": [pod_cidr], "taints": [] },
        "status": { "conditions": [{ "type": "Ready", "status": "True" }], "nodeInfo": { "architecture": "amd64" } },
    })
}

/// A node of flanneld.
fn flannel_node(name: &str, pod_cidr: &str, public_ip: &str) -> Value {
    let mut node = node(name, pod_cidr);
    node["metadata"]["annotations"] = json!({
        "flannel.alpha.coreos.com/kube-subnet-manager": "true",
        "flannel.alpha.coreos.com/backend-type": "vxlan",
        "flannel.alpha.coreos.com/backend-data": "{\"VNI\":1,\"VtepMAC\":\"0a:58:00:00:00:02\"}",
        "flannel.alpha.coreos.com/public-ip": public_ip,
    });
    node
}

fn overlay_node(name: &str, subnet: &str) -> Value {
    json!({
        "metadata": { "name": name },
        "spec": { "subnets": [subnet], "ipv4": "192.0.2.2", "backend": "vxlan", "data": { "VNI": 1 }, "mtu": 1400, "new": 1 },
    })
}

fn claim(subnet: &str, data: Value, mtu: Option<u32>) -> Claim {
    Claim {
        subnets: vec![subnet.parse().unwrap()],
        public_ip: Some("192.0.2.2".parse().unwrap()),
        backend: "vxlan".to_owned(),
        v4_data: Some(data),
        mtu,
        ..Claim::default()
    }
}

/// An API with the node n1.
fn cluster() -> Fake {
    let api = Fake::start();
    api.put("nodes", node("n1", "10.244.1.0/24"));
    api
}

#[test]
fn a_node_is_made_known_by_an_object_that_goes_with_it() {
    let bed = Bed::settled(cluster(), Records::OverlayNodes);
    let object = bed.wait("overlaynodes", "n1", "spec", |object| object["spec"]["subnets"] == json!(["10.244.1.0/24"]));
    assert_eq!(
        object["spec"],
        json!({
            "subnets": ["10.244.1.0/24"], "ipv4": "192.0.2.1", "backend": "vxlan",
            "data": { "VNI": 1, "VtepMAC": "0a:58:00:00:00:01" }, "mtu": 1450,
        })
    );
    // The manifest's schema prunes what it does not know.
    let manifest = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/kubernetes/overlaynodes.yaml"));
    let definition: Value = serde_saphyr::from_str(manifest).unwrap();
    let known = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    for key in object["spec"].as_object().unwrap().keys().map(String::as_str).chain(["ipv6", "dataV6"]) {
        assert!(known[key].is_object(), "{key}");
    }
    let uid = &bed.api.find("nodes", "n1").unwrap()["metadata"]["uid"];
    assert_eq!(
        object["metadata"]["ownerReferences"],
        json!([{ "apiVersion": "v1", "kind": "Node", "name": "n1", "uid": uid }])
    );
    assert!(matches!(bed.next(), News::Changed(record) if record.name == "n1"));

    // The Node gets its condition, and nothing else of it changes.
    let node = bed.published();
    assert_eq!(node["status"]["conditions"][1]["type"], "NetworkUnavailable");
    assert_eq!(node["metadata"]["annotations"], json!({ "other": "thing" }));
}

#[test]
fn the_others_are_told_of_once_and_again_when_they_change() {
    let api = cluster();
    api.put("overlaynodes", overlay_node("n2", "10.244.2.0/24"));
    let bed = Bed::start(api, Records::OverlayNodes);
    assert!(matches!(bed.next(), News::Subnets(_)));
    let n2 = |mtu| Record { name: "n2".to_owned(), claim: Ok(claim("10.244.2.0/24", json!({ "VNI": 1 }), Some(mtu))) };
    assert_eq!(bed.next(), News::All(vec![n2(1400)]));
    assert!(matches!(bed.next(), News::Changed(record) if record.name == "n1"));

    // What does not matter here is not told.
    let mut object = overlay_node("n2", "10.244.2.0/24");
    object["metadata"]["labels"] = json!({ "a": "b" });
    bed.api.put("overlaynodes", object.clone());
    object["spec"]["mtu"] = json!(1300);
    bed.api.put("overlaynodes", object);
    assert_eq!(bed.next(), News::Changed(n2(1300)));
    bed.api.remove("overlaynodes", "n2");
    assert_eq!(bed.next(), News::Gone("n2".to_owned()));
}

#[test]
fn a_broken_object_is_told_as_such_and_the_others_are_read() {
    let api = cluster();
    let broken = [
        ("a", json!({ "subnets": "10.244.2.0/24" }), "cannot be read"),
        ("b", json!({ "subnets": ["10.244.2/24"], "backend": "vxlan" }), "10.244.2/24"),
        ("c", json!({ "subnets": [], "backend": "vxlan", "data": { "x": "y".repeat(5000) } }), "longer than 4096"),
        ("d", json!({ "subnets": vec!["10.244.2.0/24"; 99], "backend": "vxlan" }), "99 subnets"),
        ("e", Value::Null, "cannot be read"),
    ];
    for (name, spec, _) in &broken {
        api.put("overlaynodes", json!({ "metadata": { "name": name }, "spec": spec }));
    }
    api.put("overlaynodes", overlay_node("n2", "10.244.2.0/24"));
    let bed = Bed::start(api, Records::OverlayNodes);
    assert!(matches!(bed.next(), News::Subnets(_)));
    let News::All(records) = bed.next() else { panic!("not all") };
    for ((name, _, why), record) in broken.iter().zip(&records) {
        assert_eq!(&record.name, name);
        let said = record.claim.as_ref().unwrap_err();
        assert!(said.contains(why) && said.len() < 300, "{said}");
    }
    assert!(records[5].claim.is_ok());
}

#[test]
fn flannels_annotations_are_read_and_written_as_flannel_does() {
    let api = cluster();
    api.put("nodes", flannel_node("n2", "10.244.2.0/24", "192.0.2.2"));
    api.put("nodes", flannel_node("n3", "10.244.3.0/24", "192.0.2"));
    // A node that is new, and one that is none.
    api.put("nodes", node("n4", "10.244.4.0/24"));
    api.put("nodes", json!({ "metadata": { "name": "kwok" }, "spec": {} }));
    let bed = Bed::start(api, Records::Annotations);
    assert!(matches!(bed.next(), News::Subnets(_)));
    let News::All(records) = bed.next() else { panic!("not all") };
    assert_eq!(records.iter().map(|record| record.name.as_str()).collect::<Vec<_>>(), ["n2", "n3"]);
    let data = json!({ "VNI": 1, "VtepMAC": "0a:58:00:00:00:02" });
    assert_eq!(records[0].claim, Ok(claim("10.244.2.0/24", data, None)));
    assert!(records[1].claim.as_ref().unwrap_err().contains("public-ip has \"192.0.2\""), "{records:?}");

    let node = bed.wait("nodes", "n1", "annotation", |node| {
        !node["metadata"]["annotations"]["flannel.alpha.coreos.com/public-ip"].is_null()
    });
    assert_eq!(
        node["metadata"]["annotations"],
        json!({
            "other": "thing",
            "flannel.alpha.coreos.com/kube-subnet-manager": "true",
            "flannel.alpha.coreos.com/backend-type": "vxlan",
            "flannel.alpha.coreos.com/backend-data": "{\"VNI\":1,\"VtepMAC\":\"0a:58:00:00:00:01\"}",
            "flannel.alpha.coreos.com/public-ip": "192.0.2.1",
        })
    );
    assert!(matches!(bed.next(), News::Changed(record) if record.name == "n1"));
    // Heartbeats are not told, annotations that go are.
    let mut n2 = flannel_node("n2", "10.244.2.0/24", "192.0.2.2");
    n2["status"]["conditions"][0]["lastHeartbeatTime"] = json!("2026-01-01T00:00:00Z");
    bed.api.put("nodes", n2);
    bed.api.put("nodes", self::node("n2", "10.244.2.0/24"));
    assert_eq!(bed.next(), News::Gone("n2".to_owned()));
    bed.api.remove("nodes", "n3");
    assert_eq!(bed.next(), News::Gone("n3".to_owned()));
    assert_eq!(bed.api.find("overlaynodes", "n1"), None);
}

#[test]
fn addresses_that_people_chose_are_used() {
    let api = Fake::start();
    let mut node = node("n1", "10.244.1.0/24");
    node["metadata"]["annotations"] = json!({
        "flannel.alpha.coreos.com/public-ip-overwrite": "203.0.113.9",
        "flannel.alpha.coreos.com/node-public-ip": "198.51.100.1",
    });
    api.put("nodes", node);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let chosen = runtime.block_on(chosen_addresses(&conf(&api, Records::Both), "n1")).unwrap();
    assert_eq!(chosen, (Some("198.51.100.1".parse().unwrap()), None));

    let bed = Bed::settled(api, Records::Both);
    let key = "flannel.alpha.coreos.com/public-ip";
    bed.wait("nodes", "n1", "overwritten address", |node| node["metadata"]["annotations"][key] == "203.0.113.9");
    bed.wait("overlaynodes", "n1", "overwritten address", |object| object["spec"]["ipv4"] == "203.0.113.9");
}

#[test]
fn without_a_usable_subnet_it_says_why_and_waits() {
    let api = Fake::start();
    let bed = Bed::start(api, Records::OverlayNodes);
    assert!(matches!(bed.next(), News::Unreachable(why) if why.contains("no node n1")));
    bed.api.put("nodes", json!({ "metadata": { "name": "n1" }, "spec": {} }));
    bed.api.put("nodes", node("n1", "10.9.1.0/24"));
    bed.api.put("nodes", node("n1", "fd00::/64"));
    bed.api.put("nodes", node("n1", "10.244.1.0/24"));
    assert_eq!(bed.next(), News::Subnets(vec!["10.244.1.0/24".parse().unwrap()]));
    assert_eq!(bed.next(), News::Reachable);
    assert!(matches!(bed.next(), News::All(_)));
    bed.wait("overlaynodes", "n1", "spec", |object| object["spec"]["subnets"] == json!(["10.244.1.0/24"]));
    assert!(matches!(bed.next(), News::Changed(_)));

    // Another subnet is told, and made known.
    bed.api.put("nodes", node("n1", "10.244.7.0/24"));
    assert_eq!(bed.next(), News::Subnets(vec!["10.244.7.0/24".parse().unwrap()]));
    bed.wait("overlaynodes", "n1", "spec", |object| object["spec"]["subnets"] == json!(["10.244.7.0/24"]));
}

#[test]
fn a_node_that_is_made_anew_is_made_known_again() {
    let bed = Bed::settled(cluster(), Records::OverlayNodes);
    bed.published();
    assert!(matches!(bed.next(), News::Changed(_)));
    bed.api.remove("nodes", "n1");
    assert_eq!(bed.api.find("overlaynodes", "n1"), None, "its owner took it along");
    let mut news = [bed.next(), bed.next()];
    news.sort_by_key(|news| matches!(news, News::Gone(_)));
    assert!(matches!(&news[0], News::Unreachable(why) if why.contains("no node n1")), "{news:?}");
    assert_eq!(news[1], News::Gone("n1".to_owned()));
    bed.api.put("nodes", node("n1", "10.244.1.0/24"));
    assert_eq!(bed.next(), News::Reachable);
    bed.wait("overlaynodes", "n1", "spec", |object| object["spec"].is_object());
}

#[test]
fn what_somebody_else_changed_of_ours_is_made_good() {
    let bed = Bed::settled(cluster(), Records::OverlayNodes);
    bed.wait("overlaynodes", "n1", "spec", |object| object["spec"].is_object());
    bed.published();
    assert!(matches!(bed.next(), News::Changed(_)));
    bed.api.remove("overlaynodes", "n1");
    assert!(matches!(bed.next(), News::Gone(_)));
    bed.wait("overlaynodes", "n1", "spec", |object| object["spec"]["mtu"] == 1450);
    let mut object = bed.api.find("overlaynodes", "n1").unwrap();
    object["spec"]["mtu"] = json!(9000);
    bed.api.put("overlaynodes", object);
    bed.wait("overlaynodes", "n1", "spec", |object| object["spec"]["mtu"] == 1450);
}

#[test]
fn a_change_of_this_node_is_made_known() {
    let bed = Bed::settled(cluster(), Records::Both);
    bed.wait("overlaynodes", "n1", "spec", |object| object["spec"]["mtu"] == 1450);
    bed.us.send_modify(|us| us.claim.public_ip = Some("192.0.2.99".parse().unwrap()));
    bed.wait("overlaynodes", "n1", "new address", |object| object["spec"]["ipv4"] == "192.0.2.99");
    let key = "flannel.alpha.coreos.com/public-ip";
    bed.wait("nodes", "n1", "new address", |node| node["metadata"]["annotations"][key] == "192.0.2.99");
    // When all is said, nothing is written any more.
    bed.published();
    bed.api.requests();
    bed.api.put("nodes", {
        let mut node = bed.api.find("nodes", "n1").unwrap();
        node["metadata"]["labels"]["a"] = json!("c");
        node
    });
    bed.api.put("nodes", flannel_node("n2", "10.244.2.0/24", "192.0.2.2"));
    while bed.next()
        != News::Changed(Record {
            name: "n2".to_owned(),
            claim: Ok(claim("10.244.2.0/24", json!({ "VNI": 1, "VtepMAC": "0a:58:00:00:00:02" }), None)),
        })
    {}
    let written: Vec<_> = bed.api.requests().into_iter().filter(|request| request.starts_with("PATCH")).collect();
    assert!(written.is_empty(), "{written:?}");
}

#[test]
fn a_node_that_leaves_takes_back_what_it_made_known() {
    let bed = Bed::settled(cluster(), Records::Both);
    bed.wait("overlaynodes", "n1", "spec", |object| object["spec"].is_object());
    let (api, conf) = (bed.api.clone(), conf(&bed.api, Records::Both));
    bed.published();
    // The daemon has ended.
    bed.api.set_down(true);
    bed.api.set_down(false);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(leave(&conf, "n1")).unwrap();
    assert!(api.requests().iter().any(|request| request.starts_with("DELETE")));
    runtime.block_on(leave(&conf, "nobody")).unwrap();
}
