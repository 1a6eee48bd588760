//! Loader programs with their data, run in the sandbox; then the parser they make.
#![no_main]

use kpeel_fuzz::{mutator, program};

libfuzzer_sys::fuzz_target!(|data: &[u8]| program::loader(data));
libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max: usize, seed: u32| {
    mutator::instructions(program::PREFIX, data, size, max, seed)
});
