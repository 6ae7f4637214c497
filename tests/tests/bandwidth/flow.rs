//! How much gets through: iperf3 between two places, counted where it is received.

use std::net::IpAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use ferrule_tests::{Place, eventually};
use serde_json::Value;

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// The place that asks.
    Client,
    /// The place that is asked.
    Server,
}

/// An iperf3 server for one client. It ends with the test.
struct Server(Child);

impl Server {
    fn start(place: &Place, port: u16) -> Self {
        let mut command = Command::new("iperf3");
        command.args(["-s", "-1", "-p", &port.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(place.run(|| command.spawn()).expect("iperf3"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // After its one client it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Bits per second of TCP payload that arrive in `seconds`, after a first second that does not count: TCP begins slowly,
/// and the burst is used up.
pub(crate) fn received(client: &Place, server: &Place, address: IpAddr, sender: Sender, seconds: u32) -> f64 {
    static PORT: AtomicU16 = AtomicU16::new(5201);
    let port = PORT.fetch_add(1, Ordering::Relaxed);
    let _server = Server::start(server, port);
    let reverse = if sender == Sender::Server { "-R" } else { "" };
    let command = format!("iperf3 -c {address} -p {port} -t {seconds} -O 1 -J {reverse}");
    let mut report = Value::Null;
    eventually("the iperf3 server listens", || {
        report = client.json(&command);
        // With -J an error is no failure, either.
        match report["error"].as_str() {
            None => true,
            Some(error) if error.contains("refused") => false,
            Some(error) => panic!("iperf3: {error}"),
        }
    });
    report["end"]["sum_received"]["bits_per_second"].as_f64().unwrap_or_else(|| panic!("no rate: {report}"))
}
