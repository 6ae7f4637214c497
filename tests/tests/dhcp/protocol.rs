//! Who else may talk at the daemon's socket, and who else may listen there.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use ferrule_tests::{Binaries, eventually};

use crate::server::Server;
use crate::{Bed, socket, words};

#[test]
fn a_go_plugin_is_refused_in_words() {
    let Some(reference) = Binaries::reference() else { return };
    let Some(bed) = Bed::start() else { return };
    let _server = Server::start(&bed, 600);
    let daemon = bed.daemon(&[]);
    let container = bed.node.container("pod");
    let theirs = bed.network.served_by(&reference);
    let failure = theirs.add(&container).expect_err("ADD by the Go plugins");
    assert!(words(&failure).contains("501 this is Ferrule's DHCP daemon"), "{failure:?}");
    assert!(daemon.log().contains("a Go plugin asks"), "{}", daemon.log());
}

#[test]
fn a_go_daemon_is_recognized_and_what_it_attached_is_detached() {
    let Some(reference) = Binaries::reference() else { return };
    let Some(bed) = Bed::start() else { return };
    let _server = Server::start(&bed, 600);
    let mut command = Command::new(reference.plugin("dhcp"));
    command.args(["daemon", "-socketpath", &socket(&bed.node)]).stderr(Stdio::null());
    let mut go = bed.node.host.run(|| command.spawn()).unwrap();
    eventually("the Go daemon listens", || UnixStream::connect(socket(&bed.node)).is_ok());
    let theirs = bed.network.served_by(&reference);
    let container = bed.node.container("pod");
    let result = theirs.add(&container).expect("ADD by the Go plugins");
    assert_eq!(result["ips"][0]["address"], "10.7.0.100/24");
    let failure = bed.network.status().expect_err("STATUS");
    assert!(failure.code == 50 && failure.details.contains("it is the Go reference's"), "{failure:?}");

    go.kill().unwrap();
    go.wait().unwrap();
    let _daemon = bed.daemon(&[]);
    let failure = bed.network.check(&container).expect_err("a lease of another daemon");
    assert!(words(&failure).contains("it is of another daemon, or was lost"), "{failure:?}");
    bed.network.del(&container).expect("DEL");
    bed.node.assert_nothing_left(&bed.before, &[&container]);
}

#[test]
fn what_is_no_request_is_answered_and_does_no_harm() {
    let Some(bed) = Bed::start() else { return };
    let daemon = bed.daemon(&[]);
    let ask = |text: &[u8]| {
        let mut stream = UnixStream::connect(socket(&bed.node)).unwrap();
        // The daemon may have had enough.
        let _ = stream.write_all(text);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    assert!(ask(b"hello\n").contains("cannot read the request"));
    assert!(ask(b"{\"protocol\": 99, \"network\": 7}\n").contains("speaks protocol 1, and the plugin 99"));
    assert!(
        ask(b"{\"protocol\": 1, \"network\": \"../x\", \"what\": \"STATUS\"}\n").contains("cannot read the request")
    );
    assert_eq!(ask(b"no end"), "");
    assert_eq!(ask(&vec![b'x'; 3 << 20]), "");
    bed.network.status().expect("STATUS");
    assert_eq!(daemon.threads(), 1);
}
