//! Connections to the server, statements on them, and what its errors mean.

use std::collections::HashMap;
use std::future::Future as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::maybe_done;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row, RowStream, SimpleQueryMessage, Statement};

use super::address::Address;
use super::value::{Unread, Value};
use crate::store::StoreError;

/// Statements that a connection keeps ready: more than a load makes use of. Of those that insert, the text says which tables
/// get a row, and which get several.
const STATEMENTS: usize = 256;

/// The server doesn't know a statement that was prepared, or knows another one of its name.
const UNPREPARED: [SqlState; 2] = [SqlState::INVALID_SQL_STATEMENT_NAME, SqlState::DUPLICATE_PSTATEMENT];

/// A connection. Statements that are sent while others are under way are answered in their order.
pub struct Connection {
    address: Arc<Address>,
    client: Client,
    statements: Mutex<HashMap<String, Statement>>,
    /// True once the connection must not be used again, though the server has not closed it.
    spoiled: AtomicBool,
    /// True once it has the settings of its session.
    settled: AtomicBool,
}

/// A statement with its values.
#[derive(Clone, Debug)]
pub struct Bound {
    /// Text of the statement.
    pub text: std::borrow::Cow<'static, str>,
    /// Values of its parameters.
    pub values: Vec<Value>,
}

impl Bound {
    /// A statement of a fixed text.
    pub fn of(text: &'static str, values: impl Into<Vec<Value>>) -> Self {
        Self { text: text.into(), values: values.into() }
    }
}

