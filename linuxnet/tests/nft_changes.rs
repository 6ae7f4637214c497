//! Transactions: all or nothing, absence, races, and the ways of older kernels.
#![allow(clippy::unwrap_used, reason = "a failure of a test's own values is a failed test")]

mod support;

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use linuxnet::nft::{
    BaseChain, ChainKind, DataType, Element, ElementData, Family, Field, Hook, Load, Nfnetlink, Policy, Removal, Rule,
    Set, Table, Transaction, Value, Verdict, priority,
};
use nix::errno::Errno;
use support::{Bed, output};

const TABLE: Table<'static> = Table::inet("example");
const PORTS: Set<'static> =
    Set::map("ports", &[DataType::InetProto, DataType::InetService], &[DataType::Ipv4Addr, DataType::InetService])
        .with_timeouts();
const JUMPS: Set<'static> = Set::verdict_map("jumps", &[DataType::Ipv4Addr]).with_timeouts();
const LASTING: Set<'static> = Set::of("lasting", &[DataType::InetService]);
const WAYS: [Removal; 3] = [Removal::Expire, Removal::Destroy, Removal::Delete];

fn tcp(port: u16) -> Value {
    Value::from(Field::TCP).and(Field::InetService(port))
}

fn pod(index: u16) -> Value {
    let [high, low] = index.to_be_bytes();
    Value::from(Ipv4Addr::new(10, 1, high, low)).and(Field::InetService(80))
}

fn published(port: u16, owner: &str) -> Element {
    Element::new(tcp(port)).data(pod(port)).comment(owner)
}

fn jump(address: u8, chain: &str) -> Element {
    Element::new(Ipv4Addr::new(10, 1, 0, address)).data(Verdict::Jump(chain.into()))
}

fn address(last: u8) -> Value {
    Ipv4Addr::new(10, 1, 0, last).into()
}

/// Tables, sets and chains, if nobody else has made them.
fn infrastructure() -> Transaction<'static> {
    let mut t = Transaction::new(TABLE);
    t.ensure_table().ensure_set(&PORTS).ensure_set(&JUMPS).ensure_set(&LASTING).create_base_chain(&BaseChain {
        name: "postrouting",
        kind: ChainKind::Nat,
        hook: Hook::Postrouting,
        priority: priority::SRCNAT,
        policy: Policy::Accept,
    });
    t.add_rule("postrouting", &Rule::new().verdict_by_map(&[Load::IpSaddr], JUMPS.name).comment("ours"));
    t
}

fn prepared(bed: &Bed) -> Nfnetlink {
    let mut nft = Nfnetlink::open_in(&bed.host).unwrap();
    nft.commit(&infrastructure()).unwrap();
    nft
}

fn ports(nft: &mut Nfnetlink) -> Vec<u16> {
    let mut ports: Vec<u16> = nft
        .elements(TABLE, PORTS.name)
        .unwrap()
        .iter()
        .map(|element| match element.key.fields(PORTS.key).unwrap().as_slice() {
            [Field::InetProto(6), Field::InetService(port)] => *port,
            other => panic!("{other:?}"),
        })
        .collect();
    ports.sort_unstable();
    ports
}

#[test]
fn what_is_not_there_is_none_or_nothing() {
    let Some(bed) = Bed::new() else { return };
    let mut nft = Nfnetlink::open_in(&bed.host).unwrap();
    for table_is_there in [false, true] {
        assert_eq!(nft.table_exists(TABLE).unwrap(), table_is_there);
        assert_eq!(nft.find_chain(TABLE, "none").unwrap(), None);
        assert_eq!(nft.find_set(TABLE, "none").unwrap(), None);
        assert_eq!(nft.find_element(TABLE, "none", &tcp(1)).unwrap(), None);
        assert_eq!(nft.elements(TABLE, "none").unwrap(), []);
        assert_eq!(nft.rules(TABLE, "none").unwrap(), []);
        assert_eq!(nft.chains(TABLE).unwrap(), []);
        assert_eq!(nft.sets(TABLE).unwrap(), []);
        nft.commit(Transaction::new(TABLE).ensure_table().ensure_table()).unwrap();
    }
    nft.commit(Transaction::new(TABLE).ensure_set(&PORTS)).unwrap();
    assert_eq!(nft.find_element(TABLE, PORTS.name, &tcp(1)).unwrap(), None);
    let error = nft.find_element(TABLE, PORTS.name, &address(1)).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::EINVAL), "a key of another length is a mistake, not an absence");
    nft.commit(&Transaction::new(TABLE)).unwrap();
}

