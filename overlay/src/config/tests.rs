//! Every key, every flag, and what operators read when one is wrong.

use std::ffi::OsString;
use std::time::Duration;

use libcni::error::causes;

use super::{Config, ConfigError, Programming, StoreConf, load};
use crate::args::{self, Command, Sources};
use crate::store::kubernetes::Records;

const LEAST: &str = "[network]\nNetwork = \"10.42.0.0/16\"\n[store.file]\npath = \"/nodes\"\n";

fn sources(file: &std::path::Path, arguments: &str, environment: &[(&str, &str)]) -> Sources {
    let arguments = format!("--config={} {arguments}", file.display());
    let arguments = arguments.split_whitespace().map(OsString::from);
    let environment = environment.iter().map(|(key, value)| (OsString::from(key), OsString::from(value)));
    match args::parse(arguments, environment) {
        Ok(Command::Run(sources)) => sources,
        other => panic!("{other:?}"),
    }
}

fn read(text: &str, arguments: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("overlayd.toml");
    libcni::store::write_atomic(&path, text.as_bytes(), 0o600).unwrap();
    load(&sources(&path, arguments, environment))
}

/// The message, without the directory of the file.
fn told(text: &str, arguments: &str, environment: &[(&str, &str)]) -> String {
    let error = read(text, arguments, environment).unwrap_err();
    let message = causes(Some(&error));
    message.split_once("/overlayd.toml: ").map_or(message.clone(), |(_, message)| message.to_owned())
}

#[test]
fn the_least_and_its_defaults() {
    let config = read(LEAST, "", &[("NODE_NAME", "n1")]).unwrap();
    assert_eq!(config.node, "n1");
    assert_eq!(config.subnet_file, std::path::Path::new("/run/flannel/subnet.env"));
    assert_eq!(config.state_dir, std::path::Path::new("/var/lib/overlayd"));
    assert_eq!(config.socket, std::path::Path::new("/run/overlayd/overlayd.sock"));
    assert_eq!((config.http, config.masquerade), (None, None));
    assert_eq!(config.kernel.check, Duration::from_secs(60));
    assert_eq!((config.kernel.programming, config.kernel.blackhole), (Programming::Auto, false));
    assert_eq!((config.log.level, config.log.json), (tracing::Level::INFO, false));
}

#[test]
fn every_key_of_the_file() {
    let text = r#"
        node = "n2"
        subnet_file = "/s"
        state_dir = "/d"
        socket = "/k"
        http = "[::1]:9410"
        log = "debug"
        log_format = "json"
        [external]
        interface = ["eth1", "192.0.2.1"]
        interface_regex = "^en"
        can_reach = "192.0.2.9"
        public_ip = "198.51.100.1"
        public_ipv6 = "2001:db8::1"
        [network]
        Network = "10.42.0.0/16"
        [store.kubernetes]
        kubeconfig = "/kube"
        api_url = "https://192.0.2.1:6443"
        records = "both"
        annotation_prefix = "example.org/net"
        set_node_network_unavailable = false
        [masquerade]
        except = ["192.0.2.0/24", "2001:db8::/32"]
        random_fully = false
        forward = false
        [kernel]
        device = "vx0"
        programming = "nexthops"
        check_seconds = 10
        blackhole = true
        receive_buffer = 4096
    "#;
    let config = read(text, "", &[]).unwrap();
    assert_eq!(config.node, "n2");
    assert_eq!(config.http, Some("[::1]:9410".parse().unwrap()));
    assert_eq!((config.log.level, config.log.json), (tracing::Level::DEBUG, true));
    assert_eq!(config.external.interface, ["eth1", "192.0.2.1"]);
    assert_eq!(config.external.interface_regex, ["^en"]);
    assert_eq!(config.external.can_reach, Some("192.0.2.9".parse().unwrap()));
    assert_eq!(config.external.public_ip, Some("198.51.100.1".parse().unwrap()));
    assert_eq!(config.external.public_ipv6, Some("2001:db8::1".parse().unwrap()));
    let masquerade = config.masquerade.unwrap();
    assert_eq!((masquerade.except.len(), masquerade.random_fully, masquerade.forward), (2, false, false));
    let kernel = config.kernel;
    assert_eq!((kernel.device.as_deref(), kernel.programming), (Some("vx0"), Programming::Nexthops));
    assert_eq!((kernel.check.as_secs(), kernel.blackhole, kernel.receive_buffer), (10, true, 4096));
    let StoreConf::Kubernetes(store) = config.store else { panic!("{:?}", config.store) };
    assert_eq!((store.records, store.set_node_network_unavailable), (Records::Both, Some(false)));
    assert_eq!(store.api_url.as_deref(), Some("https://192.0.2.1:6443"));
}

