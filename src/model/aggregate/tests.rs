//! Rates, coverage, estimates and warnings, from hand-made readings with exact results.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Aggregator, PortCounters, PortPoll, packets_err95};
use crate::model::job::{Fields, JobSpec};
use crate::model::report::Estimate;
use crate::model::sample::{Counter, Flow, FlowKey, FlowTable, Sample};
use crate::model::schema::{ErrorKind, HistogramName, Warning};
use crate::model::settings::Settings;
use crate::model::traffic::{Copies, DistinctFlows, HealthEvent, Inner, Segments, Service, Traffic};

const SECOND_NS: u64 = 1_000_000_000;

fn aggregator(pairs: &[(&str, &str)]) -> Aggregator {
    let mut fields: Fields = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    fields.insert("port".to_owned(), "Ethernet0".to_owned());
    let spec = JobSpec::parse(&fields, &Settings::default()).expect("a good row");
    Aggregator::new(Arc::new(spec), 2, [7; 16], 10 * SECOND_NS)
}

fn sample(at_sec: u64, packets: u64) -> Sample {
    let total = Counter { packets, bytes: packets * 100 };
    let traffic = Traffic { delivered: total, total, ..Traffic::default() };
    Sample { traffic, ..Sample::empty((10 + at_sec) * SECOND_NS) }
}

fn poll(oid: &str, packets_in: u64, packets_out: u64) -> PortPoll {
    let counters = PortCounters { oid: oid.to_owned(), packets_in, packets_out };
    PortPoll { ports: BTreeMap::from([("Ethernet0".to_owned(), counters)]) }
}

fn wall(at_sec: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(at_sec)
}

#[test]
fn rates_are_those_of_the_last_interval_and_totals_pass_through() {
    let mut aggregator = aggregator(&[]);
    assert_eq!(aggregator.results(), None);
    aggregator.sample(sample(0, 0), wall(0));
    aggregator.sample(sample(2, 1000), wall(2));
    let results = aggregator.results().expect("two readings");
    assert_eq!((results.packets_per_sec, results.bits_per_sec), (500.0, 400_000.0));
    assert_eq!(results.total, Counter { packets: 1000, bytes: 100_000 });
    assert_eq!(results.window, Duration::from_secs(2));
    assert_eq!((results.port_packets, results.coverage), (None, None));
}

#[test]
fn coverage_is_delivered_over_port_packets_between_the_same_two_polls() {
    let mut aggregator = aggregator(&[]);
    aggregator.sample(sample(0, 10), wall(0));
    assert_eq!(aggregator.poll(poll("oid:1", 1000, 5), Duration::ZERO), None);
    aggregator.sample(sample(1, 30), wall(1));
    assert_eq!(aggregator.poll(poll("oid:1", 1080, 9), Duration::from_secs(1)), None);
    let results = aggregator.results().expect("readings");
    assert_eq!((results.port_packets, results.coverage), (Some(80), Some(0.25)));
}

#[test]
fn the_time_in_which_the_ports_change_is_left_out_of_coverage_and_both_sides_of_it_are_counted() {
    let mut aggregator = aggregator(&[]);
    aggregator.sample(sample(0, 0), wall(0));
    aggregator.poll(poll("oid:1", 1000, 0), Duration::ZERO);
    aggregator.sample(sample(1, 90), wall(1));
    aggregator.poll(poll("oid:1", 1100, 0), Duration::from_secs(1));
    // 50 packets pass while there is no session, and none of them is delivered.
    aggregator.sources_changed();
    let between = aggregator.results().expect("readings");
    assert_eq!((between.port_packets, between.coverage), (Some(100), Some(0.9)), "what was known is known still");
    aggregator.poll(poll("oid:1", 1150, 0), Duration::from_secs(2));
    aggregator.sample(sample(3, 180), wall(3));
    aggregator.poll(poll("oid:1", 1250, 0), Duration::from_secs(3));
    let results = aggregator.results().expect("readings");
    assert_eq!((results.port_packets, results.coverage), (Some(200), Some(0.9)));
}

