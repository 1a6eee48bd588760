//! Boot loader entries and loader.conf.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kpeel_fuzz::text::entries(data));
