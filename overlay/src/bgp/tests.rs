use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::sync::mpsc;
use std::thread;

use ipnet::IpNet;

use super::render::render;
use super::*;
use crate::node::{Node, Underlay};
use crate::peer::{How, Peer, Side};

/// Longer than anything takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn node() -> Node {
    let underlay = |address: &str, on_link| {
        let address: IpAddr = address.parse().unwrap();
        Underlay { link: 2, name: "eth0".into(), address, public: address, on_link: nets(&[on_link]), mtu: 1500 }
    };
    let (v4, v6) = (underlay("192.0.2.1", "192.0.2.0/24"), underlay("2001:db8::1", "2001:db8::/64"));
    Node { name: "n1".into(), v4: Some(v4), v6: Some(v6), identity: [1; 32], public_key: None }
}

fn peer(v4: &str, v4_nets: &[&str], v6: Option<(&str, &[&str])>) -> Peer {
    let side = |at: &str, subnets| Side { endpoint: at.parse().unwrap(), subnets: nets(subnets), how: How::Plain };
    Peer { v4: Some(side(v4, v4_nets)), v6: v6.map(|(at, subnets)| side(at, subnets)), mtu: None }
}

fn rendered(conf: &BgpConf, peers: &[(&str, Peer)]) -> String {
    let own = nets(&["10.42.1.0/24", "fd42:0:0:1::/64"]);
    render(conf, &node(), &own, peers.iter().map(|(name, peer)| (*name, peer)))
}

#[test]
fn each_node_is_a_session_and_gives_no_more_than_its_own() {
    let far = peer("198.51.100.9", &["10.42.9.0/24"], None);
    let near = peer("192.0.2.2", &["10.42.2.0/24", "10.42.3.0/24"], Some(("2001:db8::2", &["fd42:0:0:2::/64"])));
    let text = rendered(&BgpConf::default(), &[("n9", far.clone()), ("n2", near.clone())]);
    let expected = "\
# Written by overlayd whenever a node comes, changes or goes: do not edit.
protocol static overlayd_own4 {
\tipv4;
\troute 10.42.1.0/24 blackhole;
}
protocol bgp overlayd_n2_ID2_4 {
\tlocal 192.0.2.1 as 64512;
\tneighbor 192.0.2.2 as 64512;
\tdirect;
\thold time 90;
\tconnect delay time 1;
\tconnect retry time 5;
\terror wait time 1, 5;
\tgraceful restart on;
\tipv4 {
\t\timport where net ~ [ 10.42.2.0/24, 10.42.3.0/24 ];
\t\texport where proto = \"overlayd_own4\";
\t\tnext hop self;
\t};
}
protocol bgp overlayd_n9_ID9_4 {
\tlocal 192.0.2.1 as 64512;
\tneighbor 198.51.100.9 as 64512;
\tmultihop;
";
    let expected = expected.replace("ID2", "0480a93d").replace("ID9", "9d109e0c");
    assert!(text.starts_with(&expected), "{text}");
    assert!(
        text.contains("overlayd_n2_0480a93d_6 {\n\tlocal 2001:db8::1 as 64512;\n\tneighbor 2001:db8::2 as"),
        "{text}"
    );
    assert!(text.contains("import where net ~ [ fd42:0:0:2::/64 ]"), "{text}");
    assert_eq!(text, rendered(&BgpConf::default(), &[("n2", near), ("n9", far)]), "in whatever order they are told");
}

#[test]
fn reflectors_are_the_only_sessions_and_give_what_is_some_nodes() {
    let conf = BgpConf { number: 65001, reflectors: vec!["192.0.2.254".parse().unwrap()], ..BgpConf::default() };
    let peers = [("a", peer("192.0.2.2", &["10.42.2.0/24"], None)), ("b", peer("192.0.2.3", &["10.42.3.0/24"], None))];
    let text = rendered(&conf, &peers);
    assert_eq!(text.matches("protocol bgp").count(), 1, "{text}");
    assert!(text.contains("neighbor 192.0.2.254 as 65001;"), "{text}");
    assert!(text.contains("import where net ~ [ 10.42.2.0/24, 10.42.3.0/24 ];"), "{text}");
    assert!(rendered(&conf, &[]).contains("import none;"), "an empty set is a syntax error");
}

#[test]
fn no_name_of_a_node_is_another_word_to_bird() {
    let evil = "n2 {}\n}; protocol kernel evil { ipv4 { export all; }; } #\u{fc}";
    let other = "n2-{}\n}; protocol kernel evil { ipv4 { export all; }; } #\u{fc}";
    let long = "x".repeat(5000);
    let nodes = [evil, other, "", &long].map(|name| (name, peer("192.0.2.2", &["10.42.2.0/24"], None)));
    let text = rendered(&BgpConf::default(), &nodes);
    assert!(!text.contains("evil {") && !text.contains('\u{fc}'), "{text}");
    let mut names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("protocol bgp ")).collect();
    let is_word = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && name.len() <= 63;
    assert!(names.iter().all(|name| is_word(name.strip_suffix(" {").unwrap())), "{names:?}");
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!((names.len(), count), (4, 4));
}

/// Waits for the word of the thread: `None` if BIRD has all.
fn next_word(events: &mpsc::Receiver<Event>) -> Option<String> {
    let Event::Bird(fault) = events.recv_timeout(PATIENCE).unwrap() else { panic!() };
    fault
}

#[test]
fn bird_is_asked_until_it_has_the_newest_file() {
    let dir = tempfile::tempdir().unwrap();
    let conf = BgpConf {
        include: dir.path().join("overlayd.conf"),
        socket: dir.path().join("bird.ctl"),
        ..BgpConf::default()
    };
    let (queue, events) = mpsc::channel();
    let bird = Bird::start(conf.clone(), queue).unwrap();
    bird.tell("one".to_owned());
    assert!(next_word(&events).is_some_and(|why| why.contains("cannot be reached") && why.contains("hint")));
    assert_eq!(read_if_present(&conf.include).unwrap().unwrap(), b"one", "a BIRD that starts reads it");

    let listener = UnixListener::bind(&conf.socket).unwrap();
    let asked = thread::spawn(move || {
        let answers =
            ["0002-Reading\n8002 overlayd.conf:1:1 syntax error\n", "0002-Reading\n0004 Reconfiguration in progress\n"];
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"0001 BIRD 2.0.12 ready.\n").unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            assert_eq!(line, "configure\n");
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    // It may have tried once more before there was a socket.
    let refused = loop {
        match next_word(&events) {
            Some(why) if why.contains("cannot be reached") => {}
            other => break other,
        }
    };
    assert!(refused.is_some_and(|why| why.contains("overlayd.conf:1:1 syntax error")));
    bird.tell("two".to_owned());
    assert_eq!(next_word(&events), None);
    asked.join().unwrap();
    assert_eq!(read_if_present(&conf.include).unwrap().unwrap(), b"two");
    assert!(remove(&conf).unwrap() && !remove(&conf).unwrap());
}
