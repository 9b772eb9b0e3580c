//! What is counted is what was sent: packets, bytes, protocols, flows and histograms, to the packet; and coverage says when not.

use std::collections::BTreeMap;

use serde_json::Value;
use telegen_sonic::lab::handle::Lab;
use telegen_sonic::lab::profiles::Profile;
use telegen_sonic::lab::send::{Pace, Source};
use telegen_sonic::lab::sent::{Count, Sent};
use telegen_sonic::model::value::ip_protocol_name;

use crate::fixture::{DEADLINE, Options, Switch, wait_for};
use crate::redis_db::{Db, Row};

const EVERY_PACKET: [(&str, &str); 1] = [("sample_rate", "1")];

/// All flows are shown: there are fewer than these in every profile's traffic here.
fn switch() -> Option<Switch> {
    Switch::with(&Options { settings: &[("topk_flows", "4096"), ("state_flows", "100")], ..Options::default() })
}

/// A flow by all that tells it from others.
type FlowKey = (String, String, String, u16, u16, u16);

fn flows_of(sent: &Sent) -> BTreeMap<FlowKey, (u64, u64)> {
    let key = |flow: &telegen_sonic::lab::sent::SentFlow| {
        let protocol = ip_protocol_name(flow.ip_proto);
        (flow.src.to_string(), flow.dst.to_string(), protocol, flow.l4_sport, flow.l4_dport, flow.vlan)
    };
    sent.flows.iter().map(|flow| (key(flow), (flow.packets, flow.bytes))).collect()
}

/// Flows fall into sets of four by a hash with random keys. Of so many, five share one of the thousands of sets of a job's table about
/// once in a million runs; of a thousand flows, once in a hundred.
const FLOWS_THAT_FIT: usize = 160;

/// Says that REST shows just these flows, all of them and to the packet.
fn assert_flows(switch: &Switch, id: &str, sent: &Sent) {
    let truth = flows_of(sent);
    assert!(truth.len() <= FLOWS_THAT_FIT, "{} flows: chance would decide this test", truth.len());
    assert_eq!(flows_by_rest(switch, id), truth, "{id}");
}

fn flows_by_rest(switch: &Switch, id: &str) -> BTreeMap<FlowKey, (u64, u64)> {
    let url = format!("http://switch/v1/monitor/jobs/{id}/results");
    let text = switch.run_ok(&["curl", "-sS", "--unix-socket", "/var/run/telegen/rest.sock", &url]);
    let answer: Value = serde_json::from_str(&text).unwrap();
    let flow = |flow: &Value| {
        let text = |name: &str| flow[name].as_str().unwrap().to_owned();
        let number = |name: &str| flow[name].as_u64().unwrap();
        let port = |name: &str| u16::try_from(number(name)).unwrap();
        // Every packet was analysed: the estimate is the count.
        assert_eq!((number("pkts"), number("pkts_err95")), (number("pkts_analysed"), 0), "{flow}");
        let key = (text("src"), text("dst"), text("ip_proto"), port("l4_sport"), port("l4_dport"), port("vlan"));
        (key, (number("pkts"), number("bytes")))
    };
    let flows = answer["top_flows"].as_array().unwrap_or_else(|| panic!("no flows: {text}"));
    let by_key: BTreeMap<FlowKey, (u64, u64)> = flows.iter().map(flow).collect();
    assert_eq!(by_key.len(), flows.len(), "a flow stands twice in {text}");
    by_key
}

/// The rows of STATE_DB are the largest flows, in their order.
fn assert_flow_rows(switch: &Switch, id: &str, sent: &Sent) {
    const ROWS: usize = 100;
    let truth = flows_of(sent);
    let mut state = switch.redis(Db::State);
    let expected: Vec<u64> = sent.flows.iter().take(ROWS).map(|flow| flow.packets).collect();
    let mut ranked = Vec::new();
    for rank in 1..=expected.len() {
        let row = state.row(&format!("TELEGEN_FLOW_TABLE|{id}|{rank}"));
        let number = |field: &str| row[field].parse::<u64>().unwrap();
        let port = |field: &str| row[field].parse::<u16>().unwrap();
        let protocol = ip_protocol_name(row["ip_proto"].parse().unwrap());
        let key = (row["src"].clone(), row["dst"].clone(), protocol, port("l4_sport"), port("l4_dport"), port("vlan"));
        assert_eq!(truth.get(&key), Some(&(number("packets"), number("bytes"))), "{row:?}");
        assert_eq!((&row["packets_est"], &*row["packets_err95"]), (&row["packets"], "0"), "{row:?}");
        ranked.push(number("packets"));
    }
    assert_eq!(ranked, expected);
    assert_eq!(state.keys(&format!("TELEGEN_FLOW_TABLE|{id}|*")).len(), expected.len());
}

