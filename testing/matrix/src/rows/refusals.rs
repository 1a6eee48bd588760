//! Rows in which kpeel refuses; one guest holds several, each with its exact message.

use kpeel_vm::Arch;

use crate::Outcome;
use crate::guest::{Guest, KPEEL, second};
use crate::row::Row;
use crate::secure_boot;
use crate::shop::{Kernel, Shop, Which};

/// What the rows without lockdown prove.
pub(super) const CLAIM: &str = "refusals: truncated, unknown or foreign image; a file that changes; \
    no crash reservation; kexec_load_disabled";

/// Exit codes of kpeel.
const IMAGE: i32 = 1;
const SYSTEM: i32 = 3;
const POLICY: i32 = 4;

const DENIED: &str = "Operation not permitted (os error 1)";
const UNKNOWN: &str = "unsupported: kernel: no parser opens it, and it is no bzImage and no arm64, \
    riscv or loongarch Image";
const NO_RESERVATION: &str = "no memory is reserved for a crash kernel: boot with crashkernel=SIZE \
    on the command line";
const CHANGED: &str = "the file changed while it was being loaded: nothing was loaded";

/// The file that another process rewrites.
const CHURN: &str = "/tmp/churn";
/// How often kpeel is run on a file that somebody else rewrites meanwhile.
const CHURNS: u32 = 20;

/// Everything that can be refused without lockdown. The switch comes last: it cannot be undone.
pub(super) fn unlocked(shop: &Shop, row: &Row) -> Outcome<Guest> {
    let kernel = shop.kernel(row.arch, Which::Stock)?;
    let bytes = kernel.bytes()?;
    let uki = shop.uki(row.arch, &[(".linux", &bytes)])?;
    let half = |bytes: &[u8]| bytes.get(..bytes.len() / 2).unwrap_or_default().to_vec();
    let other = match row.arch {
        Arch::X86_64 => Arch::Aarch64,
        Arch::Aarch64 => Arch::X86_64,
    };
    let foreign = shop.kernel(other, Which::Stock)?.bytes()?;
    let load = |rest: &str| format!("{KPEEL} load --command-line quiet {rest}");
    let guest = Guest::new(shop, row.arch, &kernel)?
        .with(|archive| Ok(archive.program("bin/churn", &shop.programs(row.arch)?.churn)?))?
        .file("good", &uki)
        .file("truncated", &half(&uki))
        .file("unknown", b"#!/bin/sh\necho no kernel\n")
        .file("foreign", &foreign)
        .refused(IMAGE, &truncated(&uki), &load("/truncated"))
        .refused(
            IMAGE,
            &format!("kpeel: /unknown: {UNKNOWN}"),
            &load("/unknown"),
        )
        .refused(
            IMAGE,
            &format!(
                "kpeel: /foreign: unsupported: kernel: is for another machine than this {}",
                row.arch.name()
            ),
            &load("/foreign"),
        )
        .refused(
            SYSTEM,
            &format!("kpeel: /good: {NO_RESERVATION}"),
            &load("--crash /good"),
        )
        .file("changed", format!("kpeel: {CHURN}: {CHANGED}").as_bytes())
        .step(format!(
            "run /bin/churn /good {CHURN} {CHURNS} {POLICY} /changed {}",
            load(CHURN)
        ))
        .step("text /sys/kernel/kexec_loaded 0")
        // The twin: the same image, left alone.
        .step(format!("run {}", load("/good")))
        .step("text /sys/kernel/kexec_loaded 1")
        .kpeel("unload")
        .step("text /sys/kernel/kexec_loaded 0")
        .step("write /proc/sys/kernel/kexec_load_disabled 1")
        .refused(
            POLICY,
            &format!(
                "kpeel: /good: {} failed: {DENIED}: kexec_load_disabled is set: no kernel can be \
                 loaded until the next boot",
                call(row.arch)
            ),
            &load("/good"),
        );
    Ok(guest.stays())
}

/// What is said of the first half of a UKI whose last section is its largest.
fn truncated(uki: &[u8]) -> String {
    /// Offsets of `e_lfanew`, and of `NumberOfSections` from there (PE/COFF, "COFF File Header").
    const E_LFANEW: usize = 0x3c;
    const SECTIONS: usize = 6;
    let byte = |at: usize| usize::from(uki.get(at).copied().unwrap_or_default());
    let header = byte(E_LFANEW) | byte(E_LFANEW + 1) << 8;
    let last = (byte(header + SECTIONS) | byte(header + SECTIONS + 1) << 8).saturating_sub(1);
    let (found, needed) = (uki.len(), uki.len() / 2);
    format!(
        "kpeel: /truncated: malformed: envelope 1: PointerToRawData + SizeOfRawData of entry \
         {last}: found {found} ({found:#x}), needed at most {needed} ({needed:#x})"
    )
}

/// The call that stock kernels have.
fn call(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "kexec_file_load",
        Arch::Aarch64 => "kexec_load",
    }
}

