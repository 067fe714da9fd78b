//! Numbers and times in words. Pure; the clock is an argument.

/// Thousands with commas: `12,345`.
pub(crate) fn count(number: impl Into<u64>) -> String {
    let digits = number.into().to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 service`, `2 services`.
pub(crate) fn plural(number: u32, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// A length of time in its largest unit: `3 s`, `14 min`, `3 h`, `2 d`.
pub(crate) fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// How long ago: `now`, `14 min ago`; empty when the time is not recorded.
pub(crate) fn ago(at_ms: u64, now_ms: u64) -> String {
    match now_ms.saturating_sub(at_ms) {
        _ if at_ms == 0 => String::new(),
        0..1000 => "now".to_owned(),
        ms => format!("{} ago", span(ms)),
    }
}

/// A number with so many digits behind its point. By hand: the standard library's exact way brings 10 KB.
pub(crate) fn decimal(value: f64, places: u32) -> String {
    let scale = 10_u64.pow(places);
    let scaled = (value.abs() * scale as f64 + 0.5) as u64;
    let sign = if value < 0.0 && scaled > 0 { "-" } else { "" };
    let (whole, rest) = (scaled / scale, scaled % scale);
    if places == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{rest:0width$}", width = places as usize) }
}

/// A duration as measured: `0.4 ms`, `212 ms`, `1.8 s`.
pub(crate) fn duration(ms: f64) -> String {
    if ms < 10.0 {
        decimal(ms, 1) + " ms"
    } else if ms < 1000.0 {
        decimal(ms, 0) + " ms"
    } else {
        decimal(ms / 1000.0, 1) + " s"
    }
}

/// Bytes: `482 bytes`, `1.2 KB`.
pub(crate) fn bytes(number: usize) -> String {
    match number {
        1 => "1 byte".to_owned(),
        0..1_000 => format!("{number} bytes"),
        1_000..1_000_000 => decimal(number as f64 / 1e3, 1) + " KB",
        _ => decimal(number as f64 / 1e6, 1) + " MB",
    }
}

/// A text with a full stop behind it.
pub(crate) fn sentence(text: &str) -> String {
    let text = text.trim_end();
    if text.ends_with(['.', '!', '?', ':']) { text.to_owned() } else { format!("{text}.") }
}

/// Hours and minutes of a time in the browser's zone, which `offset_min` gives as minutes east of UTC.
pub(crate) fn clock(at_ms: u64, offset_min: i32, seconds: bool) -> String {
    let local = (at_ms / 1000) as i64 + i64::from(offset_min) * 60;
    let of_day = local.rem_euclid(86_400);
    let (hours, minutes) = (of_day / 3600, of_day % 3600 / 60);
    if seconds { format!("{hours:02}:{minutes:02}:{:02}", of_day % 60) } else { format!("{hours:02}:{minutes:02}") }
}

/// Minutes east of UTC, here and now.
pub(crate) fn zone_min() -> i32 {
    -(js_sys::Date::new_0().get_timezone_offset() as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, text) in [(0u64, "0"), (999, "999"), (1000, "1,000"), (48_213_907, "48,213,907")] {
            assert_eq!(count(number), text);
        }
        assert_eq!(plural(1, "service", "services"), "1 service");
        assert_eq!(plural(1200, "service", "services"), "1,200 services");
    }

    #[test]
    fn ages_are_said_in_their_largest_unit() {
        let now = 10 * 86_400_000;
        for (ms_ago, text) in [(0, "now"), (3_500, "3 s ago"), (90_000, "1 min ago"), (7_200_000, "2 h ago"), (200_000_000, "2 d ago")] {
            assert_eq!(ago(now - ms_ago, now), text);
        }
        assert_eq!(ago(0, now), "", "not recorded");
        assert_eq!(ago(now + 5_000, now), "now", "the clocks differ");
    }

    #[test]
    fn durations_and_sizes_keep_two_or_three_digits() {
        for (ms, text) in [(0.42, "0.4 ms"), (212.4, "212 ms"), (1840.0, "1.8 s")] {
            assert_eq!(duration(ms), text);
        }
        for (number, text) in [(0, "0 bytes"), (1, "1 byte"), (482, "482 bytes"), (1234, "1.2 KB"), (5_000_000, "5.0 MB")] {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn a_sentence_ends_once() {
        for (text, said) in [("No cluster leader", "No cluster leader."), ("Gone.\n", "Gone."), ("Why?", "Why?")] {
            assert_eq!(sentence(text), said);
        }
    }

    #[test]
    fn the_clock_follows_the_zone() {
        let noon = 12 * 3_600_000;
        assert_eq!(clock(noon, 0, false), "12:00");
        assert_eq!(clock(noon + 5_000, 120, true), "14:00:05");
        assert_eq!(clock(3_600_000, -120, false), "23:00");
    }
}
