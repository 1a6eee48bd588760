//! A broken zboot image gives the zboot parser's own complaint: which field, what it found, what it needs.

mod kpeel;

use std::fs;
use std::path::Path;

use kpeel::{attach, unfold};
use kpeel_images::make::{Codec, Machine, Scratch, Zboot, tiny_kernel, zboot};
use kpeel_images::{Item, fetch};

/// Offsets in the zboot header.
const PAYLOAD_OFFSET: usize = 0x08;
const PAYLOAD_SIZE: usize = 0x0c;
const CODEC: usize = 0x18;

/// What is broken, how, and the field that is complained of.
type Fault = (&'static str, fn(&mut [u8]), &'static str);

const FAULTS: &[Fault] = &[
    (
        "payload offset past the end",
        |image| put(image, PAYLOAD_OFFSET, 0x7fff_0000),
        "payload_offset",
    ),
    (
        "payload offset in the header",
        |image| put(image, PAYLOAD_OFFSET, 8),
        "payload_offset",
    ),
    (
        "payload size past the end",
        |image| put(image, PAYLOAD_SIZE, 0x7fff_0000),
        "payload_size",
    ),
    (
        "payload size zero",
        |image| put(image, PAYLOAD_SIZE, 0),
        "payload_size",
    ),
    (
        "unknown codec",
        |image| image[CODEC..CODEC + 4].copy_from_slice(b"nope"),
        "comp_type",
    ),
    (
        "a codec that the stream is not of",
        |image| image[CODEC..CODEC + 5].copy_from_slice(b"gzip\0"),
        "payload_magic",
    ),
    ("a stream of no codec", flip_first_byte, "payload_magic"),
];

#[test]
fn names_field_found_and_needed_with_the_bundled_parser() {
    check_faults(&fetch(Item::LinuxLoong64).unwrap());
}

#[test]
fn names_field_found_and_needed_with_the_images_own_parser() {
    let scratch = Scratch::new().unwrap();
    let image = scratch.join("attached");
    attach(&fetch(Item::LinuxLoong64).unwrap(), "zboot", &image);
    check_faults(&image);
}

#[test]
fn refuses_damaged_streams_of_every_codec() {
    let scratch = Scratch::new().unwrap();
    let kernel = tiny_kernel(Machine::Arm64, 65_536);
    for codec in Codec::ALL {
        let whole = codec.compress(Machine::Arm64, &kernel).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 0x10;
        let short = whole[..whole.len() - whole.len() / 8].to_vec();
        for (fault, stream) in [("flipped", flipped), ("short", short)] {
            // The legacy LZ4 frame and `.lzma` have no checksum: a flipped bit may go unseen.
            if fault == "flipped" && matches!(codec, Codec::Lz4 | Codec::Lzma) {
                continue;
            }
            let image = scratch.join(fault);
            let trailer = Some(kernel.len() as u32);
            Zboot {
                machine: Machine::Arm64,
                name: codec.name(),
                stream: &stream,
                trailer,
            }
            .write(&image)
            .unwrap();
            let name = format!("{codec:?} {fault}");
            let refused = unfold(&image, &[]).expect_err(&name);
            assert_eq!(refused.code, Some(1), "{name}: {}", refused.message);
            assert!(
                !refused.message.contains("no parser"),
                "{name}: {}",
                refused.message
            );
        }
        let image = scratch.join("whole");
        zboot(Machine::Arm64, codec, &kernel, &image).unwrap();
        assert!(
            unfold(&image, &[]).unwrap().kernel.unwrap() == kernel,
            "{codec:?}"
        );
    }
}

fn check_faults(image: &Path) {
    let scratch = Scratch::new().unwrap();
    let sound = fs::read(image).unwrap();
    unfold(image, &[]).unwrap();
    for (fault, break_it, field) in FAULTS {
        let mut bytes = sound.clone();
        break_it(&mut bytes);
        let broken = scratch.write("broken", &bytes).unwrap();
        let refused = unfold(&broken, &[]).expect_err(fault);
        let message = refused.message;
        assert_eq!(refused.code, Some(1), "{fault}: {message}");
        for word in [field, "found", "needed"] {
            assert!(message.contains(word), "{fault}: {message}");
        }
    }
}

fn flip_first_byte(image: &mut [u8]) {
    let at = image[PAYLOAD_OFFSET..PAYLOAD_OFFSET + 4]
        .try_into()
        .unwrap();
    image[u32::from_le_bytes(at) as usize] ^= 0xff;
}

fn put(image: &mut [u8], at: usize, value: u32) {
    image[at..at + 4].copy_from_slice(&value.to_le_bytes());
}
