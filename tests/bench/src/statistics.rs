//! Percentiles, medians with their intervals, and the processor time of a process.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "numbers of samples, and positions in lists of them"
)]

use std::time::Duration;

/// Ticks of `/proc/PID/stat` a second: `USER_HZ`, part of the kernel's interface.
const TICKS: f64 = 100.0;

/// A median, and the interval that contains the true one with a probability of 95 %.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Median {
    pub(crate) value: f64,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
}

impl Median {
    /// Takes the interval from the ranks of the values, so that single outliers leave it as it is. Each value lies above the
    /// true median with a probability of one half, and their number is within 1.96 standard deviations of its mean.
    pub(crate) fn of(values: &mut [f64]) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        let count = values.len() as f64;
        let outside = (((count - 1.96 * count.sqrt()) / 2.0) as usize).saturating_sub(1);
        let at = |rank: usize| values.get(rank).copied().unwrap_or_default();
        let middle = (at(values.len().saturating_sub(1) / 2), at(values.len() / 2));
        Self {
            value: f64::midpoint(middle.0, middle.1),
            lowest: at(outside),
            highest: at(values.len().saturating_sub(1 + outside)),
        }
    }
}

/// Sorts the values and returns the percentile `share` (0 to 1).
pub(crate) fn percentile(values: &mut [Duration], share: f64) -> Duration {
    values.sort_unstable();
    let position = ((values.len() as f64 * share) as usize).min(values.len().saturating_sub(1));
    values.get(position).copied().unwrap_or_default()
}

pub(crate) fn milliseconds(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1000.0)
}

/// Returns the processor time of a process so far, its own and the kernel's for it.
pub(crate) fn processor_time(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("a running process");
    ticks(&stat).map(|ticks| Duration::from_secs_f64(ticks / TICKS)).expect("proc_pid_stat(5)")
}

/// Adds `utime` and `stime`. The name of the program, in parentheses, may contain anything.
fn ticks(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<f64>().ok();
    Some(next()? + next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_of_the_list() {
        let mut values: Vec<Duration> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(&mut values, 0.5), Duration::from_millis(51));
        assert_eq!(percentile(&mut values, 0.99), Duration::from_millis(100));
        assert_eq!(percentile(&mut values, 1.0), Duration::from_millis(100));
        assert_eq!(percentile(&mut [], 0.5), Duration::ZERO);
    }

    #[test]
    fn median_has_interval_of_its_ranks() {
        // The binomial distribution of 32 values: ranks 10 and 23 contain the median with a probability of 98 %, 11 and 22
        // with 95 % at most.
        let mut values: Vec<f64> = (1..=32).rev().map(f64::from).collect();
        assert_eq!(Median::of(&mut values), Median { value: 16.5, lowest: 10.0, highest: 23.0 });
        let mut values: Vec<f64> = (1..=5).map(f64::from).collect();
        assert_eq!(Median::of(&mut values), Median { value: 3.0, lowest: 1.0, highest: 5.0 });
        assert_eq!(Median::of(&mut []), Median { value: 0.0, lowest: 0.0, highest: 0.0 });
    }

    #[test]
    fn outliers_leave_median_and_interval() {
        let of = |outlier: f64| {
            let values = (0..32).map(|number| if number % 8 == 0 { outlier } else { 0.9 });
            Median::of(&mut values.collect::<Vec<_>>())
        };
        assert_eq!(of(9.0), Median { value: 0.9, lowest: 0.9, highest: 0.9 });
        assert_eq!(of(0.1), of(9.0));
    }

    #[test]
    fn processor_time_is_that_of_user_and_kernel() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 900 0 3 0 250 150 9 9 20 0 4 0 270122 3133440 356";
        assert_eq!(ticks(stat), Some(400.0));
        assert_eq!(ticks("7 (a"), None);
        assert_eq!(ticks("7 (a) S 1 2"), None);
        let (own, before) = (std::process::id(), std::time::Instant::now());
        while processor_time(own) == Duration::ZERO {
            assert!(before.elapsed() < Duration::from_secs(30), "the time of this process stays 0");
        }
    }
}
