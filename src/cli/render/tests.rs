//! Golden texts: what a person sees, to the character.

mod health;

use jiff::Timestamp;

use super::{Glyphs, drained, harmless, jobs, results, started, watch_frame, watch_line};
use crate::io::tables::{Drained, HistogramRow, JobReport, JobRow, ResultsRow, SweepError};
use crate::model::job::Fields;
use crate::model::report::FlowRow;
use crate::model::report::{Estimate, Thinning};
use crate::model::sample::Counter;
use crate::model::schema::{HistogramName, Status};

fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn job(status: &str, more: &[(&str, &str)]) -> JobRow {
    let mut row = fields(&[
        ("port", "Ethernet16"),
        ("direction", "ingress"),
        ("span_method", "span"),
        ("status", status),
        ("started_at", "2026-01-31T03:00:00.000Z"),
        ("expires_at", "2026-01-31T03:02:00.000Z"),
    ]);
    row.extend(fields(more));
    JobRow::parse("night1", row).unwrap()
}

fn totals() -> ResultsRow {
    let row = fields(&[
        ("updated_at", "2026-01-31T03:00:45.000Z"),
        ("window_sec", "45"),
        ("packets_delivered", "1300000"),
        ("packets_total", "1234567"),
        ("bytes_total", "987654321"),
        ("packets_analysed", "12346"),
        ("sample_rate", "100"),
        ("pps", "12345.4"),
        ("bps", "98765432"),
        ("coverage", "0.12"),
        ("eth_ipv4_packets", "1200000"),
        ("eth_ipv4_bytes", "980000000"),
        ("eth_arp_packets", "34567"),
        ("eth_arp_bytes", "7654321"),
        ("ip_tcp_packets", "1100000"),
        ("ip_tcp_bytes", "970000000"),
        ("ip_udp_packets", "100000"),
        ("ip_udp_bytes", "10000000"),
        ("error_truncated_l4", "12"),
        ("flows_seen", "2500"),
        ("flows_evicted", "30"),
        ("flows_distinct_est", "2480"),
        ("flows_distinct_err95", "52"),
        ("fragments", "1000"),
        ("fragments_later", "600"),
        ("health_tcp_reset", "1204"),
        ("health_tcp_zero_window", "88"),
        ("health_icmp_time_exceeded", "9"),
        ("health_ttl_1", "300"),
        ("error_checksum_ip", "4"),
        ("cast_unicast", "1200000"),
        ("cast_broadcast", "34567"),
        ("ecn_not_ect", "1199000"),
        ("ecn_ect0", "900"),
        ("ecn_ce", "100"),
        ("dscp_0", "1100000"),
        ("dscp_46", "100000"),
        ("tcp_flags_ack", "1000000"),
        ("tcp_flags_psh_ack", "98796"),
        ("tcp_flags_rst_ack", "1204"),
        ("service_https_packets", "900000"),
        ("service_https_bytes", "900000000"),
        ("service_dns_packets", "80000"),
        ("service_dns_bytes", "8000000"),
    ]);
    ResultsRow::parse("night1", &row).unwrap()
}

fn flow(packets: u64, packets_err95: u64, vlan: u16) -> FlowRow {
    let at: Timestamp = "2026-01-31T03:00:01Z".parse().unwrap();
    FlowRow {
        src: "10.0.0.1".to_owned(),
        dst: "10.0.0.2".to_owned(),
        is_ipv6: false,
        l4_sport: 40000,
        l4_dport: 443,
        ip_proto: 6,
        vlan,
        analysed: Counter { packets: packets / 100, bytes: packets * 8 },
        estimated: Counter { packets, bytes: packets * 800 },
        packets_err95,
        first_seen: at,
        last_seen: at,
    }
}

fn report() -> JobReport {
    let sizes = HistogramRow {
        name: HistogramName::PacketSize,
        unit: "By".to_owned(),
        bounds: vec![64, 128, 256, 512],
        counts: vec![0, 8000, 0, 4096, 250],
        sum: 12_346 * 812,
        count: 12_346,
        sample_rate: Some(1),
    };
    let gaps = HistogramRow {
        name: HistogramName::Interarrival,
        unit: "ns".to_owned(),
        bounds: vec![500, 1_000, 2_000_000],
        counts: vec![1, 2, 4, 0],
        sum: 8_050_000,
        count: 7,
        sample_rate: Some(100),
    };
    JobReport {
        job: job("running", &[("vlan", "10"), ("warning", "oversubscribed")]),
        results: Some(totals()),
        flows: vec![flow(500_000, 4_100, 10), flow(12_300, 0, 0)],
        histograms: vec![sizes, gaps],
    }
}

const RESULTS: &str = "\
Ethernet16 ingress, 45.0 s: 1,234,567 packets (987.7 MB), 27,435 packets/s and 175.6 Mbit/s on average; coverage 12 %: copies are \
rate-limited on the way to the CPU; totals are of what arrived
job night1: running until 2026-01-31T03:02:00.000Z
warning oversubscribed: the port is faster than the one that copies are sent to: some are lost when it is busy
filter vlan 10: 1,234,567 of 1,300,000 packets that arrived passed it

