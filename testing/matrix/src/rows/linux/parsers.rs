//! More parsers and loaders that Linux refuses, images whose layout no signature covers, and the post parser.

use super::refusals::{NOT_EXEC, Refusal, loader_refused, loading, refuse_all, small};
use super::{HOSTILE, Parts, RAW, guest, parts};
use crate::Outcome;
use crate::guest::Guest;
use crate::row::Row;
use crate::shop::Shop;

/// What follows the errno that Linux answered a loader with.
const BY_LINUX: &str = "needed 0 or more: Linux refused it with this errno";

/// After each refusal the good image is loaded and unloaded.
pub(super) fn refused(shop: &Shop, row: &Row) -> Outcome<Guest> {
    let good = parts(shop, row, "")?;
    let guest = guest(shop, row, "lockdown=integrity")?.file("good", &good.signed(shop, row.arch)?);
    let all = endless(shop, row, &good)?
        .into_iter()
        .chain(loaders(shop, row, &good)?)
        .chain(layouts(shop, row, &good)?);
    Ok(refuse_all(guest, all).stays())
}

/// The post parser runs after a good parser, may warn, and changes nothing.
pub(super) fn post(shop: &Shop, row: &Row) -> Outcome<Guest> {
    let inner = shop.attach(&parts(shop, row, "")?.uki(shop, row.arch)?, "uki")?;
    // Our own linker takes one parser of a kind only.
    let signed = |macros: &[&str]| {
        let carrier = |place: &[&str]| {
            let all = [macros, place].concat();
            match macros.len() {
                1 => shop.parser(HOSTILE, &all),
                _ => shop.c_parser(HOSTILE, &all),
            }
        };
        shop.sign(row.arch, &around(shop, row, &inner, None, carrier)?)
    };
    let count = |what: &str, needed: &str| {
        format!(
            "{NOT_EXEC}\nkexec_pe: malformed: envelope 1: programs for {what}: found 2 (0x2), needed {needed}"
        )
    };
    let refusals = [
        (
            "two-parsers",
            "A_SECOND_PARSER",
            count("bpf_handle_pefile", "1 (0x1)"),
        ),
        (
            "two-post-parsers",
            "A_SECOND_POST_PARSER",
            count("bpf_post_handle_pefile", "at most 1 (0x1)"),
        ),
    ];
    let guest = guest(shop, row, "lockdown=integrity")?.file("good", &signed(&["POST"])?);
    let refusals = refusals
        .into_iter()
        .map(|(name, extra, said)| {
            let image = signed(&["POST", extra])?;
            Ok(Refusal {
                name,
                image,
                options: "",
                said,
            })
        })
        .collect::<Outcome<Vec<_>>>()?;
    // Both of its calls are answered with EPERM, which is 1.
    const TOLD: &str =
        "kexec_pe: warning: envelope 1: the post parser is told: found 1 (0x1), needed 1 (0x1)";
    Ok(refuse_all(guest, refusals)
        .step(format!("run {RAW} --logged \"{TOLD}\" /good"))
        .step("text /sys/kernel/kexec_loaded 1")
        .exec())
}

/// An envelope around `inner`, which its parser publishes as it stands. Before that it decompresses `packed`, to be slow.
/// `carrier` makes the parser with these macros defined.
pub(super) fn around(
    shop: &Shop,
    row: &Row,
    inner: &[u8],
    packed: Option<&[u8]>,
    carrier: impl FnOnce(&[&str]) -> Outcome<Vec<u8>>,
) -> Outcome<Vec<u8>> {
    let mut sections = vec![(".linux", inner)];
    sections.extend(packed.map(|packed| (".packed", packed)));
    let outer = shop.uki(row.arch, &sections)?;
    let place = |bytes: &[u8]| {
        let at = outer
            .windows(bytes.len())
            .position(|window| window == bytes);
        at.ok_or("a section's bytes are not in the image")
    };
    let mut all: Vec<String> = Vec::new();
    let mut define = |name: &str, bytes: &[u8]| -> Outcome<()> {
        all.push(format!("{name}_AT={}", place(bytes)?));
        all.push(format!("{name}_SIZE={}", bytes.len()));
        Ok(())
    };
    define("INNER", inner)?;
    packed.map_or(Ok(()), |packed| define("PACKED", packed))?;
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let image = shop.attach_carrier(&outer, &carrier(&all)?)?;
    let at = place(inner)?;
    if image.get(at..at + inner.len()) != Some(inner) {
        return Err("attaching a parser moved the other sections".into());
    }
    Ok(image)
}

