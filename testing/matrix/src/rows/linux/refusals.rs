//! Everything Linux refuses: policy, signatures, hostile parsers and loaders. One guest holds all.

use super::{HOSTILE, Parts, RAW, REFUSED, guest, parts};
use crate::Outcome;
use crate::guest::Guest;
use crate::row::Row;
use crate::shop::Shop;

/// E2BIG.
pub(super) const TOO_LONG: &str = "kexec_file_load: Argument list too long (os error 7)";

/// One refusal: the file's name, its bytes, options of the client, and what is said.
pub(crate) struct Refusal {
    pub(crate) name: &'static str,
    pub(crate) image: Vec<u8>,
    pub(crate) options: &'static str,
    pub(crate) said: String,
}

/// Everything Linux refuses. After each refusal the good image is loaded and unloaded.
pub(in crate::rows) fn refusals(shop: &Shop, row: &Row) -> Outcome<Guest> {
    let good = parts(shop, row, "")?;
    let signed = good.signed(shop, row.arch)?;
    let guest = guest(shop, row, "lockdown=integrity")?
        .file("good", &signed)
        .file("initrd", b"the caller's");
    let all = signatures(shop, row, &good, &signed)?
        .into_iter()
        .chain(hostile(shop, row, &good)?)
        .chain(loaders(shop, row, &good)?)
        .chain(layers(shop, row, &good)?);
    Ok(refuse_all(guest, all).stays())
}

/// A step for each refusal; after it `/good` is loaded and unloaded.
pub(super) fn refuse_all(mut guest: Guest, all: impl IntoIterator<Item = Refusal>) -> Guest {
    for Refusal {
        name,
        image,
        options,
        said,
    } in all
    {
        guest = guest
            .file(name, &image)
            .refused(REFUSED, &said, &format!("{RAW} {options}/{name}"))
            .step("text /sys/kernel/kexec_loaded 0")
            .step(format!("run {RAW} /good"))
            .step("text /sys/kernel/kexec_loaded 1")
            .kpeel("unload");
    }
    guest
}

pub(super) const KEY_REJECTED: &str = "kexec_file_load: Key was rejected by service (os error 129)";
pub(super) const NOT_EXEC: &str = "kexec_file_load: Exec format error (os error 8)";
const NOT_PERMITTED: &str = "kexec_file_load: Operation not permitted (os error 1)";
const SIGNATURE: &str = "kexec_pe: refused (signature): envelope 1";

pub(super) fn signature(found: u32) -> String {
    format!(
        "{KEY_REJECTED}\n{SIGNATURE}: signature: found {found} ({found:#x}), needed 0: a good one by \
         a key of the trusted or platform keyring"
    )
}

/// Without a good signature over all of it, no parser runs; nor beside what the caller would change.
pub(crate) fn signatures(
    shop: &Shop,
    row: &Row,
    good: &Parts,
    signed: &[u8],
) -> Outcome<Vec<Refusal>> {
    const ENODATA: u32 = 61;
    const EKEYREJECTED: u32 = 129;
    const ENOKEY: u32 = 126;
    let unsigned = shop.attach(&good.uki(shop, row.arch)?, "uki")?;
    let mut changed = signed.to_vec();
    let middle = changed.len() / 2;
    if let Some(byte) = changed.get_mut(middle) {
        *byte ^= 1;
    }
    let mut longer = signed.to_vec();
    longer.extend_from_slice(b"appended");
    let stranger = crate::secure_boot::sign(shop, &unsigned)?;
    let caller = |resource: &str| {
        format!(
            "{KEY_REJECTED}\nkexec_pe: refused (signature): {resource}: the signed image carries its \
             own, which the caller's would change"
        )
    };
    let (found, needed) = (signed.len(), longer.len());
    let appended = format!(
        "{KEY_REJECTED}\n{SIGNATURE}: end of the certificate table: found {found} ({found:#x}), \
         needed {needed} ({needed:#x})"
    );
    let refusal = |name, image: &[u8], options, said| Refusal {
        name,
        image: image.to_vec(),
        options,
        said,
    };
    Ok(vec![
        refusal("unsigned", &unsigned, "", signature(ENODATA)),
        refusal("changed", &changed, "", signature(EKEYREJECTED)),
        refusal("stranger", &stranger, "", signature(ENOKEY)),
        refusal("longer", &longer, "", appended),
        refusal(
            "more-initrd",
            signed,
            "--initrd /initrd ",
            caller("kexec:initrd"),
        ),
        refusal(
            "more-cmdline",
            signed,
            "--append quiet ",
            caller("kexec:cmdline"),
        ),
    ])
}

