//! Programs, on the machine and on the plain second one of its tests.
#![no_main]

use kpeel_fuzz::{mutator, program};

libfuzzer_sys::fuzz_target!(|data: &[u8]| program::machine(data));
libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max: usize, seed: u32| {
    mutator::instructions(0, data, size, max, seed)
});