#[test]
fn direction_chooses_the_counter_and_both_counts_a_frame_in_and_out_twice() {
    for (direction, expected) in [("ingress", 80), ("egress", 4), ("both", 84)] {
        let mut aggregator = aggregator(&[("direction", direction)]);
        aggregator.sample(sample(0, 0), wall(0));
        aggregator.poll(poll("oid:1", 1000, 5), Duration::ZERO);
        aggregator.poll(poll("oid:1", 1080, 9), Duration::from_secs(1));
        assert_eq!(aggregator.results().and_then(|r| r.port_packets), Some(expected), "{direction}");
    }
}

#[test]
fn a_counter_that_changed_its_oid_or_fell_makes_coverage_unknown_for_good() {
    for changed in [poll("oid:2", 2000, 9), poll("oid:1", 3, 9)] {
        let mut aggregator = aggregator(&[]);
        aggregator.sample(sample(0, 0), wall(0));
        aggregator.poll(poll("oid:1", 1000, 5), Duration::ZERO);
        aggregator.poll(changed, Duration::from_secs(1));
        aggregator.poll(poll("oid:1", 9000, 9), Duration::from_secs(2));
        assert_eq!(aggregator.results().and_then(|r| r.port_packets), None);
    }
}

/// The seconds at which `no_copies` is said, on a port that receives `per_second` packets.
fn no_copies(per_second: u64, delivered: impl Fn(u64) -> u64) -> Vec<u64> {
    let mut aggregator = aggregator(&[]);
    let mut warned = |second: u64| {
        aggregator.sample(sample(second, delivered(second)), wall(0));
        aggregator.poll(poll("oid:1", per_second * second, 0), Duration::from_secs(second))
    };
    (0..=8).filter(|second| warned(*second) == Some(Warning::NoCopies)).collect()
}

#[test]
fn copies_that_do_not_come_are_said_within_seconds_and_an_idle_port_is_not_blamed() {
    assert_eq!(no_copies(1000, |_| 0), [5, 6, 7, 8]);
    assert_eq!(no_copies(20, |_| 0), [7, 8]);
    assert_eq!(no_copies(19, |_| 0), Vec::<u64>::new());
    assert_eq!(no_copies(1000, |second| second), Vec::<u64>::new());
}

#[test]
fn counters_that_lag_behind_a_burst_do_not_look_like_missing_copies() {
    let mut aggregator = aggregator(&[]);
    for second in 0..=20 {
        aggregator.sample(sample(second, if second == 0 { 0 } else { 5000 }), wall(0));
        let counted = if second < 3 { 0 } else { 5000 };
        let warning = aggregator.poll(poll("oid:1", counted, 0), Duration::from_secs(second));
        assert_eq!(warning, None, "second {second}");
    }
}

fn flow(last_octet: u8, packets: u64, base: u64) -> Flow {
    let key = FlowKey {
        src: [10, 0, 0, last_octet].into(),
        dst: [10, 0, 1, 1].into(),
        ip_proto: 17,
        sport: 5,
        dport: 53,
        vlan: 0,
    };
    let (first_seen_ns, last_seen_ns) = (11 * SECOND_NS, 12 * SECOND_NS);
    Flow { key, packets, bytes: packets * 100, base, first_seen_ns, last_seen_ns }
}

#[test]
fn what_the_tap_counted_exactly_passes_through_unchanged() {
    let mut aggregator = aggregator(&[("sample_rate", "1")]);
    let mut read = sample(1, 100);
    (read.fragments, read.fragments_later) = (5, 4);
    read.inner = Some(Inner::default());
    read.segments = Some(Segments { tracked: 3, untracked: 2, retransmitted: 1, out_of_order: 0 });
    read.copies = Some(Copies { lost: None, unreadable: 6 });
    read.services[Service::Bgp as usize] = Counter { packets: 7, bytes: 700 };
    read.health.events[HealthEvent::TcpReset as usize] = 8;
    read.health.dscp[46] = 9;
    aggregator.sample(read.clone(), wall(1));
    let results = aggregator.results().expect("a reading");
    assert_eq!((results.fragments, results.fragments_later), (5, 4));
    assert_eq!((&results.services, &results.health), (&read.services, &read.health));
    assert_eq!(results.traffic, read.traffic);
}