#[test]
fn what_was_written_is_read_back() {
    let Some(bed) = Bed::new() else { return };
    let mut nft = prepared(&bed);
    let tag = "netz pod-ä eth0 veth12345678"; // a comment is bytes
    let mut t = Transaction::new(TABLE);
    t.create_chain("subnet").add_rule("subnet", &Rule::new().masquerade());
    t.create_element(PORTS.name, &published(8080, tag)).create_element(JUMPS.name, &jump(2, "subnet"));
    nft.commit(&t).unwrap();

    let element = nft.find_element(TABLE, PORTS.name, &tcp(8080)).unwrap().unwrap();
    assert_eq!((element.comment.as_deref(), element.value(), element.jump()), (Some(tag), Some(&pod(8080)), None));
    let to = element.value().unwrap().fields(PORTS.data()).unwrap();
    assert_eq!(to, [Field::Ip(IpAddr::from([10, 1, 31, 144])), Field::InetService(80)]);
    assert!(output(&bed.host, "nft list ruleset").contains(tag));
    let element = nft.find_element(TABLE, JUMPS.name, &address(2)).unwrap().unwrap();
    assert_eq!((element.jump(), &element.comment), (Some("subnet"), &None));
    assert_eq!(element.data, ElementData::Verdict(Verdict::Jump("subnet".into())));

    let chain = nft.find_chain(TABLE, "subnet").unwrap().unwrap();
    assert_eq!((chain.uses, chain.is_base), (2, false), "a rule of its own and an element that jumps to it");
    assert!(nft.find_chain(TABLE, "postrouting").unwrap().unwrap().is_base);
    let names: Vec<String> = nft.chains(TABLE).unwrap().into_iter().map(|chain| chain.name).collect();
    assert_eq!(names, ["postrouting", "subnet"]);
    let rules = nft.rules(TABLE, "postrouting").unwrap();
    assert_eq!((rules.len(), rules[0].comment.as_deref()), (1, Some("ours")));
    assert_eq!(rules[0].expressions.last().unwrap().looks_into().as_deref(), Some(JUMPS.name));

    let sets = nft.sets(TABLE).unwrap();
    assert_eq!(sets.len(), 3);
    for (found, wanted) in sets.iter().zip([PORTS, JUMPS, LASTING]) {
        assert_eq!(found.name, wanted.name);
        assert!(found.is_like(&wanted) && !found.is_like(&Set::of(wanted.name, &[DataType::Mark])), "{found:?}");
    }
    assert_eq!(nft.find_set(TABLE, PORTS.name).unwrap().as_ref(), sets.first());
    let other = Table::new(Family::Ipv4, "example");
    assert!(!nft.table_exists(other).unwrap() && nft.chains(other).unwrap().is_empty());
}

#[test]
fn a_batch_that_fails_leaves_nothing_and_names_the_change() {
    let Some(bed) = Bed::new() else { return };
    let mut nft = prepared(&bed);
    nft.commit(Transaction::new(TABLE).create_element(PORTS.name, &published(80, "a"))).unwrap();
    let before = output(&bed.host, "nft list ruleset");

    let mut t = Transaction::new(TABLE);
    t.create_chain("new").create_element(PORTS.name, &published(81, "b"));
    t.create_element(PORTS.name, &published(80, "b")).create_element(PORTS.name, &published(82, "b"));
    t.create_element("nowhere", &published(83, "b"));
    let error = nft.commit(&t).unwrap_err();
    assert_eq!(error.to_string(), "cannot add element tcp . 80 to map ports", "the first failure of two");
    assert!(error.is_exists() && error.source().unwrap().to_string().contains("EEXIST"), "{error:?}");

    let error = nft.commit(Transaction::new(TABLE).create_chain("postrouting")).unwrap_err();
    assert_eq!(error.to_string(), "cannot create chain postrouting in table inet example");
    assert!(error.is_exists());
    let error = nft.commit(Transaction::new(TABLE).add_element(JUMPS.name, &jump(1, "nowhere"))).unwrap_err();
    assert!(error.is_not_found(), "{error:?}");
    let long = "x".repeat(129);
    let error = nft.commit(Transaction::new(TABLE).add_element(PORTS.name, &published(84, &long))).unwrap_err();
    assert_eq!(error.source().unwrap().to_string(), "its comment has 129 bytes, more than 128");

    assert_eq!(output(&bed.host, "nft list ruleset"), before);
    // The same socket goes on: answers to what failed do not count as answers to what comes.
    nft.commit(Transaction::new(TABLE).add_element(PORTS.name, &published(80, "a"))).unwrap();
    nft.commit(Transaction::new(TABLE).add_element(PORTS.name, &published(84, &long[1..]))).unwrap();
    assert_eq!(ports(&mut nft), [80, 84]);
}

