//! Mutations that keep to the structure, so that they reach what lies behind checks.

use kpeel_hostile::class::{Class, change, change_instruction};
use kpeel_hostile::random::Random;
use kpeel_hostile::spans::layers;

/// Of this many mutations one is libFuzzer's own.
const OWN: usize = 4;

/// Changes fields of an image by one of the classes of the mutation tests.
pub fn image(data: &mut [u8], size: usize, max: usize, seed: u32) -> usize {
    let mut random = Random::new(seed.into());
    let layers = layers(&data[..size]);
    let class = random
        .pick(&Class::ALL)
        .copied()
        .unwrap_or(Class::PeHeaders);
    if layers.is_empty() || random.below(OWN) == 0 {
        return libfuzzer_sys::fuzzer_mutate(data, size, max);
    }
    change(&mut data[..size], &layers, class, &mut random);
    size
}

/// Changes an instruction; the first one is `start` bytes in.
pub fn instructions(start: usize, data: &mut [u8], size: usize, max: usize, seed: u32) -> usize {
    let mut random = Random::new(seed.into());
    if size < start + 8 || random.below(OWN) == 0 {
        return libfuzzer_sys::fuzzer_mutate(data, size, max);
    }
    change_instruction(&mut data[start..size], &mut random);
    size
}
