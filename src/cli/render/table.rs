//! Columns without borders, as SONiC's own commands print them; no escape codes, no trailing blanks.

use comfy_table::{CellAlignment, Table, presets};

use super::ended;

/// Where a column's cells stand.
#[derive(Clone, Copy)]
pub enum Column {
    /// Text.
    Left(&'static str),
    /// Numbers.
    Right(&'static str),
}

/// The rows under their headings, each line ended.
pub fn table(columns: &[Column], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(columns.iter().map(|column| match column {
        Column::Left(heading) | Column::Right(heading) => *heading,
    }));
    for row in rows {
        table.add_row(row);
    }
    for (column, of) in table.column_iter_mut().zip(columns) {
        column.set_padding((0, 2));
        column.set_cell_alignment(match of {
            Column::Left(_) => CellAlignment::Left,
            Column::Right(_) => CellAlignment::Right,
        });
    }
    ended(table.lines().map(|line| line.trim_end().to_owned()))
}
