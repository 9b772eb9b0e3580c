//! The values of measures, and how they are written in a row of STATE_DB.

use std::time::Duration;

use jiff::Timestamp;

use crate::model::job::rfc3339;

/// A value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A count.
    Whole(u64),
    /// A rate, a ratio, seconds.
    Decimal(f64),
    /// A moment.
    Instant(Timestamp),
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Digits.
    Whole,
    /// With so many decimals.
    Decimal(usize),
    /// RFC 3339.
    Instant,
}

impl Form {
    /// The value's text.
    #[must_use]
    pub fn write(self, value: Value) -> String {
        match (self, value) {
            (Form::Decimal(digits), Value::Decimal(number)) => format!("{number:.digits$}"),
            (_, Value::Whole(number)) => number.to_string(),
            (_, Value::Decimal(number)) => number.to_string(),
            (_, Value::Instant(instant)) => rfc3339(instant),
        }
    }

    /// The text's value; `None` if it has none of this form.
    #[must_use]
    pub fn read(self, text: &str) -> Option<Value> {
        match self {
            Form::Whole => text.parse().ok().map(Value::Whole),
            Form::Decimal(_) => text.parse().ok().map(Value::Decimal),
            Form::Instant => text.parse().ok().map(Value::Instant),
        }
    }

    /// What [`Form::read`] takes, for messages.
    #[must_use]
    pub const fn expected(self) -> &'static str {
        match self {
            Form::Whole => "a whole number",
            Form::Decimal(_) => "a number",
            Form::Instant => "an RFC 3339 time",
        }
    }
}

/// What a measure may be in memory.
pub(super) trait Number: Sized {
    /// `None`: not measured.
    fn value(&self) -> Option<Value>;
    /// `None`: the value does not fit.
    fn read(value: Value) -> Option<Self>;
}

impl Number for u64 {
    fn value(&self) -> Option<Value> {
        Some(Value::Whole(*self))
    }

    fn read(value: Value) -> Option<u64> {
        match value {
            Value::Whole(number) => Some(number),
            Value::Decimal(_) | Value::Instant(_) => None,
        }
    }
}

impl Number for u32 {
    fn value(&self) -> Option<Value> {
        Some(Value::Whole(u64::from(*self)))
    }

    fn read(value: Value) -> Option<u32> {
        u64::read(value)?.try_into().ok()
    }
}

impl Number for u16 {
    fn value(&self) -> Option<Value> {
        Some(Value::Whole(u64::from(*self)))
    }

    fn read(value: Value) -> Option<u16> {
        u64::read(value)?.try_into().ok()
    }
}

impl Number for f64 {
    fn value(&self) -> Option<Value> {
        Some(Value::Decimal(*self))
    }

    fn read(value: Value) -> Option<f64> {
        match value {
            Value::Decimal(number) => Some(number),
            Value::Whole(_) | Value::Instant(_) => None,
        }
    }
}

/// In seconds.
impl Number for Duration {
    fn value(&self) -> Option<Value> {
        Some(Value::Decimal(self.as_secs_f64()))
    }

    fn read(value: Value) -> Option<Duration> {
        Duration::try_from_secs_f64(f64::read(value)?).ok()
    }
}

impl Number for Timestamp {
    fn value(&self) -> Option<Value> {
        Some(Value::Instant(*self))
    }

    fn read(value: Value) -> Option<Timestamp> {
        match value {
            Value::Instant(instant) => Some(instant),
            Value::Whole(_) | Value::Decimal(_) => None,
        }
    }
}

impl<N: Number> Number for Option<N> {
    fn value(&self) -> Option<Value> {
        self.as_ref()?.value()
    }

    fn read(value: Value) -> Option<Option<N>> {
        N::read(value).map(Some)
    }
}
