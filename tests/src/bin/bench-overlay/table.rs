//! The table that is printed: a column for each case.

use std::fmt::Write as _;
use std::time::Duration;

/// Times of the same thing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// The smallest time that so many hundredths of them are not above.
    fn percentile(&self, hundredths: usize) -> Duration {
        let mut times = self.0.clone();
        times.sort();
        let rank = (times.len() * hundredths).div_ceil(100).max(1);
        times.get(rank - 1).copied().unwrap_or_default()
    }
}

impl Extend<Duration> for Times {
    fn extend<I: IntoIterator<Item = Duration>>(&mut self, times: I) {
        self.0.extend(times);
    }
}

/// What was measured in one case.
#[derive(Clone, Debug, Default)]
pub(crate) struct Column {
    pub(crate) title: String,
    pub(crate) floor: Times,
    pub(crate) cold_start: Times,
    pub(crate) cold_cpu: Duration,
    pub(crate) cold_messages: f64,
    pub(crate) join: Times,
    pub(crate) leave: Times,
    pub(crate) churn: Times,
    /// Of one CPU.
    pub(crate) churn_cpu: f64,
    pub(crate) renewal_cpu: Duration,
    pub(crate) renewal_messages: f64,
    /// With the start of the program that asks for it.
    pub(crate) check: Times,
    /// MB.
    pub(crate) peak: f64,
    pub(crate) resident: f64,
}

/// What a row shows of a column.
type Cell = fn(&Column) -> String;

const ROWS: [(&str, Cell); 16] = [
    ("cold start, median, s", |c| seconds(c.cold_start.percentile(50))),
    ("  bare kernel work, median, s", |c| seconds(c.floor.percentile(50))),
    ("  CPU, s", |c| seconds(c.cold_cpu)),
    ("  netlink messages", |c| format!("{}", c.cold_messages)),
    ("one joins, median, ms", |c| milliseconds(c.join.percentile(50))),
    ("  p99", |c| milliseconds(c.join.percentile(99))),
    ("one leaves, median, ms", |c| milliseconds(c.leave.percentile(50))),
    ("  p99", |c| milliseconds(c.leave.percentile(99))),
    ("1 % churn per second, median, ms", |c| milliseconds(c.churn.percentile(50))),
    ("  p99", |c| milliseconds(c.churn.percentile(99))),
    ("  CPU, %", |c| format!("{:.1}", c.churn_cpu * 100.0)),
    ("all renew and one joins, CPU, s", |c| seconds(c.renewal_cpu)),
    ("  netlink messages, with that one", |c| format!("{}", c.renewal_messages)),
    ("full check by cnitool, median, ms", |c| milliseconds(c.check.percentile(50))),
    ("memory, peak, MB", |c| format!("{:.1}", c.peak)),
    ("  at the end, MB", |c| format!("{:.1}", c.resident)),
];

/// The table.
pub(crate) fn of(columns: &[Column]) -> String {
    let mut text = format!("{:<36}", "");
    for column in columns {
        let _ = write!(text, " {:>16}", column.title);
    }
    for (name, cell) in ROWS {
        let _ = write!(text, "\n{name:<36}");
        for column in columns {
            let _ = write!(text, " {:>16}", cell(column));
        }
    }
    text + "\n"
}

fn seconds(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64())
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1e3)
}
