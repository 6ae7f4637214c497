//! Each way to name a device, and what the result says of it.

use std::fs;
use std::os::unix::fs::symlink;

use ferrule_tests::bed::{host_local, text, words};
use ferrule_tests::{Bed, Network};
use serde_json::{Value, json};

use crate::{MAC, keys, plugin, pristine, start, state};

#[test]
fn by_name() {
    let Some(bed) = start(&keys()) else { return };
    let a = bed.attach("a");
    assert!(bed.host().find_link("dev0").is_none(), "it is no longer on the host");
    let link = a.interface();
    assert_eq!((&link["mtu"], &link["address"], &link["operstate"]), (&json!(1400), &json!(MAC), &json!("UP")));
    assert_eq!(link["ifalias"], "dev0", "as the Go plugin's DEL needs it");
    let sandbox = a.container.netns.display().to_string();
    let expected = json!([{"name": "eth0", "mac": MAC, "mtu": 1400, "sandbox": sandbox}]);
    assert_eq!(a.result["interfaces"], expected);
    assert_eq!(a.result["ips"][0]["interface"], 0);
    assert!(a.place().ping("10.1.0.1".parse().unwrap()) && a.place().ping("fd00:1::1".parse().unwrap()));
    bed.network.check(&a.container).expect("CHECK");
    bed.end(&[&a]);
    assert_eq!(state(&bed, "dev0"), pristine());
}

#[test]
fn by_an_alternative_name() {
    let mut keys = keys();
    let long = "a-name-of-more-than-fifteen-bytes";
    keys["device"] = json!(long);
    let Some(bed) = start(&keys) else { return };
    bed.host().sh(&format!("ip link property add dev dev0 altname {long}"));
    let a = bed.attach("a");
    bed.network.check(&a.container).expect("CHECK");
    bed.end(&[&a]);
    assert_eq!(bed.link("dev0")["altnames"], json!([long]));
}

#[test]
fn by_hardware_address() {
    let Some(bed) = start(&json!({"hwaddr": MAC.to_uppercase()})) else { return };
    let a = bed.attach("a");
    assert_eq!(text(&a.result, "/interfaces/0/mac"), MAC);
    bed.network.check(&a.container).expect("CHECK");
    bed.end(&[&a]);
    assert_eq!(state(&bed, "dev0"), pristine());
}

/// A machine on which `dev0` is a network card: PCI device 0000:00:03.0, by virtio 0000:00:04.0, auxiliary device
/// `mlx5_core.sf.2`. 0000:00:05.0 is driven by DPDK, 0000:00:06.0 by nobody.
fn with_hardware(bed: &Bed, network: &Network) -> Network {
    let sys = bed.node.dir().join("sys");
    for path in [
        "devices/pci0000:00/0000:00:03.0/net/dev0",
        "bus/pci/devices/0000:00:03.0/net/dev0",
        "bus/pci/devices/0000:00:04.0/virtio1/net/dev0",
        "bus/pci/devices/0000:00:05.0",
        "bus/pci/devices/0000:00:06.0",
        "bus/auxiliary/devices/mlx5_core.sf.2/net/dev0",
    ] {
        fs::create_dir_all(sys.join(path)).unwrap();
    }
    for (device, driver) in [("03", "mlx5_core"), ("04", "virtio-pci"), ("05", "vfio-pci")] {
        let driver = format!("../../drivers/{driver}");
        let _ = symlink(driver, sys.join(format!("bus/pci/devices/0000:00:{device}.0/driver")));
    }
    let script = format!("mount --bind {} /sys && exec \"$@\"", sys.display());
    network.wrapped_in(&["unshare", "-m", "sh", "-c", &script, "sh"])
}

/// `dev0` is found, checked and given back.
fn found_by(keys: &Value, device_id: Option<&str>) -> Option<Value> {
    let bed = start(keys)?;
    let network = with_hardware(&bed, &bed.network);
    let mut container = bed.node.container("a");
    if let Some(id) = device_id {
        container = container.with_capability("deviceID", json!(id));
    }
    let a = bed.attach_to(&network, container);
    assert_eq!(text(&a.result, "/interfaces/0/mac"), MAC, "{keys}");
    network.check(&a.container).expect("CHECK");
    network.del(&a.container).expect("DEL");
    assert_eq!(state(&bed, "dev0"), pristine(), "{keys}");
    Some(a.result)
}