fn refs(values: &[Value]) -> Vec<&(dyn ToSql + Sync)> {
    values.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

impl Connection {
    /// Connects.
    pub async fn open(address: Arc<Address>) -> Result<Self, StoreError> {
        let client = address.connect().await?;
        Ok(Self {
            address,
            client,
            statements: Mutex::default(),
            spoiled: AtomicBool::default(),
            settled: AtomicBool::default(),
        })
    }

    /// True if it can't be used any more.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed() || self.spoiled.load(Ordering::Relaxed)
    }

    /// Translates an error of the driver. After some of them the connection is not used again.
    fn failed(&self, error: tokio_postgres::Error) -> StoreError {
        if error.code().is_some_and(|code| UNPREPARED.contains(code)) {
            self.address.note_pooled();
        }
        let failed = self.address.translate(error);
        if matches!(failed, StoreError::Unavailable { .. }) {
            self.spoiled.store(true, Ordering::Relaxed);
        }
        failed
    }

    /// The statement of this text, prepared; `None` where the server behind the address keeps none.
    async fn prepared(&self, text: &str, values: &[Value]) -> Result<Option<Statement>, tokio_postgres::Error> {
        if self.address.is_pooled() {
            return Ok(None);
        }
        let known = self.statements.lock().unwrap_or_else(PoisonError::into_inner).get(text).cloned();
        if known.is_some() {
            return Ok(known);
        }
        let kinds: Vec<Type> = values.iter().map(Value::kind).collect();
        let statement = self.client.prepare_typed(text, &kinds).await?;
        let mut statements = self.statements.lock().unwrap_or_else(PoisonError::into_inner);
        if statements.len() >= STATEMENTS {
            // Those that are in use come back.
            statements.clear();
        }
        statements.insert(text.to_owned(), statement.clone());
        Ok(Some(statement))
    }

    async fn run(&self, text: &str, values: &[Value]) -> Result<Vec<Row>, tokio_postgres::Error> {
        let statement = self.prepared(text, values).await?;
        self.send(statement.as_ref(), text, values).await
    }

    async fn send(
        &self,
        statement: Option<&Statement>,
        text: &str,
        values: &[Value],
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        match statement {
            Some(statement) => self.client.query(statement, &refs(values)).await,
            None => {
                let typed: Vec<(&(dyn ToSql + Sync), Type)> =
                    values.iter().map(|value| (value as &(dyn ToSql + Sync), value.kind())).collect();
                self.client.query_typed(text, &typed).await
            }
        }
    }

    /// Returns the rows of a result.
    pub async fn rows(&self, text: &str, values: &[Value]) -> Result<Vec<Row>, StoreError> {
        self.run(text, values).await.map_err(|error| self.failed(error))
    }

    /// Reads all rows of a result.
    pub async fn all<T>(
        &self,
        text: &str,
        values: &[Value],
        read: impl FnMut(&Row) -> Result<T, Unread>,
    ) -> Result<Vec<T>, StoreError> {
        self.rows(text, values).await?.iter().map(read).collect::<Result<_, _>>().map_err(unread)
    }

    /// The rows of a result that can be read; of each other one a warning.
    pub async fn readable<T>(
        &self,
        text: &str,
        values: &[Value],
        what: &'static str,
        read: impl FnMut(&Row) -> Result<T, Unread>,
    ) -> Result<Vec<T>, StoreError> {
        Ok(readable(&self.rows(text, values).await?, what, read))
    }

    /// The first row of a result.
    pub async fn one<T>(
        &self,
        text: &str,
        values: &[Value],
        read: impl FnOnce(&Row) -> Result<T, Unread>,
    ) -> Result<Option<T>, StoreError> {
        self.rows(text, values).await?.first().map(read).transpose().map_err(unread)
    }

    /// True if a result has any row.
    pub async fn any(&self, text: &str, values: &[Value]) -> Result<bool, StoreError> {
        Ok(!self.rows(text, values).await?.is_empty())
    }

    /// Runs statements of a fixed text without values, separated by semicolons. Returns the columns of the last row.
    pub async fn simple(&self, text: &str) -> Result<Vec<String>, StoreError> {
        self.client.simple_query(text).await.map(last_row).map_err(|error| self.failed(error))
    }

    /// Runs statements that make the settings of the session, the first time.
    pub async fn settle(&self, text: impl FnOnce() -> String) -> Result<(), StoreError> {
        if !self.settled.load(Ordering::Relaxed) {
            self.simple(&text()).await?;
            self.settled.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Begins a transaction by this text, and sends the first statements with it. Returns the rows of each of those.
    pub async fn begin(&self, text: &str, then: &[Bound]) -> Result<Vec<Vec<Row>>, StoreError> {
        let mut begun = Box::pin(maybe_done(self.client.batch_execute(text)));
        // A request is sent at the first poll of its future.
        let _ready = futures_util::poll!(begun.as_mut());
        let answers = self.send_all(then, None).await;
        begun.as_mut().await;
        begun.as_mut().take_output().unwrap_or(Ok(())).map_err(|error| self.failed(error))?;
        answers.into_iter().collect()
    }

    /// Sends statements without waiting for the answers in between, and returns the rows of the last one. The first
    /// error is that of all.
    pub async fn pipeline(&self, statements: &[Bound]) -> Result<Vec<Row>, StoreError> {
        let mut last = Vec::new();
        for answer in self.send_all(statements, None).await {
            last = answer?;
        }
        Ok(last)
    }

    /// Sends statements, and at last a text without values, without waiting for the answers in between. Returns each
    /// answer, in order; the text's has no rows.
    async fn send_all(&self, statements: &[Bound], last: Option<&str>) -> Vec<Result<Vec<Row>, StoreError>> {
        let mut prepared = Vec::with_capacity(statements.len());
        for each in statements {
            match self.prepared(&each.text, &each.values).await {
                Ok(statement) => prepared.push(statement),
                Err(error) => return vec![Err(self.failed(error))],
            }
        }
        let sent = statements.iter().zip(&prepared);
        let mut running: Vec<_> = sent
            .map(|(each, statement)| Box::pin(maybe_done(self.send(statement.as_ref(), &each.text, &each.values))))
            .collect();
        // A request is sent at the first poll of its future.
        for each in &mut running {
            let _ready = futures_util::poll!(each.as_mut());
        }
        let mut end = Box::pin(maybe_done(async {
            match last {
                Some(last) => self.client.batch_execute(last).await.map(|()| Some(Vec::new())),
                None => Ok(None),
            }
        }));
        let _ready = futures_util::poll!(end.as_mut());
        let mut answers = Vec::with_capacity(running.len() + 1);
        for mut each in running {
            each.as_mut().await;
            answers.extend(each.as_mut().take_output());
        }
        end.as_mut().await;
        answers.extend(end.as_mut().take_output().and_then(Result::transpose));
        answers.into_iter().map(|answer| answer.map_err(|error| self.failed(error))).collect()
    }

    /// Sends statements with the commit of the transaction that they end. With `is_told`, the first column of the last
    /// one is the number of the commit.
    ///
    /// # Errors
    /// The first error of any of them, and then nothing has happened; [`StoreError::Unavailable`] where it is not known
    /// what has.
    pub async fn commit(&self, statements: &[Bound], is_told: bool) -> Result<i64, StoreError> {
        let answers = self.send_all(statements, Some("COMMIT")).await;
        let mut seq = 0;
        for (at, answer) in answers.into_iter().enumerate() {
            let rows = answer?;
            if is_told && at + 1 == statements.len() {
                seq = rows.first().and_then(|row| row.try_get(0).ok()).unwrap_or(0);
            }
        }
        Ok(seq)
    }

    /// The rows of a result as they come, however many there are.
    pub async fn stream(&self, text: &str) -> Result<RowStream, StoreError> {
        let none: [(&(dyn ToSql + Sync), Type); 0] = [];
        self.client.query_typed_raw(text, none).await.map_err(|error| self.failed(error))
    }

    /// Sends a statement whose answer nobody waits for.
    pub fn forget(&self, text: &str) {
        let mut sent = std::pin::pin!(self.client.batch_execute(text));
        let _ready = sent.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    }

    /// Its server.
    pub const fn address(&self) -> &Arc<Address> {
        &self.address
    }
}

/// The rows that can be read; of each other one a warning.
pub fn readable<T>(rows: &[Row], what: &'static str, mut read: impl FnMut(&Row) -> Result<T, Unread>) -> Vec<T> {
    let read = |row| read(row).inspect_err(|error| tracing::warn!(what, %error, "A stored row can't be read")).ok();
    rows.iter().filter_map(read).collect()
}

/// A row that can't be read.
pub fn unread(error: Unread) -> StoreError {
    StoreError::Statement(Arc::from(error))
}

/// The columns of the last row of a result.
fn last_row(messages: Vec<SimpleQueryMessage>) -> Vec<String> {
    let row = messages.into_iter().rev().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    row.map_or_else(Vec::new, |row| (0..row.len()).map(|at| row.get(at).unwrap_or_default().to_owned()).collect())
}
