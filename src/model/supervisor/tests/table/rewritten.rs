//! Writes the table anew, after a change of the supervisor.

use std::collections::BTreeMap;

use super::{EVENTS, PHASES, TABLE, bench_in, feed, phase_of, said_of};

/// The table as the supervisor would have it, with the comments and headings that are there: what a change of it means is for a person to
/// read in the difference.
fn rewritten() -> String {
    const WIDTH: usize = 110;
    let headings: BTreeMap<&str, &str> =
        TABLE.lines().filter_map(|line| line.strip_prefix('[')?.split_once(']')).collect();
    let mut lines: Vec<String> = TABLE.lines().take_while(|line| line.starts_with('#')).map(str::to_owned).collect();
    for phase in PHASES {
        lines.push(String::new());
        lines.push(format!("[{phase}]{}", headings.get(phase).copied().unwrap_or_default()));
        let mut rows: Vec<(String, Vec<String>)> = Vec::new();
        for event in EVENTS {
            let mut bench = bench_in(phase);
            let before = said_of(&bench);
            let effects = feed(&mut bench, event);
            let same = |word: String, before: &str| if word == before { "=".to_owned() } else { word };
            let (then, said) = (same(phase_of(&bench), phase), same(said_of(&bench), &before));
            let outcome = format!("{then} | {said} | {effects}");
            let index = rows.iter().position(|(known, _)| *known == outcome).unwrap_or_else(|| {
                rows.push((outcome, Vec::new()));
                rows.len() - 1
            });
            let groups = &mut rows[index].1;
            match groups.last_mut().filter(|group| group.len() + event.len() + 2 <= WIDTH) {
                Some(group) => *group = format!("{group}, {event}"),
                None => groups.push(event.to_owned()),
            }
        }
        for (outcome, groups) in rows {
            lines.extend(groups.iter().map(|group| format!("{group:23} | {outcome}")));
        }
    }
    lines.join("\n") + "\n"
}

#[test]
fn the_table_is_written_anew_where_that_is_asked_for() {
    if std::env::var_os("TELEGEN_BLESS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/model/supervisor/tests/table.txt");
        std::fs::write(path, rewritten()).expect("the table is written");
    }
}
