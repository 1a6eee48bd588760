//! Certificates and EFI signature lists.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kpeel_fuzz::trust::keys(data));
