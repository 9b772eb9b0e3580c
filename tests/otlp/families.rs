//! Health, services, tunnels, segments, copies and distinct flows as metrics, exactly.

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use telegen_sonic::model::measure::{Kind, Value, scalars};
use telegen_sonic::model::report::{FlowCounts, Results};
use telegen_sonic::model::schema::{ErrorKind, IpClass};
use telegen_sonic::model::traffic::{
    Cast, Copies, DistinctFlows, Ecn, HealthEvent, Inner, Rocev2Op, Segments, Service, Tunnel,
};
use telegen_sonic::sink::otlp::cursor::Cursor;

use crate::fixtures::{Build, counter, running};
use crate::render::{default_snapshot, metrics, requests, sums, words};

#[test]
fn health_services_and_tunnels_are_points_by_name_and_what_is_measured_is_sent_at_zero() {
    let mut report = running("a1").totals(11, 7);
    let mut results = (**report.results.as_ref().unwrap()).clone();
    results.errors = [0; ErrorKind::COUNT];
    results.errors[ErrorKind::ChecksumIp as usize] = 1;
    results.services[Service::Bgp as usize] = counter(2, 200);
    results.health.events[HealthEvent::TcpReset as usize] = 3;
    results.health.cast[Cast::Broadcast as usize] = 4;
    results.health.ecn[Ecn::Ce as usize] = 5;
    results.health.dscp[46] = 6;
    results.health.tcp_flags[0x12] = 7;
    results.health.rocev2[Rocev2Op::Cnp as usize] = 8;
    results.health.rocev2_ecn[Ecn::Ect0 as usize] = 9;
    let mut inner = Inner::default();
    inner.tunnels[Tunnel::Vxlan as usize] = counter(10, 1_000);
    inner.ip[IpClass::Tcp as usize] = counter(6, 600);
    inner.non_ip = counter(4, 400);
    results.inner = Some(inner);
    (results.fragments, results.fragments_later) = (12, 11);
    results.segments = Some(Segments { tracked: 7, untracked: 0, retransmitted: 0, out_of_order: 1 });
    results.copies = Some(Copies { lost: Some(0), unreadable: 13 });
    report.results = Some(results.into());
    let mut sums = sums(&requests(&mut Cursor::default(), &default_snapshot(report)));
    assert!(sums.remove("network.packets {packet}").is_some() && sums.remove("network.bytes By").is_some());
    let job = "telegen.job.id=a1 sonic.port.name=Ethernet16 network.io.direction=receive";
    let said: Vec<(String, String, i64)> = sums
        .into_iter()
        .flat_map(|(name, points)| points.into_iter().map(move |(own, value)| (name.clone(), own, value)))
        .map(|(name, own, value)| (name, own.strip_prefix(job).unwrap().trim().to_owned(), value))
        .collect();
    let expected = [
        ("network.errors {error}", "error.type=checksum_ip", 1),
        ("telegen.cast.packets {packet}", "telegen.cast.type=broadcast", 4),
        ("telegen.copies.lost {packet}", "", 0),
        ("telegen.copies.unreadable {packet}", "", 13),
        ("telegen.dscp.packets {packet}", "telegen.dscp.codepoint=46", 6),
        ("telegen.ecn.packets {packet}", "telegen.ecn.codepoint=ce", 5),
        ("telegen.health.events {event}", "telegen.health.event=tcp_reset", 3),
        ("telegen.inner.bytes By", "telegen.inner.type=tcp", 600),
        ("telegen.inner.bytes By", "telegen.inner.type=non_ip", 400),
        ("telegen.inner.packets {packet}", "telegen.inner.type=tcp", 6),
        ("telegen.inner.packets {packet}", "telegen.inner.type=non_ip", 4),
        ("telegen.ip.fragments {packet}", "telegen.fragment.position=first", 1),
        ("telegen.ip.fragments {packet}", "telegen.fragment.position=later", 11),
        ("telegen.rocev2.ecn.packets {packet}", "telegen.ecn.codepoint=ect0", 9),
        ("telegen.rocev2.packets {packet}", "telegen.rocev2.operation=cnp", 8),
        ("telegen.service.bytes By", "network.protocol.name=bgp", 200),
        ("telegen.service.packets {packet}", "network.protocol.name=bgp", 2),
        ("telegen.tcp.out_of_order {segment}", "", 1),
        ("telegen.tcp.packets {packet}", "telegen.tcp.flags=syn_ack", 7),
        ("telegen.tcp.retransmitted {segment}", "", 0),
        ("telegen.tcp.tracked {packet}", "", 7),
        ("telegen.tcp.untracked {packet}", "", 0),
        ("telegen.tunnel.bytes By", "telegen.tunnel.type=vxlan", 1_000),
        ("telegen.tunnel.packets {packet}", "telegen.tunnel.type=vxlan", 10),
    ];
    let expected = expected.map(|(name, own, value)| (name.to_owned(), own.to_owned(), value));
    assert_eq!(said, expected);
}