fn assert_histograms(switch: &Switch, id: &str, sent: &Sent) {
    let mut state = switch.redis(Db::State);
    let mut row = |name: &str| {
        let row = state.row(&format!("TELEGEN_HISTOGRAM_TABLE|{id}|{name}"));
        let counts: u64 = row["counts@"].split(',').map(|count| count.parse::<u64>().unwrap()).sum();
        assert_eq!(row["count"], counts.to_string(), "{name}");
        row
    };
    let sizes = row("packet_size");
    assert_eq!((&sizes["count"], &sizes["sum"]), (&sent.packets.to_string(), &sent.bytes.to_string()), "{sizes:?}");
    // One pair of packets in 64 is timed, chosen at random: more than one in twenty would be a hundred times chance.
    let gaps = row("interarrival");
    let count: u64 = gaps["count"].parse().unwrap();
    assert!(count > 0 && count < sent.packets / 20, "{gaps:?}");
}

/// The fields of a result row that one or more sends determine.
pub(crate) fn totals_of(sent: &[&Sent]) -> Row {
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    let mut add = |name: String, value: u64| *sums.entry(name).or_default() += value;
    for sent in sent {
        for scope in ["delivered", "total"] {
            add(format!("packets_{scope}"), sent.packets);
            add(format!("bytes_{scope}"), sent.bytes);
        }
        add("packets_analysed".to_owned(), sent.packets);
        let counters = [("eth", &sent.protocols.ethernet), ("ip", &sent.protocols.ip), ("service", &sent.services)];
        for (family, by_name) in counters {
            for (name, Count { packets, bytes }) in by_name {
                add(format!("{family}_{name}_packets"), *packets);
                add(format!("{family}_{name}_bytes"), *bytes);
            }
        }
        let health = &sent.health;
        let counts = [
            ("error", &sent.errors),
            ("health", &health.events),
            ("cast", &health.cast),
            ("ecn", &health.ecn),
            ("tcp_flags", &health.tcp_flags),
            ("rocev2", &health.rocev2),
            ("rocev2_ecn", &health.rocev2_ecn),
        ];
        for (family, by_name) in counts {
            for (name, packets) in by_name {
                add(format!("{family}_{name}"), *packets);
            }
        }
        for (code_point, packets) in &health.dscp {
            add(format!("dscp_{code_point}"), *packets);
        }
        for (name, packets) in [("fragments", sent.fragments), ("fragments_later", sent.fragments_later)] {
            if packets > 0 {
                add(name.to_owned(), packets);
            }
        }
    }
    sums.into_iter().map(|(name, value)| (name, value.to_string())).collect()
}

/// The same fields of a job's result row.
pub(crate) fn totals(row: Row) -> Row {
    const PREFIXES: [&str; 13] = [
        "packets_",
        "bytes_",
        "eth_",
        "ip_",
        "service_",
        "error_",
        "health_",
        "cast_",
        "ecn_",
        "dscp_",
        "tcp_flags_",
        "rocev2_",
        "fragments",
    ];
    row.into_iter().filter(|(name, _)| PREFIXES.iter().any(|prefix| name.starts_with(prefix))).collect()
}

/// One job, this traffic, and everything that is said of it.
fn assert_exact(profile: Profile, count: u64) {
    let Some(switch) = switch() else { return };
    switch.run_job("exact", "Ethernet0", &EVERY_PACKET);
    let sent = switch.send("Ethernet0", profile, count, 7);
    assert_eq!((sent.packets, sent.copies.delivered, sent.copies.refused), (count, count, 0));
    switch.stop_job("exact");
    let results = switch.results("exact");
    assert_eq!(results.get("flows_evicted").map(String::as_str), Some("0"), "{results:?}");
    assert_eq!(totals(results), totals_of(&[&sent]));
    assert_flows(&switch, "exact", &sent);
    assert_flow_rows(&switch, "exact", &sent);
    assert_histograms(&switch, "exact", &sent);
    switch.assert_clean();
}

