//! The plan for `kexec_load(2)`.

use std::ops::Range;
use std::sync::LazyLock;

use kpeel_kexec::segments::{Machine, Memory, PAGE, SegmentLoad, plan};

/// Bytes of the head of an arm64 `Image`; the device tree follows.
const HEAD: usize = 64;

static MACHINE: LazyLock<Machine> = LazyLock::new(|| Machine {
    memory: Memory {
        ram: [0x4000_0000..0x8000_0000, 0x1_0000_0000..0x1_8000_0000].into(),
        taken: [0x4021_0000..0x41c0_0000].into(),
        crash: Some(0x7000_0000..0x7800_0000),
    },
    tree: Vec::new(),
    notes: [0x5000_0000..0x5000_0100].into(),
    seed: [5; 64],
});

/// Plans both kinds of load.
pub fn plans(bytes: &[u8]) {
    plan_one(bytes, false);
    plan_one(bytes, true);
}

/// Every segment on free memory of its own, and the parts as they came.
fn plan_one(bytes: &[u8], crash: bool) {
    let Some((kernel, tree)) = bytes.split_at_checked(HEAD) else {
        return;
    };
    let load = SegmentLoad {
        kernel,
        initrd: Some(b"initrd"),
        cmdline: "quiet",
        tree: Some(tree),
        crash,
    };
    let Ok(plan) = plan(&load, &MACHINE) else {
        return;
    };
    let mut end = 0;
    for segment in &plan.segments {
        let range = segment.address..segment.address + segment.size;
        assert!(end <= range.start, "{}: lies on the one before", segment.part);
        end = range.end;
        assert_eq!((range.start % PAGE, range.end % PAGE), (0, 0));
        assert!(segment.size >= segment.bytes.len() as u64);
        assert!(free(&range, crash), "{}: {range:x?}", segment.part);
    }
    let part = |name| plan.segments.iter().find(|segment| segment.part == name);
    assert!(part("initrd").is_some_and(|initrd| *initrd.bytes == *b"initrd"));
    assert!(part("kernel").is_some_and(|placed| placed.bytes.ends_with(kernel)));
    assert!(part("entry").is_some_and(|entry| entry.address == plan.entry));
}

/// Whether a segment may lie there.
fn free(range: &Range<u64>, crash: bool) -> bool {
    let memory = &MACHINE.memory;
    let within = |one: &Range<u64>| one.start <= range.start && range.end <= one.end;
    if crash {
        return memory.crash.as_ref().is_some_and(within);
    }
    let apart = |one: &Range<u64>| range.end <= one.start || one.end <= range.start;
    memory.ram.iter().any(within) && memory.taken.iter().chain(&memory.crash).all(apart)
}
