use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::json;
use tokio::sync::watch;

use super::{FileConf, entry::Entry, own, read, run};
use crate::claim::Claim;
use crate::event::Event;
use crate::network::{Backend, Network, Pool, Vxlan};
use crate::peer::{identity_of_name, vtep_mac};
use crate::store::{News, Registration, Teller};

/// Longer than anything takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// Nothing more comes, if it has not come by then.
const QUIET: Duration = Duration::from_millis(700);

fn network() -> Network {
    let net = |text: &str| text.parse::<Ipv4Net>().unwrap();
    Network {
        v4: Some(Pool {
            network: net("10.42.0.0/16"),
            subnet_len: 24,
            first: net("10.42.1.0/24"),
            last: net("10.42.255.0/24"),
        }),
        v6: None,
        backend: Backend::Vxlan(Vxlan { vni: 1, port: 8472, gbp: false, direct_routing: false, mtu: None }),
    }
}

fn registration(name: &str) -> Registration {
    let claim = Claim {
        public_ip: Some("192.0.2.1".parse().unwrap()),
        backend: "vxlan".to_owned(),
        v4_data: Some(json!({"VNI": 1, "VtepMAC": vtep_mac(&identity_of_name(name), 1, false).to_string()})),
        mtu: Some(1450),
        ..Claim::default()
    };
    Registration { name: name.to_owned(), claim, wanted: Vec::new() }
}

/// A store that runs on a thread of its own until it is dropped.
struct Running {
    news: Receiver<Event>,
    us: watch::Sender<Registration>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Running {
    fn on(path: &Path, publish: bool, name: &str) -> Self {
        let (teller, news) = mpsc::channel();
        let (us, registrations) = watch::channel(registration(name));
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let conf = FileConf { path: path.to_owned(), publish };
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut store = std::pin::pin!(run(conf, network(), registrations, Teller::new(teller)));
                std::future::poll_fn(|cx| match store.as_mut().poll(cx) {
                    std::task::Poll::Pending => std::pin::Pin::new(&mut stopped).poll(cx).map(drop),
                    ready => ready,
                })
                .await;
            });
        });
        Self { news, us, stop: Some(stop), thread: Some(thread) }
    }

    fn next(&self) -> News {
        match self.news.recv_timeout(PATIENCE) {
            Ok(Event::Store(news, _)) => news,
            other => panic!("{other:?}"),
        }
    }

    /// Names of the nodes of `All`, those that cannot be read with a `!`.
    fn next_all(&self) -> Vec<String> {
        let News::All(records) = self.next() else { panic!("not all") };
        records.into_iter().map(|r| if r.claim.is_ok() { r.name } else { format!("!{}", r.name) }).collect()
    }

    fn next_subnets(&self) -> Vec<String> {
        let News::Subnets(subnets) = self.next() else { panic!("no subnets") };
        subnets.iter().map(ToString::to_string).collect()
    }

    /// The name and the subnets of a node that changed, or why it cannot be read.
    fn next_changed(&self) -> (String, Result<Vec<String>, String>) {
        let News::Changed(record) = self.next() else { panic!("nothing changed") };
        (record.name, record.claim.map(|claim| claim.subnets.iter().map(ToString::to_string).collect()))
    }

    fn assert_quiet(&self) {
        assert!(self.news.recv_timeout(QUIET).is_err());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

fn write(path: &Path, content: &str) {
    #[expect(clippy::disallowed_methods, reason = "as an administrator's editor writes")]
    fs::write(path, content).unwrap();
}

fn node(subnet: &str) -> String {
    format!("subnets = [\"{subnet}\"]\nipv4 = \"192.0.2.7\"\n")
}

fn names<const N: usize>(names: [&str; N]) -> Vec<String> {
    names.map(str::to_owned).into()
}

#[test]
fn one_file_of_all_nodes_is_told_and_then_what_changes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("nodes.toml");
    let of = |name: &str, subnet: &str| format!("[nodes.{name}]\n{}", node(subnet));
    write(&path, &(of("n1", "10.42.1.0/24") + &of("n2", "10.42.2.0/24")));
    let store = Running::on(&path, false, "n1");
    assert_eq!(store.next_subnets(), ["10.42.1.0/24"]);
    let News::All(records) = store.next() else { panic!() };
    let n2 = records[1].claim.clone().unwrap();
    assert_eq!(n2.backend, "vxlan");
    let mac = vtep_mac(&identity_of_name("n2"), 1, false).to_string();
    assert_eq!(n2.v4_data, Some(json!({"VNI": 1, "VtepMAC": mac})), "a MAC that is left out is made of the name");
    assert_eq!(n2.v6_data, None);

    write(&path, &(of("n1", "10.42.1.0/24") + &of("n2", "10.42.9.0/24") + "[nodes.n3]\nmca = 1\n"));
    assert_eq!(store.next_changed(), ("n2".to_owned(), Ok(names(["10.42.9.0/24"]))));
    let (name, refused) = store.next_changed();
    assert!(name == "n3" && refused.as_ref().is_err_and(|why| why.contains("`mca`")), "{refused:?}");
    write(&path, &of("n1", "10.42.1.0/24"));
    let gone: BTreeSet<String> =
        (0..2).map(|_| if let News::Gone(name) = store.next() { name } else { panic!() }).collect();
    assert_eq!(gone, ["n2".to_owned(), "n3".to_owned()].into());

    write(&path, "[nodes.n1\n");
    let News::Unreachable(why) = store.next() else { panic!() };
    assert!(why.contains("nodes.toml") && why.contains("line 1"), "{why}");
    write(&path, &(of("n1", "10.42.4.0/24") + &of("n2", "10.42.2.0/24")));
    assert_eq!(store.next_subnets(), ["10.42.4.0/24"]);
    assert_eq!(store.next_all(), ["n1", "n2"]);
    assert_eq!(store.next(), News::Reachable);
    store.assert_quiet();
}

