use std::net::Ipv4Addr;

/// Numbers of options (RFC 2132, and the RFC named).
pub(crate) mod code {
    pub(crate) const PAD: u8 = 0;
    pub(crate) const SUBNET_MASK: u8 = 1;
    pub(crate) const ROUTERS: u8 = 3;
    pub(crate) const DNS_SERVERS: u8 = 6;
    pub(crate) const HOST_NAME: u8 = 12;
    pub(crate) const DOMAIN_NAME: u8 = 15;
    pub(crate) const MTU: u8 = 26;
    pub(crate) const STATIC_ROUTES: u8 = 33;
    pub(crate) const REQUESTED_ADDRESS: u8 = 50;
    pub(crate) const LEASE_TIME: u8 = 51;
    pub(crate) const OVERLOAD: u8 = 52;
    pub(crate) const MESSAGE_TYPE: u8 = 53;
    pub(crate) const SERVER: u8 = 54;
    pub(crate) const REQUEST_LIST: u8 = 55;
    pub(crate) const MESSAGE: u8 = 56;
    pub(crate) const MAX_MESSAGE_SIZE: u8 = 57;
    /// T1: when to renew.
    pub(crate) const RENEWAL_TIME: u8 = 58;
    /// T2: when to rebind.
    pub(crate) const REBINDING_TIME: u8 = 59;
    pub(crate) const VENDOR_CLASS: u8 = 60;
    pub(crate) const CLIENT_ID: u8 = 61;
    /// RFC 3004.
    pub(crate) const USER_CLASS: u8 = 77;
    /// RFC 3397.
    pub(crate) const DOMAIN_SEARCH: u8 = 119;
    /// RFC 3442.
    pub(crate) const CLASSLESS_ROUTES: u8 = 121;
    pub(crate) const END: u8 = 255;
}

/// Options, each once, in the order in which they first came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options(Vec<(u8, Vec<u8>)>);

impl Options {
    /// Sets an option, in the place of an earlier value.
    pub(crate) fn set(&mut self, code: u8, value: impl Into<Vec<u8>>) {
        let value = value.into();
        match self.slot(code) {
            Some(slot) => *slot = value,
            None => self.0.push((code, value)),
        }
    }

    /// Adds a part of an option behind those that it has.
    pub(crate) fn append(&mut self, code: u8, part: &[u8]) {
        match self.slot(code) {
            Some(slot) => slot.extend_from_slice(part),
            None => self.0.push((code, part.to_vec())),
        }
    }

    fn slot(&mut self, code: u8) -> Option<&mut Vec<u8>> {
        self.0.iter_mut().find(|(c, _)| *c == code).map(|(_, value)| value)
    }

    /// The same without an option.
    pub(crate) fn without(mut self, code: u8) -> Self {
        self.0.retain(|(c, _)| *c != code);
        self
    }

    /// All, by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u8, &[u8])> + Clone {
        self.0.iter().map(|(code, value)| (*code, value.as_slice()))
    }

    /// The bytes of an option.
    pub(crate) fn value(&self, code: u8) -> Option<&[u8]> {
        self.iter().find(|(c, _)| *c == code).map(|(_, value)| value)
    }

    /// An option of several addresses. One that is cut off is left out.
    pub(crate) fn addresses(&self, code: u8) -> Vec<Ipv4Addr> {
        self.value(code).unwrap_or_default().as_chunks::<4>().0.iter().map(|&bytes| Ipv4Addr::from(bytes)).collect()
    }

    /// An option of exactly one address.
    pub(crate) fn address(&self, code: u8) -> Option<Ipv4Addr> {
        self.value(code)?.try_into().ok().map(|bytes: [u8; 4]| Ipv4Addr::from(bytes))
    }

    /// An option of 32 bits, such as seconds.
    pub(crate) fn number(&self, code: u8) -> Option<u32> {
        self.value(code)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// An option of 16 bits.
    pub(crate) fn short_number(&self, code: u8) -> Option<u16> {
        self.value(code)?.try_into().ok().map(u16::from_be_bytes)
    }

    /// An option that is text for people.
    pub(crate) fn text(&self, code: u8) -> Option<String> {
        let text = String::from_utf8_lossy(self.value(code)?).trim_end_matches('\0').to_owned();
        Some(text.replace(char::is_control, " ")).filter(|text| !text.is_empty())
    }
}

impl FromIterator<(u8, Vec<u8>)> for Options {
    fn from_iter<I: IntoIterator<Item = (u8, Vec<u8>)>>(options: I) -> Self {
        let mut all = Self::default();
        options.into_iter().for_each(|(code, value)| all.set(code, value));
        all
    }
}