#[test]
fn flannels_flags_win_over_variables_and_those_over_the_file() {
    let text = format!("http = \"127.0.0.1:1\"\nlog = \"warn\"\n[external]\npublic_ip = \"192.0.2.1\"\n{LEAST}");
    let environment = [("FLANNELD_PUBLIC_IP", "192.0.2.2"), ("FLANNELD_IFACE_CAN_REACH", "192.0.2.9")];
    let flags = "-iface eth0 --iface=eth1 -iface-regex ^en --public-ip=192.0.2.3 --public-ipv6 2001:db8::3 \
                 --subnet-file /s --ip-masq --ip-masq-fully-random-disable --iptables-forward-rules=false \
                 --ip-blackhole-route --healthz-ip 192.0.2.3 --healthz-port=8080 -v 6 --iptables-resync=7 \
                 --subnet-lease-renew-margin 60";
    let config = read(&text, flags, &environment).unwrap();
    assert_eq!(config.external.interface, ["eth0", "eth1"]);
    assert_eq!(config.external.interface_regex, ["^en"]);
    assert_eq!(config.external.public_ip, Some("192.0.2.3".parse().unwrap()));
    assert_eq!(config.external.public_ipv6, Some("2001:db8::3".parse().unwrap()));
    assert_eq!(config.external.can_reach, Some("192.0.2.9".parse().unwrap()));
    assert_eq!(config.subnet_file, std::path::Path::new("/s"));
    let masquerade = config.masquerade.unwrap();
    assert!(!masquerade.random_fully && !masquerade.forward);
    assert!(config.kernel.blackhole);
    assert_eq!(config.http, Some("192.0.2.3:8080".parse().unwrap()));
    assert_eq!(config.log.level, tracing::Level::TRACE);
    let config = read(&text, "", &environment).unwrap();
    assert_eq!(config.external.public_ip, Some("192.0.2.2".parse().unwrap()));
    assert_eq!((config.http, config.log.level), (Some("127.0.0.1:1".parse().unwrap()), tracing::Level::WARN));
    let config = read(&format!("{LEAST}[masquerade]\n"), "--ip-masq=false --healthz-port 0", &[]).unwrap();
    assert_eq!((config.masquerade, config.http), (None, None));
    let config = read(LEAST, "--healthz-port 8080", &[]).unwrap();
    assert_eq!(config.http, Some("127.0.0.1:8080".parse().unwrap()), "never a public address by itself");
}

#[test]
fn flags_of_a_store_choose_it() {
    let flags = "--etcd-endpoints=https://a:2379,https://b:2379 --etcd-prefix /net/ --etcd-keyfile=/k --etcd-certfile=/c \
                 --etcd-cafile=/ca --etcd-username u --kube-api-url http://unused";
    let config = read(LEAST, flags, &[("FLANNELD_ETCD_PASSWORD", "secret")]).unwrap();
    let StoreConf::Etcd(etcd) = &config.store else { panic!("{:?}", config.store) };
    assert_eq!((etcd.endpoints.len(), etcd.prefix.as_str()), (2, "/net"));
    assert!(etcd.key_file.is_some() && etcd.cert_file.is_some() && etcd.ca_file.is_some());
    assert_eq!((etcd.username.as_deref(), etcd.password.is_some()), (Some("u"), true));
    assert!(!format!("{config:?}").contains("secret"), "it may be logged");
    assert_eq!(read("[store.etcd]\n", "", &[]).unwrap().network, None, "etcd has it");
    let flags = "--kube-subnet-mgr --kube-api-url http://a --kubeconfig-file=/k --kube-annotation-prefix x.y/z \
                 --set-node-network-unavailable=false --etcd-prefix=/unused";
    let config = read(LEAST, flags, &[]).unwrap();
    let StoreConf::Kubernetes(store) = &config.store else { panic!("{:?}", config.store) };
    assert_eq!((store.records, store.set_node_network_unavailable), (Records::Annotations, Some(false)));
    assert_eq!(store.api_url.as_deref(), Some("http://a"));
    let ours = read("[store.kubernetes]\n[network]\nNetwork = \"10.42.0.0/16\"", "--kube-subnet-mgr", &[]).unwrap();
    let StoreConf::Kubernetes(store) = &ours.store else { panic!("{:?}", ours.store) };
    assert_eq!(store.records, Records::OverlayNodes, "the file says how");
}

