//! What the names and values of a row's fields mean in SONiC, whatever the table.
//!
//! Source: sonic-swss-common `configdb.py` (`raw_to_typed`, `typed_to_raw`): a list field is called `name@` and holds its items
//! between commas; a row without fields, which Redis cannot hold, is written as `NULL = NULL`.

use std::collections::BTreeMap;

/// The fields of one row.
pub type Fields = BTreeMap<String, String>;

/// The placeholder field of a row that has no fields; to be ignored wherever it appears.
pub const NULL: &str = "NULL";

/// The field's name without the mark of a list, and whether it had one.
#[must_use]
pub fn base_name(field: &str) -> (&str, bool) {
    match field.strip_suffix('@') {
        Some(name) => (name, true),
        None => (field, false),
    }
}

/// The items of a list's value, in order. An empty value is an empty list.
pub fn split_list(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').filter(move |_| !value.is_empty())
}

/// The value of a list field.
pub fn join_list<S: AsRef<str>>(items: impl IntoIterator<Item = S>) -> String {
    let mut value = String::new();
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            value.push(',');
        }
        value.push_str(item.as_ref());
    }
    value
}

/// The row without the placeholder [`NULL`].
#[must_use]
pub fn without_null(mut fields: Fields) -> Fields {
    fields.remove(NULL);
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_field_is_known_by_its_mark() {
        assert_eq!(base_name("ports@"), ("ports", true));
        assert_eq!(base_name("port"), ("port", false));
    }

    #[test]
    fn a_list_survives_writing_and_reading() {
        assert_eq!(join_list(["6", "17"]), "6,17");
        assert_eq!(split_list("6,17").collect::<Vec<_>>(), ["6", "17"]);
        assert_eq!(split_list("").count(), 0);
        assert_eq!(split_list(",").collect::<Vec<_>>(), ["", ""]);
        assert_eq!(join_list(["", ""]), ",");
    }

    #[test]
    fn the_placeholder_of_an_empty_row_is_ignored() {
        let row = Fields::from([("NULL".to_owned(), "NULL".to_owned()), ("mtu".to_owned(), "9100".to_owned())]);
        assert_eq!(without_null(row), Fields::from([("mtu".to_owned(), "9100".to_owned())]));
    }
}
