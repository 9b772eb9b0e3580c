//! The man pages in `man/` and the completions in `completion/` are made from the command line's own definition. This test holds the
//! committed files to it, and writes them where `TELEGEN_BLESS` is set (`make pages`).
//!
//! They are committed so that a package can be built without building their generators, and so that a change of the command line
//! shows what its users will read.

#![allow(clippy::unwrap_used)] // test code all through; clippy.toml's exception covers only what is inside a #[test]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use telegen_sonic::cli::Cli;

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
