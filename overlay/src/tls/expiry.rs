//! When certificates end: a metric per file, and a warning in time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::metrics::{Metrics, OfFile};

const DAY: i64 = 24 * 60 * 60;
/// How many days before the end there is a warning; each is given once.
const WARNINGS: [i64; 3] = [0, 7, 30];

/// Looks when certificates end.
#[derive(Debug)]
pub(crate) struct ExpiryWatch {
    metrics: Arc<Metrics>,
    /// The last warning given for a file, as an index of [`WARNINGS`].
    warned: BTreeMap<PathBuf, usize>,
}

impl ExpiryWatch {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, warned: BTreeMap::new() }
    }

    /// Says in the metric `certificate_expiry` when the first certificate in `pem`, which is that of the file `path`,
    /// ends; warns if that is soon. What is no certificate has no end.
    pub(crate) fn look(&mut self, path: &Path, pem: &[u8]) {
        let ends = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).filter_map(|der| not_after(&der));
        let Some(end) = ends.min() else { return };
        let file = OfFile { file: path.display().to_string() };
        self.metrics.certificate_expiry.get_or_create(&file).set(end);
        let Some(left) = self.due(path, end - now()) else { return };
        if left <= 0 {
            tracing::error!(file = %path.display(), "the certificate has expired");
        } else {
            tracing::warn!(file = %path.display(), days = left / DAY, "the certificate expires soon");
        }
    }

    /// `left`, the seconds that are left, if a warning is due.
    fn due(&mut self, path: &Path, left: i64) -> Option<i64> {
        let warning = WARNINGS.iter().position(|days| left <= days * DAY);
        let before = match warning {
            Some(warning) => self.warned.insert(path.to_owned(), warning),
            None => self.warned.remove(path),
        };
        (warning.is_some() && warning != before).then_some(left)
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// `notAfter` of a certificate (RFC 5280, section 4.1), in seconds since 1970.
///
/// ```text
/// Certificate ::= SEQUENCE { tbsCertificate SEQUENCE { [0] version OPTIONAL, serialNumber, signature, issuer,
///                                                      validity SEQUENCE { notBefore, notAfter }, … }, … }
/// ```
fn not_after(der: &[u8]) -> Option<i64> {
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;
    let mut certificate = Der(der).expect(SEQUENCE)?;
    let mut tbs = certificate.expect(SEQUENCE)?;
    if tbs.0.first() == Some(&VERSION) {
        tbs.next()?;
    }
    let (_serial, _signature, _issuer) = (tbs.next()?, tbs.next()?, tbs.next()?);
    let mut validity = tbs.expect(SEQUENCE)?;
    let _not_before = validity.next()?;
    let (tag, text) = validity.next()?;
    time(tag, std::str::from_utf8(text.0).ok()?)
}

/// The rest of a DER encoding.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next value and its tag.
    fn next(&mut self) -> Option<(u8, Der<'a>)> {
        let (&[tag, length], rest) = self.0.split_first_chunk()?;
        // Up to 127 in place; otherwise the number of bytes that the length has.
        let (length, rest) = if length < 0x80 {
            (usize::from(length), rest)
        } else {
            let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            if bytes.len() > 4 {
                return None;
            }
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, Der(value)))
    }

    /// The next value, if it has this tag.
    fn expect(&mut self, tag: u8) -> Option<Der<'a>> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, value)| value)
    }
}

/// `YYMMDDHHMMSSZ` (UTCTime, 1950 to 2049) or `YYYYMMDDHHMMSSZ` (GeneralizedTime), in seconds since 1970.
fn time(tag: u8, text: &str) -> Option<i64> {
    const UTC_TIME: u8 = 0x17;
    const GENERALIZED_TIME: u8 = 0x18;
    let (year, rest) = match tag {
        UTC_TIME => {
            let year = digits(text.get(..2)?)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, text.get(2..)?)
        }
        GENERALIZED_TIME => (digits(text.get(..4)?)?, text.get(4..)?),
        _ => return None,
    };
    if rest.len() != 11 || !rest.ends_with('Z') {
        return None;
    }
    let pair = |at: usize| digits(rest.get(at..at + 2)?);
    let (month, day) = (pair(0)?, pair(2)?);
    ((1..=12).contains(&month) && (1..=31).contains(&day)).then_some(())?;
    Some(days(year, month, day) * DAY + pair(4)? * 3600 + pair(6)? * 60 + pair(8)?)
}

fn digits(text: &str) -> Option<i64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Days since 1970-01-01, in the Gregorian calendar: years begin in March, so that the leap day is the last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    // From 0000-03-01 to 1970-01-01 it is 719468 days.
    year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UTC: u8 = 0x17;
    const GENERALIZED: u8 = 0x18;

    #[test]
    fn times_of_both_kinds() {
        for (tag, text, expected) in [
            (UTC, "700101000000Z", Some(0)),
            (UTC, "491231235959Z", Some(2_524_607_999)),
            (UTC, "500101000000Z", Some(-631_152_000)),
            (GENERALIZED, "20261122174105Z", Some(1_795_369_265)),
            (GENERALIZED, "20240229120000Z", Some(1_709_208_000)),
            (GENERALIZED, "99991231235959Z", Some(253_402_300_799)),
            (UTC, "20261122174105Z", None),
            (GENERALIZED, "202611221741Z", None),
            (GENERALIZED, "20261322174105Z", None),
            (GENERALIZED, "2026112217410+Z", None),
            (0x0c, "700101000000Z", None),
        ] {
            assert_eq!(time(tag, text), expected, "{text}");
        }
    }

    /// Made by `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -days 3694`; `openssl x509 -enddate` says
    /// `Jan  2 18:00:12 2037 GMT`.
    #[test]
    fn a_certificate_ends_when_it_says() {
        let pem = include_bytes!("../../tests/fixtures/ends-2037-01-02.pem");
        let der = CertificateDer::from_pem_slice(pem).expect("a certificate");
        assert_eq!(not_after(&der), time(GENERALIZED, "20370102180012Z"));
    }

    #[test]
    fn a_warning_is_given_once_and_again_when_it_is_more_urgent() {
        let mut watch = ExpiryWatch::new(Arc::new(Metrics::new()));
        let mut due = |days: i64| watch.due(Path::new("cert.pem"), days * DAY).is_some();
        assert_eq!(
            [due(31), due(30), due(29), due(7), due(6), due(0), due(-1)],
            [false, true, false, true, false, true, false]
        );
        assert_eq!([due(90), due(20)], [false, true], "it was replaced");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = not_after(&bytes);
        }
    }
}
