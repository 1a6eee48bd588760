//! Rows in which the first kernel loads nothing without a signature: `CONFIG_KEXEC_SIG_FORCE`, without lockdown.

use kpeel_images::make::Codec;
use kpeel_vm::Arch::X86_64;

use super::linux::refusals::{Refusal, signatures};
use super::linux::{Parts, RAW, REFUSED, guest_of, parts};
use super::linux_codecs::packed;
use crate::Outcome;
use crate::guest::Guest;
use crate::row::Row;
use crate::shop::{Shop, Which};

/// The rows.
pub(super) fn rows() -> Vec<Row> {
    let row = |name, claim, guest| Row::new(name, X86_64, claim, guest);
    vec![
        row(
            "x86_64-linux-forced",
            "KEXEC_SIG_FORCE: images unsigned, badly signed or with more of the caller's are refused; a signed UKI starts",
            forced,
        ),
        row(
            "x86_64-linux-forced-zboot",
            "KEXEC_SIG_FORCE: a zboot kernel in a signed UKI starts",
            zboot,
        ),
    ]
}

fn guest(shop: &Shop, row: &Row) -> Outcome<Guest> {
    Ok(guest_of(shop, row, Which::Forced, "")?.step("text /sys/kernel/kexec_loaded 0"))
}

fn forced(shop: &Shop, row: &Row) -> Outcome<Guest> {
    /// ENODATA: no signature is there.
    const BARE: &str = "kexec_file_load: No data available (os error 61)";
    let good = parts(shop, row, "")?;
    let signed = good.signed(shop, row.arch)?;
    let mut guest = guest(shop, row)?
        .file("good", &signed)
        .file("bare", &shop.kernel(row.arch, Which::Unsigned)?.bytes()?)
        .file("initrd", b"the caller's")
        // What has no parser is refused as ever.
        .refused(REFUSED, BARE, &format!("{RAW} /bare"));
    for Refusal {
        name,
        image,
        options,
        said,
    } in signatures(shop, row, &good, &signed)?
    {
        guest = guest
            .file(name, &image)
            .refused(REFUSED, &said, &format!("{RAW} {options}/{name}"))
            .step("text /sys/kernel/kexec_loaded 0");
    }
    Ok(guest
        .step(format!("run {RAW} /good"))
        .step("text /sys/kernel/kexec_loaded 1")
        .exec())
}

fn zboot(shop: &Shop, row: &Row) -> Outcome<Guest> {
    let plain = parts(shop, row, "")?;
    let image = Parts {
        linux: packed(shop, row.arch, Codec::Gzip, &plain.linux)?,
        ..plain
    };
    Ok(guest(shop, row)?
        .memory(1536)
        .file("image", &image.signed(shop, row.arch)?)
        .step(format!("run {RAW} /image"))
        .exec())
}
