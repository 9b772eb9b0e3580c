//! Imports point down only; files stay small; environment variables are read in few places. Read from the sources' text.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Every layer, and what it may use besides itself. `row`, what a row of SONiC's tables is, may use nothing of ours.
const LAYERS: [(&str, &[&str]); 8] = [
    ("row", &[]),
    ("model", &["row"]),
    ("sonic", &["row"]),
    ("io", &["sonic", "model", "row"]),
    ("sink", &["io", "sonic", "model", "row"]),
    ("cli", &["io", "sonic", "model", "row"]),
    ("daemon", &["sink", "io", "sonic", "model", "row"]),
    ("lab", &["sonic", "model", "row"]),
];
/// Crates that do I/O, know a clock or own a runtime: not for `model`.
const NOT_PURE: [&str; 9] =
    ["tokio::", "redis::", "libbpf_rs", "axum::", "tonic::", " nix::", "std::fs", "SystemTime", "Timestamp::now"];
/// Where the environment is read: each hands it on as values.
const ENV_READERS: [&str; 4] = ["src/cli/", "src/main.rs", "src/sink/otlp/config.rs", "src/daemon/host.rs"];
/// Lines of a source file, its own tests left out.
const FILE_LINES_MAX: usize = 450;

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).expect("the sources are there").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// A file's lines that are code: without comments, and without the tests at its end.
fn code(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).expect("a source is readable");
    let own = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    own.lines().filter(|line| !line.trim_start().starts_with("//")).map(str::to_owned).collect()
}

fn layer_of(path: &Path) -> Option<&'static str> {
    let below = path.strip_prefix("src").ok()?;
    let first = below.iter().next()?.to_string_lossy().trim_end_matches(".rs").to_owned();
    LAYERS.iter().map(|(name, _)| *name).find(|name| *name == first)
}

fn is_test(path: &Path) -> bool {
    path.iter().any(|part| part == "tests.rs" || part == "tests" || part == "simulation" || part == "simulation.rs")
}

#[test]
fn imports_point_down() {
    let allowed: BTreeMap<&str, &[&str]> = LAYERS.into_iter().collect();
    let mut wrong = Vec::new();
    for path in sources(Path::new("src")).iter().filter(|path| !is_test(path)) {
        let Some(layer) = layer_of(path) else { continue };
        for line in code(path) {
            for (other, _) in LAYERS.iter().filter(|(other, _)| *other != layer) {
                let uses = line.contains(&format!("crate::{other}::")) || line.contains(&format!("crate::{other};"));
                if uses && !allowed[layer].contains(other) {
                    wrong.push(format!("{}: {layer} uses {other}: {}", path.display(), line.trim()));
                }
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn the_model_does_no_io_and_knows_no_clock() {
    let mut wrong = Vec::new();
    for path in sources(Path::new("src/model")).iter().filter(|path| !is_test(path)) {
        for line in code(path) {
            wrong.extend(
                NOT_PURE.iter().filter(|name| line.contains(**name)).map(|name| format!("{}: {name}", path.display())),
            );
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn the_redis_conventions_know_no_word_of_ours() {
    let sources = sources(Path::new("src/sonic")).into_iter().chain([PathBuf::from("src/row.rs")]);
    for path in sources.filter(|path| !is_test(path)) {
        let line = code(&path).into_iter().find(|line| line.to_ascii_lowercase().contains("telegen"));
        assert_eq!(line, None, "{}", path.display());
    }
}

#[test]
fn the_environment_is_read_in_few_places() {
    for path in sources(Path::new("src")).iter().filter(|path| !is_test(path)) {
        let shown = path.display().to_string();
        if ENV_READERS.iter().any(|reader| shown.starts_with(reader))
            || shown.starts_with("src/lab")
            || shown.starts_with("src/bin")
        {
            continue;
        }
        let reads = code(path).into_iter().find(|line| line.contains("env::var"));
        assert_eq!(reads, None, "{shown}");
    }
}

#[test]
fn no_source_file_has_grown_two_subjects() {
    let long: Vec<String> = sources(Path::new("src"))
        .iter()
        .map(|path| (path, fs::read_to_string(path).expect("readable")))
        .map(|(path, text)| (path, text.split("#[cfg(test)]\nmod ").next().unwrap_or_default().lines().count()))
        .filter(|(_, lines)| *lines > FILE_LINES_MAX)
        .map(|(path, lines)| format!("{} has {lines} lines", path.display()))
        .collect();
    assert_eq!(long, Vec::<String>::new());
}
