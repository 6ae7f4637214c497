//! Programs that choose what a socket gets (classic BPF, socket(7) `SO_ATTACH_FILTER`).

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::libc::{self, sock_filter};

use crate::sockopt;

/// Offsets in the IPv4 header (RFC 791), which is what a socket of type `SOCK_DGRAM` sees first.
const FRAGMENT: u32 = 6;
const PROTOCOL: u32 = 9;
/// Offset of the destination port in the UDP header.
const DESTINATION_PORT: u32 = 2;
/// The bits of the fragment field that hold its offset: the first fragment has the ports, the others have not.
const FRAGMENT_OFFSET: u32 = 0x1fff;
const UDP: u32 = 17;

/// Lets pass what is UDP to `port`, as tcpdump's `udp dst port PORT`. Later fragments have no port and do not pass.
pub(crate) fn udp_to(port: u16) -> [sock_filter; 9] {
    [
        load(libc::BPF_B | libc::BPF_ABS, PROTOCOL),
        jump(libc::BPF_JEQ, UDP, 0, 6),
        load(libc::BPF_H | libc::BPF_ABS, FRAGMENT),
        jump(libc::BPF_JSET, FRAGMENT_OFFSET, 4, 0),
        // x = the length of the IPv4 header, from its first byte.
        instruction(libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH, 0, 0, 0),
        load(libc::BPF_H | libc::BPF_IND, DESTINATION_PORT),
        jump(libc::BPF_JEQ, u32::from(port), 0, 1),
        PASS,
        DROP,
    ]
}

/// Offsets in `struct nlmsghdr`.
const MESSAGE_TYPE: u32 = 4;
const MESSAGE_PORT: u32 = 12;

/// Lets pass netlink messages that are not about what one of these ports did; of one type only, if that is said.
pub(crate) fn messages_of_others(ports: &[u32], kind: Option<u16>) -> Vec<sock_filter> {
    // The program compares in network order.
    let kind = kind.map_or_else(Vec::new, |kind| {
        let matches = jump(libc::BPF_JEQ, u32::from(kind.to_be()), 1, 0);
        vec![load(libc::BPF_H | libc::BPF_ABS, MESSAGE_TYPE), matches, DROP]
    });
    let ours = ports.iter().flat_map(|port| [jump(libc::BPF_JEQ, port.to_be(), 0, 1), DROP]);
    kind.into_iter().chain([load(libc::BPF_W | libc::BPF_ABS, MESSAGE_PORT)]).chain(ours).chain([PASS]).collect()
}

const PASS: sock_filter = sock_filter { code: RETURN, jt: 0, jf: 0, k: u32::MAX };
const DROP: sock_filter = sock_filter { code: RETURN, jt: 0, jf: 0, k: 0 };
/// `BPF_RET | BPF_K`.
const RETURN: u16 = 6;

/// Has the socket get what `program` lets pass, instead of all or of what an earlier program let pass.
pub(crate) fn attach(fd: BorrowedFd<'_>, program: &mut [sock_filter]) -> Result<(), Errno> {
    let len = u16::try_from(program.len()).unwrap_or_default();
    // The kernel copies the program before the call returns.
    let program = libc::sock_fprog { len, filter: program.as_mut_ptr() };
    sockopt::set(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
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
