//! Tests of the borders, one file a border: each states the attack, and the answer.

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "the other tests use the rest")]
mod support;

mod agent;
mod keys;
mod link;
mod matrix;
mod network;
mod output;
mod proxy;
mod tasks;
mod web;
