//! Faults of many kinds, planted on a node with a crowd.

use std::path::{Path, PathBuf};

use ferrule_tests::{Crowd, Member, eventually};
use libcni::netns::NAMED_DIR;
use libcni::store::write_atomic;
use serde_json::json;

/// What doctor is to say of them.
pub(crate) const CODES: [&str; 14] = [
    SYNTAX,
    UNKNOWN_KEY,
    SUBNET,
    "forward-dropped",
    "forwarding-off",
    "leaked-address",
    "leaked-chain",
    "leaked-element",
    "leaked-file",
    "leaked-link",
    "leaked-rule",
    "missing-plugin",
    "stale-attachment",
    "stale-namespace-file",
];

/// What `--fix` leaves to the operator.
pub(crate) const LEFT: [&str; 5] = [SYNTAX, UNKNOWN_KEY, SUBNET, "forward-dropped", "missing-plugin"];

/// Codes of `cnitool validate`.
const SYNTAX: &str = "CNI0002";
const UNKNOWN_KEY: &str = "CNI0101";
const SUBNET: &str = "CNI0502";
/// What they say, each in its place: status, code, file, line, column, cure.
pub(crate) const MISTAKES: [(&str, &str, &str, u64, u64, &str); 3] = [
    ("error", SYNTAX, BROKEN, 1, 55, "mend the JSON here or just before"),
    ("warning", UNKNOWN_KEY, MISTAKEN, 4, 53, "did you mean \"isGateway\"?"),
    ("error", SUBNET, MISTAKEN, 5, 59, "write 10.77.0.0/16"),
];
const BROKEN: &str = "90-broken.conflist";
const MISTAKEN: &str = "92-mistaken.conflist";

/// The container of everything that is nobody's.
const NOBODY: &str = "deadbeefdeadbeef";
const ORPHAN_ADDRESS: &str = "10.10.9.9";
const ORPHAN_ELEMENT: &str = "10.10.9.8";
const ORPHAN_VETH: &str = "vethdeadbeef";
/// As the Go plugin bandwidth names it.
const ORPHAN_IFB: &str = "bwpdeadbeef0000";
/// As the Go plugins name the chain of a container for masquerading.
const ORPHAN_CHAIN: &str = "CNI-deadbeefdeadbeefdeadbeef";
const STALE_NETNS: &str = "doctor-stale";

/// What was planted.
#[derive(Debug)]
pub(crate) struct Planted {
    /// Who was killed without a DEL: the places of the members.
    killed: Vec<usize>,
    broken: PathBuf,
    ghost: PathBuf,
    mistaken: PathBuf,
}

impl Planted {
    /// Plants everything.
    pub(crate) fn on(crowd: &Crowd) -> Self {
        let of = |network: &str| crowd.members.iter().position(|member| member.network == network).unwrap();
        let killed = ["pods", "edge", "storage", "go-pods", "go-old"].map(of).to_vec();
        for &at in &killed {
            kill(crowd, &crowd.members[at]);
        }
        files(crowd);
        links(crowd);
        firewall(crowd);
        crowd.node.host.sh("sysctl -qw net.ipv4.ip_forward=0");
        let [broken, ghost, mistaken] = [BROKEN, "91-ghost.conflist", MISTAKEN].map(|name| crowd.conf_dir().join(name));
        write(&broken, "{\"cniVersion\": \"1.1.0\", \"name\": \"broken\", \"plugins\": [}");
        let list = json!({"cniVersion": "1.0.0", "name": "ghost", "plugins": [{"type": "no-such-plugin"}]});
        write(&ghost, &list.to_string());
        write(
            &mistaken,
            "{
  \"cniVersion\": \"1.0.0\",
  \"name\": \"mistaken\",
  \"plugins\": [{\"type\": \"bridge\", \"bridge\": \"cni77\", \"isGatway\": true,
    \"ipam\": {\"type\": \"host-local\", \"ranges\": [[{\"subnet\": \"10.77.0.1/16\"}]]}}]
}",
        );
        Self { killed, broken, ghost, mistaken }
    }

    /// The members that were left alone.
    pub(crate) fn living<'c>(&self, crowd: &'c Crowd) -> impl Iterator<Item = &'c Member> {
        let killed = self.killed.clone();
        crowd.members.iter().enumerate().filter(move |(at, _)| !killed.contains(at)).map(|(_, member)| member)
    }

    /// Asserts that each is named.
    pub(crate) fn assert_told(&self, told: &str) {
        let planted = [
            NOBODY,
            ORPHAN_ADDRESS,
            ORPHAN_ELEMENT,
            ORPHAN_VETH,
            ORPHAN_IFB,
            ORPHAN_CHAIN,
            STALE_NETNS,
            "net.ipv4.ip_forward",
            "chain strict of table inet admin",
            "no-such-plugin",
            BROKEN,
            MISTAKEN,
        ];
        for what in planted {
            assert!(told.contains(what), "{what} is not told:\n{told}");
        }
    }

    /// Asserts that those who were killed are named, and nobody who is alive.
    pub(crate) fn assert_nobody_else_told(&self, crowd: &Crowd, told: &str) {
        for &at in &self.killed {
            let id = &crowd.members[at].container.id;
            assert!(told.contains(id.as_str()), "{id} is not told:\n{told}");
        }
        for member in self.living(crowd) {
            let address = member.result["ips"][0]["address"].as_str().unwrap().split('/').next().unwrap();
            let names =
                [member.container.id.clone(), format!("{address} "), format!("{address}/32"), format!("{address}\"")];
            for name in names {
                assert!(!told.contains(&name), "{name} of {} is told:\n{told}", member.network);
            }
        }
    }

    /// Takes back what only an operator can decide about.
    pub(crate) fn take_back(&self, crowd: &Crowd) {
        for path in [&self.broken, &self.ghost, &self.mistaken] {
            std::fs::remove_file(path).unwrap();
        }
        crowd.node.host.sh("nft delete table inet admin");
    }
}