HEALTH              PACKETS   SHARE  OF           MEANS
TCP resets            1,204   0.1 %  TCP          refused, or broken off
TCP zero windows         88  <0.1 %  TCP          a receiver cannot take more
ICMP time exceeded        9  <0.1 %  all          a routing loop, or somebody traces routes
ECN congestion          100  10.0 %  ECN-capable  queues on the way were congested
truncated L4             12  <0.1 %  all          end inside the TCP, UDP, ICMP or SCTP header
IPv4 checksum             4  <0.1 %  IPv4         damaged on the way, or sent wrong
TTL 1                   300  <0.1 %  IP           the next router drops it; normal between neighbours
IP fragments          1,000   0.1 %  IP           parts of larger packets
later fragments         600   0.1 %  IP           without ports: in no service, and flows of their own
retransmissions: not measured; needs --sample-rate 1

ETHERNET    PACKETS   SHARE        BYTES   SHARE
ipv4      1,200,000  97.2 %  980,000,000  99.2 %
arp          34,567   2.8 %    7,654,321   0.8 %

IP     PACKETS   SHARE        BYTES   SHARE
tcp  1,100,000  89.1 %  970,000,000  98.2 %
udp    100,000   8.1 %   10,000,000   1.0 %

SERVICE  PACKETS   SHARE        BYTES   SHARE
https    900,000  72.9 %  900,000,000  91.1 %
dns       80,000   6.5 %    8,000,000   0.8 %

sent to     unicast 1,200,000 (97.2 %), broadcast 34,567 (2.8 %)
dscp        0 (default) 91.7 %, 46 (EF) 8.3 %
ecn         not_ect 99.9 %, ect0 0.1 %, ce <0.1 %
tcp flags   ack 90.9 %, psh_ack 9.0 %, rst_ack 0.1 %

#  FLOW                               VLAN         PACKETS   SHARE        BYTES
1  tcp 10.0.0.1:40000 → 10.0.0.2:443    10  500,000 ±4,100  40.5 %  400,000,000
2  tcp 10.0.0.1:40000 → 10.0.0.2:443                12,300   1.0 %    9,840,000
estimates: 1 of 100 packets was analysed; ± is half the width of the 95 % interval
about 2,480 ±52 different flows among the analysed packets; 30 times one had to make room, so small ones may be missing

packet size, 12,346 packets, mean 812 B
  ≤ 128 B  ████████████████████████████████████████  8,000   64.8 %
  ≤ 256 B                                                0    0.0 %
  ≤ 512 B  ████████████████████▍                     4,096   33.2 %
  > 512 B  █▎                                          250    2.0 %

time between packets, 7 pairs (1 of 100), mean 1.1 ms
  ≤ 500 ns  ██████████                                1   14.3 %
    ≤ 1 µs  ████████████████████                      2   28.6 %
    ≤ 2 ms  ████████████████████████████████████████  4   57.1 %
";

#[test]
fn results_begin_with_the_verdict_and_show_what_it_rests_on() {
    assert_eq!(results(&report(), Glyphs::Unicode), RESULTS);
}

#[test]
fn without_unicode_the_same_is_said_in_ascii() {
    let text = results(&report(), Glyphs::Ascii);
    assert!(text.is_ascii(), "{text}");
    assert!(text.contains("1  tcp 10.0.0.1:40000 -> 10.0.0.2:443    10  500,000 +/-4,100  40.5 %"), "{text}");
    assert!(text.contains("\n    <= 1 us  ####################                      2   28.6 %\n"), "{text}");
}

#[test]
fn a_job_without_a_reading_says_so_and_why() {
    let job = job("rejected", &[("reason", "unknown_port"), ("message", "port: no such port")]);
    let report = JobReport { job, results: None, flows: Vec::new(), histograms: Vec::new() };
    let expected =
        "Ethernet16 ingress: nothing has been counted\njob night1: rejected, unknown_port: port: no such port\n";
    assert_eq!(results(&report, Glyphs::Unicode), expected);
}

#[test]
fn a_start_is_told_in_one_line_and_its_warnings() {
    let row = job("running", &[("tap", "Ethernet120"), ("warning", "port_down")]);
    let expected = "job night1 on Ethernet16: running until 2026-01-31T03:02:00.000Z, copies arrive on Ethernet120\n\
                    warning port_down: the port is down: there may be nothing to see";
    assert_eq!(started(&row), expected);
}