const NO_SIGNATURE: &str = "kexec_file_load failed: No data available (os error 61): the kernel image \
    carries no signature, but one is needed: sign it, or build an image whose inner kernel is signed";

/// What the running kernel judges is the kernel that kpeel unpacked: its own signature counts.
pub(super) fn inner(shop: &Shop, row: &Row) -> Outcome<Guest> {
    let kernel = shop.kernel(row.arch, Which::Unsigned)?;
    let signed = secure_boot::sign(shop, &kernel.bytes()?)?;
    let line = row.line();
    let initrd = second(shop, row, &kernel, Some(&line), &[])?;
    let uki = |kernel: &[u8]| {
        let sections: [(&str, &[u8]); 3] = [
            (".cmdline", line.as_bytes()),
            (".initrd", &initrd),
            (".linux", kernel),
        ];
        shop.uki(row.arch, &sections)
    };
    let load = |image: &str| format!("{KPEEL} load --trust none {image}");
    Ok(Guest::new(shop, row.arch, &kernel)?
        .secure_boot(signed.clone())
        .file("unsigned-inner", &uki(&kernel.bytes()?)?)
        .file("signed-inner", &uki(&signed)?)
        .step("text /sys/kernel/security/lockdown none [integrity] confidentiality")
        .refused(
            POLICY,
            &format!("kpeel: /unsigned-inner: {NO_SIGNATURE}"),
            &load("/unsigned-inner"),
        )
        .step("text /sys/kernel/kexec_loaded 0")
        .step(format!("run {}", load("/signed-inner")))
        .exec())
}

/// Secure Boot turns lockdown on: the unsigned kernel is refused, and the signed one started.
pub(super) fn secure_boot(shop: &Shop, row: &Row) -> Outcome<Guest> {
    let kernel = shop.kernel(row.arch, Which::Unsigned)?;
    let signed = secure_boot::sign(shop, &kernel.bytes()?)?;
    let line = row.line();
    let initrd = second(shop, row, &kernel, Some(&line), &[])?;
    let stranger = shop.kernel(row.arch, Which::Older)?;
    let signer = secure_boot::signer(&stranger.path)?;
    let load = |image: &str| {
        format!("{KPEEL} load --trust none --initrd /initrd --command-line \"{line}\" {image}")
    };
    Ok(Guest::new(shop, row.arch, &kernel)?
        .secure_boot(signed.clone())
        .file("unsigned", &kernel.bytes()?)
        .file("signed", &signed)
        .file("initrd", &initrd)
        .file("stranger", &stranger.bytes()?)
        .step("text /sys/kernel/security/lockdown none [integrity] confidentiality")
        .refused(
            POLICY,
            &format!("kpeel: /unsigned: {NO_SIGNATURE}"),
            &load("/unsigned"),
        )
        // Debian's key is not among the firmware's.
        .refused(
            POLICY,
            &format!(
                "kpeel: /stranger: kexec_file_load failed: Required key not available (os error \
                 126): no key the running kernel trusts signed the kernel image. It asks the \
                 keyrings .builtin_trusted_keys, .secondary_trusted_keys and then .platform (Secure \
                 Boot's db; with shim also the machine owner's keys): enrol the signer's \
                 certificate there, or sign with an enrolled key (it is signed by {signer})"
            ),
            &load("/stranger"),
        )
        .step("text /sys/kernel/kexec_loaded 0")
        .step(format!("run {}", load("/signed")))
        .exec())
}

/// Lockdown without Secure Boot, and so without a rule that signatures are needed.
pub(super) fn lockdown_x86_64(shop: &Shop, row: &Row) -> Outcome<Guest> {
    let kernel = shop.kernel(row.arch, Which::Unsigned)?;
    lockdown(
        shop,
        row,
        &kernel,
        "kexec_file_load",
        "kernel lockdown needs a kernel signed with a key the running kernel trusts",
    )
}

/// `kexec_load` checks no signature, so lockdown forbids it.
pub(super) fn lockdown_aarch64(shop: &Shop, row: &Row) -> Outcome<Guest> {
    let kernel = shop.kernel(row.arch, Which::Stock)?;
    lockdown(
        shop,
        row,
        &kernel,
        "kexec_load",
        "kernel lockdown forbids kexec_load, which checks no signatures: a kernel with \
         kexec_file_load and a signed image are needed",
    )
}

fn lockdown(shop: &Shop, row: &Row, image: &Kernel, call: &str, why: &str) -> Outcome<Guest> {
    Ok(
        Guest::new(shop, row.arch, &shop.kernel(row.arch, Which::Stock)?)?
            .append("lockdown=integrity")
            .file("image", &image.bytes()?)
            .refused(
                POLICY,
                &format!("kpeel: /image: {call} failed: {DENIED}: {why}"),
                &format!("{KPEEL} load --trust none --command-line quiet /image"),
            )
            .step("text /sys/kernel/kexec_loaded 0")
            .stays(),
    )
}
