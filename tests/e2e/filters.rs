//! Filters: a job counts the packets that it names and no others, and still says how many were delivered.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use telegen_sonic::lab::profiles::Profile;
use telegen_sonic::lab::send::{Pace, Source};
use telegen_sonic::lab::sent::SentFlow;

use crate::fixture::Switch;

/// Fields of a job, and the flows that they let through.
type Case = (&'static str, &'static [(&'static str, &'static str)], fn(&SentFlow) -> bool);

fn is_in(address: IpAddr, net: &str) -> bool {
    net.parse::<IpNet>().unwrap().contains(&address)
}

const CASES: [Case; 10] = [
    ("protocols", &[("ip_proto@", "tcp,47")], |flow| [6, 47].contains(&flow.ip_proto)),
    ("dports", &[("l4_dport@", "53,440-450")], |flow| flow.l4_dport == 53 || (440..=450).contains(&flow.l4_dport)),
    ("sports", &[("l4_sport@", "1025-1040")], |flow| (1025..=1040).contains(&flow.l4_sport)),
    ("src_v4", &[("src_cidr", "10.0.0.0/28")], |flow| is_in(flow.src, "10.0.0.0/28")),
    ("src_v6", &[("src_cidr", "2001:db8::/124")], |flow| is_in(flow.src, "2001:db8::/124")),
    ("dst_v4", &[("dst_cidr", "192.0.2.0/25")], |flow| is_in(flow.dst, "192.0.2.0/25")),
    ("dst_v6", &[("dst_cidr", "2001:db8:1::3/128")], |flow| is_in(flow.dst, "2001:db8:1::3/128")),
    ("vlan", &[("vlan", "12")], |flow| flow.vlan == 12),
    ("outer_vlan", &[("vlan", "100")], |flow| flow.vlan == 100),
    ("all_of_them", &[("ip_proto@", "udp"), ("l4_dport@", "1-100"), ("src_cidr", "10.0.0.0/27")], |flow| {
        flow.ip_proto == 17 && (1..=100).contains(&flow.l4_dport) && is_in(flow.src, "10.0.0.0/27")
    }),
];

#[test]
fn every_filter_lets_through_what_it_names_and_nothing_else() {
    let Some(switch) = Switch::start() else { return };
    for (id, fields, passes) in CASES {
        switch.run_job(id, "Ethernet0", &[fields, &[("sample_rate", "1")]].concat());
        let sent = switch.send("Ethernet0", Profile::Mixed, 4000, 11);
        switch.stop_job(id);
        let passed: Vec<&SentFlow> = sent.flows.iter().filter(|flow| passes(flow)).collect();
        let packets: u64 = passed.iter().map(|flow| flow.packets).sum();
        let bytes: u64 = passed.iter().map(|flow| flow.bytes).sum();
        assert!(packets > 0 && packets < sent.packets, "{id}: {packets} of {} would pass", sent.packets);
        let results = switch.results(id);
        let said = |field: &str| results[field].parse::<u64>().unwrap();
        assert_eq!((said("packets_total"), said("bytes_total")), (packets, bytes), "{id}");
        assert_eq!((said("packets_delivered"), said("bytes_delivered")), (sent.packets, sent.bytes), "{id}");
        assert_eq!(said("packets_analysed"), packets, "{id}");
        let classes: u64 =
            results.iter().filter(|(name, _)| name.starts_with("eth_") && name.ends_with("_packets")).map(number).sum();
        assert_eq!(classes, packets, "{id}: the classes sum to the total");
    }
    switch.assert_clean();
}

fn number((_, value): (&String, &String)) -> u64 {
    value.parse().unwrap()
}

/// A capture file of these frames (pcap, link type Ethernet).
fn capture(directory: &std::path::Path, frames: &[Vec<u8>]) -> PathBuf {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let mut file = words(&[0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, 1]);
    for frame in frames {
        let length = u32::try_from(frame.len()).unwrap();
        file.extend(words(&[0, 0, length, length]));
        file.extend(frame);
    }
    let path = directory.join("frames.pcap");
    std::fs::write(&path, file).unwrap();
    path
}

/// Marks a frame's IP packet with a DSCP (RFC 2474 §3: the upper six bits); says whether there is an IP packet to mark.
fn mark(frame: &mut [u8], dscp: u8) -> bool {
    match frame[12..14] {
        [0x08, 0x00] => frame[15] = dscp << 2,
        [0x86, 0xdd] => {
            frame[14] = 0x60 | dscp >> 2;
            frame[15] = (dscp & 3) << 6;
        }
        _ => return false,
    }
    true
}

#[test]
fn the_dscp_filter_reads_both_versions_of_ip() {
    let Some(switch) = Switch::start() else { return };
    let mut frames: Vec<Vec<u8>> = Profile::Mixed.frames(5, 3000).iter().map(<[u8]>::to_vec).collect();
    let mut expected = 0_u64;
    for (index, frame) in frames.iter_mut().enumerate() {
        let dscp = u8::try_from(index % 64).unwrap();
        expected += u64::from(mark(frame, dscp) && [10, 46].contains(&dscp));
    }
    let directory = tempfile::tempdir().unwrap();
    let source = Source::Capture(capture(directory.path(), &frames));
    switch.run_job("dscp", "Ethernet0", &[("dscp@", "10,46"), ("sample_rate", "1")]);
    let sent = switch.lab.send("Ethernet0", &source, Pace::default()).unwrap();
    switch.stop_job("dscp");
    let results = switch.results("dscp");
    assert!(expected > 50, "{expected}");
    assert_eq!((sent.packets, results["packets_delivered"].as_str()), (3000, "3000"));
    assert_eq!(results["packets_total"], expected.to_string());
}
