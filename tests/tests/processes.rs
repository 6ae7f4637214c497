//! Which programs a call starts: none on the common path, and a delegate only if it is another file.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test")]

use std::fs;
use std::path::Path;

use ferrule_tests::{Binaries, Failure, Firewall, Network, Node, fixture};
use serde_json::{Value, json};

/// `network` with every program that its plugins start, themselves included, appended to the file `trace`.
fn traced(network: &Network, trace: &Path) -> Network {
    network.wrapped_in(&["strace", "-f", "-qq", "-A", "-o", trace.to_str().unwrap(), "-e", "trace=execve"])
}

/// The names of the programs started, in order.
fn programs(trace: &Path) -> Vec<String> {
    let text = fs::read_to_string(trace).unwrap();
    let started = text.lines().filter(|line| line.ends_with("= 0")).filter_map(|line| line.split('"').nth(1));
    started.map(|path| path.rsplit('/').next().unwrap().to_owned()).collect()
}

#[test]
fn add_check_and_del_start_nothing_but_the_plugins() {
    for chain in ["bridge-portmap.conflist", "long.conflist", "ptp.conflist"] {
        let Some(node) = Node::start_with(Firewall::Nftables) else { return };
        let trace = node.dir().join("started");
        let network = traced(&node.network(fixture(chain)), &trace);
        let web = node.container("web").publish("tcp", 8080, 80);
        network.add(&web).expect("ADD");
        network.check(&web).expect("CHECK");
        network.del(&web).expect("DEL");
        let plugins: Vec<&str> = network.plugins().iter().map(|plugin| plugin["type"].as_str().unwrap()).collect();
        let expected: Vec<&str> = plugins.iter().chain(&plugins).chain(plugins.iter().rev()).copied().collect();
        assert_eq!(programs(&trace), expected, "{chain}");
    }
}

/// What the first ADD of a node gives but for what is random, how the second fails for want of addresses, and which
/// programs were started.
fn outcome(binaries: &Binaries) -> Option<(Value, Failure, Vec<String>)> {
    let node = Node::start_with(Firewall::Nftables)?;
    let plugin = json!({
        "type": "bridge", "bridge": "br0", "isDefaultGateway": true,
        "ipam": {"type": "host-local", "dataDir": node.data_dir(), "routes": [{"dst": "10.99.0.0/16", "mtu": 1400}],
                 "ranges": [[{"subnet": "10.99.0.0/24", "rangeStart": "10.99.0.5", "rangeEnd": "10.99.0.5"}]]},
    });
    let trace = node.dir().join("started");
    let network = traced(&node.network_of("small", &plugin).served_by(binaries), &trace);
    let result = network.add(&node.container("first")).expect("ADD");
    let failure = network.add(&node.container("second")).expect_err("the pool is exhausted");
    let said = json!({"ips": result["ips"], "routes": result["routes"], "dns": result["dns"]});
    Some((said, failure, programs(&trace)))
}

#[test]
fn a_delegate_that_is_executed_says_the_same_as_one_in_process() {
    let Some(ours) = Binaries::ours() else { return };
    let copies = tempfile::tempdir().unwrap();
    for plugin in ["bridge", "host-local"] {
        fs::copy(ours.plugin(plugin), copies.path().join(plugin)).unwrap();
    }
    let Some((in_process, failure, programs)) = outcome(&ours) else { return };
    let (executed, failure_executed, programs_executed) = outcome(&Binaries::at(copies.path())).unwrap();
    assert_eq!(programs, ["bridge", "bridge"]);
    assert_eq!(
        programs_executed,
        ["bridge", "host-local", "bridge", "host-local", "host-local"],
        "DEL follows a failed ADD"
    );
    assert_eq!(in_process, executed);
    assert_eq!(failure, failure_executed);
}
