//! The head of an arm64 kernel and a device tree: what `kexec_load(2)` is given.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kpeel_fuzz::segments::plans(data));