#[test]
fn by_kernel_path() {
    found_by(&json!({"kernelpath": "/sys/devices/pci0000:00/0000:00:03.0"}), None);
}

#[test]
fn by_pci_address() {
    for address in ["0000:00:03.0", "0000:00:04.0"] {
        let Some(result) = found_by(&json!({ "pciBusID": address }), None) else { return };
        assert_eq!(result["interfaces"][0]["pciID"], address);
    }
}

#[test]
fn by_the_runtimes_device_id() {
    let Some(result) = found_by(&json!({"pciBusID": "0000:00:06.0"}), Some("0000:00:03.0")) else { return };
    assert_eq!(result["interfaces"][0]["pciID"], "0000:00:03.0");
    found_by(&json!({}), Some("mlx5_core.sf.2"));
}

#[test]
fn a_device_for_dpdk_is_not_moved() {
    let mut keys = json!({"pciBusID": "0000:00:05.0", "ipam": host_local(&["10.1.0.0/24"])});
    for _ in 0..2 {
        let Some(bed) = start(&keys) else { return };
        let network = with_hardware(&bed, &bed.network);
        network.status().expect("STATUS");
        let a = bed.attach_to(&network, bed.node.container("a"));
        let sandbox = a.container.netns.display().to_string();
        let mut interface = json!({"name": "eth0", "sandbox": sandbox});
        if keys.get("pciBusID").is_some() {
            interface["pciID"] = json!("0000:00:05.0");
        }
        assert_eq!(a.result["interfaces"], json!([interface]));
        assert_eq!(a.result["ips"][0]["address"], "10.1.0.2/24");
        assert!(a.place().find_link("eth0").is_none());
        assert_eq!(state(&bed, "dev0"), pristine());
        network.check(&a.container).expect("CHECK");
        network.del(&a.container).expect("DEL");
        bed.node.assert_nothing_left(&bed.before, &[&a.container]);
        // The same by the configuration's word.
        keys = json!({"device": "dev0", "dpdkmode": true, "ipam": host_local(&["10.1.0.0/24"])});
    }
}

#[test]
fn a_device_that_is_not_there() {
    for (keys, expected) in [
        (json!({"device": "dev7"}), "there is no link with the name dev7"),
        (json!({"hwaddr": "02:00:00:00:00:77"}), "there is no link with the MAC address 02:00:00:00:00:77"),
        (json!({"kernelpath": "/sys/devices/nothing"}), "there is no link at /sys/devices/nothing"),
        (
            json!({"pciBusID": "0000:00:07.0"}),
            "PCI device 0000:00:07.0 is missing or has no driver: cannot read /sys/bus/pci",
        ),
    ] {
        let Some(bed) = start(&keys) else { return };
        let failure = bed.refused(&bed.node.container("a"));
        assert!(words(&failure).contains(expected), "{failure:?}");
        let status = bed.network.status().expect_err("STATUS");
        assert!(words(&status).contains(expected), "{status:?}");
        assert_eq!(status.code, if failure.code == 7 { 7 } else { 50 });
    }
}

#[test]
fn status_waits_for_the_runtime_to_choose() {
    let Some(bed) = start(&json!({})) else { return };
    bed.network.status().expect("STATUS of a network whose runtime names devices");
    let failure = bed.refused(&bed.node.container("a"));
    assert!(failure.msg.starts_with("specify either \"device\""), "{failure:?}");
    let mut fixed = plugin(&json!({}));
    fixed.as_object_mut().unwrap().remove("capabilities");
    let failure = bed.node.network_of("fixed", &fixed).status().expect_err("STATUS");
    assert_eq!(failure.code, 7);
}

#[test]
fn without_ipam_and_in_every_version() {
    let Some(mut bed) = start(&json!({"device": "dev0", "dns": {"nameservers": ["192.0.2.53"]}})) else { return };
    for version in ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        bed.network.conflist["cniVersion"] = json!(version);
        let a = bed.attach("a");
        assert_eq!(text(&a.result, "/cniVersion"), version);
        assert_eq!(text(&a.result, "/interfaces/0/mac"), MAC);
        assert_eq!(a.result["dns"]["nameservers"][0], "192.0.2.53");
        assert_eq!(a.interface()["operstate"], "UP");
        assert_eq!(bed.network.check(&a.container).is_ok(), version >= "0.4.0", "{version}");
        bed.end(&[&a]);
        assert_eq!(state(&bed, "dev0"), pristine());
    }
}
