//! STATUS where overlayd runs the overlay, or did.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::thread;

use ferrule_tests::bed::words;
use serde_json::{Value, json};

use crate::{SUBNET, start};

#[test]
fn status_is_what_overlayd_says() {
    let Some(mut bed) = start(SUBNET, &json!({})) else { return };
    let socket = bed.node.dir().join("overlayd.sock");
    bed.network.conflist["plugins"][0]["overlaydSocket"] = json!(socket);
    bed.network.status().expect("without a socket the subnet file is enough");
    let listener = UnixListener::bind(&socket).unwrap();
    let answers = ["{\"exit\": 0, \"output\": \"\"}", "{\"exit\": 1, \"output\": \"no device; no peers\"}", "nonsense"];
    let daemon = thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
            assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["ask"], "ready");
            writeln!(stream, "{answer}").unwrap();
        }
    });
    bed.network.status().expect("overlayd is ready");
    for says in ["the overlay is not ready on this node: no device; no peers", "no answer that can be understood"] {
        let status = bed.network.status().expect_err("STATUS must fail");
        assert_eq!(status.code, 50, "{status:?}");
        assert!(words(&status).contains(says), "{status:?}");
    }
    daemon.join().unwrap();
    let dead = bed.network.status().expect_err("nobody listens any more");
    assert_eq!(dead.code, 50, "{dead:?}");
    assert!(words(&dead).contains("the daemon does not run: nobody listens at"), "{dead:?}");
    // ADD needs no more than the subnet: what kubelet is told by STATUS is one thing, a container that is to start another.
    let a = bed.attach("a");
    bed.end(&[&a]);
}
