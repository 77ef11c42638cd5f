//! Inserts that are sent as one statement.
//!
//! Each statement has a message, a snapshot, a start of the executor and an answer of its own, which together take longer
//! than the insert of a row. What only inserts neither reads nor changes what another insert writes, so one statement may
//! have many of them: `WITH part0 AS (INSERT …), part1 AS (INSERT …) …`.

use super::connection::Bound;
use super::value::Value;

/// See the [module](self).
#[derive(Default)]
pub struct Together {
    parts: Vec<Part>,
}

/// An insert.
struct Part {
    table: &'static str,
    columns: &'static str,
    /// Values of a row, or an array of those of many rows for each column.
    values: Vec<Value>,
    has_arrays: bool,
}

impl Together {
    /// Adds rows of a table: a single one by its values, which costs the server less than half of what arrays cost; more of
    /// them by an array for each column, so that the text is the same for any number of them.
    pub fn insert(&mut self, table: &'static str, columns: &'static str, mut rows: Vec<Vec<Value>>) {
        let has_arrays = rows.len() > 1;
        let values = if has_arrays { arrays(rows) } else { rows.pop().unwrap_or_default() };
        if !values.is_empty() {
            self.parts.push(Part { table, columns, values, has_arrays });
        }
    }

    /// The statement; `None` where there is nothing to insert.
    pub fn bound(mut self) -> Option<Bound> {
        let last = self.parts.pop()?;
        let mut text = String::new();
        last.write(&mut text, 1);
        Some(self.with(None, Bound { text: text.into(), values: last.values }))
    }

    /// The statement that ends with `last`, and has its answer. `part` is one more part, which `last` names.
    pub fn with(self, part: Option<&str>, last: Bound) -> Bound {
        if self.parts.is_empty() && part.is_none() {
            return last;
        }
        let Bound { text: end, mut values } = last;
        let mut text = "WITH ".to_owned();
        for (at, part) in self.parts.into_iter().enumerate() {
            text.extend(["part", &at.to_string(), " AS ("]);
            part.write(&mut text, values.len() + 1);
            text.push_str("), ");
            values.extend(part.values);
        }
        match part {
            Some(part) => text.push_str(part),
            None => text.truncate(text.len() - ", ".len()),
        }
        text.extend([" ", &end]);
        Bound { text: text.into(), values }
    }
}

impl Part {
    /// Writes its text, with parameters from this number on.
    fn write(&self, text: &mut String, first: usize) {
        let Self { table, columns, .. } = self;
        text.extend(["INSERT INTO ", table, " (", columns, ") "]);
        if self.has_arrays {
            text.extend(["SELECT ", columns, " FROM unnest("]);
        } else {
            text.push_str("VALUES (");
        }
        for (at, value) in self.values.iter().enumerate() {
            text.extend([if at == 0 { "$" } else { ", $" }, &(first + at).to_string()]);
            if self.has_arrays {
                text.extend(["::", value.kind().name()]);
            }
        }
        text.push(')');
        if self.has_arrays {
            text.extend([" WITH ORDINALITY AS added(", columns, ", place) ORDER BY place"]);
        }
    }
}

/// Arrays of the values of rows, column by column.
pub fn arrays(rows: Vec<Vec<Value>>) -> Vec<Value> {
    let kinds: Vec<_> = rows.first().into_iter().flatten().map(Value::kind).collect();
    let mut lists: Vec<Vec<Value>> = kinds.iter().map(|_| Vec::with_capacity(rows.len())).collect();
    for row in rows {
        for (list, value) in lists.iter_mut().zip(row) {
            list.push(value);
        }
    }
    kinds.iter().zip(lists).map(|(kind, list)| Value::list(kind, list)).collect()
}
