//! Damaged carriers: whatever the bytes, the host neither panics nor hangs nor leaks.

mod common;

use std::time::{Duration, Instant};

use common::{Load, bundled, c_carrier, zboot_image};
use kpeel_envelope::carrier::Carrier;
use kpeel_envelope::limits::Limits;
use kpeel_images::make::{Codec, Machine, noise, tiny_kernel};
use kpeel_sandbox::{Buffer, Sandbox};

/// Rounds per carrier.
const ROUNDS: usize = 1500;
/// What one round may take, with much to spare.
const PATIENCE: Duration = Duration::from_secs(20);

/// A generator with a seed of its own per test.
struct Random {
    state: Vec<u8>,
}

impl Random {
    fn new(seed: u64) -> Self {
        Self {
            state: noise(ROUNDS * 400, seed),
        }
    }

    fn next(&mut self) -> usize {
        let rest = self.state.split_off(self.state.len() - 8);
        u64::from_le_bytes(rest.try_into().unwrap()) as usize
    }

    fn below(&mut self, bound: usize) -> usize {
        self.next() % bound
    }
}

/// Where loader and data lie in the carrier: damage goes there, past the ELF reader.
fn spans(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let carrier = Carrier::parse(bytes).unwrap();
    let span = |part: &[u8]| {
        let start = part.as_ptr() as usize - bytes.as_ptr() as usize;
        start..start + part.len()
    };
    vec![span(carrier.insns), span(carrier.data), 0..bytes.len()]
}

fn damage(bytes: &mut [u8], spans: &[std::ops::Range<usize>], random: &mut Random) {
    let span = spans[random.below(spans.len())].clone();
    for _ in 0..1 + random.below(4) {
        let at = span.start + random.below(span.len());
        bytes[at] = match random.below(4) {
            0 => bytes[at] ^ 1 << random.below(8),
            1 => 0,
            2 => 0xff,
            _ => random.next() as u8,
        };
    }
}

/// Rounds that still unfolded, and rounds in which the loader still loaded.
fn rounds(carrier: &[u8], seed: u64) -> (usize, usize) {
    let kernel = tiny_kernel(Machine::Arm64, 8 << 10);
    let image = zboot_image(Codec::Gzip, &kernel);
    let limits = Limits {
        memory: 96 << 20,
        instructions: 100_000,
        ..Limits::default()
    };
    let spans = spans(carrier);
    let mut random = Random::new(seed);
    let mut good = 0;
    let mut loaded = 0;
    for round in 0..ROUNDS {
        let mut bytes = carrier.to_vec();
        damage(&mut bytes, &spans, &mut random);
        let load = Load {
            cmdline: Some(b"d"),
            initrd: Some(b"initrd"),
            limits,
            ..Load::new(&image, &bytes)
        };
        let begun = Instant::now();
        let mut events = Vec::new();
        let outcome = load.traced(&mut events);
        assert!(begun.elapsed() < PATIENCE, "round {round} of seed {seed}");
        good += usize::from(outcome.is_ok());
        let ran = |event: &kpeel_sandbox::Event| {
            matches!(
                event,
                kpeel_sandbox::Event::End {
                    caller: kpeel_sandbox::Caller::Parser,
                    ..
                }
            )
        };
        loaded += usize::from(events.iter().any(ran));
        if let Ok(outcome) = outcome {
            assert_eq!(outcome.leaked, 0, "round {round} of seed {seed}");
        }
    }
    (good, loaded)
}

#[test]
fn damaged_rust_carriers_do_no_harm() {
    for (seed, name) in [(1, "zboot"), (2, "uki")] {
        let (good, loaded) = rounds(bundled(name), seed);
        // The test is worth something only if much of the damage gets past the loader.
        assert!(loaded > ROUNDS / 10, "{name}: {good} good, {loaded} loaded");
    }
}

#[test]
fn damaged_c_carriers_do_no_harm() {
    for (seed, name) in [(3, "series_zboot"), (4, "rules")] {
        let (good, loaded) = rounds(&c_carrier(name), seed);
        assert!(loaded > ROUNDS / 10, "{name}: {good} good, {loaded} loaded");
    }
}

#[test]
fn a_failed_load_gives_all_its_memory_back() {
    let image = zboot_image(Codec::Gzip, &tiny_kernel(Machine::Arm64, 8 << 10));
    let carrier = bundled("zboot");
    let spans = spans(carrier);
    let mut random = Random::new(5);
    for _ in 0..200 {
        let mut bytes = carrier.to_vec();
        damage(&mut bytes, &spans, &mut random);
        let mut sandbox = Sandbox::new(Limits::default());
        let meter = sandbox.charge_to().clone();
        let parser = kpeel_envelope::pipeline::Parser {
            name: "damaged",
            carrier: &bytes,
        };
        let request = kpeel_envelope::pipeline::Request {
            image: Buffer::from_file(&*image, &meter).unwrap(),
            initrd: None,
            cmdline: None,
            crash: false,
            enforced: false,
            embedded: true,
            parsers: &[parser],
        };
        drop(kpeel_envelope::pipeline::unfold(&mut sandbox, request));
        assert_eq!(meter.held(), 0);
    }
}
