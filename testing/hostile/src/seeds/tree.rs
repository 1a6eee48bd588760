//! Heads of arm64 kernels with device trees (Devicetree Specification, chapter 5).

use super::Seed;

const BEGIN: u32 = 1;
const END: u32 = 2;
const PROPERTY: u32 = 3;
const LAST: u32 = 9;

pub(super) fn seeds() -> Vec<Seed> {
    let mut chosen = open("chosen");
    chosen.extend(property(BOOTARGS, b"old\0"));
    chosen.extend(cells(&[END]));
    let sound = tree(&[(0x4800_0000, 0x1000)], &chosen);
    let addressed = [open("chosen@0"), cells(&[END])].concat();
    let deep = [open("n").repeat(100), cells(&[END; 100])].concat();
    let everywhere: Vec<(u64, u64)> = (0..500)
        .map(|at| (0x4000_0000 + (at << 21), 4096))
        .collect();
    let huge = (0x4000_0000, u64::MAX);
    let middle = sound.len() / 2;
    let odd = property(ADDRESS_CELLS, &3_u32.to_be_bytes());
    let seed =
        |name, kernel: Vec<u8>, tree: &[u8]| Seed::new("segments", name, [&kernel, tree].concat());
    vec![
        seed("sound", kernel(0, 2 << 20), &sound),
        seed("kernel-that-fits-nowhere", kernel(0, 3 << 30), &sound),
        seed("text-offset-unaligned", kernel(0x8_1000, 2 << 20), &sound),
        seed(
            "chosen-with-an-address",
            kernel(0, 2 << 20),
            &tree(&[], &addressed),
        ),
        seed("nodes-too-deep", kernel(0, 2 << 20), &tree(&[], &deep)),
        seed(
            "reservations-everywhere",
            kernel(0, 2 << 20),
            &tree(&everywhere, &chosen),
        ),
        seed(
            "reservation-that-wraps",
            kernel(0, 2 << 20),
            &tree(&[huge], &chosen),
        ),
        seed(
            "cells-of-three",
            kernel(0, 2 << 20),
            &tree(&[], &[odd, chosen].concat()),
        ),
        seed("tree-cut", kernel(0, 2 << 20), &sound[..middle]),
    ]
}

/// `Documentation/arch/arm64/booting.rst` of Linux, section 4.
fn kernel(text_offset: u64, image_size: u64) -> Vec<u8> {
    let mut head = vec![0; 64];
    head[8..16].copy_from_slice(&text_offset.to_le_bytes());
    head[16..24].copy_from_slice(&image_size.to_le_bytes());
    head[24..32].copy_from_slice(&10_u64.to_le_bytes());
    head[56..60].copy_from_slice(b"ARM\x64");
    head
}

/// Names of properties, one after the other.
const STRINGS: &[u8] = b"bootargs\0#address-cells\0";
/// Where they stand.
const BOOTARGS: u32 = 0;
const ADDRESS_CELLS: u32 = 9;

fn cells(cells: &[u32]) -> Vec<u8> {
    cells.iter().flat_map(|cell| cell.to_be_bytes()).collect()
}

fn open(name: &str) -> Vec<u8> {
    let mut node = cells(&[BEGIN]);
    node.extend(name.bytes());
    node.resize((node.len() + 1).next_multiple_of(4), 0);
    node
}

fn property(name: u32, value: &[u8]) -> Vec<u8> {
    let mut property = cells(&[PROPERTY, value.len() as u32, name]);
    property.extend(value);
    property.resize(property.len().next_multiple_of(4), 0);
    property
}

/// A flattened tree: what is reserved, and what stands in the root.
fn tree(reserved: &[(u64, u64)], root: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for (address, size) in reserved.iter().chain(&[(0, 0)]) {
        body.extend(address.to_be_bytes());
        body.extend(size.to_be_bytes());
    }
    let reservations = 40;
    let structure = reservations + body.len() as u32;
    body.extend([open(""), root.to_vec(), cells(&[END, LAST])].concat());
    let strings = reservations + body.len() as u32;
    let size = STRINGS.len() as u32;
    let header = [
        0xd00d_feed,
        strings + size,
        structure,
        strings,
        reservations,
        17,
        16,
        0,
        size,
        strings - structure,
    ];
    [&cells(&header), &*body, STRINGS].concat()
}
