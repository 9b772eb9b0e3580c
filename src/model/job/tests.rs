//! What a job row may say, and what is said of what it may not.

use std::time::Duration;

use proptest::prelude::{ProptestConfig, any, proptest};

use super::{Direction, Fields, JobId, JobSpec, ResultDetail, SpanMethod};
use crate::model::kind::{self, Kind};
use crate::model::limits::{self, SESSIONS_MAX, ValueKind};
use crate::model::schema::{JobField, Reason};
use crate::model::settings::Settings;

fn parse(pairs: &[(&str, &str)]) -> Result<JobSpec, (Reason, String)> {
    let fields: Fields = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    JobSpec::parse(&fields, &Settings::default()).map_err(|error| (error.reason, error.message))
}

fn spec(pairs: &[(&str, &str)]) -> JobSpec {
    parse(pairs).expect("the row is well formed")
}

#[test]
fn a_row_with_only_a_port_means_the_contracts_defaults() {
    let spec = spec(&[("port", "Ethernet16"), ("NULL", "NULL")]);
    assert_eq!(spec.ports.as_str(), "Ethernet16");
    assert_eq!((spec.direction, spec.span_method), (Direction::Ingress, SpanMethod::Span));
    assert_eq!((spec.duration, spec.sample_rate.get()), (Duration::from_secs(120), 100));
    assert!(spec.filter.is_empty());
    assert_eq!((spec.result_detail, spec.otlp_export, spec.anonymize), (ResultDetail::Flows, true, false));
    assert!(!spec.inner, "tunnels are looked into on request only");
}

#[test]
fn a_row_that_names_no_kind_is_one_of_kind_traffic_but_for_that() {
    let unnamed = spec(&[("port", "Ethernet16"), ("vlan", "7")]);
    let named = spec(&[("port", "Ethernet16"), ("vlan", "7"), ("kind", "traffic")]);
    assert_eq!(JobSpec { kind: Some(kind::DEFAULT), ..unnamed.clone() }, named);
    assert_eq!(named.to_fields()[0], (JobField::Kind, "traffic".to_owned()));
    assert_eq!(unnamed.to_fields(), named.to_fields()[1..], "it is written back as it came");
}

#[test]
fn a_kind_that_is_not_there_is_refused_by_its_name_whatever_else_the_row_says() {
    assert_eq!(kind::UNAVAILABLE.len(), 7);
    for word in kind::UNAVAILABLE {
        let message = format!("kind: \"{word}\" is reserved and not built into this version; give traffic");
        // What it would be told of its other fields could only be wrong: they are those of a kind that is not there.
        let rows = [vec![("port", "Ethernet0")], vec![], vec![("target", "orchagent"), ("duration", "0")]];
        for mut row in rows {
            row.push(("kind", word));
            assert_eq!(parse(&row), Err((Reason::KindUnavailable, message.clone())), "{row:?}");
        }
    }
}

#[test]
fn a_row_must_have_what_its_kind_needs_and_nothing_else() {
    for kind in Kind::ALL {
        let value = |field: &JobField| match field {
            JobField::Port => "Ethernet0",
            other => panic!("a value of {other} for this test"),
        };
        let whole: Vec<(&str, &str)> = kind.needs().iter().map(|field| (field.as_str(), value(field))).collect();
        let whole = [whole, vec![("kind", kind.as_str())]].concat();
        assert_eq!(spec(&whole).kind, Some(*kind));
        for field in kind.needs() {
            let row: Vec<(&str, &str)> = whole.iter().copied().filter(|(name, _)| *name != field.as_str()).collect();
            let (reason, message) = parse(&row).expect_err(field.as_str());
            assert_eq!(reason, Reason::MissingField);
            assert!(message.starts_with(&format!("{field}: the job names no {field}; give the name of")), "{message}");
        }
    }
}

