//! The caller's command line, selectors, and a UKI's .cmdline.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kpeel_fuzz::text::cmdline(data));
