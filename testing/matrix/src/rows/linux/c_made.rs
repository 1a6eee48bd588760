//! Carriers of the C toolchain: clang, then `bpftool gen skeleton -L`.

use kpeel_images::make::{Codec, Machine, Scratch, zboot};

use super::refusals::{NOT_EXEC, Refusal, refuse_all, small};
use super::{HOSTILE, Parts, RAW, REFUSED, guest, parts};
use crate::Outcome;
use crate::guest::Guest;
use crate::row::Row;
use crate::shop::Shop;

/// A zboot parser in C, written like the one of the patch series that the ABI comes from.
const SERIES: &str =
    include_str!("../../../../../crates/sandbox/tests/fixtures/series_zboot.bpf.c");

/// Under integrity lockdown they load, and are refused what others are.
pub(super) fn integrity(shop: &Shop, row: &Row) -> Outcome<Guest> {
    let Series {
        image,
        initrd,
        line,
    } = Series::new(shop, row)?;
    let load = format!("{RAW} --initrd /initrd --append \"{line}\" /series");
    let good = parts(shop, row, "")?;
    let guest = guest(shop, row, "lockdown=integrity")?
        .memory(1536)
        .file("good", &good.signed(shop, row.arch)?)
        .file("series", &image)
        .file("initrd", &initrd);
    Ok(refuse_all(guest, hostile(shop, row, &good)?)
        .step(format!("run {load}"))
        .step("text /sys/kernel/kexec_loaded 1")
        .exec())
}

/// Under confidentiality they are refused by the name of the helper that their loaders call; others are not.
pub(super) fn confidentiality(shop: &Shop, row: &Row) -> Outcome<Guest> {
    let Series {
        image,
        initrd,
        line,
    } = Series::new(shop, row)?;
    Ok(guest(shop, row, "lockdown=confidentiality")?
        .memory(1536)
        .file("series", &image)
        .file("initrd", &initrd)
        .file("good", &parts(shop, row, "")?.signed(shop, row.arch)?)
        .refused(
            REFUSED,
            "kexec_file_load: Operation not permitted (os error 1)\n\
             kexec_pe: refused (permission): envelope 1: bpf_probe_read_kernel of entry 5: is called, and lockdown \
             (confidentiality) forbids that helper",
            &format!("{RAW} --initrd /initrd --append \"{line}\" /series"),
        )
        .step("text /sys/kernel/kexec_loaded 0")
        .step(format!("run {RAW} /good"))
        .exec())
}

/// A signed zboot image with the series' parser; initrd and command line are the caller's.
struct Series {
    image: Vec<u8>,
    initrd: Vec<u8>,
    line: String,
}

impl Series {
    fn new(shop: &Shop, row: &Row) -> Outcome<Self> {
        let Parts {
            linux,
            initrd,
            line,
        } = parts(shop, row, "")?;
        let scratch = Scratch::new()?;
        let out = scratch.join("zboot.efi");
        zboot(Machine::Amd64, Codec::Gzip, &linux, &out)?;
        let image = shop.attach_carrier(&std::fs::read(&out)?, &shop.c_parser(SERIES, &[])?)?;
        Ok(Self {
            image: shop.sign(row.arch, &image)?,
            initrd,
            line,
        })
    }
}

/// Parsers that our own linker would not let pass.
fn hostile(shop: &Shop, row: &Row, good: &Parts) -> Outcome<Vec<Refusal>> {
    let uki = small(shop, row, good)?;
    let parser = |entry: u32, what: &str| {
        format!(
            "{NOT_EXEC}\nkexec_pe: malformed: envelope 1: parser program of entry {entry}: {what}"
        )
    };
    let call = "calls a function that is not offered";
    let insn = "holds an instruction that is not offered";
    let table = [
        ("CALLS_BACK", parser(1, insn)),
        ("ITERATES", parser(4, call)),
        ("CALLS_ITS_TAIL", parser(3, call)),
        ("STARTS_A_TIMER", parser(4, call)),
        ("WRITES_USER_MEMORY", parser(4, call)),
    ];
    table
        .into_iter()
        .map(|(name, said)| {
            let image = shop.attach_carrier(&uki, &shop.c_parser(HOSTILE, &[name])?)?;
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
