//! Small carriers that show what the check is worth: each rule is broken by one and kept by its
//! twin.
//!
//! Their loaders are written here, instruction by instruction, so that they do not depend on what
//! they are to test.

mod loader;
mod program;

use kpeel_abi::{ANCHOR, Helper, KFUNCS, POST_ANCHOR};

use crate::case::{Case, Expect, Lockdown};
use program::{Program, add, call, exit, helper, jump_if_zero, load_u32, load_u64, mov, set};

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
    let probes = accepted("probes", ANCHOR, probes());
    vec![
        probes.locked_down(Expect::Refused(EINVAL)),
        probes,
        accepted("reads-context", ANCHOR, reads(CONTEXT_IMAGE_SIZE)),
        refused("reads-past-context", ANCHOR, reads(CONTEXT_END), EACCES),
        accepted("returns-0", ANCHOR, returns(0)),
        refused("returns-1", ANCHOR, returns(1), EINVAL),
        accepted("calls-kfunc", ANCHOR, calls("bpf_kexec_verdict")),
        refused("calls-no-kfunc", ANCHOR, calls("bpf_kexec_nothing"), ENOENT),
        accepted("puts-result", ANCHOR, decompresses(true)),
        refused("keeps-result", ANCHOR, decompresses(false), EINVAL),
        accepted("post-anchor", POST_ANCHOR, returns(0)),
        refused("no-anchor", "bpf_no_handle_pefile", returns(0), ENOENT),
    ]
}

/// A carrier and what else is to be shown of any: its loader reports a missing anchor.
pub(crate) fn with_anchor(carrier: Case) -> Vec<Case> {
    let mut cases: Vec<Case> = misspelt(&carrier, ANCHOR).into_iter().collect();
    cases.push(carrier);
    cases
}

/// A carrier of ours and what is to be shown of those: it also loads under lockdown, and its loader
/// reports a missing kfunc and leaves nothing behind, which those of the C toolchain would.
pub(crate) fn with_all(carrier: Case) -> Vec<Case> {
    let mut cases: Vec<Case> = KFUNCS
        .iter()
        .filter_map(|kfunc| misspelt(&carrier, kfunc.name))
        .collect();
    cases.push(carrier.locked_down(Expect::Loads));
    cases.extend(with_anchor(carrier));
    cases
}

/// The carrier with one name misspelt, if it has that name.
fn misspelt(carrier: &Case, name: &str) -> Option<Case> {
    let text = format!("{name}\0").into_bytes();
    let mut data = carrier.data.clone();
    let mut found = false;
    for at in 0..data.len() {
        let (_, rest) = data.split_at_mut(at);
        if rest.starts_with(&text)
            && let Some(first) = rest.first_mut()
        {
            *first = b'x';
            found = true;
        }
    }
    found.then(|| Case {
        name: format!("{}-without-{name}", carrier.name),
        data,
        expect: Expect::Refused(ENOENT),
        ..carrier.clone()
    })
}

fn case(name: &str, anchor: &str, program: Program, expect: Expect) -> Case {
    let loader = loader::build(anchor, &program);
    Case {
        name: format!("twin-{name}"),
        insns: loader.insns,
        data: loader.data,
        expect,
        lockdown: Lockdown::None,
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

/// Reads kernel memory at large, which lockdown forbids.
fn probes() -> Program {
    Program::new([
        set(2, 8),
        mov(1, 10),
        add(1, -8),
        set(3, 0),
        helper(Helper::ProbeReadKernel as i32),
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