#[test]
fn jobs_are_a_table_and_rows_that_nobody_took_up_are_named() {
    let done = [("ended_at", "2026-01-31T03:00:30.000Z"), ("description", "link flaps")];
    let rows = [job("running", &[]), job("stopped", &done)];
    let expected = "\
JOB     STATUS   PORT        DIRECTION  TIME                 REASON  DESCRIPTION
night1  running  Ethernet16  ingress    45.0 s of 2 min 0 s
night1  stopped  Ethernet16  ingress    30.0 s                       link flaps
written, and not taken up by a daemon: ab12
";
    assert_eq!(jobs(&rows, &["ab12"], "2026-01-31T03:00:45Z".parse().unwrap()), expected);
    assert_eq!(jobs(&[], &[], Timestamp::UNIX_EPOCH), "no job is known\n");
}

#[test]
fn watching_shows_rates_coverage_and_the_largest_protocols() {
    let now = "2026-01-31T03:00:45Z".parse().unwrap();
    let job = job("running", &[("warning", "port_down")]);
    let frame = "\
job night1 on Ethernet16 ingress: running, 45.0 s of 2 min 0 s
12,345 packets/s 98.8 Mbit/s    1,234,567 packets (987.7 MB)
coverage 12 %: copies are rate-limited on the way to the CPU; totals are of what arrived
tcp 89.1 %, udp 8.1 %, arp 2.8 %
warning port_down: the port is down: there may be nothing to see
";
    assert_eq!(watch_frame(&job, Some(&totals()), now), frame);
    let line = "2026-01-31T03:00:45.000Z running, 45.0 s of 2 min 0 s, 12,345 packets/s 98.8 Mbit/s, 1,234,567 packets (987.7 MB), \
                coverage 12 %, tcp 89.1 %, udp 8.1 %, arp 2.8 %, warning port_down";
    assert_eq!(watch_line(&job, Some(&totals()), now), line);
}

#[test]
fn draining_accounts_for_every_job_and_session() {
    let done = Drained {
        jobs: [("a".to_owned(), Some(Status::Stopped))].into(),
        by_daemon: true,
        sessions: vec!["telegen_a".to_owned()],
        ..Drained::default()
    };
    let expected = "job a: is over, stopped\nmirror session telegen_a: removed\n\
                    drained: no job runs, and no session of telegen's is left\n";
    assert_eq!(drained(&done, None), expected);
    let alone = Drained {
        jobs: [("a".to_owned(), Some(Status::Running)), ("b".to_owned(), None)].into(),
        sessions: vec!["telegen_a".to_owned()],
        unconfirmed: vec!["telegen_a".to_owned()],
        ..Drained::default()
    };
    let expected = "no daemon gives a sign of life: rows and sessions were deleted from here\n\
                    job a: row deleted; STATE_DB says running until a daemon starts\njob b: withdrawn before it was taken up\n\
                    mirror session telegen_a: deleted, and not confirmed by orchagent\nnot drained\n";
    assert_eq!(drained(&alone, None), expected);
    assert_eq!(
        drained(&Drained { by_daemon: true, ..Drained::default() }, None),
        "nothing was running, and no session of telegen's is left\n"
    );
    let left = Err(SweepError::Held(vec!["pid 7 on leaf1".to_owned()]));
    assert_eq!(
        drained(&Drained { by_daemon: false, ..Drained::default() }, Some(&left)),
        "no daemon gives a sign of life: rows and sessions were deleted from here\n\
         what a daemon may have left on network devices could not be looked for or removed; the next start of the daemon \
         does that: another process has the right to them: pid 7 on leaf1\nnot drained\n"
    );
}

#[test]
fn nothing_from_a_table_can_steer_the_terminal() {
    assert_eq!(harmless("a\x1b[31mb\u{9b}c\r\nd\n"), "a\u{fffd}[31mb\u{fffd}c\u{fffd}\nd\n");
}

#[test]
fn the_locale_says_which_characters_there_are() {
    assert_eq!(Glyphs::of_locale("en_US.UTF-8"), Glyphs::Unicode);
    assert_eq!(Glyphs::of_locale("C.utf8"), Glyphs::Unicode);
    assert_eq!(Glyphs::of_locale("C"), Glyphs::Ascii);
    assert_eq!(Glyphs::of_locale(""), Glyphs::Ascii);
}

#[test]
fn a_sampled_and_cut_mirror_is_explained_before_its_numbers_are_read() {
    let mut thin = report();
    if let Some(row) = &mut thin.results {
        row.results.thinning = Some(Thinning { sample_rate: 50, truncate: Some(128) });
        row.results.estimate = Some(Estimate { packets: 61_728_350, bytes: None, packets_err95: 108_000 });
    }
    let text = results(&thin, Glyphs::Ascii);
    let said = "the ASIC copied 1 of 50 packets, and all counts are of copies: about 61,728,350 +/-108,000 packets of the port\n\
                copies are cut to 128 B: bytes and lengths are of what is left, and headers that end early are not counted as errors\n";
    assert!(text.contains(said), "{text}");
    let before = text.find(said).unwrap();
    assert!(
        before < text.find("HEALTH").unwrap() && text.contains("estimates: 1 of 5,000 packets was analysed"),
        "{text}"
    );
    assert!(!results(&report(), Glyphs::Ascii).contains("the ASIC"));
}
