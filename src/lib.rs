//! draft
pub mod app;
pub mod claude;
pub mod client;
pub mod config;
pub mod telemetry;
mod api;
mod ipc;
mod process;
mod queue;
mod supervise;
mod supervisor;
mod task;
mod worker;
