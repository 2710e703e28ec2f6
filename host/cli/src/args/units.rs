//! Durations and sizes as people type them.

use std::time::Duration;

/// Parses `90`, `90s`, `500ms`, `5m`, `2h`, `1h30m` (a bare number means seconds).
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong =
        || format!("expected a duration such as \"90s\", \"5m\" or \"1h30m\", found \"{text}\"");
    let mut seconds = 0.0f64;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let letters = tail
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        seconds += number
            * match unit {
                "ms" => 0.001,
                "" | "s" => 1.0,
                "m" | "min" => 60.0,
                "h" => 3600.0,
                "d" => 86_400.0,
                _ => return Err(wrong()),
            };
        rest = tail.trim_start();
    }
    let duration = Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?;
    if duration.is_zero() {
        return Err(format!("expected a duration above zero, found \"{text}\""));
    }
    Ok(duration)
}

/// Splits `1.5 GiB` into the number and the unit, in lower case.
fn number_and_unit(text: &str) -> Option<(f64, String)> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim().to_ascii_lowercase()))
}

/// Parses a number of weights: `100000`, `500K`, `8M`, `1.5M`, `1G` (powers of 1000).
pub fn count(text: &str) -> Result<u64, String> {
    let wrong = || format!("expected a number such as \"100000\" or \"8M\", found \"{text}\"");
    let (number, unit) = number_and_unit(text).ok_or_else(wrong)?;
    let factor = match unit.as_str() {
        "" => 1.0,
        "k" => 1e3,
        "m" => 1e6,
        "g" | "b" => 1e9,
        _ => return Err(wrong()),
    };
    let count = number * factor;
    if !(1.0..=1e15).contains(&count) {
        return Err(wrong());
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Ok(count as u64)
}

/// Less memory than any worker takes.
const LEAST_MEMORY: f64 = 1_048_576.0;

/// Parses an amount of memory: `4194304`, `512M`, `4G`, `4GiB`, `1GB` (K, M, G, T are powers of 1024; KB, MB, GB,
/// TB powers of 1000).
pub fn size(text: &str) -> Result<u64, String> {
    let wrong =
        || format!("expected a size such as \"512M\", \"4G\" or \"2GiB\", found \"{text}\"");
    let (number, unit) = number_and_unit(text).ok_or_else(wrong)?;
    let factor: f64 = match unit.as_str() {
        "" | "b" => 1.0,
        "k" | "kib" => 1024.0,
        "m" | "mib" => 1_048_576.0,
        "g" | "gib" => 1_073_741_824.0,
        "t" | "tib" => 1_099_511_627_776.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        _ => return Err(wrong()),
    };
    let bytes = number * factor;
    if !(1.0..=1e18).contains(&bytes) {
        return Err(wrong());
    }
    if bytes < LEAST_MEMORY {
        return Err(format!(
            "\"{text}\" is too little for any job: expected at least 1M, such as \"{number}G\""
        ));
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Ok(bytes as u64)
}

/// A number of parallel jobs, at least one.
pub fn parallel(text: &str) -> Result<usize, String> {
    match text.trim().parse() {
        Ok(n) if n >= 1 => Ok(n),
        _ => Err(format!("expected a number of at least 1, found \"{text}\"")),
    }
}

/// Parses `NAME=N`.
pub fn named_size(text: &str) -> Result<(String, u64), String> {
    let wrong = || format!("expected NAME=N such as \"sequence=16\", found \"{text}\"");
    let (name, size) = text.rsplit_once('=').ok_or_else(wrong)?;
    let size: u64 = size.trim().parse().map_err(|_| wrong())?;
    if size == 0 {
        return Err(format!(
            "\"{}\" can't be 0: nothing would be left",
            name.trim()
        ));
    }
    Ok((name.trim().to_owned(), size))
}

/// Parses `NAME=N,N,…`.
pub fn named_shape(text: &str) -> Result<(String, Vec<u64>), String> {
    let wrong = || format!("expected NAME=N,N,… such as \"tokens=1,16\", found \"{text}\"");
    let (name, shape) = text.rsplit_once('=').ok_or_else(wrong)?;
    let shape = shape
        .split(',')
        .map(|n| n.trim().parse())
        .collect::<Result<_, _>>()
        .map_err(|_| wrong())?;
    Ok((name.trim().to_owned(), shape))
}

/// Parses `NAME=VALUE`.
pub fn named_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .rsplit_once('=')
        .ok_or_else(|| format!("expected NAME=VALUE such as \"sr=16000\", found \"{text}\""))?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// A relative error: above 0 and at most 1.
///
/// # Errors
/// A sentence that says what is expected.
pub fn error(text: &str) -> Result<f64, String> {
    let value = text.trim().parse::<f64>().ok();
    value
        .filter(|e| *e > 0.0 && *e <= 1.0)
        .ok_or_else(|| "expected a number above 0 and at most 1, such as 0.01".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
        for wrong in ["", "x", "5 years", "-3s", "0", "1e400h", "h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn counts() {
        assert_eq!(count("100000"), Ok(100_000));
        assert_eq!(count("1.5M"), Ok(1_500_000));
        assert_eq!(count("500k"), Ok(500_000));
        assert_eq!(count("8 M"), Ok(8_000_000));
        for wrong in ["", "M", "0", "-1M", "3 apples", "0.1", "1e3", "1e99"] {
            assert!(count(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(size("4194304"), Ok(4 << 20));
        assert!(size("4").unwrap_err().contains("\"4G\""));
        assert_eq!(size("512M"), Ok(512 << 20));
        assert_eq!(size("2 GiB"), Ok(2 << 30));
        assert_eq!(size("1GB"), Ok(1_000_000_000));
        for wrong in ["", "G", "0", "-1", "3 apples", "1e99"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
