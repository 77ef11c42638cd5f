//! An answer of the API, as the credential proxy counts it.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cc_anywhere::borders::answer(bytes));