/// Ends the namespace, and waits until the kernel has removed its links.
pub(crate) fn kill(crowd: &Crowd, member: &Member) {
    let is_veth = |interface: &&serde_json::Value| {
        interface["sandbox"].is_null() && interface["name"].as_str().unwrap().starts_with("veth")
    };
    let interfaces = member.result["interfaces"].as_array().unwrap();
    let veth = interfaces.iter().find(is_veth).unwrap()["name"].as_str().unwrap();
    crowd.node.kill(&member.container);
    eventually("the veth goes with its namespace", || crowd.node.host.find_link(veth).is_none());
}

fn write(path: &Path, text: &str) {
    write_atomic(path, text.as_bytes(), 0o644).unwrap();
}

fn files(crowd: &Crowd) {
    let data = crowd.node.data_dir();
    write(&data.join("pods").join(ORPHAN_ADDRESS), &format!("{NOBODY}\r\neth0"));
    write(&data.join("tuning").join(format!("{NOBODY}_eth0.json")), "{\"mtu\": 1500}");
    write(&Path::new(NAMED_DIR).join(STALE_NETNS), "");
}

fn links(crowd: &Crowd) {
    let host = &crowd.node.host;
    host.sh(&format!("ip link add {ORPHAN_VETH} type veth peer name orphan-peer"));
    host.sh(&format!("ip link add {ORPHAN_IFB} type ifb"));
    let alias = format!("pods {NOBODY} eth0");
    host.run(|| {
        let mut netlink = linuxnet::netlink::Netlink::open().unwrap();
        let link = netlink.find_link(ORPHAN_VETH).unwrap().unwrap();
        netlink.run(linuxnet::link::set_alias((&link).into(), &alias)).unwrap();
    });
}

fn firewall(crowd: &Crowd) {
    let host = &crowd.node.host;
    let ruleset = format!(
        "add element inet ferrule_masq sources4 {{ {ORPHAN_ELEMENT} comment \"pods {NOBODY} eth0\" : jump net-10.10.0.0/16 }}
        table inet admin {{ chain strict {{ type filter hook forward priority 10; policy drop; }}; }}"
    );
    let file = crowd.node.dir().join("faults.nft");
    write(&file, &ruleset);
    host.sh(&format!("nft -f {}", file.display()));
    let rules = format!(
        "*nat\n:{ORPHAN_CHAIN} - [0:0]\n\
         -A POSTROUTING -s 10.60.0.250/32 -m comment --comment \"name: \\\"go-old\\\" id: \\\"{NOBODY}\\\"\" -j {ORPHAN_CHAIN}\n\
         -A {ORPHAN_CHAIN} ! -d 224.0.0.0/4 -j MASQUERADE\nCOMMIT\n"
    );
    let file = crowd.node.dir().join("faults.iptables");
    write(&file, &rules);
    host.sh(&format!("iptables-nft-restore --noflush {}", file.display()));
}
