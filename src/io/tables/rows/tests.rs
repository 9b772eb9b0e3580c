//! Rows as a daemon wrote them, and rows that something else spoilt.

use super::*;
use crate::model::report::{Estimate, Thinning};
use crate::model::schema::EthClass;

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
fn zeros_left_out_are_zeros_and_what_was_not_measured_is_absent() {
    let row = ResultsRow::parse(
        "a",
        &fields(&[
            ("updated_at", "2026-01-31T03:00:00.000Z"),
            ("window_sec", "1.5"),
            ("packets_total", "7"),
            ("eth_ipv4_packets", "7"),
            ("eth_ipv4_bytes", "700"),
            ("coverage", ""),
        ]),
    )
    .unwrap();
    assert_eq!(row.results.window, Duration::from_millis(1500));
    assert_eq!(row.results.eth[EthClass::Ipv4 as usize], Counter { packets: 7, bytes: 700 });
    assert_eq!(row.results.eth[EthClass::Ipv6 as usize], Counter::default());
    assert_eq!((row.results.coverage, row.results.port_packets, row.flows_seen), (None, None, None));
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

#[test]
fn segments_stand_together_and_are_absent_where_they_were_not_measured() {
    let parse = |pairs: &[(&str, &str)]| {
        let mut row = fields(pairs);
        row.extend(fields(&[("updated_at", "2026-01-31T03:00:00Z")]));
        ResultsRow::parse("a", &row)
    };
    assert_eq!(parse(&[]).unwrap().results.segments, None);
    let all = [("tcp_tracked", "7"), ("tcp_untracked", "0"), ("tcp_retransmitted", "2"), ("tcp_out_of_order", "0")];
    let segments = Segments { tracked: 7, untracked: 0, retransmitted: 2, out_of_order: 0 };
    assert_eq!(parse(&all).unwrap().results.segments, Some(segments));
    assert_eq!(parse(&all[..3]).unwrap_err().field, "tcp_out_of_order");
}

#[test]
fn copies_are_known_by_what_could_not_be_read_and_their_loss_may_not_be() {
    let copies = |pairs: &[(&str, &str)]| {
        let mut row = fields(pairs);
        row.extend(fields(&[("updated_at", "2026-01-31T03:00:00Z")]));
        ResultsRow::parse("a", &row).unwrap().results.copies
    };
    assert_eq!(copies(&[]), None);
    assert_eq!(copies(&[("copies_unreadable", "0")]), Some(Copies { lost: None, unreadable: 0 }));
    let both = [("copies_unreadable", "1"), ("copies_lost", "0")];
    assert_eq!(copies(&both), Some(Copies { lost: Some(0), unreadable: 1 }));
}

#[test]
fn a_sampled_mirror_is_known_by_its_rate_and_what_it_means_for_the_port() {
    let row = |pairs: &[(&str, &str)]| {
        let mut row = fields(pairs);
        row.extend(fields(&[("updated_at", "2026-01-31T03:00:00Z"), ("packets_total", "100"), ("sample_rate", "4")]));
        ResultsRow::parse("a", &row).unwrap().results
    };
    let plain = row(&[]);
    assert_eq!(
        (plain.thinning, plain.estimate, plain.analysis_factor(), plain.packets_of_port()),
        (None, None, 4, 100)
    );
    let thin = row(&[
        ("mirror_sample_rate", "50"),
        ("mirror_truncate", "128"),
        ("packets_est", "5000"),
        ("packets_err95", "971"),
    ]);
    assert_eq!(thin.thinning, Some(Thinning { sample_rate: 50, truncate: Some(128) }));
    assert_eq!(thin.estimate, Some(Estimate { packets: 5_000, bytes: None, packets_err95: 971 }));
    assert_eq!((thin.analysis_factor(), thin.packets_of_port()), (200, 5_000));
}