/// A UKI with something for every section.
pub(super) fn small(shop: &Shop, row: &Row, good: &Parts) -> Outcome<Vec<u8>> {
    let small = Parts {
        linux: b"a kernel".to_vec(),
        initrd: b"an initrd".to_vec(),
        line: good.line.clone(),
    };
    small.uki(shop, row.arch)
}

/// Signed images whose parsers ask for too much.
fn hostile(shop: &Shop, row: &Row, good: &Parts) -> Outcome<Vec<Refusal>> {
    const OUTSIDE: &str =
        "a parser's buffer: lies outside of image, initrd, command line, results and maps";
    let uki = small(shop, row, good)?;
    let malformed = |text: &str| format!("{NOT_EXEC}\nkexec_pe: malformed: envelope 1: {text}");
    let table = [
        (
            "PUBLISHES_NOTHING",
            "",
            malformed("kexec:kernel: found nothing, needed one"),
        ),
        (
            "PUBLISHES_THE_CALLERS_INITRD",
            "--initrd /initrd ",
            format!(
                "{NOT_PERMITTED}\nkexec_pe: refused (permission): envelope 1: kexec:kernel: comes from \
                 the caller's bytes, which can only become initrd or command line"
            ),
        ),
        (
            "PUBLISHES_PAST_THE_END",
            "",
            malformed("size of a parser's buffer: found 8 (0x8), needed at most 4 (0x4)"),
        ),
        ("PUBLISHES_BEFORE_THE_START", "", malformed(OUTSIDE)),
        (
            "PUBLISHES_NEGATIVE",
            "",
            malformed(
                "size: found 18446744073709551615 (0xffffffffffffffff), needed at least 1 (0x1)",
            ),
        ),
        (
            "PUBLISHES_ZERO",
            "",
            malformed("size: found 0 (0x0), needed at least 1 (0x1)"),
        ),
        (
            "PUBLISHES_UNKNOWN",
            "",
            malformed(
                "resource name: is none of kexec:kernel, kexec:initrd, kexec:cmdline, kexec:initrd+, kexec:cmdline+",
            ),
        ),
        ("PUBLISHES_THE_CONTEXT", "", malformed(OUTSIDE)),
        (
            "NAMES_NOWHERE",
            "",
            malformed("resource name: cannot be read"),
        ),
        (
            "DECOMPRESSES_HEADERS",
            "",
            "kexec_file_load: Operation not supported (os error 95)\nkexec_pe: unsupported: envelope 1: \
                 compressed stream: found 19802 (0x4d5a), needed the magic of a codec"
                .to_owned(),
        ),
        (
            "SAYS_MALFORMED",
            "",
            malformed("payload_size: found 7 (0x7), needed 9 (0x9)"),
        ),
        (
            "READS_USER_MEMORY",
            "--memory 10000000 ",
            // EFAULT, and the destination is zeroed.
            malformed("bpf_copy_from_user: found 14 (0xe), needed 0 (0x0)"),
        ),
        (
            "READS_NOWHERE",
            "",
            format!(
                "{NOT_EXEC}\nkexec_pe: warning: envelope 1: read refused and zeroed: found 0 (0x0), needed 0 (0x0)\n\
                 kexec_pe: malformed: envelope 1: {OUTSIDE}"
            ),
        ),
    ];
    table
        .into_iter()
        .map(|(name, options, said)| {
            let carrier = shop.parser(HOSTILE, &[name])?;
            let image = shop.attach_carrier(&uki, &carrier)?;
            Ok(Refusal {
                name,
                image: shop.sign(row.arch, &image)?,
                options,
                said,
            })
        })
        .collect()
}