#[test]
fn what_the_tap_did_not_measure_stays_unmeasured() {
    let mut aggregator = aggregator(&[]);
    aggregator.sample(sample(1, 100), wall(1));
    let results = aggregator.results().expect("a reading");
    assert_eq!((results.inner.is_none(), results.segments, results.copies), (true, None, None));
}

#[test]
fn flows_are_ranked_estimated_and_reconcile() {
    let mut aggregator = aggregator(&[("sample_rate", "10")]);
    let flows = vec![flow(1, 5, 0), flow(2, 90, 0), flow(3, 40, 1)];
    let other = Counter { packets: 7, bytes: 700 };
    let distinct = DistinctFlows { estimate: 5, err95: 1 };
    let table = FlowTable { flows, other, evicted: 3, seen: 6, distinct, ..FlowTable::default() };
    aggregator.sample(Sample { flows: Some(table), ..sample(3, 1420) }, wall(100));
    let detail = aggregator.latest_detail().expect("a reading");
    let flows = detail.flows.as_ref().expect("flows were asked for");
    let top: Vec<(&str, u64, u64)> =
        flows.top.iter().map(|row| (row.src.as_str(), row.estimated.packets, row.packets_err95)).collect();
    // 1.96 sqrt(90 * 0.9) * 10 = 176.4; 1.96 sqrt(40 * 0.9) * 10 = 117.6, and 10 for the base.
    assert_eq!(top, [("10.0.0.2", 900, 177), ("10.0.0.3", 400, 128)]);
    assert_eq!(flows.below_top, Counter { packets: 5, bytes: 500 });
    assert_eq!((flows.other, flows.seen, flows.evicted, flows.distinct), (other, 6, 3, distinct));
    assert_eq!((flows.top[0].first_seen, flows.top[0].last_seen), (wall(98), wall(99)));
}

#[test]
fn the_tables_of_the_last_reading_are_not_kept_once_the_detail_is_made_of_them() {
    let mut aggregator = aggregator(&[("sample_rate", "1")]);
    let table = FlowTable { flows: vec![flow(1, 5, 0)], ..FlowTable::default() };
    aggregator.sample(Sample { flows: Some(table), ..sample(1, 5) }, wall(1));
    let kept = aggregator.last.as_ref().map(|(sample, _)| sample.flows.is_some());
    assert_eq!(kept, Some(false));
    let flows = aggregator.latest_detail().and_then(|detail| detail.flows.clone()).expect("flows");
    assert_eq!(flows.top.iter().map(|row| row.estimated.packets).collect::<Vec<_>>(), [5]);
    assert_eq!(aggregator.results().map(|results| results.total.packets), Some(5));
}

#[test]
fn a_count_of_every_packet_has_no_error() {
    assert_eq!(packets_err95(1_000_000, 0, 1), 0);
    assert_eq!(packets_err95(100, 3, 1), 3);
    // The sFlow rule: 196 sqrt(1/100) % of 10,000 is 1960; the factor for N = 100 makes it 1951.
    assert_eq!(packets_err95(100, 0, 100), 1951);
}

#[test]
fn anonymised_addresses_are_equal_when_the_addresses_are_and_say_nothing_else() {
    let rows = |key: [u8; 16]| {
        let mut aggregator = aggregator(&[("anonymize", "true")]);
        aggregator.anonymize_key = key;
        let table = FlowTable { flows: vec![flow(1, 5, 0), flow(2, 3, 0)], ..FlowTable::default() };
        aggregator.sample(Sample { flows: Some(table), ..sample(1, 8) }, wall(0));
        aggregator.latest_detail().and_then(|detail| detail.flows.clone()).expect("flows").top
    };
    let top = rows([1; 16]);
    assert!(top.iter().all(|row| row.src.starts_with("anon-") && !row.src.contains('.')));
    assert_eq!(top[0].dst, top[1].dst);
    assert_ne!(top[0].src, top[1].src);
    assert_ne!(top[0].src, rows([2; 16])[0].src, "another key, other hashes");
}

