//! `TELEGEN_HISTOGRAM_TABLE`: one of a job's histograms.

use super::{Row, RowError};
use crate::model::job::Fields;
use crate::model::sample::Histogram;
use crate::model::schema::{HistogramField, HistogramName, state_db};
use crate::model::value::items;
use crate::row::join_list;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistogramRow {
    /// Which histogram.
    pub name: HistogramName,
    /// UCUM unit of the values: `By`, `ns`.
    pub unit: String,
    /// Upper bounds, ascending; a value equal to a bound is within it.
    pub bounds: Vec<u64>,
    /// One more than there are bounds.
    pub counts: Vec<u64>,
    /// Sum of all values.
    pub sum: u64,
    /// How many values.
    pub count: u64,
    /// One of this many values is in it; `None` in a row of a version that did not say so.
    pub sample_rate: Option<u32>,
}

impl HistogramRow {
    /// The row that a histogram in memory has, or will have.
    #[must_use]
    pub fn of(name: HistogramName, histogram: &Histogram, sample_rate: u32) -> HistogramRow {
        HistogramRow {
            name,
            unit: name.unit().to_owned(),
            bounds: histogram.bounds.to_vec(),
            counts: histogram.counts.clone(),
            sum: histogram.sum,
            count: histogram.count,
            sample_rate: Some(sample_rate),
        }
    }

    /// The row's fields.
    #[must_use]
    pub fn to_fields(&self) -> Fields {
        let value = |field: &HistogramField| match field {
            HistogramField::Unit => Some(self.unit.clone()),
            HistogramField::Bounds => Some(numbers(&self.bounds)),
            HistogramField::Counts => Some(numbers(&self.counts)),
            HistogramField::Sum => Some(self.sum.to_string()),
            HistogramField::Count => Some(self.count.to_string()),
            HistogramField::SampleRate => self.sample_rate.map(|rate| rate.to_string()),
        };
        HistogramField::ALL.iter().filter_map(|field| Some((field.to_string(), value(field)?))).collect()
    }

    /// Reads the row at `<id>|<name>`.
    ///
    /// # Errors
    /// A field holds something other than numbers, or bounds and counts do not belong together.
    pub fn parse(id: &str, name: HistogramName, fields: &Fields) -> Result<HistogramRow, RowError> {
        let key = format!("{id}|{name}");
        let row = Row { table: state_db::HISTOGRAM, key: &key, fields };
        let list = |field: HistogramField| {
            let numbers: Result<Vec<u64>, _> =
                items(row.text(field.as_str()).unwrap_or_default()).map(str::parse).collect();
            numbers.map_err(|_| row.error(field.as_str(), "a list of whole numbers"))
        };
        let count =
            |field: HistogramField| row.number::<u64>(field.as_str(), "a whole number").map(Option::unwrap_or_default);
        let (bounds, counts) = (list(HistogramField::Bounds)?, list(HistogramField::Counts)?);
        if counts.len() != bounds.len() + 1 {
            return Err(row.error(HistogramField::Counts.as_str(), "one count more than there are bounds"));
        }
        Ok(HistogramRow {
            name,
            unit: row.text(HistogramField::Unit.as_str()).unwrap_or_default().to_owned(),
            bounds,
            counts,
            sum: count(HistogramField::Sum)?,
            count: count(HistogramField::Count)?,
            sample_rate: row.number(HistogramField::SampleRate.as_str(), "a whole number")?,
        })
    }
}

fn numbers(values: &[u64]) -> String {
    join_list(values.iter().map(u64::to_string))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::report::Detail;

    #[test]
    fn a_row_is_read_back_as_the_histogram_it_was_made_of() {
        let histogram = Histogram { bounds: &[100, 200], counts: vec![3, 0, 1], sum: 700, count: 4 };
        let row = HistogramRow::of(HistogramName::Interarrival, &histogram, 64);
        assert_eq!(HistogramRow::parse("a", HistogramName::Interarrival, &row.to_fields()), Ok(row.clone()));
        let older = HistogramRow { sample_rate: None, ..row };
        assert_eq!(HistogramRow::parse("a", HistogramName::Interarrival, &older.to_fields()), Ok(older));
    }

    #[test]
    fn a_histogram_says_how_many_of_its_values_it_has() {
        let rates = |sample_rate| {
            let updated_at = Timestamp::UNIX_EPOCH;
            let detail = Detail { updated_at, sample_rate, mirror_sample_rate: 1, flows: None, histograms: Vec::new() };
            HistogramName::ALL.iter().map(|name| detail.rate_of(*name)).collect::<Vec<_>>()
        };
        assert_eq!((rates(1), rates(100)), (vec![1, 64], vec![1, 100]));
    }

    #[test]
    fn a_histogram_whose_counts_do_not_fit_its_bounds_is_refused() {
        let pairs = [("unit", "By"), ("bounds@", "64,128"), ("counts@", "1,0,2"), ("sum", "300"), ("count", "3")];
        let mut row: Fields = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(HistogramRow::parse("a", HistogramName::PacketSize, &row).map(|row| row.counts), Ok(vec![1, 0, 2]));
        row.insert("counts@".to_owned(), "1,0".to_owned());
        assert_eq!(HistogramRow::parse("a", HistogramName::PacketSize, &row).unwrap_err().field, "counts@");
    }
}
