//! What captures hold: the results of a job that saw nothing else.

use std::fmt::Write;

use super::Glyphs;
use super::results::{amount, found};
use crate::io::tables::JobReport;
use crate::model::schema::{JobField, Status};

/// The numbers of `report`, whose port is the files' names; `remarks` say what they are not of.
#[must_use]
pub fn analysis(report: &JobReport, remarks: &[String], glyphs: Glyphs) -> String {
    let Some(row) = &report.results else { return String::new() };
    let files = report.job.job_field(JobField::Port).unwrap_or_default();
    let coverage = match report.job.status {
        Status::Failed => "not all of the capture, for the reasons below",
        _ => "every Ethernet frame of the capture",
    };
    let mut text = format!("{}\n", amount(files, &row.results, coverage));
    for remark in remarks {
        let _ = writeln!(text, "{remark}");
    }
    text.push_str(&found(report, row, glyphs));
    text
}
