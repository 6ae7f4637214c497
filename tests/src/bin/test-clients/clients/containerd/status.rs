//! STATUS, which containerd 2 asks of each plugin whenever somebody asks for its own: what kubelet tells as the node's
//! `NetworkReady`.

use std::os::unix::net::UnixListener;
use std::path::Path;

use ferrule_tests::cri;
use libcni::store::write_atomic;
use serde_json::{Value, json};

use super::Client;
use crate::calls::{Call, told};
use crate::clients::pods::{CHAIN, CONFLIST, NETWORK_LIST};
use crate::report::{Outcome, Report};

pub(super) fn run(client: &Client<'_>, report: &mut Report) {
    report.check("STATUS is asked of each plugin, in order", || client.asked());
    report.check("STATUS: without a free address not ready, then ready", || client.exhausted());
    report.check("STATUS: without the overlay not ready, then ready", || client.without_overlay());
    client.machine.network(CONFLIST, Some(NETWORK_LIST));
    client.containerd.await_list(CHAIN[0]);
}

impl Client<'_> {
    fn asked(&self) -> Outcome {
        let first = self.machine.calls.count();
        assert!(self.containerd.cri.is_network_ready());
        let calls = self.machine.calls.since(first);
        let order: Vec<&str> = calls.iter().map(|call| call.plugin.as_str()).collect();
        assert_eq!(order, CHAIN, "{}", told(&calls));
        let version = self.containerd.release.cni_version;
        for call in &calls {
            assert!(call.verb() == "STATUS" && call.succeeded(), "{}", told(&calls));
            assert_eq!(call.stdin["cniVersion"], version);
        }
        Ok(())
    }

    /// A pool of one address, which a pod has until it is removed.
    fn exhausted(&self) -> Outcome {
        let mut list: Value = serde_json::from_str(NETWORK_LIST).expect("JSON");
        let range = &mut list["plugins"][0]["ipam"]["ranges"][0][0];
        range["rangeStart"] = json!("10.88.0.5");
        range["rangeEnd"] = json!("10.88.0.5");
        self.machine.network(CONFLIST, Some(&list.to_string()));
        let pod = |name: &str| self.containerd.cri.sandbox(&cri::config(name, None, &json!({})));
        self.containerd.await_list("rangeStart");
        let only = pod("only").unwrap_or_else(|e| panic!("RunPodSandbox: {e}"));
        assert!(self.containerd.cri.addresses(&only).contains(&[10, 88, 0, 5].into()));
        self.assert_not_ready("10.88.0.5");
        let refused = pod("more").expect_err("an address too many");
        assert!(refused.contains("10.88.0.5"), "{refused}");
        self.containerd.cri.remove_all_pods();
        self.assert_ready();
        Ok(())
    }

    /// A node that has no subnet of the overlay yet, then one; then one on which overlayd has died.
    fn without_overlay(&self) -> Outcome {
        let list = json!({
            "cniVersion": "1.1.0",
            "name": "overlay",
            "plugins": [{"type": "vxlan-delegate", "delegate": {"isDefaultGateway": true}}],
        });
        self.machine.network(CONFLIST, Some(&list.to_string()));
        self.containerd.await_list("vxlan-delegate");
        self.assert_not_ready("has no subnet of the overlay yet");
        let [subnet, socket] = ["/run/flannel/subnet.env", "/run/overlayd/overlayd.sock"].map(Path::new);
        for dir in [subnet, socket].iter().filter_map(|path| path.parent()) {
            std::fs::create_dir_all(dir).expect("a directory of the overlay's daemon");
        }
        let text = include_str!("../../../../../fixtures/subnet.env");
        write_atomic(subnet, text.as_bytes(), 0o644).expect("subnet.env");
        self.assert_ready();
        // The file of a socket stays when the process ends.
        drop(UnixListener::bind(socket).expect("a socket"));
        self.assert_not_ready("overlayd");
        for path in [socket, subnet] {
            std::fs::remove_file(path).expect("a file of the overlay's daemon");
        }
        Ok(())
    }

    #[track_caller]
    fn assert_ready(&self) {
        assert_eq!(self.containerd.cri.network_ready(), Some((true, String::new())));
    }

    /// What is not ready is told in our words: what the plugin said.
    #[track_caller]
    fn assert_not_ready(&self, words: &str) {
        let first = self.machine.calls.count();
        let (ready, message) = self.containerd.cri.network_ready().expect("a status");
        assert!(!ready && message.contains(words), "{ready}: {message}");
        let calls = self.machine.calls.since(first);
        let asked: Vec<&Call> = calls.iter().filter(|call| call.verb() == "STATUS").collect();
        assert!(!asked.is_empty() && asked.iter().all(|call| call.exit.is_some()), "{}", told(&calls));
        assert!(asked.last().is_some_and(|call| !call.succeeded()), "{}", told(&calls));
    }
}
