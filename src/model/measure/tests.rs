//! The table agrees with itself.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::*;

/// A job each of whose numbers has a value of its own.
pub(crate) fn numbered() -> (Results, FlowCounts) {
    let (mut results, mut flows) = (Results::empty(Timestamp::UNIX_EPOCH), FlowCounts::default());
    for (index, scalar) in (1_u32..).zip(scalars()) {
        let value = match scalar.form {
            Form::Whole => Value::Whole(u64::from(index)),
            Form::Decimal(_) => Value::Decimal(f64::from(index)),
            Form::Instant => Value::Instant(Timestamp::UNIX_EPOCH),
        };
        assert_eq!(scalar.set(&mut results, &mut flows, value), Some(()), "{}", scalar.name);
        assert_eq!(scalar.of(&results, &flows), Some(value), "{}", scalar.name);
    }
    (results, flows)
}

#[test]
fn every_number_has_a_place_of_its_own() {
    let (results, flows) = numbered();
    let values = scalars().filter_map(|scalar| match scalar.of(&results, &flows) {
        Some(Value::Whole(number)) => Some(number.to_string()),
        Some(Value::Decimal(number)) => Some(number.to_string()),
        Some(Value::Instant(_)) | None => None,
    });
    let values: Vec<String> = values.collect();
    assert_eq!(values.len() + 1, scalars().count());
    are_different(values.iter().map(String::as_str));
}

fn are_different<'a>(names: impl Iterator<Item = &'a str>) {
    let names: Vec<&str> = names.collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
}

#[test]
fn no_two_measures_share_a_name_anywhere() {
    are_different(scalars().map(|scalar| scalar.name));
    are_different(scalars().filter_map(|scalar| scalar.metric));
    are_different(scalars().filter_map(|scalar| scalar.otlp));
    let places: Vec<String> =
        MEASURES.iter().map(Measure::place).map(|(part, member)| format!("{}.{member}", part.join("."))).collect();
    are_different(places.iter().map(String::as_str));
}

#[test]
fn a_scalar_is_never_taken_for_a_member_of_a_family() {
    let families = CounterFamily::ALL.iter().map(|family| family.as_str());
    let families: Vec<&str> = families.chain(CountFamily::ALL.iter().map(|family| family.as_str())).collect();
    for scalar in scalars() {
        let family = families.iter().find(|family| scalar.name.starts_with(&format!("{family}_")));
        assert_eq!(family, None, "{}", scalar.name);
    }
}

#[test]
fn every_family_has_one_row() {
    for family in CounterFamily::ALL {
        let rows = MEASURES.iter().filter(|measure| matches!(measure, Measure::Counters(row) if row.of == *family));
        assert_eq!(rows.count(), 1, "{family}");
    }
    for family in CountFamily::ALL {
        let rows = MEASURES.iter().filter(|measure| matches!(measure, Measure::Counts(row) if row.of == *family));
        assert_eq!(rows.count(), 1, "{family}");
    }
}

#[test]
fn what_stands_beside_a_field_stands_in_its_object_and_an_object_has_one_such_field() {
    for scalar in scalars() {
        let Some(beside) = scalar.beside else { continue };
        let other = super::scalar(beside).expect("a measure");
        assert_eq!((other.part, other.beside), (scalar.part, None), "{}", scalar.name);
        assert!(matches!(other.absent, Absent::NotMeasured(_)), "{} is always there", other.name);
    }
    let anchors = scalars().filter(|scalar| !scalar.part.is_empty() && scalar.beside.is_none());
    let parts: Vec<String> = anchors.map(|scalar| scalar.part.join(".")).collect();
    are_different(parts.iter().map(String::as_str));
}

#[test]
fn names_follow_the_kinds() {
    for scalar in scalars() {
        if let Some(metric) = scalar.metric {
            assert!(metric.starts_with("telegen_job_"), "{metric}");
            assert_eq!(metric.ends_with("_total"), scalar.kind == Kind::Sum, "{metric}");
        }
        assert!(scalar.otlp.is_none_or(|name| name.starts_with("telegen.")), "{}", scalar.name);
        assert!(!scalar.help.ends_with('.'), "{}", scalar.name);
    }
}

#[test]
fn findings_are_of_what_the_health_section_has() {
    // It is shown without the numbers of flows.
    let elsewhere = scalars().filter(|scalar| scalar.finding.is_some() && matches!(scalar.cell, Cell::Flows { .. }));
    assert_eq!(elsewhere.map(|scalar| scalar.name).collect::<Vec<_>>(), Vec::<&str>::new());
}
