//! When each plugin ran, as bars over the whole time.

use std::fmt::Write;
use std::time::Duration;

use super::record::Record;
use crate::terminal::{Screen, Tone};

/// The bars are no narrower than this, in columns.
const NARROWEST: usize = 10;

/// One line for each call: its name, its bar, its time; and one for all.
pub(super) fn waterfall(record: &Record, screen: Screen) -> String {
    let names: Vec<String> =
        record.calls.iter().map(|call| format!("{} {}", call.plugin_type, call.verb.as_str())).collect();
    let name_width = names.iter().map(|name| name.chars().count()).max().unwrap_or_default().max("total".len());
    let times: Vec<String> = record.calls.iter().map(|call| milliseconds(call.took)).collect();
    let total = milliseconds(record.total);
    let time_width = times.iter().chain([&total]).map(String::len).max().unwrap_or_default();
    // Two spaces before the name, one before and two behind the bar.
    let width = screen.columns().saturating_sub(name_width + time_width + 5).max(NARROWEST);
    let mut text = String::new();
    for ((call, name), time) in record.calls.iter().zip(&names).zip(&times) {
        let (before, length) = bar(call.start, call.took, record.total, width);
        let tone = if call.outcome.is_ok() { Tone::Ok } else { Tone::Error };
        let drawn = screen.paint(tone, "█".repeat(length));
        let after = width - before - length;
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {name:<name_width$} {:before$}{drawn}{:after$}  {time:>time_width$}", "", "");
    }
    let _ = writeln!(text, "  {:<name_width$} {:width$}  {total:>time_width$}", "total", "");
    text
}

/// Where the bar of a call begins, and how long it is: at least one, within `width` (at least 1).
fn bar(start: Duration, took: Duration, total: Duration, width: usize) -> (usize, usize) {
    let whole = total.as_nanos().max(1);
    let columns = |time: Duration| {
        let scaled = time.as_nanos().saturating_mul(width as u128) / whole;
        usize::try_from(scaled).unwrap_or(width)
    };
    let before = columns(start).min(width.saturating_sub(1));
    (before, columns(took).clamp(1, width - before))
}

/// `3.1 ms`.
pub(super) fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_lie_where_their_time_was() {
        let ms = Duration::from_millis;
        assert_eq!(bar(ms(0), ms(50), ms(100), 40), (0, 20));
        assert_eq!(bar(ms(50), ms(50), ms(100), 40), (20, 20));
        assert_eq!(bar(ms(100), ms(0), ms(100), 40), (39, 1), "what takes no time is still seen");
        assert_eq!(bar(ms(0), ms(0), ms(0), 1), (0, 1));
        assert_eq!(milliseconds(Duration::from_micros(3140)), "3.1 ms");
    }
}
