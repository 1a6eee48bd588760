//! The carrier's ELF.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kpeel_fuzz::image::carrier(data));
