//! What an ADD and a DEL touch does not grow with the number of reservations.

use std::path::Path;

use crate::support::{self, Network, OURS};

/// The calls of ADD and DEL that name the data directory, as strace writes them; `None` if there is no strace.
fn calls(network: &Network, verb: &str) -> Option<Vec<String>> {
    let trace = network.data_dir().with_file_name("trace");
    let mut command = support::strace()?;
    command.args(["-f", "-o"]).arg(&trace).arg(OURS).envs(support::environment(verb, "traced", "eth0"));
    support::finish(support::start(command, &network.config)).ok();
    let dir = network.data_dir();
    let text = std::fs::read_to_string(&trace).unwrap();
    let ours = |line: &&str| line.contains(dir.to_str().unwrap()) || line.contains("getdents");
    Some(text.lines().filter(ours).map(str::to_owned).collect())
}

#[test]
fn five_thousand_reservations_cost_no_more_calls_than_none() {
    let few = Network::of_size(10_000);
    let many = Network::of_size(10_000);
    for i in 0..5000u32 {
        let address = std::net::Ipv4Addr::from_bits(0x0a01_0002 + i).to_string();
        many.plant(&address, format!("c{i}\r\neth0").as_bytes());
    }
    many.plant("last_reserved_ip.0", b"10.1.19.137");
    for network in [&few, &many] {
        // The first of ours reads all of it once.
        network.run(Path::new(OURS), "ADD", "first").ok();
    }
    for verb in ["ADD", "DEL"] {
        let (Some(few), Some(many)) = (calls(&few, verb), calls(&many, verb)) else { return };
        assert_eq!(few.len(), many.len(), "{verb}: {many:#?}");
        assert!(many.len() < 20, "{verb}: {many:#?}");
        assert!(!many.iter().any(|call| call.contains("getdents")), "{verb}: {many:#?}");
    }
    assert_eq!(many.reserved().len(), 5001);
}

#[test]
fn a_dense_pool_is_listed_and_not_read() {
    let network = Network::of_size(300);
    for i in 0..300 {
        network.call("ADD", &format!("c{i}")).ok();
    }
    network.call("DEL", "c150").ok();
    let Some(calls) = calls(&network, "ADD") else { return };
    assert!(network.read("10.1.0.152").starts_with("traced"));
    assert!(calls.iter().any(|call| call.contains("getdents")));
    assert!(calls.len() < 60, "{calls:#?}");
}