#[test]
fn one_file_may_be_json_and_must_have_this_node() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("nodes.json");
    write(
        &path,
        r#"{"nodes": {"n2": {"subnets": ["10.42.2.0/24"], "ipv4": "192.0.2.2", "mac": "0a:58:00:00:00:02"}}}"#,
    );
    let store = Running::on(&path, false, "n1");
    let News::All(records) = store.next() else { panic!() };
    let data = records[0].claim.as_ref().unwrap().v4_data.clone();
    assert_eq!(data, Some(json!({"VNI": 1, "VtepMAC": "0a:58:00:00:00:02"})));
    let News::Unreachable(why) = store.next() else { panic!() };
    assert!(why.contains("no entry of this node \"n1\""), "{why}");
    write(&path, r#"{"nodes": {"n1": {"subnets": ["10.42.1.0/24"], "ipv4": "192.0.2.1"}}}"#);
    assert_eq!(store.next_subnets(), ["10.42.1.0/24"]);
    let told: BTreeSet<String> = (0..2).map(|_| format!("{:?}", store.next()).chars().take(7).collect()).collect();
    assert_eq!(told, ["Changed".to_owned(), "Gone(\"n".to_owned()].into());
    assert_eq!(store.next(), News::Reachable);
}

#[test]
fn a_file_that_cannot_be_read_is_a_node_that_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    write(&at("good.toml"), &node("10.42.1.0/24"));
    write(&at("unknown.toml"), "mca = \"0a:58:00:00:00:02\"\n");
    write(&at("empty.toml"), "");
    write(&at("address.json"), r#"{"subnets": ["10.42.1.0/33"]}"#);
    write(&at("mac.json"), r#"{"subnets": ["10.42.1.0/24"], "mac": "0a:58"}"#);
    write(&at("twice.toml"), &node("10.42.3.0/24"));
    write(&at("twice.json"), "{}");
    write(&at("not-a-node.txt"), "hello");
    write(&at(".hidden.toml"), "hello");
    fs::File::create(at("huge.toml")).unwrap().set_len(10 << 20).unwrap();
    mkfifo(&at("pipe.toml"), Mode::S_IRUSR).unwrap();
    fs::create_dir(at("directory.toml")).unwrap();
    let all = read::directory(dir.path()).unwrap();
    let expected = [
        ("address", "\"10.42.1.0/33\", expected a network"),
        ("directory", "is no file"),
        ("empty", "subnets are missing"),
        ("huge", "10485760 bytes, more than 65536"),
        ("mac", "\"0a:58\", expected a MAC address"),
        ("pipe", "is no file"),
        ("twice", "are of the same node"),
        ("unknown", "unknown field `mca`"),
    ];
    for (name, why) in expected {
        let told = all[name].as_ref().unwrap_err();
        assert!(told.contains(why), "{name}: {told}");
    }
    assert!(all["good"].is_ok());
    assert_eq!(all.len(), expected.len() + 1);
}

#[test]
fn in_a_directory_only_what_changes_is_told_however_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    write(&at("n1.toml"), &node("10.42.1.0/24"));
    write(&at("n2.toml"), "broken");
    let store = Running::on(dir.path(), false, "n1");
    assert_eq!(store.next_subnets(), ["10.42.1.0/24"]);
    assert_eq!(store.next_all(), ["n1", "!n2"]);
    write(&at("n2.toml"), &node("10.42.2.0/24"));
    assert_eq!(store.next_changed(), ("n2".to_owned(), Ok(names(["10.42.2.0/24"]))));
    // As editors save: the old one is renamed away, the new one made and then written; nobody is gone meanwhile.
    fs::rename(at("n2.toml"), at("n2.toml~")).unwrap();
    let mut file = fs::File::create(at("n2.toml")).unwrap();
    thread::sleep(Duration::from_millis(50));
    std::io::Write::write_all(&mut file, node("10.42.3.0/24").as_bytes()).unwrap();
    drop(file);
    assert_eq!(store.next_changed(), ("n2".to_owned(), Ok(names(["10.42.3.0/24"]))));
    // As programs do: written elsewhere, then renamed or linked here.
    write(&at(".new"), &node("10.42.4.0/24"));
    fs::hard_link(at(".new"), at("n4.toml")).unwrap();
    assert_eq!(store.next_changed(), ("n4".to_owned(), Ok(names(["10.42.4.0/24"]))));
    fs::rename(at(".new"), at("n5.toml")).unwrap();
    assert_eq!(store.next_changed(), ("n5".to_owned(), Ok(names(["10.42.4.0/24"]))));
    write(&at("n6.toml"), &node("10.42.6.0/24"));
    assert_eq!(store.next_changed().0, "n6");
    // Touched, but the same.
    write(&at("n6.toml"), &node("10.42.6.0/24"));
    write(&at("notes.txt"), "hello");
    fs::remove_file(at("n2.toml")).unwrap();
    assert_eq!(store.next(), News::Gone("n2".to_owned()));
    fs::rename(at("n4.toml"), at("n4.toml.off")).unwrap();
    assert_eq!(store.next(), News::Gone("n4".to_owned()));
    store.assert_quiet();
}

