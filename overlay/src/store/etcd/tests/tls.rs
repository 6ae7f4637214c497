//! Certificates and passwords that are replaced.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use super::bed::{Etcd, free_ports, network, on_runtime, registration, skip};
use crate::metrics::OfFile;
use crate::store::News;
use crate::store::etcd::EtcdConf;

const A: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const B: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// An authority, and certificates of it for a server on 127.0.0.1 and for a client.
fn authority(dir: &Path) {
    std::fs::create_dir_all(dir).expect("a directory");
    let script = "
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -subj /CN=ca -days 20
        for name in server client; do
            openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $name.key -out $name.csr -subj /CN=$name
            printf 'subjectAltName=IP:127.0.0.1\\nextendedKeyUsage=serverAuth,clientAuth\\n' > ext
            openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile ext -days 10 -out $name.pem
        done";
    let made = Command::new("sh").args(["-euc", script]).current_dir(dir).output().expect("openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Replaces the files of `now` by those of `new`, as an operator does.
fn replace(new: &Path, now: &Path) {
    for entry in std::fs::read_dir(new).expect("a directory").flatten() {
        std::fs::rename(entry.path(), now.join(entry.file_name())).expect("a rename");
    }
}

fn conf(etcd: &Etcd) -> EtcdConf {
    let at = |name: &str| Some(etcd.directory().join("tls").join(name));
    EtcdConf { ca_file: at("ca.pem"), cert_file: at("client.pem"), key_file: at("client.key"), ..etcd.conf.clone() }
}

fn start() -> Option<Etcd> {
    if Command::new("openssl").arg("version").output().is_err() {
        skip("no openssl");
        return None;
    }
    let [port, peer] = free_ports();
    let data = tempfile::tempdir().expect("a directory");
    let tls = data.path().join("tls");
    authority(&tls);
    let file = |name: &str| tls.join(name).display().to_string();
    let arguments = [
        format!("--cert-file={}", file("server.pem")),
        format!("--key-file={}", file("server.key")),
        format!("--trusted-ca-file={}", file("ca.pem")),
        "--client-cert-auth".to_owned(),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Etcd::start_in(data, &format!("https://127.0.0.1:{port}"), peer, &arguments)
}

#[test]
fn certificates_are_renewed_without_a_restart() {
    let Some(mut etcd) = start() else { return };
    on_runtime(async {
        let conf = conf(&etcd);
        etcd.admin_with(&conf).await;
        let node = etcd.node_with(&conf, registration("a", A), &network());
        node.joined().await;
        let file = OfFile { file: conf.cert_file.as_ref().expect("a file").display().to_string() };
        let end = node.metrics.certificate_expiry.get_or_create(&file).get();
        let in_ten_days = std::time::SystemTime::now() + Duration::from_secs(10 * 24 * 3600);
        let in_ten_days = in_ten_days.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
        assert!(end.abs_diff(i64::try_from(in_ten_days).expect("a time")) < 3600, "{end}");

        // Another authority altogether.
        let new = etcd.directory().join("new");
        authority(&new);
        replace(&new, &etcd.directory().join("tls"));
        etcd.stop();
        assert!(matches!(node.news().await, News::Unreachable(_)));
        etcd.resume();
        assert_eq!(node.news().await, News::Reachable);
        let other = etcd.node_with(&conf, registration("b", B), &network());
        other.joined().await;
        assert!(matches!(node.news().await, News::Changed(_)), "it sees who joins");
    });
}

#[test]
fn a_server_of_another_authority_is_not_believed() {
    let Some(etcd) = start() else { return };
    on_runtime(async {
        let good = conf(&etcd);
        etcd.admin_with(&good).await;
        let other = etcd.directory().join("other");
        authority(&other);
        for (conf, expected) in [
            (EtcdConf { ca_file: Some(other.join("ca.pem")), ..good.clone() }, "ertificate"),
            (EtcdConf { ca_file: Some(other.join("none.pem")), ..good.clone() }, "none.pem"),
            (EtcdConf { key_file: None, ..good.clone() }, "key_file"),
            (EtcdConf { cert_file: None, key_file: None, ..good }, "ertificate"),
        ] {
            let node = etcd.node_with(&conf, registration("a", A), &network());
            let News::Unreachable(why) = node.news().await else { panic!("unreachable") };
            assert!(why.contains(expected), "{why}");
        }
    });
}

#[test]
fn a_login_is_renewed_and_a_new_password_is_read() {
    let Some(mut etcd) = Etcd::start() else { return };
    on_runtime(async {
        let admin = etcd.admin().await;
        for (user, password) in [("root", "secret"), ("flannel", "first")] {
            admin.ask("/v3/auth/user/add", json!({ "name": user, "password": password })).await;
        }
        admin.ask("/v3/auth/role/add", json!({ "name": "root" })).await;
        for user in ["root", "flannel"] {
            admin.ask("/v3/auth/user/grant", json!({ "user": user, "role": "root" })).await;
        }
        admin.ask("/v3/auth/enable", json!({})).await;

        let nobody = etcd.node("a", A, &network());
        let News::Unreachable(why) = nobody.news().await else { panic!("refused") };
        assert!(why.contains("user name is empty"), "{why}");

        let password_file = etcd.directory().join("password");
        libcni::store::write_atomic(&password_file, b"first\n", 0o600).expect("a password");
        let conf = EtcdConf {
            username: Some("flannel".into()),
            password_file: Some(password_file.clone()),
            ..etcd.conf.clone()
        };
        let node = etcd.node_with(&conf, registration("a", A), &network());
        node.joined().await;

        // The password is another one; and a server that was restarted knows no token.
        let root_file = etcd.directory().join("root");
        libcni::store::write_atomic(&root_file, b"secret", 0o600).expect("a password");
        let as_root = EtcdConf { username: Some("root".into()), password_file: Some(root_file), ..etcd.conf.clone() };
        let root = etcd.admin_with(&as_root).await;
        root.ask("/v3/auth/user/changepw", json!({ "name": "flannel", "password": "second" })).await;
        libcni::store::write_atomic(&password_file, b"second", 0o600).expect("a password");
        etcd.stop();
        assert!(matches!(node.news().await, News::Unreachable(_)));
        etcd.resume();
        assert_eq!(node.news().await, News::Reachable);
        let root = etcd.admin_with(&as_root).await;
        root.put("subnets/10.5.50.0-24", b"{}", 0).await;
        assert!(matches!(node.news().await, News::Changed(_)));
    });
}
