//! What comes over the link between a supervisor and a worker.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cc_anywhere::borders::link(bytes));