#[test]
fn mixed_traffic_is_counted_exactly() {
    assert_exact(Profile::Mixed, 200);
}

#[test]
fn the_shortest_frames_are_counted_exactly() {
    assert_exact(Profile::Udp64, 20_000);
}

#[test]
fn a_tcp_stream_is_counted_exactly() {
    assert_exact(Profile::Tcp512, 5000);
}

#[test]
fn ipv6_with_extension_headers_is_counted_exactly() {
    assert_exact(Profile::Ipv6, 200);
}

#[test]
fn vlan_tags_are_counted_exactly() {
    assert_exact(Profile::Vlan, 150);
}

#[test]
fn jumbo_frames_are_counted_exactly() {
    assert_exact(Profile::Jumbo, 2000);
}

#[test]
fn a_flood_of_flows_is_counted_exactly() {
    assert_exact(Profile::Flood, FLOWS_THAT_FIT as u64);
}

#[test]
fn malformed_packets_are_counted_exactly() {
    assert_exact(Profile::Malformed, 200);
}

#[test]
fn rocev2_is_counted_exactly() {
    assert_exact(Profile::Rocev2, 250);
}

#[test]
fn resets_zero_windows_and_repeated_segments_are_counted_exactly() {
    assert_exact(Profile::TcpHealth, 2000);
}

#[test]
fn icmp_errors_bad_checksums_runts_and_marks_are_counted_exactly() {
    assert_exact(Profile::Health, 200);
}

#[test]
fn a_job_that_looks_into_tunnels_counts_exactly_what_is_in_them() {
    let Some(switch) = switch() else { return };
    switch.run_job("inner", "Ethernet0", &[("sample_rate", "1"), ("inner", "true")]);
    let sent = switch.send("Ethernet0", Profile::Tunnels, 200, 7);
    switch.stop_job("inner");
    let results = switch.results("inner");
    let inner = sent.inner.as_ref().unwrap();
    let mut expected = Row::new();
    let mut add = |name: String, count: &Count| {
        expected.insert(format!("{name}_packets"), count.packets.to_string());
        expected.insert(format!("{name}_bytes"), count.bytes.to_string());
    };
    inner.tunnels.iter().for_each(|(name, count)| add(format!("tunnel_{name}"), count));
    inner.ip.iter().for_each(|(name, count)| add(format!("inner_{name}"), count));
    add("inner_non_ip".to_owned(), &inner.non_ip);
    let is_inner = |name: &str| name.starts_with("tunnel_") || name.starts_with("inner_");
    let said: Row = results.clone().into_iter().filter(|(name, _)| is_inner(name)).collect();
    assert_eq!(said, expected);
    assert_eq!(totals(results), totals_of(&[&sent]), "the outer headers are counted as ever");
    let seen = Sent { flows: inner.flows.clone(), ..sent.clone() };
    assert_flows(&switch, "inner", &seen);
    switch.assert_clean();
}

#[test]
fn a_job_sees_the_direction_that_it_asked_for() {
    let Some(switch) = switch() else { return };
    for (direction, sees_in, sees_out) in [("ingress", true, false), ("egress", false, true), ("both", true, true)] {
        let port_field = [("direction", direction), ("sample_rate", "1")];
        switch.run_job(direction, "Ethernet0", &port_field);
        // What goes into a port's wire leaves by its neighbour's.
        let entered = switch.send("Ethernet0", Profile::Mixed, 500, 1);
        let left = switch.send("Ethernet4", Profile::Mixed, 300, 2);
        switch.stop_job(direction);
        let seen: Vec<&Sent> = [(sees_in, &entered), (sees_out, &left)]
            .into_iter()
            .filter_map(|(sees, sent)| sees.then_some(sent))
            .collect();
        assert_eq!(totals(switch.results(direction)), totals_of(&seen), "{direction}");
    }
    switch.assert_clean();
}

