//! The daemon's model, the YANG module and the config plugin say the same of every field: that it exists, what it may
//! hold, its words, its default. First by comparing their tables, then by asking the model and libyang for their verdict
//! on the same rows.
//!
//! YANG is read through tests/yang/schema.py (yanglint), the plugin through tests/python/plugin_table.py. A machine that
//! has no yanglint or no click skips what needs it, and says so.

#![allow(clippy::unwrap_used)] // test code all through; clippy.toml's exception covers only what is inside a #[test]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Map, Value, json};
use telegen_sonic::io::tables::members::REST_MEMBERS;
use telegen_sonic::model::job::{Fields, JobId, JobSpec};
use telegen_sonic::model::kind::{self, Kind};
use telegen_sonic::model::limits::{self, Default, Rule, ValueKind};
use telegen_sonic::model::measure::scalars;
use telegen_sonic::model::schema::{CountFamily, CounterFamily, JobField, SettingField, Warning, config_db};
use telegen_sonic::model::settings::Settings;
use telegen_sonic::model::value::IP_PROTOCOL_NUMBERS;

/// As the YANG module and the plugin write it; `JobId::parse` is asked for its verdict below.
const JOB_ID_PATTERN: &str = "[a-zA-Z0-9][-a-zA-Z0-9_]{0,20}";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a Python script of the tests and reads the JSON that it prints; `None`, with a word, where the machine lacks
/// what the script needs.
fn python(test: &str, needs: &[&str], arguments: &[&str], input: &str) -> Option<Value> {
    let in_venv = root().join("target/venv/bin/python");
    let interpreter = if in_venv.exists() { in_venv } else { PathBuf::from("python3") };
    for needed in needs {
        let there = Command::new(&interpreter)
            .args(["-c", needed])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if !there {
            eprintln!("SKIPPED: {test}: python3 cannot `{needed}`");
            return None;
        }
    }
    let mut script = Command::new(&interpreter)
        .arg("-B")
        .args(arguments)
        .current_dir(root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    script.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = script.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?} failed");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

const YANGLINT: &str = "import shutil, sys; sys.exit(not shutil.which('yanglint'))";
const CLICK: &str = "import click, natsort, redis, tabulate";

fn yang_table(test: &str) -> Option<Value> {
    python(test, &[YANGLINT], &["tests/yang/schema.py", "table"], "")
}

fn plugin_table(test: &str) -> Option<Value> {
    python(test, &[CLICK], &["tests/python/plugin_table.py"], "")
}

/// libyang's verdict on each row of CONFIG_DB.
fn yang_verdicts(test: &str, rows: &[Value]) -> Option<Vec<bool>> {
    let verdicts = python(test, &[YANGLINT], &["tests/yang/schema.py", "verdicts"], &Value::from(rows).to_string())?;
    Some(verdicts.as_array().unwrap().iter().map(|verdict| verdict.as_bool().unwrap()).collect())
}

/// A rule of the model in the form that the scripts print.
fn rule_json<F: Copy>(rule: &Rule<F>) -> Value {
    let mut out = match rule.kind {
        ValueKind::Integer { min, max } => json!({"kind": "integer", "min": min, "max": max}),
        ValueKind::Word { accepted, reserved } => json!({"kind": "word", "words": accepted, "reserved": reserved}),
        ValueKind::Text { max_chars } => json!({"kind": "text", "max_chars": max_chars}),
        ValueKind::Boolean => json!({"kind": "boolean"}),
        ValueKind::PortNames => json!({"kind": "port-names"}),
        ValueKind::IpProtocol => json!({"kind": "ip-protocol"}),
        ValueKind::PortRange => json!({"kind": "port-range"}),
        ValueKind::Prefix => json!({"kind": "prefix"}),
        ValueKind::IpAddress => json!({"kind": "ip-address"}),
        ValueKind::Timestamp => json!({"kind": "timestamp"}),
        ValueKind::Endpoint => json!({"kind": "endpoint"}),
        ValueKind::Listen => json!({"kind": "listen"}),
        ValueKind::Netdev => json!({"kind": "netdev"}),
        ValueKind::GreType => json!({"kind": "gre-type"}),
        ValueKind::Path => json!({"kind": "path"}),
    };
    out["default"] = match rule.default {
        Default::Absent => Value::Null,
        Default::Value(value) => Value::from(value),
        Default::Setting(field) => Value::from(format!("setting:{field}")),
    };
    if let Some(max_items) = rule.max_items {
        out["max_items"] = Value::from(max_items);
    }
    out
}

fn rules_json<F: Copy + std::fmt::Display>(rules: &[Rule<F>]) -> Value {
    Value::Object(rules.iter().map(|rule| (rule.field.to_string(), rule_json(rule))).collect::<Map<_, _>>())
}

/// Which kinds need which fields.
fn needs_json() -> Value {
    Value::Object(Kind::ALL.iter().map(|kind| (kind.to_string(), words_json(kind.needs()))).collect())
}

fn words_json<F: std::fmt::Display>(words: &[F]) -> Value {
    words.iter().map(ToString::to_string).collect()
}

fn model_table() -> Value {
    json!({
        "job": rules_json(&limits::JOB),
        "needs": needs_json(),
        "settings": rules_json(&limits::SETTINGS),
        "job_id_pattern": JOB_ID_PATTERN,
    })
}

/// What two tables say differently, one line for each field: names of either side that the other lacks, too.
fn differences(model: &Value, other: &Value) -> Vec<String> {
    let mut out = Vec::new();
    for part in ["job", "needs", "settings"] {
        let fields = |table: &Value| -> BTreeMap<String, Value> {
            table[part].as_object().unwrap().iter().map(|(name, rule)| (name.clone(), rule.clone())).collect()
        };
        let (ours, theirs) = (fields(model), fields(other));
        for name in ours.keys().chain(theirs.keys().filter(|name| !ours.contains_key(*name))) {
            if ours.get(name) != theirs.get(name) {
                out.push(format!("{part} {name}: model {:?}, other {:?}", ours.get(name), theirs.get(name)));
            }
        }
    }
    if model["job_id_pattern"] != other["job_id_pattern"] {
        out.push(format!("job id: model {}, other {}", model["job_id_pattern"], other["job_id_pattern"]));
    }
    out
}

#[test]
fn yang_has_the_models_fields_ranges_words_and_defaults() {
    let Some(yang) = yang_table("yang_has_the_models_fields_ranges_words_and_defaults") else { return };
    assert_eq!(differences(&model_table(), &yang), Vec::<String>::new());
}

#[test]
fn the_plugin_has_the_models_fields_ranges_words_and_defaults() {
    let Some(plugin) = plugin_table("the_plugin_has_the_models_fields_ranges_words_and_defaults") else { return };
    assert_eq!(differences(&model_table(), &plugin), Vec::<String>::new());
}

#[test]
fn the_plugin_knows_every_family_of_results_and_names_every_event_error_and_warning() {
    let test = "the_plugin_knows_every_family_of_results_and_names_every_event_error_and_warning";
    let Some(plugin) = plugin_table(test) else {
        return;
    };
    let of = |part: &str| -> BTreeSet<String> {
        let names = plugin["results"][part].as_array().unwrap();
        names.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    let words = |words: Vec<String>| -> BTreeSet<String> { words.into_iter().collect() };
    assert_eq!(of("counters"), words(CounterFamily::ALL.iter().map(ToString::to_string).collect()));
    assert_eq!(of("counts"), words(CountFamily::ALL.iter().map(ToString::to_string).collect()));
    // What is in an object of its own, but for the estimate, whose fields the plugin shows beside the others.
    let in_objects = scalars().filter(|scalar| !scalar.part.is_empty() && scalar.part != ["estimate"]);
    assert_eq!(of("measured"), words(in_objects.map(|scalar| scalar.name.to_owned()).collect()));
    let fields =
        |family: CountFamily| -> Vec<String> { family.names().iter().map(|name| format!("{family}_{name}")).collect() };
    let (findings, events, errors) = (of("findings"), fields(CountFamily::Health), fields(CountFamily::Error));
    let missing: Vec<&String> = events.iter().chain(&errors).filter(|field| !findings.contains(*field)).collect();
    assert_eq!(missing, Vec::<&String>::new());
    // Those that are wrong are TCP's, of which the plugin has sentences of its own.
    let notes = scalars().filter(|scalar| scalar.finding.is_some_and(|finding| !finding.is_wrong));
    let notes = notes.map(|scalar| scalar.name);
    assert_eq!(notes.filter(|name| !findings.contains(*name)).collect::<Vec<_>>(), Vec::<&str>::new());
    let mut known: BTreeSet<String> = scalars().map(|scalar| scalar.name.to_owned()).collect();
    known.extend(CountFamily::ALL.iter().flat_map(|family| fields(*family)));
    assert_eq!(findings.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new());
    // Errors and events are findings, all other counts are distributions.
    let mut mix = of("counts");
    mix.retain(|family| !["error", "health"].contains(&family.as_str()));
    assert_eq!(of("mix"), mix);
    assert_eq!(of("warnings"), words(Warning::ALL.iter().map(ToString::to_string).collect()));
}

/// REST's ranges, words and defaults are made from `limits` (its OpenAPI document is tested for that); its names are its own.
#[test]
fn rest_has_a_member_for_every_field_but_expires_at_which_it_computes() {
    let mut fields: Vec<JobField> = REST_MEMBERS.iter().map(|(_, field)| *field).collect();
    fields.sort_unstable();
    let mut expected = JobField::ALL.to_vec();
    expected.retain(|field| *field != JobField::ExpiresAt);
    expected.sort_unstable();
    assert_eq!(fields, expected);
    for (member, field) in REST_MEMBERS {
        let bare = member.strip_prefix("filters.").unwrap_or(member);
        assert!(
            bare == field.as_str() || (member, field) == ("duration_sec", JobField::Duration),
            "{member} is {field}"
        );
    }
}

#[test]
fn a_difference_on_either_side_is_found() {
    let model = model_table();
    let mut narrower = model.clone();
    narrower["job"]["vlan"]["max"] = Value::from(4095);
    assert_eq!(differences(&model, &narrower).len(), 1);
    let mut longer = model.clone();
    longer["settings"]["turbo"] = json!({"kind": "boolean"});
    assert_eq!(differences(&model, &longer).len(), 1);
    assert_eq!(differences(&longer, &model).len(), 1);
    let mut undemanding = model.clone();
    undemanding["needs"]["traffic"] = json!([]);
    assert_eq!(differences(&model, &undemanding).len(), 1);
}

/// The fields of which the model takes less than an earlier one did, or takes it otherwise.
fn narrowed(model: &Value, earlier: &Value) -> Vec<String> {
    let within = |new: &Value, old: &Value, member: &str| match member {
        "words" => old.as_array().unwrap().iter().all(|word| new.as_array().is_some_and(|new| new.contains(word))),
        "min" => new.as_u64() <= old.as_u64(),
        "max" | "max_chars" | "max_items" => new.as_u64() >= old.as_u64(),
        // What had to be there is the kind's to say now (`newly_needed`), and reserved words may have been built.
        "required" | "reserved" => true,
        _ => new == old,
    };
    let fields = ["job", "settings"].into_iter().flat_map(|part| {
        earlier[part].as_object().unwrap().iter().map(move |(name, old)| (&model[part][name], old, name))
    });
    let is_narrowed = |new: &Value, old: &Value| {
        !old.as_object().unwrap().iter().all(|(member, old)| within(&new[member], old, member))
    };
    fields
        .filter(|(new, old, _)| is_narrowed(new, old))
        .map(|(new, old, name)| format!("{name}: {old}, {new}"))
        .collect()
}

/// The fields that a job without `kind` needs now and did not need then.
fn newly_needed(model: &Value, earlier: &Value) -> Vec<String> {
    let needs = model["needs"][kind::DEFAULT.as_str()].as_array().unwrap().iter().map(|field| field.as_str().unwrap());
    needs.filter(|field| earlier["job"][field]["required"] != true).map(str::to_owned).collect()
}

#[test]
fn every_row_that_f1b4f54_took_is_taken_and_means_the_same() {
    let recorded: Value = serde_json::from_str(include_str!("compat/f1b4f54.json")).unwrap();
    let (mut model, earlier) = (model_table(), &recorded["limits"]);
    assert_eq!(narrowed(&model, earlier), Vec::<String>::new());
    assert_eq!(newly_needed(&model, earlier), Vec::<String>::new());
    model["needs"]["traffic"] = json!(["port", "vlan"]);
    assert_eq!(newly_needed(&model, earlier), ["vlan"]);
    (model["job"]["vlan"]["max"], model["job"]["inner"]["default"]) = (json!(4093), json!("true"));
    (model["job"]["direction"]["words"], model["settings"]["ttl"]) = (json!(["both"]), json!({}));
    assert_eq!(narrowed(&model, earlier).len(), 3);
}

/// The fields of a CONFIG_DB JSON row as they are in Redis.
fn fields(row: &Value) -> Fields {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    row.as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| match value.as_array() {
            Some(items) => (format!("{name}@"), items.iter().map(text).collect::<Vec<_>>().join(",")),
            None => (name.clone(), text(value)),
        })
        .collect()
}

/// Whether the daemon would take all jobs and settings of CONFIG_DB JSON, or refuses no more than what is reserved.
fn model_takes(config: &Value) -> bool {
    let rows = |table: &str| config[table].as_object().into_iter().flatten();
    let reserved = |message: &str| message.contains("reserved and not built into this version");
    let jobs = rows(config_db::JOB).all(|(id, row)| {
        let spec = JobSpec::parse(&fields(row), &Settings::default());
        JobId::parse(id).is_ok() && spec.err().is_none_or(|error| reserved(&error.message))
    });
    let settings =
        rows(config_db::SETTINGS).all(|(_, row)| Settings::parse(&fields(row)).1.iter().all(|e| reserved(&e.message)));
    jobs && settings
}

fn job(field: JobField, value: &str) -> Value {
    let mut row = json!({"port": "Ethernet0"});
    let items: Vec<&str> = value.split(',').collect();
    row[field.as_str()] = if field.is_list() { json!(items) } else { json!(value) };
    json!({"TELEGEN_JOB": {"j1": row}})
}

fn setting(field: SettingField, value: &str) -> Value {
    let mut row = json!({});
    let items: Vec<&str> = value.split(',').collect();
    row[field.as_str()] = if field.is_list() { json!(items) } else { json!(value) };
    json!({"TELEGEN": {"global": row}})
}

/// Values at and around the edges of a rule, by its kind.
fn edges(kind: ValueKind) -> Vec<String> {
    let texts = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    match kind {
        ValueKind::Integer { min, max } => {
            let mut edges =
                vec![min.to_string(), max.to_string(), (max + 1).to_string(), "x".to_owned(), "-1".to_owned()];
            edges.extend(min.checked_sub(1).map(|below| below.to_string()));
            edges
        }
        ValueKind::Word { accepted, reserved } => {
            let mut words: Vec<String> = accepted.iter().chain(reserved).map(|word| (*word).to_owned()).collect();
            words.extend(accepted.iter().map(|word| word.to_uppercase()));
            words.push("something".to_owned());
            words
        }
        ValueKind::Boolean => texts(&["true", "false", "True", "yes", "1"]),
        ValueKind::IpProtocol => {
            let names = IP_PROTOCOL_NUMBERS.iter().map(|(class, _)| class.to_string());
            names.chain(["0", "255", "256", "-1", "ftp"].map(str::to_owned)).collect()
        }
        ValueKind::PortRange => {
            texts(&["0", "65535", "65536", "0-65535", "9-9", "10-9", "1-65536", "1-", "-1", "1-2-3", "a"])
        }
        ValueKind::Prefix => {
            texts(&["10.0.0.0/8", "10.0.0.0", "10.0.0.0/33", "2001:db8::/128", "2001:db8::/129", "::1", "1.2.3", "x"])
        }
        ValueKind::IpAddress => texts(&["10.0.0.1", "2001:db8::1", "10.0.0.1/32", "10.0.0.256", "host"]),
        ValueKind::Timestamp => {
            texts(&["2026-01-31T03:00:00Z", "2026-01-31T03:00:00.123+01:00", "2026-01-31", "tomorrow"])
        }
        ValueKind::Text { max_chars } => {
            vec![String::new(), "ü".repeat(max_chars), "x".repeat(max_chars + 1), "a\u{7}b".to_owned()]
        }
        ValueKind::Endpoint => {
            texts(&["localhost:4317", "http://10.0.0.1:1", "https://[::1]:4317", "host", "::1:4317", "h:x"])
        }
        ValueKind::Listen => {
            texts(&["/run/x.sock", "127.0.0.1:8080", "[::1]:8080", "0.0.0.0:8080", "10.0.0.1:80", "8080"])
        }
        ValueKind::Netdev => {
            texts(&["eth0", "Ethernet-BP0.1", "123456789012345", "1234567890123456", "a b", "a/b", "a:b", "..", ""])
        }
        ValueKind::GreType => texts(&[
            "0x88be", "0X88BE", "35006", "0x8949", "35145", "0x6558", "25944", "0x22eb", "8939", "88be", "0x0800",
            "2048", "65536",
        ]),
        // All fields of this kind are reserved: the model does not look at their values yet.
        ValueKind::Path => texts(&["/etc/x.pem"]),
        ValueKind::PortNames => {
            let long = |count: u32| (0..count).map(|number| format!("Ethernet{number}")).collect::<Vec<_>>().join(",");
            let mut lists = texts(&[
                "Ethernet0",
                "PortChannel0001",
                "Ethernet-BP0",
                "",
                "Ethernet 0",
                "Ethernet0,PortChannel1",
                "Ethernet0, Ethernet4",
                "Ethernet0,",
                ",Ethernet0",
            ]);
            lists.extend([
                long(16),
                long(17),
                format!("Ethernet{}", "1".repeat(24)),
                format!("Ethernet{}", "1".repeat(25)),
            ]);
            lists
        }
    }
}

#[test]
fn the_model_and_yang_give_the_same_verdict_on_every_field() {
    let jobs = limits::JOB.iter().flat_map(|rule| edges(rule.kind).into_iter().map(|value| job(rule.field, &value)));
    let settings =
        limits::SETTINGS.iter().flat_map(|rule| edges(rule.kind).into_iter().map(|value| setting(rule.field, &value)));
    let long_list = |count: u32| (0..count).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let lists = [16, 17].map(|count| job(JobField::L4Sport, &long_list(count)));
    let keys = ["a", "A-_9", "", "-a", "a.b", "ä", &"x".repeat(21), &"x".repeat(22)]
        .map(|id| json!({"TELEGEN_JOB": {id: {"port": "Ethernet0"}}}));
    let odd = [
        json!({"TELEGEN_JOB": {"j1": {"vlan": "1"}}}),
        json!({"TELEGEN_JOB": {"j1": {"kind": "traffic"}}}),
        json!({"TELEGEN_JOB": {"j1": {"port": "Ethernet0", "src_cidr": "::/0", "dst_cidr": "10.0.0.1"}}}),
        json!({"TELEGEN_JOB": {"j1": {"port": "Ethernet0", "src_cidr": "::/0", "dst_cidr": "::1"}}}),
        json!({"TELEGEN_JOB": {"j1": {"port": "Ethernet0", "colour": "red"}}}),
        json!({"TELEGEN": {"global": {"turbo": "on"}}}),
    ];
    let portless = kind::UNAVAILABLE.iter().map(|kind| json!({"TELEGEN_JOB": {"j1": {"kind": kind}}}));
    let rows: Vec<Value> = jobs.chain(settings).chain(lists).chain(keys).chain(odd).chain(portless).collect();
    let Some(yang) = yang_verdicts("the_model_and_yang_give_the_same_verdict_on_every_field", &rows) else { return };
    let differing: Vec<String> = rows
        .iter()
        .zip(yang)
        .filter(|(row, yang_takes)| model_takes(row) != *yang_takes)
        .map(|(row, yang_takes)| format!("{row}: YANG {}", if yang_takes { "takes it" } else { "refuses it" }))
        .collect();
    assert_eq!(differing, Vec::<String>::new());
    assert!(rows.len() > 250, "{} rows", rows.len());
}

#[test]
fn the_model_takes_the_valid_samples_and_refuses_the_invalid_ones() {
    let read = |kind: &str| -> Vec<(PathBuf, Value)> {
        let paths = std::fs::read_dir(root().join("yang/samples").join(kind)).unwrap();
        let mut samples: Vec<(PathBuf, Value)> = paths
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.clone(), serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap()))
            .collect();
        samples.sort_by(|a, b| a.0.cmp(&b.0));
        samples
    };
    for (path, config) in read("valid") {
        assert!(model_takes(&config), "{}", path.display());
    }
    for (path, sample) in read("invalid") {
        // Mirror ports are not the model's to judge by themselves, YANG knows only the names that SONiC gives ports, and
        // the model does not look at the paths of TLS yet.
        let config = &sample["config"];
        let elsewhere = config.get(config_db::MIRROR_PORT).is_some()
            || path.ends_with("job_port_is_no_port.json")
            || path.ends_with("relative_key_path.json");
        assert!(elsewhere || !model_takes(config), "{}", path.display());
    }
}
