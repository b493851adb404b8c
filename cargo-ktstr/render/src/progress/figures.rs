//! Sizes and times in words.

use std::time::Duration;

/// `40 s`, `5m 20s`: no more exact than an estimate is.
pub(super) fn about(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 60 {
        return format!("{seconds} s");
    }
    let tens = seconds.div_ceil(10) * 10;
    humantime::format_duration(Duration::from_secs(tens)).to_string()
}

/// `151.8 MiB`; `12 KiB` where that is less than one.
pub(super) fn mib(bytes: u64) -> String {
    match bytes {
        0..0x10_0000 => format!("{} KiB", bytes.div_ceil(1 << 10)),
        _ => format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
    }
}

/// `8.2 s`, `5m 12s`
pub(super) fn duration(took: Duration) -> String {
    if took < Duration::from_secs(60) {
        format!("{:.1} s", took.as_secs_f64())
    } else {
        humantime::format_duration(Duration::from_secs(took.as_secs())).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_for_people() {
        assert_eq!(duration(Duration::from_millis(8249)), "8.2 s");
        assert_eq!(duration(Duration::from_millis(312_900)), "5m 12s");
        assert_eq!(about(Duration::from_millis(8249)), "8 s");
        assert_eq!(about(Duration::from_millis(312_900)), "5m 20s");
    }

    #[test]
    fn sizes_are_in_the_unit_that_fits() {
        assert_eq!(mib(1), "1 KiB");
        assert_eq!(mib((1 << 20) - 1), "1024 KiB");
        assert_eq!(mib(3 << 19), "1.5 MiB");
    }
}
