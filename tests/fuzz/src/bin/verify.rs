//! The target of that name.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| quoin_verify::fuzz::run(input));
