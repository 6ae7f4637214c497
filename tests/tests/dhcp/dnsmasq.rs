//! dnsmasq, as people have it: everything that it says arrives in the container.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ferrule_tests::{eventually, skip};
use serde_json::json;

use crate::Bed;

/// dnsmasq on the server's machine of a bed; it ends when this is dropped.
struct Dnsmasq {
    child: Child,
    leases: PathBuf,
}

impl Dnsmasq {
    /// With leases of `time` (`2m`, at least) from 10.7.0.50 on, and these options.
    fn start(bed: &Bed, time: &str, options: &[&str]) -> Self {
        let leases = bed.node.dir().join("dnsmasq.leases");
        let log = File::create(bed.node.dir().join("dnsmasq.log")).unwrap();
        let mut command = Command::new("dnsmasq");
        command.args(["--no-daemon", "--conf-file=/dev/null", "--port=0", "--interface=eth0", "--bind-interfaces"]);
        command.args(["--user=root", "--no-ping", "--log-dhcp", "--pid-file="]);
        command.arg(format!("--dhcp-range=10.7.0.50,10.7.0.60,255.255.255.0,{time}"));
        command.arg(format!("--dhcp-leasefile={}", leases.display()));
        command.args(options.iter().map(|option| format!("--dhcp-option={option}")));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = bed.server.run(|| command.spawn()).expect("dnsmasq");
        eventually("dnsmasq listens", || bed.server.sh("ss -Hlun sport = 67").contains(":67"));
        Self { child, leases }
    }

    /// Its leases: `EXPIRY MAC ADDRESS NAME CLIENT-ID` each.
    fn leases(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.leases).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// When the only lease ends, in seconds since 1970.
    fn expiry(&self) -> u64 {
        let leases = self.leases();
        assert_eq!(leases.len(), 1, "{leases:?}");
        leases[0].split(' ').next().unwrap().parse().unwrap()
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn everything_that_the_server_says_is_in_the_result_and_in_the_container() {
    let Some(bed) = Bed::start() else { return };
    let options = [
        "option:router,10.7.0.1",
        "option:dns-server,10.7.0.1,10.7.0.3",
        "option:domain-name,example.org",
        "option:domain-search,eng.example.org,example.org",
        "option:mtu,1400",
    ];
    let dnsmasq = Dnsmasq::start(&bed, "1h", &options);
    let _daemon = bed.daemon(&[]);
    let pod = bed.attach("pod");
    assert!(pod.address().ends_with("/24"), "{}", pod.result);
    assert_eq!(pod.result["ips"][0]["gateway"], "10.7.0.1");
    assert_eq!(pod.result["routes"], json!([{"dst": "0.0.0.0/0", "gw": "10.7.0.1", "mtu": 1400}]));
    let dns = json!({
        "nameservers": ["10.7.0.1", "10.7.0.3"],
        "domain": "example.org",
        "search": ["eng.example.org", "example.org"],
    });
    assert_eq!(pod.result["dns"], dns);
    let route = &pod.place().json("ip -j route show default")[0];
    assert_eq!((&route["gateway"], &route["metrics"][0]["mtu"]), (&json!("10.7.0.1"), &json!(1400)));
    assert!(pod.place().ping("10.7.0.1".parse().unwrap()));
    let leases = dnsmasq.leases();
    assert!(leases.len() == 1 && leases[0].contains(&pod.mac()) && leases[0].contains(&pod.ip()), "{leases:?}");
    bed.end(&pod);
    eventually("dnsmasq forgets the lease", || dnsmasq.leases().is_empty());
}

#[test]
fn classless_routes_take_the_place_of_the_router() {
    let Some(bed) = Bed::start() else { return };
    let options = ["option:router,10.7.0.9", "121,0.0.0.0/0,10.7.0.1,192.168.7.0/24,10.7.0.3,10.9.9.9/32,0.0.0.0"];
    let _dnsmasq = Dnsmasq::start(&bed, "1h", &options);
    let _daemon = bed.daemon(&[]);
    let pod = bed.attach("pod");
    let expected = json!([
        {"dst": "0.0.0.0/0", "gw": "10.7.0.1"},
        {"dst": "192.168.7.0/24", "gw": "10.7.0.3"},
        {"dst": "10.9.9.9/32", "scope": 253},
    ]);
    assert_eq!(pod.result["routes"], expected);
    let routes = pod.place().sh("ip route show");
    assert!(
        routes.contains("192.168.7.0/24 via 10.7.0.3") && routes.contains("10.9.9.9 dev eth0 scope link"),
        "{routes}"
    );
    bed.network.check(&pod.container).expect("CHECK");
    bed.end(&pod);
}

#[test]
fn classful_routes() {
    let Some(bed) = Bed::start() else { return };
    let options = ["option:router,10.7.0.1", "33,172.16.0.0,10.7.0.2,192.168.3.0,10.7.0.3"];
    let _dnsmasq = Dnsmasq::start(&bed, "1h", &options);
    let _daemon = bed.daemon(&[]);
    let pod = bed.attach("pod");
    let expected = json!([
        {"dst": "172.16.0.0/16", "gw": "10.7.0.2"},
        {"dst": "192.168.3.0/24", "gw": "10.7.0.3"},
        {"dst": "0.0.0.0/0", "gw": "10.7.0.1"},
    ]);
    assert_eq!(pod.result["routes"], expected);
    bed.end(&pod);
}

/// A day of leases of two minutes, with a daemon that is killed every few hours. Where sleeping takes no time.
#[test]
fn a_day_of_leases() {
    if std::env::var("FREE_TIME").is_err() {
        return skip("sleeping takes time here (hint: FREE_TIME=1 scripts/full-kernel)");
    }
    let Some(bed) = Bed::start() else { return };
    let dnsmasq = Dnsmasq::start(&bed, "2m", &[]);
    let mut daemon = bed.daemon(&[]);
    let pod = bed.attach("pod");
    let begun = dnsmasq.expiry();
    for hour in 1..=24 {
        std::thread::sleep(Duration::from_secs(3600));
        bed.network.check(&pod.container).unwrap_or_else(|e| panic!("hour {hour}: {e:?}: {}", daemon.log()));
        assert!(dnsmasq.leases()[0].contains(&pod.ip()));
        if hour % 5 == 0 {
            daemon.kill();
            daemon = bed.daemon(&[]);
        }
    }
    let prolonged = dnsmasq.expiry() - begun;
    assert!((24 * 3600 - 120..=24 * 3600 + 120).contains(&prolonged), "{prolonged}");
    assert!(pod.is_up());
    bed.end(&pod);
    eventually("dnsmasq forgets the lease", || dnsmasq.leases().is_empty());
}
