//! Golden texts of a job's health, of what its traffic is made of, and of what was not measured.

use super::{Glyphs, fields, job, report, results};
use crate::io::tables::{JobReport, ResultsRow};

/// The sections of a job of 1,000 packets with `more` counted, behind the verdict and the job's line.
fn sections(job_fields: &[(&str, &str)], more: &[(&str, &str)]) -> String {
    let mut row = fields(&[
        ("updated_at", "2026-01-31T03:00:45.000Z"),
        ("packets_delivered", "1000"),
        ("packets_total", "1000"),
        ("bytes_total", "64000"),
        ("sample_rate", "1"),
        ("eth_ipv4_packets", "1000"),
        ("eth_ipv4_bytes", "64000"),
        ("cast_unicast", "1000"),
    ]);
    row.extend(fields(more));
    let results = Some(ResultsRow::parse("night1", &row).unwrap());
    let report = JobReport { job: job("done", job_fields), results, flows: Vec::new(), histograms: Vec::new() };
    // Behind the verdict and the job's line.
    results_text(&report).splitn(3, '\n').nth(2).unwrap_or_default().to_owned()
}

fn results_text(report: &JobReport) -> String {
    results(report, Glyphs::Unicode)
}

/// What stands before the protocols.
fn health(job_fields: &[(&str, &str)], more: &[(&str, &str)]) -> String {
    let sections = sections(job_fields, more);
    sections.split("\nETHERNET").next().unwrap().to_owned()
}

const TCP: [(&str, &str); 2] = [("ip_tcp_packets", "400"), ("ip_tcp_bytes", "40000")];
const TRACKED: [(&str, &str); 4] =
    [("tcp_tracked", "400"), ("tcp_untracked", "0"), ("tcp_retransmitted", "0"), ("tcp_out_of_order", "0")];

#[test]
fn healthy_traffic_is_said_to_be_healthy_as_far_as_it_was_measured() {
    assert_eq!(health(&[], &[]), "\nhealth: nothing wrong was seen\n");
    let measured: Vec<(&str, &str)> = TCP.into_iter().chain(TRACKED).collect();
    let expected = "\nhealth: nothing wrong was seen\n\
                    retransmissions: none, and nothing out of order, among 400 tracked TCP packets\n";
    assert_eq!(health(&[], &measured), expected);
}

#[test]
fn retransmissions_that_were_not_measured_are_not_said_to_be_none() {
    let said = |detail: &str, rate: &str| {
        let mut more = TCP.to_vec();
        more.push(("sample_rate", rate));
        health(&[("result_detail", detail)], &more).lines().last().unwrap().to_owned()
    };
    assert_eq!(said("flows", "100"), "retransmissions: not measured; needs --sample-rate 1");
    assert_eq!(said("summary", "1"), "retransmissions: not measured; needs --detail flows");
    assert_eq!(said("summary", "100"), "retransmissions: not measured; needs --sample-rate 1 and --detail flows");
    // Without TCP there was nothing to measure.
    assert_eq!(health(&[], &[("sample_rate", "100")]), "\nhealth: nothing wrong was seen\n");
}

#[test]
fn retransmissions_lead_with_their_share_of_what_was_tracked_and_the_rest_is_named() {
    let more = [
        ("tcp_tracked", "300"),
        ("tcp_untracked", "100"),
        ("tcp_retransmitted", "6"),
        ("tcp_out_of_order", "0"),
        ("health_runt", "2"),
        ("health_jumbo", "500"),
    ];
    let more: Vec<(&str, &str)> = TCP.into_iter().chain(more).collect();
    let expected = "
HEALTH               PACKETS   SHARE  OF           MEANS
TCP retransmissions        6   2.0 %  tracked TCP  lost or late on the way
TCP out of order           0   0.0 %  tracked TCP  paths of different delay
runts                      2   0.2 %  all          shorter than Ethernet allows
jumbo frames             500  50.0 %  all          above 1518 bytes
retransmissions: not known of 100 TCP packets (25.0 %) whose flows were not tracked
";
    assert_eq!(health(&[], &more), expected);
}

#[test]
fn what_is_only_worth_knowing_is_not_called_wrong() {
    let expected = "
health: nothing wrong was seen
HEALTH  PACKETS  SHARE  OF  MEANS
TTL 1        10  1.0 %  IP  the next router drops it; normal between neighbours
";
    assert_eq!(health(&[], &[("health_ttl_1", "10")]), expected);
}

#[test]
fn numbers_of_a_version_that_did_not_look_are_not_called_healthy() {
    assert_eq!(
        health(&[], &[("cast_unicast", "0")]),
        "\nhealth: not measured by the version that ran this job, but for broken packets\n"
    );
}

