//! Numbers with units, and names of others made harmless.

use dsperse_documents::foreign;

/// Narrow no-break space between a number's groups and before its unit.
pub const THIN: char = '\u{202f}';

/// `12 345 678`.
#[must_use]
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, d) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(THIN);
        }
        out.push(d);
    }
    out
}

/// `950`, `44.4 k`, `3.1 M`, `4.1 G`.
#[must_use]
pub fn count(n: u64) -> String {
    let value = n as f64;
    match n {
        0..=9_999 => grouped(n),
        10_000..=999_949 => format!("{:.1}{THIN}k", value / 1e3),
        999_950..=999_949_999 => format!("{:.1}{THIN}M", value / 1e6),
        _ => format!("{:.1}{THIN}G", value / 1e9),
    }
}

/// `12.3 s`, `450 ms`, `2 min 5 s`.
#[must_use]
pub fn seconds(s: f64) -> String {
    if !s.is_finite() || s < 0.0 {
        return "unknown".to_owned();
    }
    if s == 0.0 {
        return format!("0{THIN}s");
    }
    if s < 0.001 {
        return format!("<{THIN}1{THIN}ms");
    }
    if s < 0.9995 {
        return format!("{:.0}{THIN}ms", s * 1000.0);
    }
    if s < 59.95 {
        return format!("{s:.1}{THIN}s");
    }
    let whole = s.round() as u64;
    let (hours, minutes, rest) = (whole / 3600, whole / 60 % 60, whole % 60);
    if hours > 0 {
        format!("{}{THIN}h {minutes}{THIN}min", grouped(hours))
    } else {
        format!("{minutes}{THIN}min {rest}{THIN}s")
    }
}

/// `512 B`, `3.1 KiB`, `2.0 GiB`.
#[must_use]
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (n as f64, 0);
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{n}{THIN}B")
    } else {
        format!("{value:.1}{THIN}{}", UNITS[unit])
    }
}

/// `97.2 %`; what is not quite all or nothing is not rounded to it.
#[must_use]
pub fn percent(share: f64) -> String {
    let value = share * 100.0;
    if !value.is_finite() {
        "unknown".to_owned()
    } else if value > 0.0 && value < 0.05 {
        format!("<{THIN}0.1{THIN}%")
    } else if (99.95..100.0).contains(&value) {
        format!(">{THIN}99.9{THIN}%")
    } else if value == 0.0 || value == 100.0 {
        format!("{value:.0}{THIN}%")
    } else {
        format!("{value:.1}{THIN}%")
    }
}

/// A relative error: `0.31 %` where that reads well, else `3.1e-6`.
#[must_use]
pub fn error(e: Option<f64>) -> String {
    match e {
        None => "not finite".to_owned(),
        Some(0.0) => "0".to_owned(),
        Some(e) if (1e-4..10.0).contains(&e) => {
            let percent = e * 100.0;
            let digits = if percent < 0.1 { 3 } else { 2 };
            format!("{percent:.digits$}{THIN}%")
        }
        Some(e) => format!("{e:.1e}"),
    }
}

/// A value of a tensor in few digits.
#[must_use]
pub fn value(v: Option<f64>) -> String {
    match v {
        None => "not finite".to_owned(),
        Some(0.0) => "0".to_owned(),
        Some(v) if (1e-3..1e6).contains(&v.abs()) => {
            let text = format!("{v:.5}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        Some(v) => format!("{v:.3e}"),
    }
}

/// `1×64×56×56`; `scalar` for none.
#[must_use]
pub fn shape(dims: &[u64]) -> String {
    if dims.is_empty() {
        return "scalar".to_owned();
    }
    let dims: Vec<String> = dims.iter().map(u64::to_string).collect();
    dims.join("×")
}

/// `1 slice`, `5 slices`.
#[must_use]
pub fn plural(n: usize, one: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{} {one}{s}", grouped(n as u64))
}

/// Indices in words: `0–3, 7`.
#[must_use]
pub fn ranges(indices: &[usize]) -> String {
    spans(indices)
        .into_iter()
        .map(|(a, b)| match b - a {
            0 => a.to_string(),
            1 => format!("{a}, {b}"),
            _ => format!("{a}–{b}"),
        })
        .collect::<Vec<_>>()
        .join(", ")
}

/// Ascending indices as first and last of each gapless stretch.
#[must_use]
pub fn spans(indices: &[usize]) -> Vec<(usize, usize)> {
    let mut spans: Vec<(usize, usize)> = Vec::new();
    for &i in indices {
        match spans.last_mut() {
            Some((_, last)) if *last + 1 == i => *last = i,
            _ => spans.push((i, i)),
        }
    }
    spans
}

/// Shortened to so many characters.
#[must_use]
pub fn short(text: &str, most: usize) -> String {
    let text = foreign::field(text);
    if text.chars().count() <= most {
        return text.into_owned();
    }
    let mut out: String = text.chars().take(most.saturating_sub(1)).collect();
    out.push('…');
    out
}

/// A moment in words, UTC: `2026-01-31 12:00:03 UTC`.
#[must_use]
pub fn moment(unix: f64) -> Option<String> {
    let at = jiff::Timestamp::from_second(unix.floor() as i64).ok()?;
    Some(at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// Escapes text for HTML, attributes included, after making it harmless to the eye.
#[must_use]
pub fn html(raw: &str) -> String {
    let raw = foreign::field(raw);
    let mut out = String::with_capacity(raw.len());
    for c in raw.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        text.replace(THIN, " ")
    }

    #[test]
    fn numbers_have_groups_and_units() {
        assert_eq!(plain(&grouped(1_234_567)), "1 234 567");
        assert_eq!(plain(&grouped(999)), "999");
        assert_eq!(plain(&count(44_426)), "44.4 k");
        assert_eq!(plain(&count(999_999)), "1.0 M");
        assert_eq!(plain(&seconds(0.45)), "450 ms");
        assert_eq!(plain(&seconds(59.97)), "1 min 0 s");
        assert_eq!(plain(&seconds(7260.0)), "2 h 1 min");
        assert_eq!(plain(&bytes(1023)), "1023 B");
        assert_eq!(plain(&bytes(1_048_575)), "1.0 MiB");
        assert_eq!(plain(&error(Some(0.0031))), "0.31 %");
        assert_eq!(plain(&error(Some(3.1e-6))), "3.1e-6");
        assert_eq!(value(Some(-0.5)), "-0.5");
        assert_eq!(shape(&[1, 3, 224, 224]), "1×3×224×224");
    }

    #[test]
    fn nearly_all_is_not_all() {
        assert_eq!(plain(&percent(1.0)), "100 %");
        assert_eq!(plain(&percent(0.99999)), "> 99.9 %");
        assert_eq!(plain(&percent(0.00001)), "< 0.1 %");
        assert_eq!(plain(&percent(0.972)), "97.2 %");
    }

    #[test]
    fn neighbours_are_told_as_ranges() {
        assert_eq!(ranges(&[0, 1, 2, 3, 7, 9, 10]), "0–3, 7, 9, 10");
        assert_eq!(ranges(&[]), "");
    }

    #[test]
    fn text_from_files_is_escaped_and_harmless() {
        assert_eq!(
            html("<script>\"a\" & 'b'</script>\u{202e}\u{1b}[2J"),
            "&lt;script&gt;&quot;a&quot; &amp; &#39;b&#39;&lt;/script&gt;\\u{202e}\\u{1b}[2J"
        );
    }
}
