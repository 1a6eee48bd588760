//! Programs of the instructions that rbpf gets right, on the machine and on rbpf.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kpeel_fuzz::peer::machine_rbpf(data));
