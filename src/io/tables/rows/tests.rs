//! Rows as a daemon wrote them, and rows that something else spoilt.

use super::*;

fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_job_row_says_status_reason_and_warnings_and_keeps_every_field() {
    let row = JobRow::parse(
        "a",
        fields(&[("status", "failed"), ("reason", "mirror_lost"), ("warning", "no_copies,port_down"), ("dscp@", "46")]),
    )
    .unwrap();
    assert_eq!((row.status, row.reason), (Status::Failed, Some(Reason::MirrorLost)));
    assert_eq!(row.warnings, [Warning::NoCopies, Warning::PortDown]);
    assert_eq!((row.job_field(JobField::Dscp), row.message()), (Some("46"), ""));
}

#[test]
fn a_word_of_another_version_is_an_error_that_names_it() {
    let error = JobRow::parse("a", fields(&[("status", "paused")])).unwrap_err();
    assert!(error.to_string().starts_with("TELEGEN_JOB_TABLE|a: status: \"paused\" is not a job's status"), "{error}");
    assert_eq!(JobRow::parse("a", Fields::new()).unwrap_err().value, "");
}

#[test]
fn a_flow_names_its_protocol_by_word_or_number() {
    let row = |proto: &str| {
        let at = "2026-01-31T03:00:00.000Z";
        let pairs =
            [("src", "10.0.0.1"), ("dst", "10.0.0.2"), ("ip_proto", proto), ("first_seen", at), ("last_seen", at)];
        parse_flow("a|1", &fields(&pairs)).map(|flow| flow.ip_proto)
    };
    assert_eq!((row("tcp"), row("254")), (Ok(6), Ok(254)));
    assert_eq!(row("tpc").unwrap_err().field, "ip_proto");
}

#[test]
fn a_histogram_whose_counts_do_not_fit_its_bounds_is_refused() {
    let good = fields(&[("unit", "By"), ("bounds@", "64,128"), ("counts@", "1,0,2"), ("sum", "300"), ("count", "3")]);
    assert_eq!(HistogramRow::parse("a", HistogramName::PacketSize, &good).unwrap().counts, [1, 0, 2]);
    let bad = fields(&[("bounds@", "64,128"), ("counts@", "1,0")]);
    assert_eq!(HistogramRow::parse("a", HistogramName::PacketSize, &bad).unwrap_err().field, "counts@");
}

#[test]
fn a_daemon_lives_until_its_heartbeat_is_15_s_old() {
    let daemon = DaemonRow { fields: fields(&[("heartbeat", "2026-01-31T03:00:00.000Z")]) };
    let at = |time: &str| daemon.is_alive(time.parse().unwrap());
    assert!(at("2026-01-31T03:00:14.999Z"));
    assert!(!at("2026-01-31T03:00:15Z"));
    assert!(!at("2026-01-31T02:00:00Z"));
    assert!(!DaemonRow::default().is_alive("2026-01-31T03:00:00Z".parse().unwrap()));
}