/// Traffic of Ethernet0 and Ethernet8 at the same time, and what the jobs there make of it.
pub(crate) fn assert_both_are_exact(switch: &Switch, jobs: [&str; 2]) {
    let send = |lab: &Lab, port: &str, count, seed| {
        let pace = Pace { count: Some(count), seed, pps: None };
        lab.send(port, &Source::Profile(Profile::TcpHealth), pace).unwrap()
    };
    let both = std::thread::scope(|scope| {
        let first = scope.spawn(|| send(&switch.lab, "Ethernet0", 4000, 1));
        let second = scope.spawn(|| send(&switch.lab, "Ethernet8", 3000, 2));
        [first.join().unwrap(), second.join().unwrap()]
    });
    for (id, sent) in jobs.into_iter().zip(&both) {
        switch.stop_job(id);
        assert_eq!(totals(switch.results(id)), totals_of(&[sent]), "{id}");
        assert_flows(switch, id, sent);
    }
}

#[test]
fn two_jobs_at_once_count_each_their_own_port() {
    let Some(switch) = switch() else { return };
    for (id, port) in [("first", "Ethernet0"), ("second", "Ethernet8")] {
        switch.run_job(id, port, &EVERY_PACKET);
    }
    assert_both_are_exact(&switch, ["first", "second"]);
    switch.assert_clean();
}

#[test]
fn sampling_leaves_the_totals_exact_and_the_estimates_near() {
    let Some(switch) = switch() else { return };
    switch.run_job("sampled", "Ethernet0", &[("sample_rate", "10")]);
    let sent = switch.send("Ethernet0", Profile::Mixed, 20_000, 3);
    switch.stop_job("sampled");
    let results = switch.results("sampled");
    let analysed: u64 = results["packets_analysed"].parse().unwrap();
    // Mean 2000, and the distances are uniform: six standard deviations are far below 200.
    assert!((1800..=2200).contains(&analysed), "{analysed} of 20000 were analysed, 1 of 10 was asked for");
    let expected = Row::from([("packets_analysed".to_owned(), analysed.to_string())]);
    assert_eq!(totals(results), totals_of(&[&sent]).into_iter().chain(expected).collect::<Row>());
    let largest = switch.redis(Db::State).row("TELEGEN_FLOW_TABLE|sampled|1");
    let estimate: u64 = largest["packets_est"].parse().unwrap();
    assert_eq!(estimate, 10 * largest["packets"].parse::<u64>().unwrap());
    assert_ne!(largest["packets_err95"], "0");
}

#[test]
fn coverage_is_one_when_every_packet_of_the_port_was_delivered() {
    let Some(switch) = switch() else { return };
    switch.run_job("whole", "Ethernet0", &EVERY_PACKET);
    let sent = switch.send("Ethernet0", Profile::Mixed, 2000, 1);
    let expected = (Some(sent.packets.to_string()), Some("1.0000".to_owned()));
    wait_for("coverage is 1.0000", DEADLINE, || {
        let results = switch.results("whole");
        let said = (results.get("port_packets").cloned(), results.get("coverage").cloned());
        (said == expected).then_some(())
    });
    switch.stop_job("whole");
    let last = switch.results("whole");
    assert_eq!((last.get("port_packets").cloned(), last.get("coverage").cloned()), expected);
}

#[test]
fn policed_copies_are_never_called_complete() {
    let Some(switch) = Switch::with(&Options { policer: Some(100), ..Options::default() }) else { return };
    switch.run_job("policed", "Ethernet0", &EVERY_PACKET);
    let sent = switch.send("Ethernet0", Profile::Udp64, 5000, 1);
    assert!(sent.copies.policed > 0 && sent.copies.delivered > 0, "{:?}", sent.copies);
    let row = wait_for("the port's counter is known", DEADLINE, || {
        let results = switch.results("policed");
        (results.get("port_packets") == Some(&"5000".to_owned())).then_some(results)
    });
    // To four digits, as it is shown.
    let share = format!("{:.4}", f64::from(u32::try_from(sent.copies.delivered).unwrap()) / 5000.0);
    assert_eq!(row["packets_delivered"], sent.copies.delivered.to_string());
    assert_eq!(row["coverage"], share);
    switch.stop_job("policed");
    let url = "http://switch/v1/monitor/jobs/policed/results";
    let text = switch.run_ok(&["curl", "-sS", "--unix-socket", "/var/run/telegen/rest.sock", url]);
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert!(answer["coverage"].as_f64().is_some_and(|coverage| coverage < 0.9), "{text}");
    assert_eq!(answer["packets_delivered"].as_u64(), Some(sent.copies.delivered));
}