#[test]
fn lists_are_read_with_and_without_their_sign_and_written_with_it() {
    let with =
        spec(&[("port", "Ethernet0"), ("ip_proto@", "tcp, 17,UDP"), ("l4_dport@", "443,1024-2048"), ("dscp", "46")]);
    let without =
        spec(&[("port", "Ethernet0"), ("ip_proto", "tcp,17,udp"), ("l4_dport", "443,1024-2048"), ("dscp@", "46")]);
    assert_eq!(with, without);
    let fields = with.to_fields();
    let value = |field| fields.iter().find(|(known, _)| *known == field).map(|(_, value)| value.as_str());
    assert_eq!(value(JobField::IpProto), Some("tcp,udp,udp"));
    assert_eq!(value(JobField::L4Dport), Some("443,1024-2048"));
    assert_eq!(JobField::L4Dport.table_name(), "l4_dport@");
}

#[test]
fn every_mistake_names_field_value_and_what_would_be_accepted() {
    let cases: [(&str, &str, Reason, &str); 18] = [
        ("kind", "packets", Reason::InvalidField, "kind: \"packets\" is not accepted; give traffic"),
        ("kind", "Traffic", Reason::InvalidField, "kind: \"Traffic\" is not accepted; give traffic"),
        ("kind", "", Reason::InvalidField, "kind: \"\" is not accepted; give traffic"),
        (
            "port",
            "",
            Reason::InvalidField,
            "port: \"\" is not accepted; give the name of a port or port channel, such as Ethernet16, or up to 16 of them with commas and no spaces between",
        ),
        ("direction", "RX", Reason::InvalidField, "direction: \"RX\" is not accepted; give ingress, egress or both"),
        ("duration", "0", Reason::InvalidField, "duration: \"0\" is not accepted; give an integer from 1 to 86400"),
        ("duration", "1h", Reason::InvalidField, "duration: \"1h\" is not accepted; give an integer from 1 to 86400"),
        (
            "sample_rate",
            "-1",
            Reason::InvalidField,
            "sample_rate: \"-1\" is not accepted; give an integer from 1 to 1000000",
        ),
        ("vlan", "4095", Reason::InvalidField, "vlan: \"4095\" is not accepted; give an integer from 1 to 4094"),
        ("dscp", "3,64", Reason::InvalidField, "dscp: \"64\" is not accepted; give an integer from 0 to 63"),
        (
            "l4_sport",
            "20-10",
            Reason::InvalidField,
            "l4_sport: \"20-10\" is not accepted; give a port from 0 to 65535 or a range such as 1024-2048",
        ),
        (
            "src_cidr",
            "10.0.0.0/33",
            Reason::InvalidField,
            "src_cidr: \"10.0.0.0/33\" is not accepted; give an IPv4 or IPv6 prefix such as 10.0.0.0/8 or 2001:db8::/32",
        ),
        ("inner", "1", Reason::InvalidField, "inner: \"1\" is not accepted; give true or false"),
        ("otlp_export", "yes", Reason::InvalidField, "otlp_export: \"yes\" is not accepted; give true or false"),
        (
            "expires_at",
            "soon",
            Reason::InvalidField,
            "expires_at: \"soon\" is not accepted; give an RFC 3339 time such as 2026-01-31T03:00:00Z",
        ),
        (
            "description",
            "a\u{7}b",
            Reason::InvalidField,
            "description: \"a\u{fffd}b\" is not accepted; give at most 128 printable characters",
        ),
        (
            "span_method",
            "psample",
            Reason::MirrorUnsupported,
            "span_method: \"psample\" is reserved and not built into this version; give span, erspan or none",
        ),
        (
            "result_detail",
            "pcaplike",
            Reason::InvalidField,
            "result_detail: \"pcaplike\" is reserved and not built into this version; give summary or flows",
        ),
    ];
    for (field, value, reason, message) in cases {
        let row = if field == "port" { vec![("port", value)] } else { vec![("port", "Ethernet0"), (field, value)] };
        assert_eq!(parse(&row).expect_err(field), (reason, message.to_owned()), "{field}={value}");
    }
}

#[test]
fn a_row_without_a_port_is_incomplete_rather_than_wrong() {
    assert_eq!(parse(&[("duration", "5")]).expect_err("no port").0, Reason::MissingField);
}