#[test]
fn a_sampled_mirrors_factor_enters_every_estimate_and_totals_stay_those_of_copies() {
    let fields = [("span_method", "erspan"), ("mirror_sample_rate", "50"), ("sample_rate", "4")];
    let mut aggregator = aggregator(&fields);
    let table = FlowTable { flows: vec![flow(1, 25, 0)], ..FlowTable::default() };
    let mut read = Sample { flows: Some(table), ..sample(0, 100) };
    read.segments = Some(Segments::default());
    aggregator.sample(read, wall(0));
    let results = aggregator.results().expect("a reading");
    assert_eq!((results.total.packets, results.thinning.map(|thinning| thinning.sample_rate)), (100, Some(50)));
    // 1.96 sqrt(100 (1 - 1/50)) 50 = 970.2…
    let expected = Estimate { packets: 5000, bytes: Some(500_000), packets_err95: 971 };
    assert_eq!(results.estimate, Some(expected));
    assert_eq!((results.analysis_factor(), results.packets_of_port()), (200, 5000));
    assert_eq!(results.segments, None, "a segment that was not copied is not a lost one");
    let detail = aggregator.latest_detail().expect("a reading");
    let row = detail.flows.as_ref().expect("flows").top[0].clone();
    // 1.96 sqrt(25 (1 - 1/200)) 200 = 1955.09…
    assert_eq!((row.estimated.packets, row.estimated.bytes, row.packets_err95), (5000, 500_000, 1956));
    assert_eq!((detail.sample_rate, detail.rate_of(HistogramName::PacketSize)), (200, 50));
    let names: Vec<HistogramName> = detail.histograms.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, [HistogramName::PacketSize], "copies follow each other at another distance than packets");
}

#[test]
fn coverage_and_silence_of_a_sampled_mirror_are_measured_by_the_copies_that_it_should_make() {
    let fields = [("span_method", "erspan"), ("mirror_sample_rate", "50")];
    let mut covered = aggregator(&fields);
    covered.sample(sample(0, 0), wall(0));
    covered.poll(poll("oid:1", 0, 0), Duration::ZERO);
    covered.sample(sample(1, 90), wall(1));
    covered.poll(poll("oid:1", 5000, 0), Duration::from_secs(1));
    assert_eq!(covered.results().and_then(|results| results.coverage), Some(0.9));
    for (port_packets, expected) in [(4999, None), (5000, Some(Warning::NoCopies))] {
        let mut silent = aggregator(&fields);
        silent.sample(sample(0, 0), wall(0));
        for at in 0..3 {
            assert_eq!(silent.poll(poll("oid:1", 0, 0), Duration::from_secs(at)), None);
        }
        assert_eq!(silent.poll(poll("oid:1", port_packets, 0), Duration::from_secs(6)), expected, "{port_packets}");
    }
}

#[test]
fn of_cut_copies_no_bytes_are_estimated_and_what_the_cut_did_is_no_error() {
    let fields = [("span_method", "erspan"), ("mirror_sample_rate", "2"), ("mirror_truncate", "128")];
    let mut aggregator = aggregator(&fields);
    let mut cut = sample(0, 10);
    cut.errors = [3; ErrorKind::COUNT];
    aggregator.sample(cut, wall(0));
    let results = aggregator.results().expect("a reading");
    assert_eq!(results.estimate.and_then(|estimate| estimate.bytes), None);
    assert_eq!(results.thinning.and_then(|thinning| thinning.truncate), Some(128));
    let counted: Vec<ErrorKind> =
        ErrorKind::ALL.iter().copied().filter(|kind| results.errors[*kind as usize] > 0).collect();
    assert_eq!(counted, [ErrorKind::MalformedL4, ErrorKind::TooDeep, ErrorKind::ChecksumIp]);
}
