//! A PostgreSQL server for tests, and a store on it.

use std::sync::Arc;

use super::{Store, postgres};
use crate::config::{DatabasePassword, DatabaseServer};

#[expect(dead_code, reason = "what breaks a server is used by the tests of the whole program")]
#[path = "../../tests/support/postgres.rs"]
mod cluster;

pub use cluster::Cluster;

impl Cluster {
    /// The settings of a new database.
    pub fn fresh(&self) -> DatabaseServer {
        let url = self.url(&self.database()).into();
        DatabaseServer { url, listen_url: None, password: DatabasePassword::default() }
    }
}

/// A store on a new database of the shared server.
pub async fn open_fresh() -> Arc<dyn Store> {
    Arc::new(postgres::PostgresStore::open(&Cluster::shared().fresh()).await.expect("a store"))
}
