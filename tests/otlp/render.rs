//! What the metrics of a job say, exactly.

use std::collections::BTreeMap;
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, Metric};
use prost::Message;
use telegen_sonic::model::report::{Detail, Report, Snapshot};
use telegen_sonic::model::schema::{CountFamily, CounterFamily, EthClass, HistogramName, IpClass};
use telegen_sonic::model::settings::Settings;
use telegen_sonic::model::traffic::{Copies, DistinctFlows, Segments};
use telegen_sonic::sink::otlp::cursor::Cursor;
use telegen_sonic::sink::otlp::metrics::point_count;
use telegen_sonic::sink::otlp::origin::Origin;

use crate::fixtures::{Build, counter, daemon, flow, nanos, running, snapshot};

/// Every request that is due, settled.
pub fn requests(cursor: &mut Cursor, snapshot: &Snapshot) -> Vec<ExportMetricsServiceRequest> {
    let origin = Origin::new(&snapshot.daemon, &[]);
    let due = cursor.due(snapshot);
    due.iter()
        .flat_map(|export| {
            let requests: Vec<_> = export.requests(&origin).collect();
            cursor.settle(export);
            requests
        })
        .collect()
}

pub fn metrics(requests: &[ExportMetricsServiceRequest]) -> Vec<&Metric> {
    let resources = requests.iter().flat_map(|request| &request.resource_metrics);
    resources.flat_map(|resource| &resource.scope_metrics).flat_map(|scope| &scope.metrics).collect()
}

