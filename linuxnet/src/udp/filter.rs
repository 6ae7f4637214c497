//! The program of a packet socket that wants one UDP port (classic BPF, socket(7) `SO_ATTACH_FILTER`).

use nix::libc::{self, sock_filter};

/// Offsets in the IPv4 header (RFC 791), which is what a socket of type `SOCK_DGRAM` sees first.
const FRAGMENT: u32 = 6;
const PROTOCOL: u32 = 9;
/// Offset of the destination port in the UDP header.
const DESTINATION_PORT: u32 = 2;
/// The bits of the fragment field that hold its offset: the first fragment has the ports, the others have not.
const FRAGMENT_OFFSET: u32 = 0x1fff;
const UDP: u32 = 17;

/// Lets pass what is UDP to `port`, as tcpdump's `udp dst port PORT`. Later fragments have no port and do not pass.
pub(super) fn udp_to(port: u16) -> [sock_filter; 9] {
    [
        load(libc::BPF_B | libc::BPF_ABS, PROTOCOL),
        jump(libc::BPF_JEQ, UDP, 0, 6),
        load(libc::BPF_H | libc::BPF_ABS, FRAGMENT),
        jump(libc::BPF_JSET, FRAGMENT_OFFSET, 4, 0),
        // x = the length of the IPv4 header, from its first byte.
        instruction(libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH, 0, 0, 0),
        load(libc::BPF_H | libc::BPF_IND, DESTINATION_PORT),
        jump(libc::BPF_JEQ, u32::from(port), 0, 1),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, u32::from(u16::MAX)),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
    ]
}

fn load(how: u32, offset: u32) -> sock_filter {
    instruction(libc::BPF_LD | how, 0, 0, offset)
}

/// Skips `yes` instructions if the comparison with `value` holds, else `no`.
fn jump(comparison: u32, value: u32, yes: u8, no: u8) -> sock_filter {
    instruction(libc::BPF_JMP | comparison | libc::BPF_K, yes, no, value)
}

fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    // Codes are below 0x100.
    sock_filter { code: u16::try_from(code).unwrap_or_default(), jt, jf, k }
}
