//! `TELEGEN_RESULT_TABLE`: the numbers that a job has once, and its families of counters. Which there are, `measure`
//! says.

use jiff::Timestamp;

use super::{Row, RowError};
use crate::model::counter::Counter;
use crate::model::job::Fields;
use crate::model::measure::{Absent, MEASURES, Measure, Scalar, scalars};
use crate::model::report::{FlowCounts, Results};
use crate::model::schema::{CountFamily, CounterFamily, state_db};

/// A row.
#[derive(Clone, Debug, PartialEq)]
pub struct ResultsRow {
    /// Totals and protocol counters.
    pub results: Results,
    /// How many flows there were; nothing with `result_detail` `summary`.
    pub flows: FlowCounts,
}

/// The row of these numbers.
#[must_use]
pub fn write(results: &Results, flows: &FlowCounts) -> Fields {
    let mut row = Fields::new();
    for measure in MEASURES {
        // Zeros are left out: a row of hundreds of zeros hides the one number that matters.
        match measure {
            Measure::One(scalar) => {
                row.extend(scalar.written(results, flows).map(|text| (scalar.name.to_owned(), text)));
            }
            Measure::Counters(family) => {
                for (name, counter) in family.of.seen(results) {
                    for (unit, count) in [("packets", counter.packets), ("bytes", counter.bytes)] {
                        row.insert(format!("{}_{name}_{unit}", family.of), count.to_string());
                    }
                }
            }
            Measure::Counts(family) => {
                let seen = family.of.seen(results).into_iter();
                row.extend(seen.map(|(name, count)| (format!("{}_{name}", family.of), count.to_string())));
            }
        }
    }
    row
}

impl ResultsRow {
    /// Reads a row.
    ///
    /// # Errors
    /// A field holds something other than its number, or is missing beside another.
    pub fn parse(id: &str, fields: &Fields) -> Result<ResultsRow, RowError> {
        let row = Row { table: state_db::RESULT, key: id, fields };
        let mut read = ResultsRow { results: Results::empty(Timestamp::UNIX_EPOCH), flows: FlowCounts::default() };
        // First what others stand beside.
        for scalar in scalars().filter(|scalar| scalar.beside.is_none()) {
            read.set(&row, scalar)?;
        }
        for scalar in scalars().filter(|scalar| scalar.beside.is_some_and(|other| row.text(other).is_some())) {
            read.set(&row, scalar)?;
        }
        for family in CounterFamily::ALL {
            family.set(&mut read.results, |name| row.counter(&format!("{family}_{name}")))?;
        }
        for family in CountFamily::ALL {
            family.set(&mut read.results, |name| Ok(row.whole(&format!("{family}_{name}"))?.unwrap_or_default()))?;
        }
        Ok(read)
    }

    fn set(&mut self, row: &Row<'_>, scalar: &Scalar) -> Result<(), RowError> {
        let error = || row.error(scalar.name, scalar.form.expected());
        let impossible = || row.error(scalar.name, "a number that is possible here");
        match row.text(scalar.name) {
            Some(text) => {
                let value = scalar.form.read(text).ok_or_else(error)?;
                scalar.set(&mut self.results, &mut self.flows, value).ok_or_else(impossible)
            }
            None if scalar.absent == Absent::Refused => Err(error()),
            None => Ok(()),
        }
    }
}

impl Row<'_> {
    fn counter(&self, name: &str) -> Result<Counter, RowError> {
        let part = |what: &str| self.whole(&format!("{name}_{what}")).map(Option::unwrap_or_default);
        Ok(Counter { packets: part("packets")?, bytes: part("bytes")? })
    }
}

#[cfg(test)]
mod tests;
