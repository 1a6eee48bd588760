//! Objects of parsers, linked into carriers whose loaders are run.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kpeel_fuzz::program::link(data));