#[test]
fn a_directory_that_vanishes_comes_back_with_all_its_nodes() {
    let dir = tempfile::tempdir().unwrap();
    let (nodes, aside) = (dir.path().join("nodes"), dir.path().join("aside"));
    fs::create_dir(&nodes).unwrap();
    write(&nodes.join("n1.toml"), &node("10.42.1.0/24"));
    let store = Running::on(&nodes, false, "n1");
    assert_eq!(store.next_subnets(), ["10.42.1.0/24"]);
    assert_eq!(store.next_all(), ["n1"]);
    fs::rename(&nodes, &aside).unwrap();
    assert!(matches!(store.next(), News::Unreachable(why) if why.contains("nodes")));
    write(&aside.join("n2.toml"), &node("10.42.2.0/24"));
    // It may have told in the meantime that there is no such path.
    fs::rename(&aside, &nodes).unwrap();
    let all = loop {
        match store.next() {
            News::Unreachable(_) => {}
            News::All(all) => break all,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(all.len(), 2);
    assert_eq!(store.next(), News::Reachable);
    write(&nodes.join("n3.toml"), &node("10.42.3.0/24"));
    assert_eq!(store.next_changed().0, "n3");
}

#[test]
fn a_config_map_is_exchanged_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for (version, subnet) in [("..1", "10.42.2.0/24"), ("..2", "10.42.7.0/24")] {
        fs::create_dir(at(version)).unwrap();
        write(&at(version).join("n1.toml"), &node("10.42.1.0/24"));
        write(&at(version).join("n2.toml"), &node(subnet));
    }
    symlink("..1", at("..data")).unwrap();
    symlink("..data/n1.toml", at("n1.toml")).unwrap();
    symlink("..data/n2.toml", at("n2.toml")).unwrap();
    let store = Running::on(dir.path(), false, "n1");
    assert_eq!(store.next_subnets(), ["10.42.1.0/24"]);
    assert_eq!(store.next_all(), ["n1", "n2"]);
    symlink("..2", at("..data_tmp")).unwrap();
    fs::rename(at("..data_tmp"), at("..data")).unwrap();
    assert_eq!(store.next_changed(), ("n2".to_owned(), Ok(names(["10.42.7.0/24"]))));
}

#[test]
fn fifty_nodes_that_start_at_once_have_fifty_subnets() {
    let dir = tempfile::tempdir().unwrap();
    let publish = |name: &str| own::publish(dir.path(), &network(), &registration(name)).unwrap().subnets();
    let subnets: BTreeSet<IpNet> = thread::scope(|scope| {
        let nodes: Vec<_> = (0..50).map(|i| scope.spawn(move || publish(&format!("node{i}")))).collect();
        nodes.into_iter().flat_map(|node| node.join().unwrap()).collect()
    });
    assert_eq!(subnets.len(), 50);
    let all = read::directory(dir.path()).unwrap();
    let written: BTreeSet<IpNet> = all.into_values().flat_map(|entry| entry.unwrap().subnets()).collect();
    assert_eq!(written, subnets);
}

#[test]
fn what_a_node_publishes_is_what_it_claims_and_is_written_once() {
    let dir = tempfile::tempdir().unwrap();
    let publish = |us: &Registration| own::publish(dir.path(), &network(), us);
    let mut us = registration("n1");
    us.wanted = vec!["10.42.77.0/24".parse().unwrap(), "10.1.0.0/24".parse().unwrap()];
    let entry = publish(&us).unwrap();
    assert_eq!(entry.subnets(), us.wanted[..1], "what it had before");
    let claim = read::node(dir.path(), "n1").unwrap().unwrap().claim("n1", &network());
    assert_eq!(claim, Claim { subnets: us.wanted[..1].into(), ..us.claim.clone() });
    let inode = || fs::metadata(dir.path().join("n1.toml")).unwrap().ino();
    let before = inode();
    assert_eq!(publish(&us).unwrap(), entry);
    assert_eq!(inode(), before, "nothing to write");
    us.claim.public_ip = Some("192.0.2.99".parse().unwrap());
    assert_eq!(publish(&us).unwrap().subnets(), us.wanted[..1]);
    assert_ne!(inode(), before);

    let mut other = registration("n2");
    other.wanted = us.wanted.clone();
    assert_ne!(publish(&other).unwrap().subnets(), entry.subnets(), "another node has it");
    // An administrator chose, and wrote no more than that.
    write(&dir.path().join("n3.json"), r#"{"subnets": ["10.42.200.0/25"]}"#);
    assert_eq!(publish(&registration("n3")).unwrap().subnets(), ["10.42.200.0/25".parse().unwrap()]);
    assert!(!dir.path().join("n3.toml").exists());
    for name in ["../n4", ".n4", ""] {
        assert!(matches!(publish(&registration(name)), Err(own::PublishError::Name(_))), "{name}");
    }
}

#[test]
fn a_full_pool_is_told_and_a_subnet_taken_when_one_is_free() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("greedy.toml"), &node("10.42.0.0/16"));
    let store = Running::on(dir.path(), true, "n1");
    assert_eq!(store.next_all(), ["greedy"]);
    let News::Unreachable(why) = store.next() else { panic!() };
    assert!(why.contains("10.42.0.0/16 has no free subnet"), "{why}");
    fs::remove_file(dir.path().join("greedy.toml")).unwrap();
    assert_eq!(store.next(), News::Gone("greedy".to_owned()));
    assert_eq!(store.next_subnets().len(), 1);
    assert_eq!(store.next(), News::Reachable);
}

#[test]
fn a_published_node_follows_its_interface_and_repairs_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let store = Running::on(dir.path(), true, "n1");
    let subnets = store.next_subnets();
    assert_eq!(store.next_all(), ["n1"]);
    let wait_for = |us: &Registration| {
        let written = || read::entry(dir.path(), "n1").ok().flatten();
        let wanted = Entry::of(&us.claim, &[subnets[0].parse().unwrap()]);
        let until = std::time::Instant::now() + PATIENCE;
        while written().as_ref() != Some(&wanted) {
            assert!(std::time::Instant::now() < until, "{:?}", written());
            thread::sleep(Duration::from_millis(5));
        }
    };
    let mut us = registration("n1");
    wait_for(&us);
    us.claim.public_ip = Some("198.51.100.1".parse().unwrap());
    store.us.send(us.clone()).unwrap();
    wait_for(&us);
    write(&dir.path().join("n1.toml"), &node(&subnets[0]));
    wait_for(&us);
    fs::remove_file(dir.path().join("n1.toml")).unwrap();
    wait_for(&us);
}