#[test]
fn a_net_conf_is_read_where_the_file_has_no_network() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("net-conf.json");
    let write = |text: &str| libcni::store::write_atomic(&path, text.as_bytes(), 0o600).unwrap();
    let read = || read("[store.file]\npath = \"/nodes\"", &format!("--net-config-path {}", path.display()), &[]);
    let missing = causes(Some(&read().unwrap_err()));
    assert!(missing.contains("/net-conf.json (hint: the cluster's network is in [network] of"), "{missing}");
    write("{\"Network\": \"10.42.0.0/33\"}");
    let wrong = causes(Some(&read().unwrap_err()));
    assert!(
        wrong.ends_with(
            "/net-conf.json: Network: invalid value \"10.42.0.0/33\", expected a network such as 10.42.0.0/16"
        )
    );
    write("{\"Network\": \"10.42.0.0/16\"}");
    assert!(read().unwrap().network.is_some());
}

#[test]
fn mistakes_in_the_file_name_line_key_value_and_expectation() {
    for (mistake, message) in [
        ("node = \"\"", "line 1: node: invalid value \"\", expected a name"),
        ("socket = 1", "line 1: socket: invalid value 1, expected a path"),
        ("subnet_file = \"\"", "line 1: subnet_file: invalid value \"\", expected a path"),
        (
            "http = \"9410\"",
            "line 1: http: invalid value \"9410\", expected an address and a port such as \"127.0.0.1:9410\"",
        ),
        (
            "log = \"3\"",
            "line 1: log: invalid value \"3\", expected \"error\", \"warn\", \"info\", \"debug\" or \"trace\"",
        ),
        ("log_format = \"xml\"", "line 1: log_format: invalid value \"xml\", expected \"text\" or \"json\""),
        (
            "external.interface = [\"a/b\"]",
            "line 1: external.interface: invalid value \"a/b\", expected a list of names or addresses",
        ),
        (
            "external.interface_regex = \"(\"",
            "line 1: external.interface_regex: invalid value \"(\", expected a list of regular expressions",
        ),
        ("external.public_ip = \"::1\"", "line 1: external.public_ip: invalid value \"::1\", expected an IPv4 address"),
        (
            "external.public_ipv6 = \"192.0.2.1\"",
            "line 1: external.public_ipv6: invalid value \"192.0.2.1\", expected an IPv6 address",
        ),
        ("external.can_reach = \"x\"", "line 1: external.can_reach: invalid value \"x\", expected an address"),
        (
            "masquerade.except = \"10.0.0.1/33\"",
            "line 1: masquerade.except: invalid value \"10.0.0.1/33\", expected a list of networks such as \"192.0.2.0/24\"",
        ),
        ("masquerade.forward = \"yes\"", "line 1: masquerade.forward: invalid value \"yes\", expected true or false"),
        (
            "kernel.programming = \"fdb\"",
            "line 1: kernel.programming: invalid value \"fdb\", expected \"auto\", \"neighbours\" or \"nexthops\"",
        ),
        (
            "kernel.check_seconds = 0",
            "line 1: kernel.check_seconds: invalid value 0, expected a whole number from 1 to 86400",
        ),
        ("kernel.device = \"a b\"", "line 1: kernel.device: invalid value \"a b\", expected the name of an interface"),
        ("store.etcd.prefix = \"x\"", "line 1: store: expected one table, not store.file and store.etcd"),
        ("nodes = 1", "line 1: nodes: unknown key, expected one of "),
        ("a = ", "line 1, column 5: "),
    ] {
        let message_now = told(&format!("{mistake}\n{LEAST}"), "", &[]);
        let message =
            message.strip_prefix("line 1: store: ").map_or(message.to_owned(), |rest| format!("store: {rest}"));
        match message.ends_with(' ') {
            true => assert!(message_now.starts_with(&message), "{message_now}"),
            false => assert_eq!(message_now, message),
        }
    }
}

