//! Packets through a map of published ports and a map of subnets to masquerade.
#![allow(clippy::unwrap_used, reason = "a failure of a test's own values is a failed test")]

#[path = "support/router.rs"]
mod router;
mod support;

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use libcni::netns::Netns;
use linuxnet::nft::{
    AddrType, BaseChain, ChainKind, DataType, Element, Family, Field, Hook, Load, Nfnetlink, Policy, Rule, Set, Table,
    Transaction, Value, Verdict, priority,
};
use router::{HOST, OUTSIDE, POD, Router, at};

const TABLE: Table<'static> = Table::inet("example");
const KEY: &[DataType] = &[DataType::InetProto, DataType::InetService];
const PUBLISHED: [Set<'static>; 2] = [
    Set::map("published4", KEY, &[DataType::Ipv4Addr, DataType::InetService]).with_timeouts(),
    Set::map("published6", KEY, &[DataType::Ipv6Addr, DataType::InetService]).with_timeouts(),
];
const MASQUERADED: [Set<'static>; 2] = [
    Set::verdict_map("masqueraded4", &[DataType::Ipv4Addr]).with_timeouts(),
    Set::verdict_map("masqueraded6", &[DataType::Ipv6Addr]).with_timeouts(),
];
const FAMILIES: [(Family, Load, &str); 2] =
    [(Family::Ipv4, Load::IpSaddr, "10.1.0.0/24"), (Family::Ipv6, Load::Ip6Saddr, "fd00:1::/64")];

fn nat(name: &'static str, hook: Hook, priority: i32) -> BaseChain<'static> {
    BaseChain { name, kind: ChainKind::Nat, hook, priority, policy: Policy::Accept }
}

fn infrastructure() -> Transaction<'static> {
    let mut t = Transaction::new(TABLE);
    t.ensure_table();
    t.create_base_chain(&nat("prerouting", Hook::Prerouting, priority::DSTNAT));
    t.create_base_chain(&nat("postrouting", Hook::Postrouting, priority::SRCNAT));
    t.create_chain("subnet");
    for ((published, masqueraded), (family, source, subnet)) in PUBLISHED.into_iter().zip(MASQUERADED).zip(FAMILIES) {
        let rule = Rule::new().equals(Load::FibDaddrType, Field::AddrType(AddrType::Local)).dnat_by_map(
            family,
            &[Load::L4Proto, Load::ThDport],
            published.name,
        );
        t.ensure_set(&published).ensure_set(&masqueraded).add_rule("prerouting", &rule);
        t.add_rule("postrouting", &Rule::new().verdict_by_map(&[source], masqueraded.name));
        t.add_rule("subnet", &Rule::new().destination_not_in(subnet.parse().unwrap()).masquerade());
    }
    t
}

fn key(port: u16) -> Value {
    Value::from(Field::TCP).and(Field::InetService(port))
}

/// A way from a client to a server.
struct Way<'a> {
    server: &'a Netns,
    at: SocketAddr,
    client: &'a Netns,
}

impl Way<'_> {
    /// Connects, and gives who the server sees.
    fn seen(&self, to: SocketAddr) -> IpAddr {
        // Time for the first packet to be lost while neighbours are looked for, and to be sent again.
        self.connect(to, Duration::from_secs(10)).unwrap_or_else(|| panic!("{to}: no way"))
    }

    /// Whether the client is refused, or not answered.
    fn is_closed(&self, to: SocketAddr) -> bool {
        self.connect(to, Duration::from_millis(300)).is_none()
    }

    /// A program that another test is about to start has a copy of the listener of before until it is executed.
    fn listen(&self) -> TcpListener {
        let bind = || self.server.within(|| TcpListener::bind(self.at)).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match bind() {
                Err(e) if e.kind() == ErrorKind::AddrInUse && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                outcome => return outcome.unwrap(),
            }
        }
    }

    fn connect(&self, to: SocketAddr, patience: Duration) -> Option<IpAddr> {
        let listener = self.listen();
        match self.client.within(|| TcpStream::connect_timeout(&to, patience)).unwrap() {
            Ok(_connected) => Some(listener.accept().unwrap().1.ip()),
            Err(e) if matches!(e.kind(), ErrorKind::ConnectionRefused | ErrorKind::TimedOut) => None,
            Err(e) => panic!("{to}: {e}"),
        }
    }
}

#[test]
fn published_ports_reach_the_pod_until_they_are_removed() {
    let Some(router) = Router::new() else { return };
    let mut nft = Nfnetlink::open_in(router.host()).unwrap();
    nft.commit(&infrastructure()).unwrap();
    for (published, (pod, (host, outside))) in
        PUBLISHED.into_iter().zip(POD.into_iter().zip(HOST.into_iter().zip(OUTSIDE)))
    {
        let way = Way { server: router.pod(), at: at(pod, 80), client: router.outside() };
        assert!(way.is_closed(at(host, 8080)), "{pod}: not published yet");
        let to = Value::from(pod.parse::<IpAddr>().unwrap()).and(Field::InetService(80));
        nft.commit(Transaction::new(TABLE).create_element(published.name, &Element::new(key(8080)).data(to))).unwrap();
        assert_eq!(way.seen(at(host, 8080)).to_string(), outside, "{pod}: with the client's own address");
        assert!(way.is_closed(at(host, 8081)), "{pod}: another port");
        nft.commit(Transaction::new(TABLE).destroy_element(published.name, &key(8080))).unwrap();
        assert!(way.is_closed(at(host, 8080)), "{pod}: no more");
    }
}

#[test]
fn pods_leave_with_the_hosts_address() {
    let Some(router) = Router::new() else { return };
    let mut nft = Nfnetlink::open_in(router.host()).unwrap();
    nft.commit(&infrastructure()).unwrap();
    for (masqueraded, (pod, (host, outside))) in
        MASQUERADED.into_iter().zip(POD.into_iter().zip(HOST.into_iter().zip(OUTSIDE)))
    {
        let to = at(outside, 80);
        let way = Way { server: router.outside(), at: to, client: router.pod() };
        assert!(way.is_closed(to), "{pod}: the outsider has no way back to it");
        let address = Value::from(pod.parse::<IpAddr>().unwrap());
        let element = Element::new(address.clone()).data(Verdict::Jump("subnet".into()));
        nft.commit(Transaction::new(TABLE).create_element(masqueraded.name, &element)).unwrap();
        assert_eq!(way.seen(to).to_string(), host, "{pod}");
        nft.commit(Transaction::new(TABLE).destroy_element(masqueraded.name, &address)).unwrap();
        assert!(way.is_closed(to), "{pod}: no more");
    }
}
