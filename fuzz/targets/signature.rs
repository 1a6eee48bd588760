//! Certificate tables, and the signatures in them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kpeel_fuzz::trust::signature(data));