#[test]
fn rocev2_is_shown_by_what_it_does_and_its_congestion_is_a_finding() {
    let more = [
        ("ecn_ect0", "900"),
        ("ecn_ce", "100"),
        ("rocev2_write", "700"),
        ("rocev2_ack", "280"),
        ("rocev2_cnp", "20"),
        ("rocev2_ecn_ect0", "900"),
        ("rocev2_ecn_ce", "100"),
    ];
    let text = sections(&[], &more);
    let expected = "
HEALTH             PACKETS   SHARE  OF           MEANS
ECN congestion         100  10.0 %  ECN-capable  queues on the way were congested
RoCEv2 CNP              20   2.0 %  RoCEv2       senders are told to slow down
RoCEv2 congestion      100  10.0 %  RoCEv2       marked ECN-CE: the lossless queues fill
";
    assert!(text.starts_with(expected), "{text}");
    let lines = "rocev2      write 70.0 %, ack 28.0 %, cnp 2.0 %\nrocev2 ecn  ect0 90.0 %, ce 10.0 %\n";
    assert!(text.ends_with(lines), "{text}");
}

#[test]
fn tunnels_are_shown_with_what_is_in_them_or_said_to_be_closed_or_absent() {
    let found = [
        ("tunnel_vxlan_packets", "30"),
        ("tunnel_vxlan_bytes", "6000"),
        ("inner_tcp_packets", "20"),
        ("inner_tcp_bytes", "4000"),
        ("inner_non_ip_packets", "10"),
        ("inner_non_ip_bytes", "2000"),
    ];
    let expected = "
TUNNEL  PACKETS  SHARE  BYTES  SHARE
vxlan        30  3.0 %  6,000  9.4 %

IN TUNNELS  PACKETS  SHARE  BYTES  SHARE
tcp              20  2.0 %  4,000  6.2 %
non_ip           10  1.0 %  2,000  3.1 %

sent to     unicast 1,000 (100.0 %)
";
    let text = sections(&[("inner", "true")], &found);
    assert!(text.ends_with(expected), "{text}");
    let none = sections(&[("inner", "true")], &[]);
    assert!(
        none.contains("\ntunnels: none that could be looked into (VXLAN, Geneve, GRE, IP-in-IP, MPLS)\n"),
        "{none}"
    );
    let closed = [("service_vxlan_packets", "30"), ("ip_gre_packets", "4"), ("service_dns_packets", "5")];
    let closed = sections(&[("inner", "false")], &closed);
    assert!(closed.contains("\ntunnels: 34 packets are in tunnels; --inner looks into them\n"), "{closed}");
    assert!(!sections(&[("inner", "false")], &[]).contains("tunnels"));
}

#[test]
fn many_code_points_are_cut_to_the_largest_and_the_rest_is_summed() {
    let dscps: Vec<(String, String)> =
        (0..20u64).map(|dscp| (format!("dscp_{dscp}"), (100 - dscp).to_string())).collect();
    let dscps: Vec<(&str, &str)> = dscps.iter().map(|(name, count)| (name.as_str(), count.as_str())).collect();
    let text = sections(&[], &dscps);
    let line = "dscp        0 (default) 5.5 %, 1 (LE) 5.5 %, 2 5.4 %, 3 5.4 %, 4 5.3 %, 5 5.2 %, 6 5.2 %, 7 5.1 %, 12 others 57.3 %\n";
    assert!(text.contains(line), "{text}");
}

#[test]
fn lost_copies_are_said_beside_the_totals_and_so_is_that_none_was_lost() {
    let line = |more: &[(&str, &str)]| sections(&[], more).lines().next().unwrap().to_owned();
    assert_eq!(line(&[("copies_unreadable", "0"), ("copies_lost", "0")]), "copies: none was lost on the way");
    assert_eq!(
        line(&[("copies_unreadable", "3"), ("copies_lost", "247")]),
        "copies: 247 were lost on the way (19.8 % of those sent); 3 held no frame that could be read"
    );
    assert_eq!(
        line(&[("copies_unreadable", "0")]),
        "copies: whether some were lost on the way is not known, they have no sequence numbers"
    );
    assert_eq!(line(&[]), "");
}

#[test]
fn flows_are_counted_while_all_find_room_and_estimated_afterwards() {
    let last = |more: &[(&str, &str)]| {
        let mut report = report();
        let mut row = fields(&[("updated_at", "2026-01-31T03:00:45.000Z"), ("flows_seen", "50"), ("sample_rate", "1")]);
        row.extend(fields(more));
        report.results = Some(ResultsRow::parse("night1", &row).unwrap());
        report.histograms.clear();
        results_text(&report).lines().last().unwrap().to_owned()
    };
    assert_eq!(last(&[("flows_evicted", "0")]), "50 different flows");
    assert_eq!(
        last(&[("flows_evicted", "9"), ("flows_distinct_est", "41"), ("flows_distinct_err95", "2")]),
        "about 41 ±2 different flows; 9 times one had to make room, so small ones may be missing"
    );
}
