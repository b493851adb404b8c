//! Timestamps in the format of records.

use std::time::SystemTime;

/// `time` in UTC as RFC 3339 with whole seconds: `2026-07-04T23:06:12Z`.
///
/// A time that the format cannot represent (before 1970, after 9999) becomes the nearest one that it can.
pub fn rfc3339(time: SystemTime) -> String {
    let latest = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(253_402_300_799);
    let time = time.clamp(SystemTime::UNIX_EPOCH, latest);
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn spells_any_time() {
        let epoch = SystemTime::UNIX_EPOCH;
        assert_eq!(rfc3339(epoch), "1970-01-01T00:00:00Z");
        assert_eq!(
            rfc3339(epoch - Duration::from_secs(5)),
            "1970-01-01T00:00:00Z"
        );
        let far = epoch + Duration::from_secs(1 << 40);
        assert_eq!(rfc3339(far), "9999-12-31T23:59:59Z");
    }
}
