use std::time::SystemTime;

use kafkacrypto::time::UnixTime;

use crate::failure::Failure;

/// The system's time, unless it can't be right: what is signed must not be based on a clock that was never set.
pub(crate) fn now() -> Result<UnixTime, Failure> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok();
    let now = since.and_then(|since| UnixTime::from_secs_f64(since.as_secs_f64()));
    let message = "the system's clock is before the release of this program; set it first";
    now.filter(|now| *now >= UnixTime::from_secs(RELEASED)).ok_or_else(|| Failure::new(Failure::FAILED, message))
}

/// A moment as `2026-11-24 22:00:00 UTC`.
pub(crate) fn utc(time: UnixTime) -> String {
    let seconds = time.as_millis() / 1000;
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = date(days);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// The date of a day since 1970-01-01, counted in years that begin in March, so that leap days come last.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    (era * 400 + year + i64::from(month <= 2), month, day)
}

/// 2026-11-01.
const RELEASED: u32 = 1_793_491_200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_have_their_dates() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_793_491_200, "2026-11-01 00:00:00 UTC"),
            (4_107_542_399, "2100-02-28 23:59:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(utc(UnixTime::from_secs(seconds)), text);
        }
    }
}
