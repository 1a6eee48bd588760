//! Small carriers that show what the check is worth: each rule is broken by one and kept by its
//! twin.
//!
//! Their loaders are written here, instruction by instruction, so that they do not depend on what
//! they are to test.

mod loader;
mod program;

use crate::case::{Case, Expect};
use program::{Program, call, exit, jump_if_zero, load_u32, load_u64, mov, set};

/// The anchor that parsers attach to.
const ANCHOR: &str = "bpf_handle_pefile";

const ENOENT: i32 = 2;
const EACCES: i32 = 13;
const EINVAL: i32 = 22;

/// `struct kexec_context`: offset of `image_sz`, and the first offset outside.
const CONTEXT_IMAGE_SIZE: i16 = 16;
const CONTEXT_END: i16 = 56;

/// The twins, those that load first.
pub(crate) fn cases() -> Vec<Case> {
    let accepted = |name, anchor, program| case(name, anchor, program, Expect::Loads);
    let refused =
        |name, anchor, program, errno| case(name, anchor, program, Expect::Refused(errno));
    vec![
        accepted("reads-context", ANCHOR, reads(CONTEXT_IMAGE_SIZE)),
        refused("reads-past-context", ANCHOR, reads(CONTEXT_END), EACCES),
        accepted("returns-0", ANCHOR, returns(0)),
        refused("returns-1", ANCHOR, returns(1), EINVAL),
        accepted("calls-kfunc", ANCHOR, calls("bpf_kexec_verdict")),
        refused("calls-no-kfunc", ANCHOR, calls("bpf_kexec_nothing"), ENOENT),
        accepted("puts-result", ANCHOR, decompresses(true)),
        refused("keeps-result", ANCHOR, decompresses(false), EINVAL),
        accepted("post-anchor", "bpf_post_handle_pefile", returns(0)),
        refused("no-anchor", "bpf_no_handle_pefile", returns(0), ENOENT),
    ]
}

/// The carrier with its anchor misspelt, which its loader must report.
pub(crate) fn misspelt(carrier: &Case) -> Case {
    let mut data = carrier.data.clone();
    let name = format!("{ANCHOR}\0").into_bytes();
    let places: Vec<usize> = data
        .windows(name.len())
        .enumerate()
        .filter_map(|(at, window)| (window == name).then_some(at))
        .collect();
    for at in places {
        if let Some(byte) = data.get_mut(at) {
            *byte = b'x';
        }
    }
    Case {
        name: format!("{}-misspelt", carrier.name),
        insns: carrier.insns.clone(),
        data,
        expect: Expect::Refused(ENOENT),
    }
}

fn case(name: &str, anchor: &str, program: Program, expect: Expect) -> Case {
    let loader = loader::build(anchor, &program);
    Case {
        name: format!("twin-{name}"),
        insns: loader.insns,
        data: loader.data,
        expect,
    }
}

/// Reads 4 bytes of the context at this offset.
fn reads(offset: i16) -> Program {
    Program::new([load_u64(2, 1, 0), load_u32(3, 2, offset), set(0, 0), exit()])
}

fn returns(value: i32) -> Program {
    Program::new([set(0, value), exit()])
}

/// Calls a kfunc that takes numbers only.
fn calls(kfunc: &'static str) -> Program {
    Program::new([
        set(1, 0),
        set(2, 0),
        set(3, 0),
        set(4, 0),
        call(kfunc),
        set(0, 0),
        exit(),
    ])
}

/// Takes a result, and gives it back or not.
fn decompresses(put: bool) -> Program {
    let mut insns = vec![set(1, 0), set(2, 0), call("bpf_decompress")];
    if put {
        insns.extend([
            jump_if_zero(0, 2),
            mov(1, 0),
            call("bpf_mem_range_result_put"),
        ]);
    }
    insns.extend([set(0, 0), exit()]);
    Program::new(insns)
}
