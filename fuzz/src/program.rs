//! Programs for the machine, and loaders for the sandbox.

use kpeel_bpf::Program;
use kpeel_envelope::carrier::Carrier;
use kpeel_envelope::host::{Host as _, Source, Stage};
use kpeel_envelope::limits::Limits;
use kpeel_envelope::pe::Covered;
use kpeel_sandbox::{Buffer, Sandbox};

use crate::machines::differential::{Host, ours, theirs};

const SLOT: usize = 8;
/// A 64-bit immediate, and a call (RFC 9669, sections 5.4 and 4.3).
const LDDW: u8 = 0x18;
const CALL: u8 = 0x85;
/// What a call's source register says of kfuncs.
const KFUNC: u8 = 2;

/// Runs a program on both machines: same end, same memory, same budget.
pub fn machine(code: &[u8]) {
    let Ok(program) = Program::decode(code, &mut Host) else {
        return;
    };
    let done = ours(&program);
    // Names that only the machine's host can answer.
    if named(code) {
        return;
    }
    assert_eq!(done, theirs(code));
}

/// Whether an instruction names something: a map, a kernel object, a kfunc.
fn named(code: &[u8]) -> bool {
    let mut slots = code.chunks_exact(SLOT);
    while let Some(slot) = slots.next() {
        let source = slot[1] >> 4;
        match slot[0] {
            LDDW if source != 0 => return true,
            LDDW => drop(slots.next()),
            CALL if source == KFUNC => return true,
            _ => {}
        }
    }
    false
}

const LIMITS: Limits = Limits {
    depth: 4,
    image: 1 << 20,
    kernel: 1 << 20,
    initrd: 1 << 20,
    cmdline: 4096,
    memory: 16 << 20,
    instructions: 50_000,
};

/// Bytes before the loader's first instruction.
pub const PREFIX: usize = 2;

/// Runs a loader, then what it loaded: two bytes say how many slots are the loader's, the rest is
/// its data. All memory is given back.
pub fn loader(bytes: &[u8]) {
    let Some((slots, rest)) = bytes.split_first_chunk::<PREFIX>() else {
        return;
    };
    let len = usize::from(u16::from_le_bytes(*slots)) * SLOT;
    let Some((insns, data)) = rest.split_at_checked(len) else {
        return;
    };
    if insns.is_empty() || data.is_empty() {
        return;
    }
    run(&Carrier { insns, data });
}

/// Links an object; what comes of it is a carrier, whose loader and parser may run as any may.
pub fn link(object: &[u8]) {
    let Ok(linked) = kpeel_lskel::link(object) else {
        return;
    };
    run(&Carrier::parse(&linked).expect("what was linked is a carrier"));
}

fn run(carrier: &Carrier<'_>) {
    let mut sandbox = Sandbox::new(LIMITS);
    let meter = sandbox.charge_to().clone();
    let image = Buffer::from_vec(vec![0x5a; 4096], &meter).expect("within the limits");
    let stage = Stage {
        depth: 1,
        image: &image,
        covered: Covered {
            len: 4096,
            zeroed: [128..132, 0..0],
        },
        initrd: None,
        cmdline: None,
        crash: false,
        source: Source::Offered("fuzz"),
    };
    if let Ok(mut armed) = sandbox.arm(&stage, carrier)
        && sandbox.run(&mut armed).is_ok()
    {
        let _ = sandbox.post(&mut armed);
    }
    drop((sandbox, image));
    assert_eq!(meter.held(), 0);
}
