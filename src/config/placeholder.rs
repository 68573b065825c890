//! Values that an example leaves to the operator: a config that still has one is not served.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::error::{Page, Problem};
use crate::check::PLACEHOLDER;

/// Every value of a file, used or not, that has the placeholder in it.
pub(super) fn placeholders(page: &Page<'_>) -> Vec<Problem> {
    let mut found = Vec::new();
    // What is no TOML is told by who reads it.
    if let Ok(table) = DeTable::parse(page.text) {
        of_table(page, "", table.get_ref(), &mut found);
    }
    found
}

fn of_table(page: &Page<'_>, path: &str, table: &DeTable<'_>, found: &mut Vec<Problem>) {
    for (key, value) in table {
        let key = key.get_ref();
        let path = if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
        of_value(page, &path, value, found);
    }
}

fn of_value(page: &Page<'_>, path: &str, value: &Spanned<DeValue<'_>>, found: &mut Vec<Problem>) {
    match value.get_ref() {
        DeValue::Array(values) => values.iter().for_each(|one| of_value(page, path, one, found)),
        DeValue::String(text) if text.contains(PLACEHOLDER) => {
            let text = format!("{path} is still {text:?}; write your own value");
            found.push(Problem { place: page.place(value), text });
        }
        DeValue::Table(table) => of_table(page, path, table, found),
        DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Float(_)
        | DeValue::Integer(_)
        | DeValue::String(_) => {}
    }
}
