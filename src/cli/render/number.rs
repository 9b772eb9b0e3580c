//! Numbers as a person reads them: thousands separated, units scaled by 1000.

use std::time::Duration;

/// `1,234,567`
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 flow`, `2,000 flows`
pub fn counted(number: u64, what: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {what}{ending}", thousands(number))
}

/// Rounded, thousands separated; rates are never negative.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates, which is what is wanted")]
pub fn rounded(number: f64) -> String {
    thousands(number.round() as u64)
}

/// `1.2 MB`
#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
pub fn bytes(number: u64) -> String {
    scaled(number as f64, ["bytes", "kB", "MB", "GB", "TB"])
}

/// `219.5 Mbit/s`
pub fn bit_rate(bits_per_sec: f64) -> String {
    scaled(bits_per_sec, ["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"])
}

fn scaled(number: f64, units: [&str; 5]) -> String {
    let mut number = number;
    let mut index = 0;
    // 999.95 would be shown as 1000.0.
    while number >= 999.95 && index < units.len() - 1 {
        number /= 1000.0;
        index += 1;
    }
    let digits = usize::from(index > 0);
    format!("{number:.digits$} {}", units[index])
}

/// `part` of `whole` as `45.2 %`; what is there at all is never `0.0 %`. Empty without a whole.
#[expect(clippy::cast_precision_loss, reason = "one digit behind the point is shown")]
pub fn share(part: u64, whole: u64) -> String {
    let percent = 100.0 * part as f64 / whole as f64;
    match (part, whole) {
        (_, 0) => String::new(),
        (1.., _) if percent < 0.05 => "<0.1 %".to_owned(),
        _ => format!("{percent:.1} %"),
    }
}

/// `12 %`, with a digit more where that would hide a loss or a presence.
pub fn percent(ratio: f64) -> String {
    let percent = 100.0 * ratio;
    let digits = usize::from(percent > 0.0 && !(1.0..99.0).contains(&percent) && (percent - 100.0).abs() > 0.05);
    format!("{percent:.digits$} %")
}

/// `45.0 s`, `2 min 5 s`, `3 h 10 min`
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..120 => format!("{:.1} s", duration.as_secs_f64()),
        120..7200 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        assert_eq!([0, 999, 1000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn one_is_not_a_plural() {
        assert_eq!([0, 1, 2000].map(|number| counted(number, "flow")), ["0 flows", "1 flow", "2,000 flows"]);
    }

    #[test]
    fn units_scale_by_1000() {
        assert_eq!([0, 999, 1000, 1_250_000].map(bytes), ["0 bytes", "999 bytes", "1.0 kB", "1.2 MB"]);
        assert_eq!([640.0, 999_960.0, 2.5e9].map(bit_rate), ["640 bit/s", "1.0 Mbit/s", "2.5 Gbit/s"]);
    }

    #[test]
    fn a_share_of_nothing_is_not_said_and_a_small_one_is_not_nothing() {
        let shown = [(0, 0), (0, 5), (1, 3), (1, 9_999)].map(|(part, whole)| share(part, whole));
        assert_eq!(shown, ["", "0.0 %", "33.3 %", "<0.1 %"]);
    }

    #[test]
    fn a_percentage_hides_neither_a_loss_nor_a_presence() {
        assert_eq!(
            [0.0, 0.004, 0.12, 0.995, 1.0, 1.02].map(percent),
            ["0 %", "0.4 %", "12 %", "99.5 %", "100 %", "102.0 %"]
        );
    }

    #[test]
    fn durations_have_two_units_at_the_most() {
        let shown = [0.25, 119.0, 125.0, 7300.0].map(|seconds| duration(Duration::from_secs_f64(seconds)));
        assert_eq!(shown, ["0.2 s", "119.0 s", "2 min 5 s", "2 h 1 min"]);
    }
}
