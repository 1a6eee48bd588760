//! PE headers, section table, certificates.
#![no_main]

use kpeel_fuzz::{image, mutator};

libfuzzer_sys::fuzz_target!(|data: &[u8]| image::pe(data));
libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max: usize, seed: u32| {
    mutator::image(data, size, max, seed)
});
