//! Numbers for people.

/// `1536` gives `1.5 KiB`; below 1024 bytes exactly.
pub fn bytes(value: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if value < 1024 {
        return count(value, "byte");
    }
    let mut size = value as f64 / 1024.0;
    let mut unit = 0;
    // 1023.95 would print as 1024.0.
    while size >= 1023.95 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}

/// `1 block`, `2 blocks`.
pub fn count(value: u64, noun: &str) -> String {
    let ending = match value {
        1 => "",
        _ if noun.ends_with("ss") => "es",
        _ => "s",
    };
    format!("{value} {noun}{ending}")
}

/// `1_820_000` nanoseconds give `1.8 ms`.
pub fn duration(ns: u64) -> String {
    let (value, unit) = match ns {
        0..1_000 => return format!("{ns} ns"),
        1_000..1_000_000 => (ns as f64 / 1e3, "us"),
        1_000_000..1_000_000_000 => (ns as f64 / 1e6, "ms"),
        _ => (ns as f64 / 1e9, "s"),
    };
    if value < 10.0 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_one_digit_and_plurals_are_right() {
        for (value, text) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (1023, "1023 bytes"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (3 << 30, "3.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(value), text);
        }
        for (ns, text) in
            [(999, "999 ns"), (1_820_000, "1.8 ms"), (25_000, "25 us"), (61_000_000_000, "61 s")]
        {
            assert_eq!(duration(ns), text);
        }
        assert_eq!(count(2, "process"), "2 processes");
        assert_eq!(count(1, "finding"), "1 finding");
    }
}