/// Signed images whose parsers do not come to an end, or would reach where they may not.
fn endless(shop: &Shop, row: &Row, good: &Parts) -> Outcome<Vec<Refusal>> {
    const EINVAL: u32 = 22;
    const TOO_MANY: u32 = 7;
    let uki = small(shop, row, good)?;
    let by_linux = |errno: u32| {
        format!(
            "{NOT_EXEC}\nkexec_pe: malformed: envelope 1: loader program: found {errno} ({errno:#x}), {BY_LINUX}"
        )
    };
    let not_offered = |entry: u32, what: &str| {
        format!(
            "{NOT_EXEC}\nkexec_pe: malformed: envelope 1: parser program of entry {entry}: {what}"
        )
    };
    let insn = "holds an instruction that is not offered";
    let table = [
        ("LOOPS_FOREVER", by_linux(EINVAL)),
        ("LOOPS_FOR_LONG", by_linux(TOO_MANY)),
        ("MAY_GO_ON", not_offered(0, insn)),
    ];
    let signed = |name| {
        let image = shop.attach_carrier(&uki, &shop.parser(HOSTILE, &[name])?)?;
        shop.sign(row.arch, &image)
    };
    let mut all = vec![itself(signed("PUBLISHES_ITSELF")?)?];
    for (name, said) in table {
        let image = signed(name)?;
        all.push(Refusal {
            name,
            image,
            options: "",
            said,
        });
    }
    Ok(all)
}

/// What a parser gets ends at the certificate table, and so does what it publishes: the header then names a table that
/// is not there.
fn itself(image: Vec<u8>) -> Outcome<Refusal> {
    let (found, needed) = (
        image.len(),
        number(&image, Header::of(&image)?.certificates)?,
    );
    let said = format!(
        "{NOT_EXEC}\nkexec_pe: malformed: envelope 2: certificate table end: found {found} ({found:#x}), needed at \
         most {needed} ({needed:#x})"
    );
    Ok(Refusal {
        name: "PUBLISHES_ITSELF",
        image,
        options: "",
        said,
    })
}

/// Signed images whose loaders want other programs, or to keep or hand out what they made.
fn loaders(shop: &Shop, row: &Row, good: &Parts) -> Outcome<Vec<Refusal>> {
    const PROG_LOAD: u32 = 5;
    const HELPER_SYS_BPF: u32 = 166;
    let uki = small(shop, row, good)?;
    let kind = |found: u32| loader_refused("prog_type", found, "TRACING (26)");
    // The helper bpf_sys_bpf() itself knows no such command.
    let unknown = format!(
        "{NOT_EXEC}\nkexec_pe: malformed: envelope 1: loader program: found 22 (0x16), {BY_LINUX}"
    );
    let table = [
        ("OBJ_PIN", 6, 0, unknown.clone()),
        ("OBJ_GET", 7, 0, unknown.clone()),
        ("PROG_RUN", 10, 0, unknown.clone()),
        ("PROG_GET_FD_BY_ID", 13, 0, unknown.clone()),
        ("LINK_GET_FD_BY_ID", 30, 0, unknown.clone()),
        ("ITER_CREATE", 33, 0, unknown),
        ("PROG_LOAD_KPROBE", PROG_LOAD, 2, kind(2)),
        ("PROG_LOAD_EXT", PROG_LOAD, 28, kind(28)),
        ("PROG_LOAD_LSM", PROG_LOAD, 29, kind(29)),
        ("PROG_LOAD_SYSCALL", PROG_LOAD, 31, kind(31)),
        // TRACING, but not attached to an entry: bytes 68 to 72 of the attributes are 0.
        (
            "PROG_LOAD_TRACING_NOWHERE",
            PROG_LOAD,
            26,
            loader_refused("expected_attach_type", 0, "TRACE_FENTRY (24)"),
        ),
    ];
    table
        .into_iter()
        .map(|(name, command, first, said)| {
            let carrier = loading(command, HELPER_SYS_BPF, first);
            let image = shop.attach_carrier(&uki, &carrier)?;
            let image = shop.sign(row.arch, &image)?;
            Ok(Refusal {
                name,
                image,
                options: "",
                said,
            })
        })
        .collect()
}

