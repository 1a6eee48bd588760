//! Event logs of firmware, as a boot leaves them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kpeel_fuzz::text::event_log(data));
