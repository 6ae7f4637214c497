//! Attributes: a writer that keeps alignment and nesting, and a reader that trusts nothing.

use std::net::IpAddr;

use super::align;

/// Length and type before an attribute's payload.
const HEADER: usize = 4;
/// `NLA_F_NESTED`: the payload is attributes again.
const NESTED: u16 = 1 << 15;
/// `NLA_TYPE_MASK`: the type without `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
const TYPE: u16 = 0x3fff;

/// A sequence of attributes under construction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attributes(Vec<u8>);

impl Attributes {
    pub(crate) fn new() -> Self {
        Self(Vec::with_capacity(128))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// A payload as it stands.
    pub(crate) fn bytes(&mut self, kind: u16, payload: &[u8]) -> &mut Self {
        let start = self.open(kind);
        self.0.extend_from_slice(payload);
        self.close(start)
    }

    pub(crate) fn u8(&mut self, kind: u16, value: u8) -> &mut Self {
        self.bytes(kind, &[value])
    }

    pub(crate) fn be16(&mut self, kind: u16, value: u16) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    pub(crate) fn be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    pub(crate) fn be64(&mut self, kind: u16, value: u64) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    pub(crate) fn ne32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    pub(crate) fn ne64(&mut self, kind: u16, value: u64) -> &mut Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// An address of four or sixteen bytes.
    pub(crate) fn ip(&mut self, kind: u16, address: IpAddr) -> &mut Self {
        match address {
            IpAddr::V4(ip) => self.bytes(kind, &ip.octets()),
            IpAddr::V6(ip) => self.bytes(kind, &ip.octets()),
        }
    }

    /// A string with its NUL.
    pub(crate) fn string(&mut self, kind: u16, text: &str) -> &mut Self {
        let start = self.open(kind);
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
        self.close(start)
    }

    /// Attributes within an attribute.
    pub(crate) fn nest(&mut self, kind: u16, inner: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.open(kind | NESTED);
        inner(self);
        self.close(start)
    }

    /// Attributes within an attribute, as another message had them.
    pub(crate) fn nested(&mut self, kind: u16, payload: &[u8]) -> &mut Self {
        self.bytes(kind | NESTED, payload)
    }

    fn open(&mut self, kind: u16) -> usize {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; 2]);
        self.0.extend_from_slice(&kind.to_ne_bytes());
        start
    }

    fn close(&mut self, start: usize) -> &mut Self {
        // An attribute that outgrows 64 KiB cannot be expressed; the kernel refuses the cut-off length, it never
        // takes half an attribute for a whole one. Callers stay far below.
        let length = u16::try_from(self.0.len() - start).unwrap_or(u16::MAX);
        if let Some(field) = self.0.get_mut(start..start + 2) {
            field.copy_from_slice(&length.to_ne_bytes());
        }
        self.0.resize(align(self.0.len()), 0);
        self
    }
}

/// The attributes in `bytes`, as (type without flags, payload). Ends at the first one that is malformed.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (length, kind) = (ne16(bytes, 0)?, ne16(bytes, 2)?);
        let payload = bytes.get(HEADER..usize::from(length))?;
        bytes = bytes.get(align(usize::from(length))..).unwrap_or_default();
        Some((kind & TYPE, payload))
    })
}

/// The payload of the first attribute of this type.
pub(crate) fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(k, _)| *k == kind).map(|(_, payload)| payload)
}

fn ne16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

/// A 16-bit integer in network byte order.
pub(crate) fn be16(payload: &[u8]) -> Option<u16> {
    payload.try_into().ok().map(u16::from_be_bytes)
}

/// A 32-bit integer in network byte order.
pub(crate) fn be32(payload: &[u8]) -> Option<u32> {
    payload.try_into().ok().map(u32::from_be_bytes)
}

/// A 64-bit integer in network byte order.
pub(crate) fn be64(payload: &[u8]) -> Option<u64> {
    payload.try_into().ok().map(u64::from_be_bytes)
}

/// A 32-bit integer in the host's byte order.
pub(crate) fn ne32(payload: &[u8]) -> Option<u32> {
    payload.try_into().ok().map(u32::from_ne_bytes)
}

/// A 64-bit integer in the host's byte order.
pub(crate) fn ne64(payload: &[u8]) -> Option<u64> {
    payload.try_into().ok().map(u64::from_ne_bytes)
}

/// A string up to its NUL. Bytes that are no UTF-8 are replaced, so that foreign names can at least be shown.
pub(crate) fn text(payload: &[u8]) -> String {
    let end = payload.iter().position(|&b| b == 0).unwrap_or(payload.len());
    String::from_utf8_lossy(payload.get(..end).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_the_kernel_expects() {
        let mut a = Attributes::new();
        a.string(1, "abc").be32(2, 7).nest(3, |n| {
            n.u8(4, 9);
        });
        let expected: &[u8] = &[
            8, 0, 1, 0, b'a', b'b', b'c', 0, // string with its NUL
            8, 0, 2, 0, 0, 0, 0, 7, // big endian
            12, 0, 3, 0x80, 5, 0, 4, 0, 9, 0, 0, 0, // nested flag, inner padding counted
        ];
        assert_eq!(a.as_bytes(), expected);
    }

    #[test]
    fn reads_back_what_it_wrote() {
        let mut a = Attributes::new();
        a.bytes(5, b"xyz").nest(6, |n| {
            n.be16(1, 80).be64(2, 1 << 40);
        });
        assert_eq!(find(a.as_bytes(), 5), Some(&b"xyz"[..]));
        let inner = find(a.as_bytes(), 6).unwrap();
        assert_eq!(find(inner, 1).and_then(be16), Some(80));
        assert_eq!(find(inner, 2).and_then(be64), Some(1 << 40));
        assert_eq!(find(inner, 3), None);
        assert_eq!(text(b"name\0\0"), "name");
    }

    #[test]
    fn malformed_input_ends_the_reading() {
        for bytes in [&[][..], &[4], &[3, 0, 1, 0], &[0, 0, 0, 0], &[200, 0, 1, 0, 1, 2, 3, 4]] {
            assert_eq!(attributes(bytes).count(), 0, "{bytes:?}");
        }
        // The padding of the last attribute may be missing.
        assert_eq!(attributes(&[5, 0, 1, 0, 9]).collect::<Vec<_>>(), [(1, &[9][..])]);
    }
}