#[test]
fn the_unprivileged_are_told_so() {
    let Some(bed) = Bed::new() else { return };
    // In a user namespace of its own, a process has no power over the network namespace that it is in.
    let mut child = std::process::Command::new("unshare");
    child.arg("-U").arg(std::env::current_exe().unwrap()).args(["--exact", "commits_without_privilege", "--nocapture"]);
    child.env("FERRULE_TEST_NO_CAPS", "1");
    let seen = bed.host.within(|| child.output()).unwrap().unwrap();
    let text = String::from_utf8_lossy(&seen.stdout).into_owned();
    assert!(text.contains("errno Some(EPERM) denied true"), "{text}{}", String::from_utf8_lossy(&seen.stderr));
}

/// The child of the test above.
#[test]
fn commits_without_privilege() {
    if std::env::var_os("FERRULE_TEST_NO_CAPS").is_none() {
        return;
    }
    let error = Nfnetlink::open().unwrap().commit(Transaction::new(TABLE).ensure_table()).unwrap_err();
    println!("errno {:?} denied {}", error.errno(), error.is_denied());
}

#[test]
fn removals_do_not_mind_absence_whatever_the_kernel_can() {
    for way in WAYS {
        let Some(bed) = Bed::new() else { return };
        let mut nft = Nfnetlink::open_in(&bed.host).unwrap();
        nft.set_removal(way);
        let mut all = Transaction::new(TABLE);
        all.remove_element(PORTS.name, &tcp(80)).destroy_element(PORTS.name, &tcp(81));
        all.remove_rule("postrouting", 12345).flush_chain("subnet").remove_chain("subnet");
        // In a missing table even DESTROY fails for elements and rules, before the kernel looks for them.
        nft.commit(Transaction::new(TABLE).remove_table()).unwrap();
        nft.commit(&all).unwrap_or_else(|e| panic!("{way:?}, no table: {e}: {:?}", e.source()));
        nft.commit(&infrastructure()).unwrap();
        nft.commit(&all).unwrap_or_else(|e| panic!("{way:?}, empty: {e}: {:?}", e.source()));
        nft.commit(Transaction::new(TABLE).create_chain("subnet").add_rule("subnet", &Rule::new().masquerade()))
            .unwrap();
        nft.commit(&all).unwrap_or_else(|e| panic!("{way:?}: {e}: {:?}", e.source()));
        assert_eq!(nft.find_chain(TABLE, "subnet").unwrap(), None);
        nft.commit(Transaction::new(TABLE).flush_chain("postrouting").remove_set(JUMPS.name).remove_set("none"))
            .unwrap();
        assert_eq!((nft.rules(TABLE, "postrouting").unwrap().len(), nft.sets(TABLE).unwrap().len()), (0, 2));
        nft.commit(Transaction::new(TABLE).remove_table()).unwrap();
        assert_eq!(output(&bed.host, "nft list ruleset"), "");
    }
}

#[test]
fn elements_go_in_every_way_and_can_come_back_at_once() {
    for way in WAYS {
        let Some(bed) = Bed::new() else { return };
        let mut nft = prepared(&bed);
        nft.set_removal(way);
        for round in 0..5u16 {
            let owner = format!("owner {round}");
            let mut t = Transaction::new(TABLE);
            t.create_element(PORTS.name, &published(80, &owner)).create_element(PORTS.name, &published(81, "stays"));
            t.create_element(LASTING.name, &Element::new(Field::InetService(round)));
            // Where elements expire, the one of the last round may be there still, with its old comment.
            nft.commit(&t).unwrap_or_else(|e| panic!("{way:?} {round}: {e}: {:?}", e.source()));
            let found = nft.find_element(TABLE, PORTS.name, &tcp(80)).unwrap().unwrap();
            assert_eq!(found.comment.as_deref(), Some(owner.as_str()));

            let mut t = Transaction::new(TABLE);
            t.remove_element(PORTS.name, &tcp(80)).remove_element(PORTS.name, &tcp(999));
            // Elements of this set cannot expire: they are deleted.
            t.remove_element(LASTING.name, &Field::InetService(round).into());
            nft.commit(&t).unwrap_or_else(|e| panic!("{way:?} {round}: {e}: {:?}", e.source()));
            assert_eq!(nft.find_element(TABLE, PORTS.name, &tcp(80)).unwrap(), None);
            assert_eq!((ports(&mut nft), nft.elements(TABLE, LASTING.name).unwrap().len()), (vec![81], 0));
            nft.commit(Transaction::new(TABLE).destroy_element(PORTS.name, &tcp(81))).unwrap();
        }
        let deadline = Instant::now() + Duration::from_secs(5);
        while output(&bed.host, "nft list map inet example ports").contains("elements") {
            assert!(Instant::now() < deadline, "{way:?}: the element does not expire");
        }
    }
}

