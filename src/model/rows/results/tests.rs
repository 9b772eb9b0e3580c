//! The rows of a job's numbers: to the field, and back again to the same value.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use super::*;
use crate::model::measure::tests::numbered;
use crate::model::report::{Estimate, Thinning};
use crate::model::schema::{ErrorKind, EthClass, IpClass};
use crate::model::traffic::{Copies, DistinctFlows, HealthEvent, Inner, Segments, Service, Traffic, Tunnel};

fn empty() -> Results {
    Results::empty("2026-01-31T03:00:02Z".parse().expect("a time"))
}

fn counted(traffic: Traffic) -> Results {
    Results { traffic, ..empty() }
}

const NO_FLOWS: FlowCounts = FlowCounts { seen: None, evicted: None, distinct: None };

fn row(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A row that was read, and says this besides.
fn read(pairs: &[(&str, &str)]) -> Fields {
    let mut fields = row(&[("updated_at", "2026-01-31T03:00:00Z")]);
    fields.extend(row(pairs));
    fields
}

const NOTHING: [(&str, &str); 10] = [
    ("bps", "0"),
    ("bytes_delivered", "0"),
    ("bytes_total", "0"),
    ("packets_analysed", "0"),
    ("packets_delivered", "0"),
    ("packets_total", "0"),
    ("pps", "0.0"),
    ("sample_rate", "1"),
    ("updated_at", "2026-01-31T03:00:02.000Z"),
    ("window_sec", "0.000"),
];

#[test]
fn a_sampled_and_cut_mirror_says_so_and_only_a_whole_copy_has_bytes_to_estimate() {
    let total = Counter { packets: 100, bytes: 9_000 };
    let mut thin = counted(Traffic { total, ..Traffic::default() });
    thin.thinning = Some(Thinning { sample_rate: 50, truncate: None });
    thin.estimate = Some(Estimate { packets: 5_000, bytes: Some(450_000), packets_err95: 971 });
    let said = |results: &Results| -> Vec<String> {
        let row = write(results, &NO_FLOWS);
        let fields = ["mirror_sample_rate", "mirror_truncate", "packets_est", "bytes_est", "packets_err95"];
        fields.iter().map(|field| row.get(*field).cloned().unwrap_or_default()).collect()
    };
    assert_eq!(said(&thin), ["50", "", "5000", "450000", "971"]);
    thin.thinning = Some(Thinning { sample_rate: 1, truncate: Some(128) });
    thin.estimate = None;
    assert_eq!(said(&thin), ["1", "128", "", "", ""]);
}

#[test]
fn nothing_counted_is_a_short_row() {
    assert_eq!(write(&empty(), &NO_FLOWS), row(&NOTHING));
    // A job that looks into tunnels and found none says no more than that.
    let looked = counted(Traffic { inner: Some(Inner::default()), ..Traffic::default() });
    assert_eq!(write(&looked, &NO_FLOWS), row(&NOTHING));
}

#[test]
fn what_was_measured_is_written_at_zero_and_what_was_not_is_absent() {
    let measured = counted(Traffic {
        segments: Some(Segments::default()),
        copies: Some(Copies { lost: Some(0), unreadable: 0 }),
        ..Traffic::default()
    });
    let mut expected = row(&NOTHING);
    expected.extend(row(&[
        ("tcp_tracked", "0"),
        ("tcp_untracked", "0"),
        ("tcp_retransmitted", "0"),
        ("tcp_out_of_order", "0"),
        ("copies_lost", "0"),
        ("copies_unreadable", "0"),
        ("flows_seen", "0"),
        ("flows_evicted", "0"),
        ("flows_distinct_est", "0"),
        ("flows_distinct_err95", "0"),
    ]));
    assert_eq!(
        write(&measured, &FlowCounts { seen: Some(0), evicted: Some(0), distinct: Some(DistinctFlows::default()) }),
        expected
    );
    let unsequenced = counted(Traffic { copies: Some(Copies { lost: None, unreadable: 3 }), ..Traffic::default() });
    let mut expected = row(&NOTHING);
    expected.extend(row(&[("copies_unreadable", "3")]));
    assert_eq!(write(&unsequenced, &NO_FLOWS), expected);
}

#[test]
fn counters_are_named_by_family_and_name() {
    let traffic = Traffic { fragments: 3, fragments_later: 2, inner: Some(Inner::default()), ..Traffic::default() };
    let mut counted = counted(traffic);
    counted.eth[EthClass::Arp as usize] = Counter { packets: 1, bytes: 60 };
    counted.errors[ErrorKind::ChecksumIp as usize] = 4;
    counted.services[Service::NvmeTcp as usize] = Counter { packets: 5, bytes: 500 };
    counted.health.events[HealthEvent::IcmpTooBig as usize] = 6;
    counted.health.cast = [7, 8, 9];
    counted.health.ecn = [10, 11, 12, 13];
    counted.health.dscp[0] = 14;
    counted.health.dscp[63] = 15;
    counted.health.tcp_flags[0] = 16;
    counted.health.tcp_flags[0x3f] = 17;
    counted.health.rocev2[1] = 18;
    counted.health.rocev2_ecn[3] = 19;
    if let Some(inner) = &mut counted.inner {
        inner.tunnels[Tunnel::Ipip as usize] = Counter { packets: 20, bytes: 2000 };
        inner.ip[IpClass::NoNext as usize] = Counter { packets: 21, bytes: 2100 };
        inner.non_ip = Counter { packets: 22, bytes: 2200 };
    }
    let mut expected = row(&NOTHING);
    expected.extend(row(&[
        ("fragments", "3"),
        ("fragments_later", "2"),
        ("eth_arp_packets", "1"),
        ("eth_arp_bytes", "60"),
        ("error_checksum_ip", "4"),
        ("service_nvme_tcp_packets", "5"),
        ("service_nvme_tcp_bytes", "500"),
        ("health_icmp_too_big", "6"),
        ("cast_unicast", "7"),
        ("cast_multicast", "8"),
        ("cast_broadcast", "9"),
        ("ecn_not_ect", "10"),
        ("ecn_ect1", "11"),
        ("ecn_ect0", "12"),
        ("ecn_ce", "13"),
        ("dscp_0", "14"),
        ("dscp_63", "15"),
        ("tcp_flags_none", "16"),
        ("tcp_flags_syn_fin_rst_psh_urg_ack", "17"),
        ("rocev2_write", "18"),
        ("rocev2_ecn_ce", "19"),
        ("tunnel_ipip_packets", "20"),
        ("tunnel_ipip_bytes", "2000"),
        ("inner_no_next_packets", "21"),
        ("inner_no_next_bytes", "2100"),
        ("inner_non_ip_packets", "22"),
        ("inner_non_ip_bytes", "2200"),
    ]));
    assert_eq!(write(&counted, &NO_FLOWS), expected);
}

#[test]
fn a_row_is_read_back_as_the_value_it_was_made_of() {
    let mut counted = counted(Traffic {
        fragments: 3,
        fragments_later: 2,
        segments: Some(Segments { tracked: 4, untracked: 5, retransmitted: 6, out_of_order: 7 }),
        copies: Some(Copies { lost: Some(8), unreadable: 9 }),
        ..Traffic::default()
    });
    let mut next = 10;
    let mut number = || {
        next += 1;
        next
    };
    for family in CounterFamily::ALL {
        let read = |_: &str| Ok::<_, Infallible>(Counter { packets: number(), bytes: number() });
        family.set(&mut counted, read).expect("nothing can fail");
    }
    for family in CountFamily::ALL {
        family.set(&mut counted, |_| Ok::<_, Infallible>(number())).expect("nothing can fail");
    }
    let distinct = Some(DistinctFlows { estimate: 1_000, err95: 20 });
    let flows = FlowCounts { seen: Some(1_100), evicted: Some(90), distinct };
    let read = ResultsRow::parse("a", &write(&counted, &flows)).expect("our own row");
    assert_eq!(read, ResultsRow { results: counted, flows });
}

#[test]
fn zeros_left_out_are_zeros_and_what_was_not_measured_is_absent() {
    let row = ResultsRow::parse(
        "a",
        &row(&[
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
    assert_eq!((row.results.coverage, row.results.port_packets, row.flows.seen), (None, None, None));
}

#[test]
fn segments_stand_together_and_are_absent_where_they_were_not_measured() {
    let parse = |pairs: &[(&str, &str)]| ResultsRow::parse("a", &read(pairs));
    assert_eq!(parse(&[]).unwrap().results.segments, None);
    let all = [("tcp_tracked", "7"), ("tcp_untracked", "0"), ("tcp_retransmitted", "2"), ("tcp_out_of_order", "0")];
    let segments = Segments { tracked: 7, untracked: 0, retransmitted: 2, out_of_order: 0 };
    assert_eq!(parse(&all).unwrap().results.segments, Some(segments));
    assert_eq!(parse(&all[..3]).unwrap_err().field, "tcp_out_of_order");
}

#[test]
fn copies_are_known_by_what_could_not_be_read_and_their_loss_may_not_be() {
    let copies = |pairs: &[(&str, &str)]| ResultsRow::parse("a", &read(pairs)).unwrap().results.copies;
    assert_eq!(copies(&[]), None);
    assert_eq!(copies(&[("copies_unreadable", "0")]), Some(Copies { lost: None, unreadable: 0 }));
    let both = [("copies_unreadable", "1"), ("copies_lost", "0")];
    assert_eq!(copies(&both), Some(Copies { lost: Some(0), unreadable: 1 }));
}

#[test]
fn a_sampled_mirror_is_known_by_its_rate_and_what_it_means_for_the_port() {
    let parse = |pairs: &[(&str, &str)]| {
        let mut fields = read(pairs);
        fields.extend(row(&[("packets_total", "100"), ("sample_rate", "4")]));
        ResultsRow::parse("a", &fields).unwrap().results
    };
    let plain = parse(&[]);
    assert_eq!(
        (plain.thinning, plain.estimate, plain.analysis_factor(), plain.packets_of_port()),
        (None, None, 4, 100)
    );
    let thin = parse(&[
        ("mirror_sample_rate", "50"),
        ("mirror_truncate", "128"),
        ("packets_est", "5000"),
        ("packets_err95", "971"),
    ]);
    assert_eq!(thin.thinning, Some(Thinning { sample_rate: 50, truncate: Some(128) }));
    assert_eq!(thin.estimate, Some(Estimate { packets: 5_000, bytes: None, packets_err95: 971 }));
    assert_eq!((thin.analysis_factor(), thin.packets_of_port()), (200, 5_000));
}

#[test]
fn every_number_is_written_under_its_name_and_read_back() {
    let (results, flows) = numbered();
    let row = write(&results, &flows);
    assert!(row.keys().map(String::as_str).eq(scalars().map(|scalar| scalar.name).collect::<BTreeSet<_>>()));
    assert_eq!(ResultsRow::parse("a", &row), Ok(ResultsRow { results, flows }));
}