/// Six UKIs one in the other.
fn layers(shop: &Shop, row: &Row, good: &Parts) -> Outcome<Vec<Refusal>> {
    let mut image = b"a kernel".to_vec();
    for _ in 0..6 {
        let parts = Parts {
            linux: image,
            initrd: b"an initrd".to_vec(),
            line: good.line.clone(),
        };
        image = shop.attach(&parts.uki(shop, row.arch)?, "uki")?;
    }
    Ok(vec![Refusal {
        name: "six-layers",
        image: shop.sign(row.arch, &image)?,
        options: "",
        said: format!(
            "{TOO_LONG}\nkexec_pe: refused (bound): envelope 5: depth: found 5 (0x5), needed at most 4 (0x4)"
        ),
    }])
}

/// Signed images whose loaders issue commands that no loader needs.
fn loaders(shop: &Shop, row: &Row, good: &Parts) -> Outcome<Vec<Refusal>> {
    const COMMANDS: &str =
        "MAP_CREATE (0), MAP_UPDATE_ELEM (2), PROG_LOAD (5), BTF_LOAD (18) or MAP_FREEZE (22)";
    const HELPER_SYS_BPF: u32 = 166;
    const HELPER_LOOP: u32 = 181;
    let uki = small(shop, row, good)?;
    let command = |found| loader_refused("bpf command", found, COMMANDS);
    let table = [
        ("MAP_DELETE_ELEM", 3, HELPER_SYS_BPF, 0, command(3)),
        ("MAP_GET_FD_BY_ID", 14, HELPER_SYS_BPF, 0, command(14)),
        ("RAW_TRACEPOINT_OPEN", 17, HELPER_SYS_BPF, 0, command(17)),
        ("LINK_CREATE", 28, HELPER_SYS_BPF, 0, command(28)),
        (
            "MAP_CREATE_HASH",
            0,
            HELPER_SYS_BPF,
            1,
            loader_refused("map_type", 1, "ARRAY (2) or RINGBUF (27)"),
        ),
        (
            "PROG_LOAD_SOCKET_FILTER",
            5,
            HELPER_SYS_BPF,
            1,
            loader_refused("prog_type", 1, "TRACING (26)"),
        ),
        (
            "CALLS_BPF_LOOP",
            0,
            HELPER_LOOP,
            0,
            format!(
                "{NOT_EXEC}\nkexec_pe: malformed: envelope 1: loader program of entry 4: calls a function \
                 that is not offered"
            ),
        ),
    ];
    table
        .into_iter()
        .map(|(name, command, helper, first, said)| {
            let image = shop.attach_carrier(&uki, &loading(command, helper, first))?;
            Ok(Refusal {
                name,
                image: shop.sign(row.arch, &image)?,
                options: "",
                said,
            })
        })
        .collect()
}

/// What is said of a loader that asks for what no loader may have.
pub(super) fn loader_refused(field: &str, found: u32, needed: &str) -> String {
    format!(
        "{NOT_PERMITTED}\nkexec_pe: refused (permission): envelope 1: {field}: found {found} ({found:#x}), \
         needed {needed}"
    )
}

/// A carrier whose loader makes one call, with `first` as the first word of the command's
/// attributes, and returns what it returned.
pub(super) fn loading(command: u32, helper: u32, first: u32) -> Vec<u8> {
    /// Bytes of `union bpf_attr` in 6.12.
    const ATTR: u32 = 152;
    let insn = |opcode: u8, registers: u8, immediate: u32| {
        let [a, b, c, d] = immediate.to_le_bytes();
        [opcode, registers, 0, 0, a, b, c, d]
    };
    // r1 = command; r2 = the data (BPF_PSEUDO_MAP_IDX_VALUE); r3 = size; call; exit
    let insns = [
        insn(0xb7, 0x01, command),
        insn(0x18, 0x62, 0),
        insn(0x00, 0x00, 0),
        insn(0xb7, 0x03, ATTR),
        insn(0x85, 0x00, helper),
        insn(0x95, 0x00, 0),
    ];
    let mut data = vec![0; ATTR as usize];
    data.splice(..4, first.to_le_bytes());
    kpeel_lskel::carrier(insns.as_flattened(), &data)
}
