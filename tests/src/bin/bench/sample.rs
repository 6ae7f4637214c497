//! Times.

use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

/// What one operation took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    /// Wall clock.
    pub(crate) wall: Duration,
    /// CPU time of the processes it started, and of theirs; `None` where others did the work.
    pub(crate) cpu: Option<Duration>,
}

/// Runs `work` and measures it. Only one measurement may be under way at a time: CPU time is counted by process.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Sample) {
    let (before, started) = (cpu_of_children(), Instant::now());
    let outcome = work();
    let wall = started.elapsed();
    (outcome, Sample { wall, cpu: Some(cpu_of_children().saturating_sub(before)) })
}

fn cpu_of_children() -> Duration {
    let duration = |time: TimeVal| {
        Duration::from_micros(u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap_or_default())
    };
    // It cannot fail for one's own children.
    getrusage(UsageWho::RUSAGE_CHILDREN)
        .map(|u| duration(u.user_time()) + duration(u.system_time()))
        .unwrap_or_default()
}

/// The median of wall and of CPU times, in milliseconds; `None` of nothing.
pub(crate) fn medians(samples: &[Sample]) -> Option<(f64, Option<f64>)> {
    let wall = median(samples.iter().map(|sample| sample.wall).collect())?;
    Some((wall, median(samples.iter().filter_map(|sample| sample.cpu).collect())))
}

fn median(mut times: Vec<Duration>) -> Option<f64> {
    times.sort();
    let middle = times.len() / 2;
    let upper = times.get(middle)?.as_secs_f64() * 1e3;
    // Of an even number, the mean of the middle two.
    Some(if times.len() % 2 == 1 { upper } else { (upper + times.get(middle - 1)?.as_secs_f64() * 1e3) / 2.0 })
}