#[test]
fn mistakes_about_stores() {
    let with = |store: &str| told(&format!("[network]\nNetwork = \"10.42.0.0/16\"\n{store}"), "", &[("POD_NAME", "p")]);
    assert_eq!(
        with(""),
        "store: missing, expected one of the tables [store.file], [store.etcd] and [store.kubernetes]"
    );
    assert_eq!(with("[store.file]"), "store.file.path: missing, expected a file of nodes, or a directory");
    assert_eq!(
        with("[store.etcd]\nendpoints = \"a:1\""),
        "line 4: store.etcd.endpoints: invalid value \"a:1\", expected a list of URLs such as \"https://192.0.2.1:2379\""
    );
    assert_eq!(
        with("[store.etcd]\nendpoints = []"),
        "line 4: store.etcd.endpoints: invalid value [], expected at least one URL"
    );
    assert_eq!(
        with("[store.etcd]\ncert_file = \"/c\""),
        "line 4: store.etcd.cert_file: needs the other of \"cert_file\" and \"key_file\" too"
    );
    assert_eq!(
        with("[store.kubernetes]\nrecords = \"crd\""),
        "line 4: store.kubernetes.records: invalid value \"crd\", expected \"overlay-nodes\", \"annotations\" or \"both\""
    );
    assert!(with("[store.kubernetes]").starts_with("POD_NAME is set but NODE_NAME is not (hint: "));
}

#[test]
fn mistakes_in_flags_and_variables_name_them() {
    let of = |flags: &str, environment: &[(&str, &str)]| told(LEAST, flags, environment);
    assert_eq!(of("--public-ip=x", &[]), "--public-ip: invalid value \"x\", expected an IPv4 address");
    assert_eq!(
        of("", &[("FLANNELD_PUBLIC_IP", "x")]),
        "FLANNELD_PUBLIC_IP: invalid value \"x\", expected an IPv4 address"
    );
    assert_eq!(of("--ip-masq=yes", &[]), "--ip-masq: invalid value \"yes\", expected true or false");
    assert_eq!(of("--kube-subnet-mgr=2", &[]), "--kube-subnet-mgr: invalid value \"2\", expected true or false");
    assert_eq!(of("-v=x", &[]), "--v: invalid value \"x\", expected a whole number, 0 or more");
    assert_eq!(
        of("--healthz-port=x", &[]),
        "--healthz-port: invalid value \"x\", expected a whole number from 0 to 65535"
    );
    assert!(
        of("--healthz-port=1 --healthz-ip=x", &[])
            .starts_with("--healthz-port: invalid value \"x:1\", expected an address")
    );
}

/// The documents of this crate.
const README: &str = include_str!("../../README.md");

#[test]
fn the_readmes_configuration_is_right_and_all_its_keys_are_known() {
    let blocks: Vec<&str> = README.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        read(block, "", &[]).unwrap_or_else(|e| panic!("{}\n{block}", causes(Some(&e))));
    }
    // Every flag of the program stands in the README, and the reverse.
    let help = args::usage();
    for line in help.lines().filter_map(|line| line.strip_prefix("  --")) {
        let name = line.split_whitespace().next().unwrap();
        assert!(
            README.contains(&format!("`--{name}`")) || README.contains(&format!("`-{name}`")) || name == "config",
            "--{name}"
        );
    }
    let section = README.split("## flannel's flags").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    for name in section.split("`--").skip(1).filter_map(|rest| rest.split(['`', '=', ' ']).next()) {
        assert!(help.contains(&format!("  --{name} ")), "--{name}");
    }
}