pub fn words(attributes: &[KeyValue]) -> String {
    let word = |attribute: &KeyValue| match attribute.value.clone().unwrap().value.unwrap() {
        Value::StringValue(text) => format!("{}={text}", attribute.key),
        Value::IntValue(number) => format!("{}={number}", attribute.key),
        other => panic!("{other:?}"),
    };
    attributes.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// The points of all sums by metric: attributes and value. Checks on the way that each is cumulative and monotonic.
pub fn sums(requests: &[ExportMetricsServiceRequest]) -> BTreeMap<String, Vec<(String, i64)>> {
    let mut sums: BTreeMap<String, Vec<(String, i64)>> = BTreeMap::new();
    for metric in metrics(requests) {
        let Some(Data::Sum(sum)) = &metric.data else { continue };
        assert_eq!(sum.aggregation_temporality(), AggregationTemporality::Cumulative, "{}", metric.name);
        assert!(sum.is_monotonic, "{}", metric.name);
        let points = sum.data_points.iter().map(|point| match point.value {
            Some(Number::AsInt(value)) => (words(&point.attributes), value),
            ref other => panic!("{}: {other:?}", metric.name),
        });
        sums.entry(format!("{} {}", metric.name, metric.unit)).or_default().extend(points);
    }
    sums
}

pub fn default_snapshot(report: Report) -> Snapshot {
    snapshot(Settings::default(), [report])
}

#[test]
fn totals_are_disjoint_points_by_protocol_and_zeros_are_left_out() {
    let sent = requests(&mut Cursor::default(), &default_snapshot(running("a1").totals(11, 7)));
    let job = "telegen.job.id=a1 sonic.port.name=Ethernet16 network.io.direction=receive";
    let point = |own: &str, value| (format!("{job} {own}"), value);
    let expected = BTreeMap::from([
        (
            "network.packets {packet}".to_owned(),
            vec![
                point("network.transport=tcp", 7),
                point("network.transport=udp", 3),
                point("telegen.ethernet.type=arp", 2),
            ],
        ),
        (
            "network.bytes By".to_owned(),
            vec![
                point("network.transport=tcp", 7_000),
                point("network.transport=udp", 300),
                point("telegen.ethernet.type=arp", 120),
            ],
        ),
        ("network.errors {error}".to_owned(), vec![point("error.type=malformed_l4", 1)]),
    ]);
    assert_eq!(sums(&sent), expected);
}

#[test]
fn the_points_of_a_metric_sum_to_the_total_whatever_the_classes_hold() {
    let mut report = running("a1").totals(11, 0);
    let mut results = (**report.results.as_ref().unwrap()).clone();
    for (index, class) in EthClass::ALL.iter().enumerate() {
        results.eth[*class as usize] = counter(1 << index, 100 << index);
    }
    // IP classes share what Ethernet calls ipv4 (1) and ipv6 (2): 3 packets and 300 bytes.
    results.ip = [counter(0, 0); IpClass::COUNT];
    results.ip[IpClass::Truncated as usize] = counter(1, 60);
    results.ip[IpClass::Other as usize] = counter(2, 240);
    results.total = results.eth.iter().copied().sum();
    let total = results.total;
    report.results = Some(results.into());
    let sums = sums(&requests(&mut Cursor::default(), &default_snapshot(report)));
    let sum = |name: &str| sums[name].iter().map(|(_, value)| *value).sum::<i64>();
    assert_eq!(sum("network.packets {packet}"), i64::try_from(total.packets).unwrap());
    assert_eq!(sum("network.bytes By"), i64::try_from(total.bytes).unwrap());
    // 12 Ethernet classes that are not IP, and two IP classes.
    assert_eq!(sums["network.packets {packet}"].len(), EthClass::COUNT - 2 + 2);
}

#[test]
fn points_start_with_the_job_and_carry_the_time_of_the_reading_they_come_from() {
    let report = running("a1").totals(11, 7).detail(8, vec![flow("10.0.0.1", 1_000, 500)]);
    let sent = requests(&mut Cursor::default(), &default_snapshot(report));
    let mut times: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for metric in metrics(&sent) {
        let of_points: Vec<(u64, u64)> = match metric.data.as_ref().unwrap() {
            Data::Sum(sum) => {
                sum.data_points.iter().map(|point| (point.start_time_unix_nano, point.time_unix_nano)).collect()
            }
            Data::Histogram(histogram) => {
                histogram.data_points.iter().map(|point| (point.start_time_unix_nano, point.time_unix_nano)).collect()
            }
            other => panic!("{other:?}"),
        };
        assert!(of_points.iter().all(|time| *time == of_points[0]));
        times.insert(metric.name.clone(), of_points[0]);
    }
    let expected = [
        ("flow.bytes", 8),
        ("flow.packets", 8),
        ("network.bytes", 11),
        ("network.errors", 11),
        ("network.packet.size", 8),
        ("network.packets", 11),
    ];
    let expected = expected.map(|(name, seconds)| (name.to_owned(), (nanos(1), nanos(seconds))));
    assert_eq!(times, BTreeMap::from(expected));
}

#[test]
fn direction_is_said_from_the_switchs_side_and_left_out_for_both() {
    let direction = |word: &str| {
        let report = running("a1").spec(&[("port", "Ethernet0"), ("direction", word)]).totals(2, 1);
        let sums = sums(&requests(&mut Cursor::default(), &default_snapshot(report)));
        sums["network.errors {error}"][0].0.clone()
    };
    let expected = |said: &str| format!("telegen.job.id=a1 sonic.port.name=Ethernet0{said} error.type=malformed_l4");
    assert_eq!(direction("ingress"), expected(" network.io.direction=receive"));
    assert_eq!(direction("egress"), expected(" network.io.direction=transmit"));
    assert_eq!(direction("both"), expected(""));
}

#[test]
fn flows_are_estimates_and_say_so_and_ports_and_vlans_that_are_none_are_left_out() {
    let mut icmp6 = flow("fe80::1", 0, 300);
    icmp6.dst = "ff02::1".to_owned();
    icmp6.is_ipv6 = true;
    icmp6.ip_proto = 58;
    icmp6.l4_dport = 0;
    let mut tagged = flow("10.0.0.1", 1_000, 500);
    tagged.vlan = 10;
    tagged.ip_proto = 200;
    let report = running("a1").detail(8, vec![tagged, icmp6]);
    let sums = sums(&requests(&mut Cursor::default(), &default_snapshot(report)));
    let job = "telegen.job.id=a1 sonic.port.name=Ethernet16 network.io.direction=receive";
    let first = format!(
        "{job} source.address=10.0.0.1 destination.address=10.0.0.2 network.type=ipv4 network.transport=200 telegen.sampling.rate=100 source.port=1000 destination.port=443 telegen.vlan.id=10"
    );
    let second = format!(
        "{job} source.address=fe80::1 destination.address=ff02::1 network.type=ipv6 network.transport=icmpv6 telegen.sampling.rate=100"
    );
    let expected = BTreeMap::from([
        ("flow.packets {packet}".to_owned(), vec![(first.clone(), 500), (second.clone(), 300)]),
        ("flow.bytes By".to_owned(), vec![(first, 50_000), (second, 30_000)]),
    ]);
    assert_eq!(sums, expected);
}

#[test]
fn histograms_keep_the_jobs_own_buckets_and_an_empty_one_is_left_out() {
    let report = running("a1").detail(8, Vec::new());
    let bounds = report.detail.as_ref().unwrap().histograms[0].1.bounds;
    let sent = requests(&mut Cursor::default(), &default_snapshot(report));
    let [metric] = metrics(&sent)[..] else { panic!("{sent:?}") };
    assert_eq!((metric.name.as_str(), metric.unit.as_str()), ("network.packet.size", "By"));
    let Some(Data::Histogram(histogram)) = &metric.data else { panic!("{metric:?}") };
    assert_eq!(histogram.aggregation_temporality(), AggregationTemporality::Cumulative);
    let point = &histogram.data_points[0];
    // Every packet is in it: nothing was sampled.
    assert_eq!(words(&point.attributes), "telegen.job.id=a1 sonic.port.name=Ethernet16 network.io.direction=receive");
    assert_eq!((point.count, point.sum), (3, Some(9_424.0)));
    assert_eq!(point.bucket_counts, [2, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    let said: Vec<f64> = bounds.iter().map(|bound| f64::from(u32::try_from(*bound).unwrap())).collect();
    assert_eq!(point.explicit_bounds, said);
}

#[test]
fn every_point_of_a_sampled_mirror_says_its_rate_and_every_estimate_the_whole_of_it() {
    let job = [("port", "Ethernet16"), ("span_method", "erspan"), ("mirror_sample_rate", "50")];
    let mut report = running("a1").spec(&job).totals(3, 10).detail(8, vec![flow("10.0.0.1", 1_000, 500)]);
    let mut detail = Detail::clone(report.detail.as_ref().unwrap());
    (detail.sample_rate, detail.mirror_sample_rate) = (5_000, 50);
    report.detail = Some(Arc::new(detail));
    let sent = requests(&mut Cursor::default(), &default_snapshot(report));
    let rate = |metric: &Metric| -> Vec<String> {
        let attributes: Vec<String> = match metric.data.as_ref().unwrap() {
            Data::Sum(sum) => sum.data_points.iter().map(|point| words(&point.attributes)).collect(),
            Data::Histogram(histogram) => histogram.data_points.iter().map(|point| words(&point.attributes)).collect(),
            Data::Gauge(gauge) => gauge.data_points.iter().map(|point| words(&point.attributes)).collect(),
            Data::ExponentialHistogram(_) | Data::Summary(_) => panic!("{metric:?}"),
        };
        assert!(attributes.iter().all(|words| words.contains("telegen.mirror.sampling.rate=50")), "{attributes:?}");
        let rate =
            |words: &str| words.split(' ').find(|word| word.starts_with("telegen.sampling.rate")).map(str::to_owned);
        attributes.iter().map(|words| rate(words).unwrap_or_default()).collect()
    };
    let of = |name: &str| metrics(&sent).into_iter().find(|metric| metric.name == name).map(rate);
    assert_eq!(of("network.packets"), Some(vec![String::new(); 3]), "counts of copies are no estimate");
    assert_eq!(of("flow.packets"), Some(vec!["telegen.sampling.rate=5000".to_owned()]));
    assert_eq!(of("network.packet.size"), Some(vec!["telegen.sampling.rate=50".to_owned()]));
}

#[test]
fn interarrival_is_in_nanoseconds_and_says_which_part_of_the_pairs_it_has() {
    let of_rate = |sample_rate| interarrival(sample_rate);
    assert_eq!(of_rate(1), "network.packet.interarrival ns telegen.sampling.rate=64");
    assert_eq!(of_rate(100), "network.packet.interarrival ns telegen.sampling.rate=100");
}

/// Name, unit and last attribute of the histogram of a job that analyses 1 of `sample_rate`.
fn interarrival(sample_rate: u32) -> String {
    let mut report = running("a1").detail(8, Vec::new());
    let mut detail = Detail { sample_rate, ..(**report.detail.as_ref().unwrap()).clone() };
    for (name, histogram) in &mut detail.histograms {
        (histogram.count, histogram.sum) = match name {
            HistogramName::PacketSize => (0, 0),
            HistogramName::Interarrival => (1, 120),
        };
    }
    report.detail = Some(detail.into());
    let sent = requests(&mut Cursor::default(), &default_snapshot(report));
    let [metric] = metrics(&sent)[..] else { panic!("{sent:?}") };
    let Some(Data::Histogram(histogram)) = &metric.data else { panic!("{metric:?}") };
    let own = words(&histogram.data_points[0].attributes);
    format!("{} {} {}", metric.name, metric.unit, own.rsplit(' ').next().unwrap())
}

/// The report with no counter at 0.
fn with_every_counter(mut report: Report) -> Report {
    let mut results = (**report.results.as_ref().unwrap()).clone();
    for family in CounterFamily::ALL {
        family.set(&mut results, |_| Ok::<_, std::convert::Infallible>(counter(1 << 50, 1 << 60))).unwrap();
    }
    for family in CountFamily::ALL {
        family.set(&mut results, |_| Ok::<_, std::convert::Infallible>(1 << 50)).unwrap();
    }
    (results.fragments, results.fragments_later) = (1 << 50, 1 << 49);
    results.segments = Some(Segments::default());
    results.copies = Some(Copies { lost: Some(0), unreadable: 0 });
    report.results = Some(results.into());
    let mut detail = (**report.detail.as_ref().unwrap()).clone();
    detail.flows.as_mut().unwrap().distinct = DistinctFlows { estimate: 1 << 50, err95: 1 };
    for (_, histogram) in &mut detail.histograms {
        histogram.count = 1;
    }
    report.detail = Some(detail.into());
    report
}

#[test]
fn a_full_top_k_is_split_into_requests_of_at_most_2000_points_and_a_megabyte() {
    let widest = |index: u16| {
        let mut row = flow(&format!("2001:db8:aaaa:bbbb:cccc:dddd:eeee:{index:04x}"), 50_000, 1 << 50);
        row.dst = "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff".to_owned();
        row.vlan = 4_094;
        row
    };
    let report = running("abcdefghijklmnopqrstuvwx")
        .spec(&[("port", "PortChannel123456789012345678901")])
        .totals(8, 1)
        .detail(8, (0..4_096).map(widest).collect());
    let sent = requests(&mut Cursor::default(), &default_snapshot(with_every_counter(report)));
    assert_eq!(sent.len(), 6);
    // Two points of each of 800 flows, and the most that there can be besides.
    assert_eq!(point_count(&sent[0]), 1_600 + 360);
    for request in &sent {
        assert!(point_count(request) <= 2_000, "{} points", point_count(request));
        assert!(request.encoded_len() <= 1_000_000, "{} bytes", request.encoded_len());
    }
    let sums = sums(&sent);
    let sources: std::collections::BTreeSet<&str> =
        sums["flow.packets {packet}"].iter().map(|(attributes, _)| attributes.as_str()).collect();
    assert_eq!(sources.len(), 4_096);
    assert_eq!(sums["flow.bytes By"].len(), 4_096);
}

#[test]
fn numbers_are_sent_once_and_the_last_ones_after_the_end_are_sent_too() {
    let mut cursor = Cursor::default();
    let sent = |cursor: &mut Cursor, report| metrics(&requests(cursor, &default_snapshot(report))).len();
    assert_eq!(sent(&mut cursor, running("a1").totals(2, 1)), 3);
    assert_eq!(sent(&mut cursor, running("a1").totals(2, 1)), 0);
    let last = || running("a1").totals(3, 2).done(3);
    assert!(cursor.has_unsettled_ending(&default_snapshot(last())));
    assert_eq!(sent(&mut cursor, last()), 3);
    assert!(!cursor.has_unsettled_ending(&default_snapshot(last())));
    assert_eq!(sent(&mut cursor, last()), 0);
}

#[test]
fn totals_and_detail_are_due_each_for_itself() {
    let mut cursor = Cursor::default();
    let mut names = |report| -> Vec<String> {
        metrics(&requests(&mut cursor, &default_snapshot(report))).iter().map(|metric| metric.name.clone()).collect()
    };
    let flows = || vec![flow("10.0.0.1", 1, 100)];
    assert_eq!(names(running("a1").totals(2, 1).detail(2, flows())).len(), 6);
    assert_eq!(
        names(running("a1").totals(3, 1).detail(2, flows())),
        ["network.packets", "network.bytes", "network.errors"]
    );
    assert_eq!(
        names(running("a1").totals(3, 1).detail(4, flows())),
        ["network.packet.size", "flow.packets", "flow.bytes"]
    );
}

#[test]
fn what_was_not_settled_is_due_again_with_the_latest_numbers() {
    let mut cursor = Cursor::default();
    assert_eq!(cursor.due(&default_snapshot(running("a1").totals(2, 1))).len(), 1);
    let sums = sums(&requests(&mut cursor, &default_snapshot(running("a1").totals(3, 9))));
    assert_eq!(sums["network.packets {packet}"][0].1, 9);
}

#[test]
fn jobs_that_do_not_want_it_or_never_counted_are_not_exported() {
    let quiet = running("a1").spec(&[("port", "Ethernet0"), ("otlp_export", "false")]).totals(2, 1);
    let mut waiting = running("a2");
    waiting.status.started_at = None;
    let snapshot = snapshot(Settings::default(), [quiet.done(3), waiting, running("a3")]);
    let mut cursor = Cursor::default();
    assert!(!cursor.has_unsettled_ending(&snapshot));
    assert_eq!(requests(&mut cursor, &snapshot), []);
}

#[test]
fn an_id_that_is_used_again_starts_again() {
    let mut cursor = Cursor::default();
    let first = running("a1").totals(5, 9).detail(5, vec![flow("10.0.0.1", 1, 900)]).done(5);
    requests(&mut cursor, &default_snapshot(first));
    let mut second = running("a1").totals(4, 1).detail(4, vec![flow("10.0.0.1", 1, 100)]);
    second.status.started_at = Some(crate::fixtures::at(3));
    let sums = sums(&requests(&mut cursor, &default_snapshot(second)));
    assert_eq!(sums["network.packets {packet}"][0].1, 1);
    assert_eq!(sums["flow.packets {packet}"][0].1, 100);
}

#[test]
fn a_flows_estimate_never_falls_while_it_stays_in_the_top() {
    let mut cursor = Cursor::default();
    let mut flow_packets = |seconds, packets| {
        let report = running("a1").detail(seconds, vec![flow("10.0.0.1", 1, packets), flow("10.0.0.9", 1, 50)]);
        let sums = sums(&requests(&mut cursor, &default_snapshot(report)));
        let values = |name: &str| sums[name].iter().map(|(_, value)| *value).collect::<Vec<_>>();
        (values("flow.packets {packet}"), values("flow.bytes By"))
    };
    assert_eq!(flow_packets(2, 1_000), (vec![1_000, 50], vec![100_000, 5_000]));
    assert_eq!(flow_packets(3, 400), (vec![1_000, 50], vec![100_000, 5_000]));
    assert_eq!(flow_packets(4, 1_100), (vec![1_100, 50], vec![110_000, 5_000]));
}

#[test]
fn the_resource_names_daemon_and_switch_and_leaves_out_what_is_not_known() {
    let origin = Origin::new(&daemon(), &[]);
    assert_eq!(
        words(&origin.resource.attributes),
        "service.name=telegen-sonic service.namespace=sonic service.version=0.1.0 service.instance.id=run-1 host.name=leaf-1 \
         host.id=0123456789abcdef host.arch=amd64 os.type=linux os.name=SONiC os.version=202505 device.manufacturer=accton \
         device.model.identifier=as7712_32x sonic.platform=x86_64-accton_as7712_32x-r0 sonic.hwsku=Accton-AS7712-32X"
    );
    assert_eq!((origin.scope.name.as_str(), origin.scope.version.as_str()), ("telegen-sonic", "0.1.0"));
    let sent = requests(&mut Cursor::default(), &default_snapshot(running("a1").totals(2, 1)));
    assert_eq!(sent[0].resource_metrics[0].resource.as_ref(), Some(&origin.resource));
    assert_eq!(sent[0].resource_metrics[0].scope_metrics[0].scope.as_ref(), Some(&origin.scope));
}

#[test]
fn attributes_of_the_environment_win_over_what_was_found_out_and_keys_stay_unique() {
    let overrides = [("host.name".to_owned(), "spine-9".to_owned()), ("site".to_owned(), "ber1".to_owned())];
    let said = words(&Origin::new(&daemon(), &overrides).resource.attributes);
    assert!(said.ends_with("host.name=spine-9 site=ber1"), "{said}");
    assert_eq!(said.matches("host.name=").count(), 1);
}
