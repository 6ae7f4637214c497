//! What nftables costs by nfnetlink: medians in µs. `unshare -Urnm cargo run --release --example nft-cost`
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measuring program for developers")]

use std::time::Instant;

use linuxnet::nft::{
    BaseChain, ChainKind, DataType, Element, Field, Hook, Nfnetlink, Policy, Removal, Set, Table, Transaction, Value,
};

const TABLE: Table<'static> = Table::inet("cost");
const PORTS: Set<'static> =
    Set::map("ports", &[DataType::InetProto, DataType::InetService], &[DataType::Ipv4Addr, DataType::InetService])
        .with_timeouts();
const ROUNDS: u16 = 200;

fn key(port: u16) -> Value {
    Value::from(Field::TCP).and(Field::InetService(port))
}

fn add(port: u16) -> Transaction<'static> {
    let to = Value::from(std::net::Ipv4Addr::new(10, 1, 0, 2)).and(Field::InetService(80));
    let mut t = Transaction::new(TABLE);
    t.create_element(PORTS.name, &Element::new(key(port)).data(to).comment("network container eth0"));
    t
}

fn remove(port: u16) -> Transaction<'static> {
    let mut t = Transaction::new(TABLE);
    t.remove_element(PORTS.name, &key(port));
    t
}

/// Prints smallest and median of what `work` takes, each round with a port of its own.
fn measure(what: &str, rounds: u16, mut work: impl FnMut(u16) -> Instant) {
    let mut times: Vec<_> = (1..=rounds).map(|port| work(port).elapsed()).collect();
    times.sort_unstable();
    let micros = |index: usize| times.get(index).unwrap().as_secs_f64() * 1e6;
    println!("{what:55} min {:8.1}  median {:8.1}", micros(0), micros(times.len() / 2));
}

/// Begins the clock, then works.
fn timed<T>(work: impl FnOnce() -> T) -> Instant {
    let start = Instant::now();
    work();
    start
}

fn main() {
    let mut nft = Nfnetlink::open().unwrap();
    let mut t = Transaction::new(TABLE);
    let chain =
        |name| BaseChain { name, kind: ChainKind::Filter, hook: Hook::Input, priority: 0, policy: Policy::Accept };
    nft.commit(t.ensure_table().ensure_set(&PORTS).create_base_chain(&chain("input"))).unwrap();

    measure("open a socket and close it", ROUNDS, |_| timed(|| Nfnetlink::open().unwrap()));
    measure("find_chain", ROUNDS, |_| timed(|| nft.find_chain(TABLE, "input").unwrap()));
    measure("commit: one element added", ROUNDS, |port| timed(|| nft.commit(&add(port)).unwrap()));
    measure("find_element", ROUNDS, |port| timed(|| nft.find_element(TABLE, PORTS.name, &key(port)).unwrap().unwrap()));
    measure("elements (200)", ROUNDS, |_| timed(|| nft.elements(TABLE, PORTS.name).unwrap()));
    nft.set_removal(Removal::Expire);
    measure("commit: one element expired", ROUNDS, |port| timed(|| nft.commit(&remove(port)).unwrap()));
    for way in [Removal::Expire, Removal::Destroy, Removal::Delete] {
        let after = |port, wait: bool| {
            let mut nft = Nfnetlink::open().unwrap();
            nft.set_removal(way);
            nft.commit(&add(port)).unwrap();
            let start = Instant::now();
            nft.commit(&remove(port)).unwrap();
            let start = if wait { Instant::now() } else { start };
            drop(nft);
            start
        };
        measure(&format!("{way:?}: close after the removal"), 40, |port| after(port + 1000, true));
        measure(&format!("{way:?}: removal and close"), 40, |port| after(port + 2000, false));
    }
    measure("close after an addition", 40, |port| {
        let mut nft = Nfnetlink::open().unwrap();
        nft.commit(&add(port + 3000)).unwrap();
        timed(|| drop(nft))
    });
    measure("commit: refused", 20, |_| timed(|| nft.commit(&add(3001)).unwrap_err()));
}