/// Images in which bytes lie where a signature does not cover them.
fn layouts(shop: &Shop, row: &Row, good: &Parts) -> Outcome<Vec<Refusal>> {
    let whole = shop.attach(&small(shop, row, good)?, "uki")?;
    let signed = shop.sign(row.arch, &whole)?;
    let refusal = |name, image, said| Refusal {
        name,
        image,
        options: "",
        said,
    };
    let (gap, start) = with_gap(shop, row, &whole)?;
    let mut changed = gap.clone();
    if let Some(byte) = changed.get_mut(start) {
        *byte ^= 1;
    }
    let end = start + GAP;
    let in_gap = format!(
        "{}\nkexec_pe: refused (signature): envelope 1: start of signed bytes after a gap: found {end} \
         ({end:#x}), needed {start} ({start:#x})",
        super::refusals::KEY_REJECTED
    );
    let table = in_table(&signed)?;
    Ok(vec![
        refusal("gap", gap, in_gap.clone()),
        refusal("changed-gap", changed, in_gap),
        refusal("parser-in-table", table.0, table.1),
    ])
}

/// Bytes of the gap.
const GAP: usize = 512;

/// The image with a gap before its last section's bytes, signed, and where the gap begins.
fn with_gap(shop: &Shop, row: &Row, image: &[u8]) -> Outcome<(Vec<u8>, usize)> {
    let last = Header::of(image)?.last_section();
    let start = number(image, last + RAW_POINTER)?;
    let mut wider = image.to_vec();
    wider.splice(start..start, [0; GAP]);
    put(&mut wider, last + RAW_POINTER, start + GAP)?;
    Ok((shop.sign(row.arch, &wider)?, start))
}

/// The signed image, its last section (`.bpf`) moved into the certificate table, and what is said.
fn in_table(signed: &[u8]) -> Outcome<(Vec<u8>, String)> {
    let header = Header::of(signed)?;
    let last = header.last_section();
    let table = number(signed, header.certificates)?;
    let mut moved = signed.to_vec();
    put(&mut moved, last + RAW_POINTER, table)?;
    put(&mut moved, last + RAW_SIZE, 8)?;
    let index = header.count - 1;
    Ok((
        moved,
        format!(
            "{NOT_EXEC}\nkexec_pe: left to other loaders: malformed: PointerToRawData of entry {index}: found \
             {table} ({table:#x}), needed outside the certificate table"
        ),
    ))
}

/// Offsets in a PE32+ file (Microsoft PE Format).
struct Header {
    count: usize,
    sections: usize,
    /// Of the certificate table's directory entry.
    certificates: usize,
}

/// In a section's header: `SizeOfRawData`, `PointerToRawData`.
const RAW_SIZE: usize = 16;
const RAW_POINTER: usize = 20;

impl Header {
    fn of(image: &[u8]) -> Outcome<Self> {
        const E_LFANEW: usize = 0x3c;
        const COFF: usize = 4;
        const SIZE_OF_OPTIONAL: usize = 16;
        const COFF_SIZE: usize = 20;
        const CERTIFICATES: usize = 112 + 4 * 8;
        let coff = number(image, E_LFANEW)? + COFF;
        let optional = coff + COFF_SIZE;
        Ok(Self {
            count: number(image, coff + 2)? & 0xffff,
            sections: optional + (number(image, coff + SIZE_OF_OPTIONAL)? & 0xffff),
            certificates: optional + CERTIFICATES,
        })
    }

    /// Where its header stands.
    const fn last_section(&self) -> usize {
        self.sections + (self.count - 1) * 40
    }
}

fn number(image: &[u8], at: usize) -> Outcome<usize> {
    let bytes = image
        .get(at..at + 4)
        .and_then(|bytes| bytes.try_into().ok());
    Ok(u32::from_le_bytes(bytes.ok_or("a header outside of the image")?) as usize)
}

fn put(image: &mut [u8], at: usize, value: usize) -> Outcome<()> {
    let place = image
        .get_mut(at..at + 4)
        .ok_or("a header outside of the image")?;
    place.copy_from_slice(&u32::try_from(value)?.to_le_bytes());
    Ok(())
}
