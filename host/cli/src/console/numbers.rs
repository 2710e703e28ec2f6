//! Numbers with units.

use dsperse_report::text;

/// `3.2 s`, `450 ms`, `2 min 5 s`.
#[must_use]
pub fn seconds(s: f64) -> String {
    if s < 0.0005 {
        "0 ms".to_owned()
    } else if s < 1.0 {
        format!("{:.0} ms", s * 1000.0)
    } else if s < 60.0 {
        format!("{s:.1} s")
    } else {
        let whole = s.round();
        format!("{:.0} min {:.0} s", (whole / 60.0).floor(), whole % 60.0)
    }
}

/// `512 B`, `3.1 KiB`, `2.0 GiB`: as on a report's page, with plain spaces.
#[must_use]
pub fn bytes(n: u64) -> String {
    text::bytes(n).replace(text::THIN, " ")
}

/// `1.5 k`, `44.4 k`, `3.1 M`.
#[must_use]
pub fn count(n: u64) -> String {
    #[allow(clippy::cast_precision_loss)]
    let value = n as f64;
    match n {
        0..=9_999 => n.to_string(),
        10_000..=999_999 => format!("{:.1} k", value / 1e3),
        1_000_000..=999_999_999 => format!("{:.1} M", value / 1e6),
        _ => format!("{:.1} G", value / 1e9),
    }
}

/// `97.2 %`.
#[must_use]
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// A small or large number in few digits: `0.0031`, `2.4e-7`.
#[must_use]
pub fn short(value: f64) -> String {
    let magnitude = value.abs();
    if value == 0.0 {
        "0".to_owned()
    } else if (1e-3..1e5).contains(&magnitude) {
        format!("{value:.4}")
    } else {
        format!("{value:.1e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        assert_eq!(seconds(0.0), "0 ms");
        assert_eq!(seconds(0.45), "450 ms");
        assert_eq!(seconds(59.96), "60.0 s");
        assert_eq!(seconds(125.0), "2 min 5 s");
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(3174), "3.1 KiB");
        assert_eq!(count(44_426), "44.4 k");
        assert_eq!(percent(0.9721), "97.2 %");
        assert_eq!(short(0.000_000_24), "2.4e-7");
    }
}