#[test]
fn copies_without_sequence_numbers_have_no_loss_and_what_is_not_measured_has_no_point() {
    let names = |copies| -> Vec<String> {
        let mut report = running("a1").totals(11, 7);
        let mut results = Results::clone(report.results.as_ref().unwrap());
        results.copies = copies;
        report.results = Some(results.into());
        let sums = sums(&requests(&mut Cursor::default(), &default_snapshot(report)));
        sums.into_keys().filter(|name| name.starts_with("telegen.")).collect()
    };
    assert_eq!(names(None), Vec::<String>::new());
    assert_eq!(names(Some(Copies { lost: None, unreadable: 0 })), ["telegen.copies.unreadable {packet}"]);
}

#[test]
fn the_number_of_different_flows_is_a_gauge_with_its_error_and_its_sampling_rate() {
    let mut report = running("a1").detail(8, Vec::new());
    let mut detail = (**report.detail.as_ref().unwrap()).clone();
    detail.flows.as_mut().unwrap().distinct = DistinctFlows { estimate: 1_000, err95: 0 };
    detail.histograms.clear();
    report.detail = Some(detail.into());
    let sent = requests(&mut Cursor::default(), &default_snapshot(report));
    let said: Vec<(String, String, Option<Number>)> = metrics(&sent)
        .iter()
        .map(|metric| {
            let Some(Data::Gauge(gauge)) = &metric.data else { panic!("{metric:?}") };
            let [point] = &gauge.data_points[..] else { panic!("{metric:?}") };
            (format!("{} {}", metric.name, metric.unit), words(&point.attributes), point.value)
        })
        .collect();
    let own = "telegen.job.id=a1 sonic.port.name=Ethernet16 network.io.direction=receive telegen.sampling.rate=100";
    let expected = [("telegen.flow.distinct {flow}", 1_000), ("telegen.flow.distinct_err95 {flow}", 0)]
        .map(|(name, value)| (name.to_owned(), own.to_owned(), Some(Number::AsInt(value))));
    assert_eq!(said, expected);
}

#[test]
fn every_number_that_names_a_metric_is_sent_with_its_unit() {
    let mut report = running("a1").totals(11, 7).detail(8, Vec::new());
    let mut results = Results::clone(report.results.as_ref().unwrap());
    let mut flows = FlowCounts::default();
    let exported = || scalars().filter(|scalar| scalar.otlp.is_some());
    for (index, scalar) in (1..).zip(exported()) {
        assert_eq!(scalar.set(&mut results, &mut flows, Value::Whole(index)), Some(()), "{}", scalar.name);
    }
    report.results = Some(results.into());
    let mut detail = (**report.detail.as_ref().unwrap()).clone();
    detail.flows.as_mut().unwrap().distinct = flows.distinct.unwrap();
    report.detail = Some(detail.into());
    let sent = requests(&mut Cursor::default(), &default_snapshot(report));
    for (index, scalar) in (1..).zip(exported()) {
        let metric = metrics(&sent).into_iter().find(|metric| Some(metric.name.as_str()) == scalar.otlp).unwrap();
        let points = match (&metric.data, scalar.kind) {
            (Some(Data::Sum(sum)), Kind::Sum) => &sum.data_points,
            (Some(Data::Gauge(gauge)), Kind::Gauge) => &gauge.data_points,
            other => panic!("{}: {other:?}", scalar.name),
        };
        assert_eq!(metric.unit, scalar.unit.ucum(), "{}", scalar.name);
        assert_eq!(points.iter().map(|point| point.value).collect::<Vec<_>>(), [Some(Number::AsInt(index))]);
    }
}
