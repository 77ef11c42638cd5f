//! Black-box tests: the built program, the real CLI, a scripted model.

#[path = "../support/mod.rs"]
mod support;

mod api;
mod background;
mod barriers;
mod bounds;
mod calls;
mod chaos;
mod client;
mod demo;
mod docs;
mod faults;
mod hostile_cli;
mod hostile_store;
mod idle;
mod isolation;
mod labels;
mod layers;
mod limits;
mod lists;
mod loops;
mod machines;
mod metrics;
mod migrations;
mod modes;
mod money;
mod moves;
mod nemesis;
mod openapi;
mod outcomes;
mod postgres;
mod proof;
mod repositories;
mod safety;
mod schedules;
mod sessions;
mod settings;
mod standby;
mod storage;
mod strange;
mod streams;
mod talk;
mod upgrade;
mod web;
mod webhooks;
