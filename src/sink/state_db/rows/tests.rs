//! The rows of a job's numbers: to the field, and back again to the same value.

use std::convert::Infallible;

use super::{histogram_row, results};
use crate::io::tables::{HistogramRow, ResultsRow};
use crate::model::job::Fields;
use crate::model::report::{Detail, Estimate, Flows, Results, Thinning};
use crate::model::sample::{Counter, Histogram};
use crate::model::schema::{CountFamily, CounterFamily, ErrorKind, EthClass, HistogramName, IpClass};
use crate::model::traffic::{Copies, DistinctFlows, HealthEvent, Inner, Segments, Service, Traffic, Tunnel};

fn empty() -> Results {
    Results::empty("2026-01-31T03:00:02Z".parse().expect("a time"))
}

fn counted(traffic: Traffic) -> Results {
    Results { traffic, ..empty() }
}

fn detail() -> Detail {
    let flows = Flows {
        top: Vec::new(),
        below_top: Counter::default(),
        other: Counter::default(),
        non_ip: Counter::default(),
        seen: 0,
        evicted: 0,
        distinct: DistinctFlows { estimate: 0, err95: 0 },
    };
    Detail {
        updated_at: empty().updated_at,
        sample_rate: 1,
        mirror_sample_rate: 1,
        flows: Some(flows),
        histograms: Vec::new(),
    }
}

fn row(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
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
        let row = super::results(results, None);
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
    assert_eq!(results(&empty(), None), row(&NOTHING));
    // A job that looks into tunnels and found none says no more than that.
    let looked = counted(Traffic { inner: Some(Inner::default()), ..Traffic::default() });
    assert_eq!(results(&looked, None), row(&NOTHING));
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
    assert_eq!(results(&measured, Some(&detail())), expected);
    let unsequenced = counted(Traffic { copies: Some(Copies { lost: None, unreadable: 3 }), ..Traffic::default() });
    let mut expected = row(&NOTHING);
    expected.extend(row(&[("copies_unreadable", "3")]));
    assert_eq!(results(&unsequenced, None), expected);
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
    assert_eq!(results(&counted, None), expected);
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
    let mut detail = detail();
    if let Some(flows) = &mut detail.flows {
        flows.distinct = DistinctFlows { estimate: 1_000, err95: 20 };
    }
    let read = ResultsRow::parse("a", &results(&counted, Some(&detail))).expect("our own row");
    assert_eq!(read.results, counted);
    assert_eq!(read.flows_distinct, Some(DistinctFlows { estimate: 1_000, err95: 20 }));
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
