//! The rows of a job's numbers: to the field, and back again to the same value.

use jiff::Timestamp;

use super::histogram_row;
use crate::io::tables::HistogramRow;
use crate::model::report::Detail;
use crate::model::sample::Histogram;
use crate::model::schema::HistogramName;

fn detail() -> Detail {
    Detail {
        updated_at: Timestamp::UNIX_EPOCH,
        sample_rate: 1,
        mirror_sample_rate: 1,
        flows: None,
        histograms: Vec::new(),
    }
}

#[test]
fn a_histogram_says_how_many_of_its_values_it_has() {
    let histogram = Histogram { bounds: &[100, 200], counts: vec![3, 0, 1], sum: 700, count: 4 };
    let rates = |sample_rate| {
        let detail = Detail { sample_rate, ..detail() };
        HistogramName::ALL.iter().map(|name| detail.rate_of(*name)).collect::<Vec<_>>()
    };
    assert_eq!((rates(1), rates(100)), (vec![1, 64], vec![1, 100]));
    let row = histogram_row(HistogramName::Interarrival, &histogram, 64);
    let read = HistogramRow::parse("a", HistogramName::Interarrival, &row).expect("our own row");
    assert_eq!(read, HistogramRow::of(HistogramName::Interarrival, &histogram, 64));
    assert_eq!(read.sample_rate, Some(64));
}
