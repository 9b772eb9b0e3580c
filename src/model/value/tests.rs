//! What each kind of value takes, and what it does not.

use super::{Reader, ip_protocol_name, items, printable};
use crate::model::erspan::GreType;
use crate::model::limits::ValueKind;

fn reader(kind: ValueKind) -> Reader<'static> {
    Reader { name: "field", kind }
}

/// Of the texts, those that are taken.
fn taken<'a>(kind: ValueKind, texts: &[&'a str]) -> Vec<&'a str> {
    texts.iter().copied().filter(|text| reader(kind).text(text).is_ok()).collect()
}

#[test]
fn integers_are_taken_to_the_ends_of_their_range_and_no_further() {
    let reader = reader(ValueKind::Integer { min: 5, max: 300 });
    for (text, value) in [("5", Some(5_u16)), ("300", Some(300)), ("4", None), ("301", None), ("", None)] {
        assert_eq!(reader.integer(text).ok(), value, "{text:?}");
    }
    for text in ["-5", "5.0", "0x10", " 5", "5 ", "five", "99999999999999999999"] {
        assert_eq!(reader.integer::<u64>(text).ok(), None, "{text:?}");
    }
    assert_eq!(reader.integer::<u8>("300").ok(), None, "a value that its type cannot hold");
}

#[test]
fn names_of_devices_are_those_that_linux_takes() {
    let texts = ["eth0", "Ethernet120", "a.b:c", "a/b", "", ".", "..", "fifteen-chars-1", "sixteen-chars-16", "a b"];
    assert_eq!(taken(ValueKind::Netdev, &texts), ["eth0", "Ethernet120", "fifteen-chars-1"]);
}

#[test]
fn names_of_ports_fit_a_redis_key() {
    let reader = Reader { name: "port", kind: ValueKind::PortNames };
    let texts = ["Ethernet0", "Ethernet-Rec0", "PortChannel0001", "Eth1.10", "", "Ethernet|0", "Ethernet0 4", "Ä"];
    let taken: Vec<&str> = texts.into_iter().filter(|text| reader.ports(text).is_ok()).collect();
    assert_eq!(taken, ["Ethernet0", "Ethernet-Rec0", "PortChannel0001", "Eth1.10"]);
}

#[test]
fn endpoints_have_a_host_and_a_port() {
    let good = ["localhost:4317", "http://10.0.0.1:4318", "https://[2001:db8::1]:4317/v1", "collector.example:1"];
    assert_eq!(taken(ValueKind::Endpoint, &good), good);
    let bad = ["localhost", ":4317", "localhost:0", "localhost:65536", "2001:db8::1:4317", "a b:1", "ftp://h:1/", ""];
    assert_eq!(taken(ValueKind::Endpoint, &bad), Vec::<&str>::new());
}

#[test]
fn the_rest_shim_listens_on_a_socket_or_on_loopback_only() {
    let texts =
        ["/run/x.sock", "127.0.0.1:8080", "[::1]:80", "127.8.8.8:1", "0.0.0.0:8080", "10.0.0.1:80", "x.sock", "::1"];
    assert_eq!(taken(ValueKind::Listen, &texts), ["/run/x.sock", "127.0.0.1:8080", "[::1]:80", "127.8.8.8:1"]);
}

#[test]
fn free_text_is_counted_in_characters_and_has_no_controls() {
    let kind = ValueKind::Text { max_chars: 3 };
    assert_eq!(taken(kind, &["", "äöü", "abcd", "a\nb", "a b", "\u{7f}"]), ["", "äöü", "a b"]);
}

#[test]
fn protocols_have_names_or_numbers_and_names_come_back() {
    let read = |text: &str| reader(ValueKind::IpProtocol).ip_protocol(text).ok();
    assert_eq!([read("tcp"), read("TCP"), read("6"), read("255")], [Some(6), Some(6), Some(6), Some(255)]);
    assert_eq!([read("256"), read(""), read("tcpp"), read("-1")], [None; 4]);
    for number in 0..=255 {
        assert_eq!(read(&ip_protocol_name(number)), Some(number));
    }
}

#[test]
fn ranges_include_single_ports_and_do_not_run_backwards() {
    let read = |text: &str| reader(ValueKind::PortRange).port_range(text).ok().map(|range| (range.lo(), range.hi()));
    assert_eq!([read("0"), read("1024-2048"), read("5 - 5")], [Some((0, 0)), Some((1024, 2048)), Some((5, 5))]);
    assert_eq!([read("2-1"), read("65536"), read("1-"), read("-1"), read("1-2-3"), read("")], [None; 6]);
}

#[test]
fn prefixes_lose_their_host_bits_and_addresses_stand_for_themselves() {
    let read = |text: &str| reader(ValueKind::Prefix).prefix(text).ok().map(|net| net.to_string());
    assert_eq!(read("10.1.2.3/8").as_deref(), Some("10.0.0.0/8"));
    assert_eq!(read("2001:db8::1").as_deref(), Some("2001:db8::1/128"));
    assert_eq!([read("10.0.0.0/33"), read("10.0.0"), read("host"), read("")], [const { None }; 4]);
}

#[test]
fn instants_say_their_offset() {
    let read = |text: &str| reader(ValueKind::Timestamp).timestamp(text).ok().map(|instant| instant.to_string());
    assert_eq!(read("2026-01-31T03:00:00Z").as_deref(), Some("2026-01-31T03:00:00Z"));
    assert_eq!(read("2026-01-31T03:00:00.5+02:00").as_deref(), Some("2026-01-31T01:00:00.5Z"));
    for text in ["2026-01-31T03:00:00", "2026-01-31", "1769828400", "now", ""] {
        assert_eq!(read(text), None, "{text:?}");
    }
}

#[test]
fn gre_types_are_decimal_or_hexadecimal_and_only_those_in_which_copies_come() {
    let read = |text: &str| reader(ValueKind::GreType).gre_type(text).ok();
    assert_eq!([read("0x88be"), read("0X88BE"), read("35006")], [Some(GreType::Erspan); 3]);
    assert_eq!([read("88be"), read("0x10000"), read("65536"), read("0x"), read("0x0800")], [None; 5]);
}

#[test]
fn list_items_are_trimmed_and_empty_ones_dropped() {
    assert_eq!(items(" 1, 2,,3 ,").collect::<Vec<_>>(), ["1", "2", "3"]);
    assert_eq!(items("").count(), 0);
}

#[test]
fn what_is_shown_of_a_value_is_printable_and_short() {
    assert_eq!(printable("a\u{1b}b"), "a\u{fffd}b");
    assert_eq!(printable(&"x".repeat(64)), "x".repeat(64));
    assert_eq!(printable(&"x".repeat(65)), format!("{}…", "x".repeat(64)));
}
