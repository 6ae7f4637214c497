//! A tun device: packets of the kernel by a program.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;

use linuxnet::link::{self, Tun};
use nix::poll::{PollFd, PollFlags, poll};
use support::{Bed, output, skip};

#[test]
fn packets_go_through_a_program_by_a_tun_device() {
    let Some(bed) = Bed::new() else { return };
    if let Err(e) = link::require_tap_devices() {
        return skip(&e.to_string());
    }
    let tun = bed.host.within(|| Tun::create("flannel0")).unwrap().unwrap();
    assert!(bed.host.within(|| Tun::create("flannel0")).unwrap().is_err(), "a second one of this name");
    for command in ["ip link set lo up", "ip address add 10.5.1.0/32 dev flannel0", "ip link set flannel0 up mtu 1472"]
    {
        output(&bed.host, command);
    }
    output(&bed.host, "ip route add 10.5.2.0/24 dev flannel0");
    let mut buffer = [0; 2048];
    // What the kernel says of itself over IPv6; then there is nothing, and nobody waits for it.
    let end = std::iter::repeat_with(|| (&tun).read(&mut buffer)).find_map(Result::err).unwrap();
    assert_eq!(end.kind(), ErrorKind::WouldBlock);
    let mut ping = std::process::Command::new("ping");
    ping.args(["-c", "1", "-W", "20", "10.5.2.9"]);
    let ping = std::thread::scope(|scope| {
        let ping = scope.spawn(|| bed.host.within(|| ping.output()).unwrap().unwrap());
        // Whatever is asked for an echo is answered: source and destination change places, as does the type, and with it
        // the checksum.
        let mut wait = [PollFd::new(tun.as_fd(), PollFlags::POLLIN)];
        while !ping.is_finished() {
            poll(&mut wait, 1000u16).unwrap();
            let Ok(length) = (&tun).read(&mut buffer) else { continue };
            let packet = &mut buffer[..length];
            if packet[0] >> 4 == 4 && packet[9] == 1 {
                let (from, to) = (packet[12..16].to_vec(), packet[16..20].to_vec());
                packet[12..16].copy_from_slice(&to);
                packet[16..20].copy_from_slice(&from);
                packet[20] = 0;
                let sum = u32::from(u16::from_be_bytes([packet[22], packet[23]])) + 0x0800;
                let sum = u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
                packet[22..24].copy_from_slice(&sum.to_be_bytes());
                assert_eq!((&tun).write(packet).unwrap(), length);
            }
        }
        ping.join().unwrap()
    });
    assert!(ping.status.success(), "{}", String::from_utf8_lossy(&ping.stdout));
    drop(tun);
    assert!(bed.host_netlink().find_link("flannel0").unwrap().is_none());
}
