//! Comments, in the form in which `nft` keeps them: libnftnl's userdata, a list of (type, length, bytes).

use super::abi::{BYTEORDER_HOST_ENDIAN, UDATA_COMMENT, UDATA_SET_KEYBYTEORDER};

/// The userdata of an object that has a comment and nothing else.
pub(super) fn comment(text: &str) -> Vec<u8> {
    // Callers refuse longer ones than COMMENT_BYTES; the length includes the NUL.
    let length = u8::try_from(text.len() + 1).unwrap_or(u8::MAX);
    let mut bytes = Vec::with_capacity(text.len() + 3);
    bytes.extend_from_slice(&[UDATA_COMMENT, length]);
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(0);
    bytes
}

/// The userdata of a set whose keys are integers in the host's byte order.
pub(super) fn host_byte_order() -> Vec<u8> {
    let mut bytes = vec![UDATA_SET_KEYBYTEORDER, 4];
    bytes.extend_from_slice(&BYTEORDER_HOST_ENDIAN.to_ne_bytes());
    bytes
}

/// The comment in the userdata of an object.
pub(super) fn read_comment(mut userdata: &[u8]) -> Option<String> {
    while let [kind, length, rest @ ..] = userdata {
        let value = rest.get(..usize::from(*length))?;
        if *kind == UDATA_COMMENT {
            return Some(crate::nl::text(value));
        }
        userdata = rest.get(usize::from(*length)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_what_nft_writes() {
        assert_eq!(comment("hostport"), b"\x00\x09hostport\x00"); // nft --debug=netlink, nft 1.0.6
        assert_eq!(read_comment(b"\x00\x07id=abc\x00").as_deref(), Some("id=abc"));
    }

    #[test]
    fn other_entries_are_skipped_and_broken_ones_ignored() {
        assert_eq!(read_comment(b"\x05\x02xy\x00\x03ab\x00").as_deref(), Some("ab"));
        assert_eq!(read_comment(b"\x05\x02xy"), None);
        assert_eq!(read_comment(b"\x00\x09abc"), None);
        assert_eq!(read_comment(b""), None);
    }
}
