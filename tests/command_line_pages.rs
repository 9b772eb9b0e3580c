//! The man pages in `man/` and the completions in `completion/` are made from the command line's own definition, the
//! table of results in `docs/interface.md` from the table of measures. This test holds the committed files to them, and
//! writes them where `TELEGEN_BLESS` is set (`make pages`).
//!
//! They are committed so that a package can be built without building their generators, and so that a change shows what
//! its users will read.

#![allow(clippy::unwrap_used)] // test code all through; clippy.toml's exception covers only what is inside a #[test]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use telegen_sonic::cli::Cli;
use telegen_sonic::model::measure::{Absent, Family, MEASURES, Measure, Scalar};

const NAME: &str = "telegen-sonic";

/// The definition without what changes from commit to commit.
fn definition() -> Command {
    let mut command = Cli::command().version(env!("CARGO_PKG_VERSION")).disable_help_subcommand(true);
    command.build();
    command
}

/// A page for the command and one for each subcommand: `telegen-sonic(1)`, `telegen-sonic-start(1)`, …
fn man_pages() -> BTreeMap<PathBuf, String> {
    let command = definition();
    let mut pages = BTreeMap::from([page(NAME, command.clone())]);
    pages.extend(command.get_subcommands().map(|one| page(&format!("{NAME}-{}", one.get_name()), one.clone())));
    pages
}

fn page(name: &str, command: Command) -> (PathBuf, String) {
    let man = Man::new(command).title(name).source(NAME).manual("SONiC");
    let mut text = Vec::new();
    man.render(&mut text).unwrap();
    (Path::new("man").join(format!("{name}.1")), String::from_utf8(text).unwrap())
}

fn completions() -> BTreeMap<PathBuf, String> {
    let made =
        [(Shell::Bash, "telegen-sonic.bash"), (Shell::Zsh, "_telegen-sonic"), (Shell::Fish, "telegen-sonic.fish")];
    let made = made.map(|(shell, file)| {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), NAME, &mut text);
        (Path::new("completion").join(file), String::from_utf8(text).unwrap())
    });
    made.into()
}

#[track_caller]
fn assert_committed(folder: &str, wanted: &BTreeMap<PathBuf, String>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("TELEGEN_BLESS").is_some() {
        for (path, text) in wanted {
            fs::write(root.join(path), text).unwrap();
        }
    }
    let mut committed = BTreeMap::new();
    for entry in fs::read_dir(root.join(folder)).unwrap() {
        let path = entry.unwrap().path();
        committed.insert(path.strip_prefix(root).unwrap().to_owned(), fs::read_to_string(&path).unwrap());
    }
    let differing: Vec<_> =
        wanted.iter().filter(|(path, text)| committed.get(*path) != Some(*text)).map(|(path, _)| path).collect();
    let unknown: Vec<_> = committed.keys().filter(|path| !wanted.contains_key(*path)).collect();
    assert!(
        differing.is_empty() && unknown.is_empty(),
        "`make pages` makes them anew; not what the command line says: {differing:?}; of no command: {unknown:?}"
    );
}

#[test]
fn the_man_pages_are_what_the_command_line_says() {
    assert_committed("man", &man_pages());
}

#[test]
fn the_completions_are_what_the_command_line_says() {
    assert_committed("completion", &completions());
}

const TABLE_BEGINS: &str = "<!-- Made of the table of measures by `make pages`. -->\n\n";
const TABLE_ENDS: &str = "\n<!-- The end of what is made. -->\n";

/// The table of results, a row for each measure.
fn measures_table() -> String {
    let mut text = "| field | unit | what it says | absent | REST | Prometheus | OpenTelemetry |\n".to_owned();
    text.push_str("|---|---|---|---|---|---|---|\n");
    for measure in MEASURES {
        let cells = match measure {
            Measure::One(scalar) => scalar_cells(scalar),
            Measure::Counters(family) => family_cells(family, family.of.as_str(), &["packets", "bytes"]),
            Measure::Counts(family) => family_cells(family, family.of.as_str(), &[]),
        };
        text.extend(["| ", &cells.join(" | "), " |\n"]);
    }
    text
}

fn code(name: &str) -> String {
    if name.is_empty() { "–".to_owned() } else { format!("`{name}`") }
}

fn place(part: &[&str], member: &str) -> String {
    code(&part.iter().copied().chain([member]).collect::<Vec<_>>().join("."))
}

fn scalar_cells(scalar: &Scalar) -> [String; 7] {
    let absent = match (scalar.absent, scalar.beside) {
        (Absent::Zero, _) => "at 0".to_owned(),
        (Absent::NotMeasured(when), _) => when.to_owned(),
        (Absent::Never | Absent::Refused, Some(beside)) => format!("as {}", code(beside)),
        (Absent::Never | Absent::Refused, None) => "never".to_owned(),
    };
    [
        code(scalar.name),
        scalar.unit.word().to_owned(),
        scalar.help.to_owned(),
        absent,
        place(scalar.part, scalar.member),
        code(scalar.metric.unwrap_or_default()),
        code(scalar.otlp.unwrap_or_default()),
    ]
}

/// `units` are what each member counts, or nothing: packets alone.
fn family_cells<F>(family: &Family<F>, prefix: &str, units: &[&str]) -> [String; 7] {
    let each = |name: &dyn Fn(&str) -> String| match units {
        [] => code(&name("")),
        units => units.iter().map(|unit| code(&name(unit))).collect::<Vec<_>>().join(", "),
    };
    let behind = |mark: &str, unit: &str| if unit.is_empty() { String::new() } else { format!("{mark}{unit}") };
    let (metric, label) = (family.metric, family.label);
    let otlp = family.otlp.as_ref().map_or_else(
        || code(""),
        |otlp| {
            let names = each(&|unit| format!("{}{}", otlp.name, behind(".", unit)));
            format!("{names} by {}", code(otlp.attribute))
        },
    );
    [
        each(&|unit| format!("{prefix}_<name>{}", behind("_", unit))),
        if units.is_empty() { "packets".to_owned() } else { units.join(", ") },
        family.help.to_owned(),
        "at 0".to_owned(),
        place(family.part, family.member),
        each(&|unit| format!("telegen_job_{metric}{}_total{{{label}}}", behind("_", unit))),
        otlp,
    ]
}

#[test]
fn the_table_of_results_is_what_the_measures_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/interface.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(TABLE_BEGINS).unwrap();
    let (committed, after) = rest.split_once(TABLE_ENDS).unwrap();
    let wanted = measures_table();
    if std::env::var_os("TELEGEN_BLESS").is_some() {
        fs::write(&path, [before, TABLE_BEGINS, &wanted, TABLE_ENDS, after].concat()).unwrap();
    } else {
        assert_eq!(committed, wanted, "`make pages` makes it anew");
    }
}
