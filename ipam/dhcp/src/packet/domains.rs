//! Domain names in options. They end up in a resolv.conf(5), where a line break would be a line of its own: what is no
//! host name does not pass.

/// The longest name and the longest label (RFC 1035, section 2.3.4).
const NAME_BYTES: usize = 253;
const LABEL_BYTES: usize = 63;
/// The two highest bits of a length byte: the rest is a pointer (RFC 1035, section 4.1.4).
const POINTER: u8 = 0xc0;

/// Whether `name` can be a domain.
pub(crate) fn is_domain(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME_BYTES && name.trim_end_matches('.').split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    (1..=LABEL_BYTES).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// The option "domain search" (RFC 3397): names in the form of DNS, with compression. Empty if it is malformed.
pub(crate) fn search_list(option: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    let mut at = 0;
    while at < option.len() {
        let Some((name, next)) = name_at(option, at) else { return Vec::new() };
        names.push(name);
        at = next;
    }
    names
}

/// The name at `start`, and where the next one begins.
fn name_at(option: &[u8], start: usize) -> Option<(String, usize)> {
    let (mut at, mut next) = (start, None);
    // Pointers lead back, each further than the one before: so none is followed twice.
    let mut earliest = start;
    let mut labels: Vec<&str> = Vec::new();
    loop {
        let length = *option.get(at)?;
        match length & POINTER {
            POINTER => {
                let low = *option.get(at + 1)?;
                let target = usize::from(u16::from_be_bytes([length & !POINTER, low]));
                next = next.or(Some(at + 2));
                if target >= earliest {
                    return None;
                }
                (at, earliest) = (target, target);
            }
            0 if length == 0 => break,
            0 => {
                let end = at + 1 + usize::from(length);
                labels.push(std::str::from_utf8(option.get(at + 1..end)?).ok()?);
                at = end;
            }
            _ => return None,
        }
    }
    let name = labels.join(".");
    is_domain(&name).then_some((name, next.unwrap_or(at + 1)))
}
