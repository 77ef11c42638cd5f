//! What a transaction will write: rows and statements that are gathered, and sent together.
//!
//! Many commands of one transaction do the same to different tasks. Their rows are inserted by at most two statements, one for
//! the tables that get a single row and one for the others, so that there are few texts to prepare; their updates are run as
//! one where a statement takes arrays. What is about one task stays in its order.

use std::collections::HashMap;

use super::connection::Bound;
use super::together::{Together, arrays};
use super::value::Value;
use domain::TaskId;

/// See the [module](self).
#[derive(Default)]
pub struct Waiting {
    inserts: Vec<Inserts>,
    statements: Vec<Statement>,
    /// The newest statement about each task.
    newest: HashMap<TaskId, usize>,
    /// The newest statement of each text that takes arrays.
    rows: HashMap<&'static str, usize>,
}

/// Rows of one table.
struct Inserts {
    table: &'static str,
    columns: &'static str,
    rows: Vec<Vec<Value>>,
}

enum Statement {
    /// One with these values.
    One(&'static str, Vec<Value>),
    /// One that takes an array for each of the values of these rows.
    Many(&'static str, Vec<Vec<Value>>),
}

impl Waiting {
    /// Adds a row. Rows come before all statements: none of those is about rows that are not there yet.
    pub fn insert(&mut self, table: &'static str, columns: &'static str, values: Vec<Value>) {
        match self.inserts.iter_mut().find(|inserts| inserts.table == table) {
            Some(inserts) => inserts.rows.push(values),
            None => self.inserts.push(Inserts { table, columns, rows: vec![values] }),
        }
    }

    /// Adds a statement: about a task, or about nothing that statements about tasks read or write.
    pub fn add(&mut self, task: Option<TaskId>, text: &'static str, values: Vec<Value>) {
        if let Some(task) = task {
            self.newest.insert(task, self.statements.len());
        }
        self.statements.push(Statement::One(text, values));
    }

    /// Adds the values of a statement about a task to those of the same statement about others, unless something else
    /// about this task stands behind it.
    pub fn add_row(&mut self, task: TaskId, text: &'static str, values: Vec<Value>) {
        let newest = self.newest.get(&task).copied();
        let at = self.rows.get(text).copied().filter(|at| newest.is_none_or(|newest| newest < *at));
        match at.and_then(|at| self.statements.get_mut(at)) {
            Some(Statement::Many(_, rows)) => rows.push(values),
            _ => {
                self.rows.insert(text, self.statements.len());
                self.statements.push(Statement::Many(text, vec![values]));
            }
        }
        let at = at.unwrap_or(self.statements.len() - 1);
        self.newest.insert(task, at);
    }

    /// Keeps what is added from here on behind what was added before.
    pub fn fence(&mut self) {
        self.rows.clear();
    }

    /// Takes all of it: what is to be sent, in its order, and rows that can go with a statement that is sent behind that.
    pub fn take(&mut self) -> (Vec<Bound>, Together) {
        let Self { inserts, statements, .. } = std::mem::take(self);
        let (mut single, mut many) = <(Together, Together)>::default();
        for Inserts { table, columns, rows } in inserts {
            let together = if rows.len() == 1 { &mut single } else { &mut many };
            together.insert(table, columns, rows);
        }
        let mut all: Vec<Bound> = many.bound().into_iter().collect();
        if !statements.is_empty() {
            all.extend(std::mem::take(&mut single).bound());
        }
        all.extend(statements.into_iter().map(|statement| match statement {
            Statement::One(text, values) => Bound::of(text, values),
            Statement::Many(text, rows) => Bound::of(text, arrays(rows)),
        }));
        (all, single)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "a";
    const B: &str = "b";

    fn texts(waiting: &mut Waiting) -> Vec<(String, usize)> {
        let length = |value: &Value| if let Value::List(_, all) = value { all.len() } else { 0 };
        let (all, rows) = waiting.take();
        all.into_iter()
            .chain(rows.bound())
            .map(|bound| (bound.text.into_owned(), bound.values.first().map_or(0, length)))
            .collect()
    }

    fn task(number: u128) -> TaskId {
        TaskId::from_u128(number)
    }

    #[test]
    fn what_is_about_one_task_stays_in_its_order() {
        let mut waiting = Waiting::default();
        waiting.add_row(task(1), A, vec![1_i64.into()]);
        waiting.add_row(task(2), A, vec![2_i64.into()]);
        waiting.add(Some(task(1)), B, vec![]);
        waiting.add_row(task(3), A, vec![3_i64.into()]);
        waiting.add_row(task(1), A, vec![4_i64.into()]);
        waiting.add_row(task(2), A, vec![5_i64.into()]);
        let expected = [(A, 3), (B, 0), (A, 2)];
        assert_eq!(texts(&mut waiting), expected.map(|(text, rows)| (text.to_owned(), rows)));
        assert!(texts(&mut waiting).is_empty());
    }

    #[test]
    fn the_same_about_one_task_twice_is_two_statements() {
        let mut waiting = Waiting::default();
        waiting.add_row(task(1), A, vec![1_i64.into()]);
        waiting.add_row(task(1), A, vec![2_i64.into()]);
        assert_eq!(texts(&mut waiting).len(), 2);
    }
}
