//! A line of the CLI.

#![no_main]

libfuzzer_sys::fuzz_target!(|line: &[u8]| cc_anywhere::borders::frame(line));
