//! What an image should measure, beside a firmware's event log.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kpeel_fuzz::text::measure(data));
