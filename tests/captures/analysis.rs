//! `telegen-sonic analyze` of a capture says what the results of a job say that saw it on the switch, but for
//! [`APART`].

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Map, Value};
use telegen_sonic::io::capture::Capture;
use telegen_sonic::lab::frames::{check, read_capture};

use crate::write_capture;

/// What is of this run: which job it was, and when; how fast frames came; what the port counted, and so how much of
/// that arrived.
const APART: [&str; 12] = [
    "job_id",
    "status",
    "updated_at",
    "window_sec",
    "pps",
    "bps",
    "port_packets",
    "coverage",
    "otel_export",
    "histograms.interarrival",
    "top_flows.first_seen",
    "top_flows.last_seen",
];

/// Only of captures.
const CAPTURES: &str = "captures";

/// What both say differently of a capture, whose job's `results --json` are `results`.
pub fn differences(capture: &Path, results: &Value) -> Result<Vec<String>, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let path = as_sent(capture, folder.path())?;
    let output = Command::new(env!("CARGO_BIN_EXE_telegen-sonic"))
        .args(["analyze", "--sample-rate", "1", "--json"])
        .arg(&path)
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("analyze: {}: {}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    let analysis: Value = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    let (mut analysis, mut results) = (members(&analysis), members(results));
    if analysis.remove(CAPTURES).is_none() {
        return Err("analyze says nothing of its captures".to_owned());
    }
    // The job was told to write more flows than analyze prints.
    let shown = analysis["top_flows"].as_array().map_or(0, Vec::len);
    if let Some(Value::Array(flows)) = results.get_mut("top_flows") {
        flows.truncate(shown.max(20));
    }
    for members in [&mut analysis, &mut results] {
        for name in APART {
            remove(members, name);
        }
    }
    let names: std::collections::BTreeSet<&String> = analysis.keys().chain(results.keys()).collect();
    let differ = names.into_iter().filter(|name| analysis.get(*name) != results.get(*name));
    Ok(differ
        .map(|name| format!("{name}: analyze {:?}, results {:?}", analysis.get(name), results.get(name)))
        .collect())
}

fn members(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

/// `a`, or `b` of `a` or of each of a list's items, for `a.b`. It must be there.
fn remove(members: &mut Map<String, Value>, name: &str) {
    let Some((outer, inner)) = name.split_once('.') else {
        assert!(members.remove(name).is_some(), "there is no {name}");
        return;
    };
    match &mut members[outer] {
        Value::Object(members) => assert!(members.remove(inner).is_some(), "there is no {name}"),
        Value::Array(items) => items.iter_mut().for_each(|item| {
            assert!(item.as_object_mut().and_then(|item| item.remove(inner)).is_some(), "there is no {name}");
        }),
        other => panic!("{outer} is {other}"),
    }
}

/// The capture, if it has nothing but whole frames that the switch's netdevs carry; else one of what is sent of it. Of
/// a frame that was captured in part, `analyze` counts the length that it had, and the lab sends the part.
fn as_sent(capture: &Path, folder: &Path) -> Result<PathBuf, String> {
    let mut reader = Capture::open(capture).map_err(|error| error.to_string())?;
    let is_whole = loop {
        match reader.next_frame() {
            Ok(Some(frame)) if frame.bytes.len() == frame.len as usize && check(frame.bytes).is_ok() => {}
            Ok(None) => break reader.empty() == 0 && reader.others().is_empty(),
            Ok(Some(_)) | Err(_) => break false,
        }
    };
    if is_whole {
        return Ok(capture.to_owned());
    }
    let path = folder.join("sent.pcap");
    let (frames, _) = read_capture(capture).map_err(|error| error.to_string())?;
    write_capture(&path, &frames);
    Ok(path)
}
