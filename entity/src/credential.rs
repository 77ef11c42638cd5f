//! A credential with which nothing is started for a time.

use sea_orm::entity::prelude::*;

/// One row a credential that was ever parked.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "credentials")]
pub struct Model {
    /// A fingerprint.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// Wall time before which nothing is started.
    pub parked_until: i64,
    /// The class of the failure.
    pub class: String,
    /// The failure in words.
    pub message: String,
}

/// No relation is needed by the queries.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