#[test]
fn unknown_doubled_and_contradicting_fields_are_refused() {
    let unknown = parse(&[("port", "Ethernet0"), ("sample", "3")]).expect_err("unknown");
    assert!(unknown.1.starts_with("sample: no such field; a job has kind, port, direction,"), "{}", unknown.1);
    let scalar_as_list = parse(&[("port", "Ethernet0"), ("vlan@", "3")]).expect_err("a list sign on a scalar");
    assert!(scalar_as_list.1.starts_with("vlan@: no such field"), "{}", scalar_as_list.1);
    let kind_as_list = parse(&[("port", "Ethernet0"), ("kind@", "traffic")]).expect_err("a list sign");
    assert!(kind_as_list.1.starts_with("kind@: no such field"), "{}", kind_as_list.1);
    let doubled = parse(&[("port", "Ethernet0"), ("dscp", "1"), ("dscp@", "2")]).expect_err("twice");
    assert_eq!(doubled.1, "dscp: given twice, as dscp and dscp@; give one of them");
    let mixed = parse(&[("port", "Ethernet0"), ("src_cidr", "10.0.0.0/8"), ("dst_cidr", "::/0")]).expect_err("mixed");
    assert!(mixed.1.starts_with("dst_cidr: \"::/0\" and src_cidr \"10.0.0.0/8\""), "{}", mixed.1);
}

#[test]
fn seventeen_port_ranges_are_one_too_many() {
    let ranges = |count: u16| (1..=count).map(|port| port.to_string()).collect::<Vec<_>>().join(",");
    assert_eq!(spec(&[("port", "Ethernet0"), ("l4_sport", &ranges(16))]).filter.l4_sports.len(), 16);
    let error = parse(&[("port", "Ethernet0"), ("l4_sport", &ranges(17))]).expect_err("17 ranges");
    assert_eq!(error.1, "l4_sport: 17 items are too many; give at most 16");
}

#[test]
fn ids_fit_a_mirror_sessions_name() {
    for good in ["a", "0-_", "2_a", "abcdefghijklmnopqrstu"] {
        let id = JobId::parse(good).expect(good);
        for number in 1..=SESSIONS_MAX {
            let name = id.session_name(number);
            assert!(name.len() <= 32, "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{name}");
            assert_eq!(JobId::of_session(&name), Some(id.clone()), "{name}");
        }
    }
    for bad in ["", "-a", "_a", "a b", "a|b", "ä", "abcdefghijklmnopqrstuv"] {
        assert!(JobId::parse(bad).is_err(), "{bad}");
    }
    let id = JobId::parse("a").expect("an id");
    assert_eq!([1, 2, 9].map(|number| id.session_name(number)), ["telegen_a", "telegen__2_a", "telegen__9_a"]);
    for foreign in [
        "everflow0",
        "telegen",
        "telegen_",
        "telegen__a",
        "telegen__1_a",
        "telegen__02_a",
        "telegen__10_a",
        "telegen__2_",
    ] {
        assert_eq!(JobId::of_session(foreign), None, "{foreign}");
    }
    assert_eq!(JobId::generate(0xabc).as_str(), "000000000abc");
}

#[test]
fn the_words_of_limits_are_the_words_that_parse() {
    let parses = |field: JobField, word: &str| parse(&[("port", "Ethernet0"), (field.as_str(), word)]).is_ok();
    for rule in &limits::JOB {
        if let ValueKind::Word { accepted, reserved } = rule.kind {
            assert!(accepted.iter().all(|word| parses(rule.field, word)), "{}", rule.field);
            assert!(!reserved.iter().any(|word| parses(rule.field, word)), "{}", rule.field);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_whatever_makes_the_parser_panic_and_what_it_takes_it_writes_back(
        fields in proptest::collection::btree_map("[a-z0-9_@]{1,12}|port|vlan|dscp@|ip_proto@|l4_dport|src_cidr|duration", ".{0,20}|[0-9]{1,5}|[0-9,-]{1,9}", 0..8),
        with_port in any::<bool>(),
    ) {
        let mut fields: Fields = fields;
        if with_port {
            fields.insert("port".to_owned(), "Ethernet0".to_owned());
        }
        if let Ok(spec) = JobSpec::parse(&fields, &Settings::default()) {
            let written: Fields = spec.to_fields().into_iter().map(|(field, value)| (field.table_name(), value)).collect();
            assert_eq!(JobSpec::parse(&written, &Settings::default()), Ok(spec));
        }
    }
}