#[test]
fn a_chain_goes_with_its_last_element() {
    for way in WAYS {
        let Some(bed) = Bed::new() else { return };
        let mut nft = prepared(&bed);
        nft.set_removal(way);
        let mut t = Transaction::new(TABLE);
        t.create_chain("subnet").add_rule("subnet", &Rule::new().masquerade());
        nft.commit(t.add_element(JUMPS.name, &jump(1, "subnet")).add_element(JUMPS.name, &jump(2, "subnet"))).unwrap();

        let mut last = Transaction::new(TABLE);
        last.destroy_element(JUMPS.name, &address(1)).remove_chain("subnet");
        let error = nft.commit(&last).unwrap_err();
        assert!(error.is_busy(), "{error:?}");
        assert_eq!(error.to_string(), "cannot remove chain subnet in table inet example");
        assert_eq!(nft.elements(TABLE, JUMPS.name).unwrap().len(), 2, "nothing was done");
        nft.commit(last.destroy_element(JUMPS.name, &address(2))).unwrap_err(); // the chain still goes first
        let mut both = Transaction::new(TABLE);
        both.destroy_element(JUMPS.name, &address(1)).destroy_element(JUMPS.name, &address(2)).remove_chain("subnet");
        nft.commit(&both).unwrap();
        assert_eq!(nft.find_chain(TABLE, "subnet").unwrap(), None);
    }
}

#[test]
fn more_elements_in_one_batch_than_a_send_buffer_takes_by_default() {
    let Some(bed) = Bed::new() else { return };
    let mut nft = prepared(&bed);
    let mut t = Transaction::new(TABLE);
    // Some 250 KB of messages. Without privilege in the first namespace a buffer grows to twice `wmem_max`, 416 KB.
    for port in 1..=1500 {
        t.create_element(PORTS.name, &published(port, "a tag of the usual length with a container's long name"));
    }
    nft.commit(&t).unwrap();
    assert_eq!(ports(&mut nft), (1..=1500).collect::<Vec<u16>>());
}

/// Makes the infrastructure as plugins do: look, write, look again if somebody else was faster.
fn ensure_infrastructure(nft: &mut Nfnetlink) {
    while nft.find_chain(TABLE, "postrouting").unwrap().is_none() {
        match nft.commit(&infrastructure()) {
            Ok(()) => {}
            Err(error) if error.is_exists() => {}
            Err(error) => panic!("{error}: {:?}", error.source()),
        }
    }
}

#[test]
fn eight_at_once_neither_fail_nor_leave_anything() {
    for way in WAYS {
        let Some(bed) = Bed::new() else { return };
        let sockets: Vec<Nfnetlink> = (0..8).map(|_| Nfnetlink::open_in(&bed.host).unwrap()).collect();
        std::thread::scope(|scope| {
            for (worker, mut nft) in (1u16..).zip(sockets) {
                scope.spawn(move || {
                    nft.set_removal(way);
                    ensure_infrastructure(&mut nft);
                    for round in 0..20 {
                        let port = worker * 100 + round;
                        let tag = format!("worker {worker}");
                        nft.commit(Transaction::new(TABLE).create_element(PORTS.name, &published(port, &tag))).unwrap();
                        let mine = |nft: &mut Nfnetlink| {
                            let all = nft.elements(TABLE, PORTS.name).unwrap();
                            all.into_iter().filter(|e| e.comment.as_deref() == Some(tag.as_str())).count()
                        };
                        assert_eq!(mine(&mut nft), 1, "lists are whole while others write");
                        // All workers also remove the same one: somebody is always faster.
                        let mut t = Transaction::new(TABLE);
                        t.remove_element(PORTS.name, &tcp(port)).remove_element(PORTS.name, &tcp(1));
                        nft.commit(&t).unwrap();
                        assert_eq!(mine(&mut nft), 0);
                        nft.commit(Transaction::new(TABLE).add_element(PORTS.name, &published(1, "all"))).unwrap();
                    }
                });
            }
        });
        let mut nft = Nfnetlink::open_in(&bed.host).unwrap();
        assert_eq!(nft.rules(TABLE, "postrouting").unwrap().len(), 1, "the infrastructure was made once");
        nft.commit(Transaction::new(TABLE).destroy_element(PORTS.name, &tcp(1))).unwrap();
        assert_eq!(ports(&mut nft), Vec::<u16>::new());
    }
}
