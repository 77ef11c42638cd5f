//! A task as it stands in the database.

#![no_main]

libfuzzer_sys::fuzz_target!(|row: &[u8]| cc_anywhere::borders::stored(row));
