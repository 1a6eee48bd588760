//! Rows in which kpeel refuses; one guest holds several, each with its exact message.

use kpeel_vm::Arch;

use super::load;
use crate::Outcome;
use crate::guest::{Guest, KPEEL};
use crate::row::Row;
use crate::shop::{Shop, Which};

/// What the rows without lockdown prove.
pub(super) const CLAIM: &str = "refusals: truncated, unknown or foreign image; a file that changes; \
    no crash reservation; kexec_load_disabled";

/// Exit codes of kpeel.
const IMAGE: i32 = 1;
const SYSTEM: i32 = 3;
const POLICY: i32 = 4;

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
        .refused(IMAGE, "kpeel: /truncated: ?", &load("/truncated"))
        .refused(IMAGE, "kpeel: /unknown: ?", &load("/unknown"))
        .refused(IMAGE, "kpeel: /foreign: ?", &load("/foreign"))
        .refused(SYSTEM, "kpeel: ?", &load("--crash /good"))
        .file("changed", b"kpeel: /tmp/churn: ?")
        .step(format!(
            "run /bin/churn /good /tmp/churn {CHURNS} {SYSTEM} /changed {}",
            load("/tmp/churn")
        ))
        .step("text /sys/kernel/kexec_loaded 0")
        // The twin: the same image, left alone.
        .step(format!("run {}", load("/good")))
        .step("text /sys/kernel/kexec_loaded 1")
        .kpeel("unload")
        .step("text /sys/kernel/kexec_loaded 0")
        .step("write /proc/sys/kernel/kexec_load_disabled 1")
        .refused(POLICY, "kpeel: ?", &load("/good"));
    Ok(guest.stays())
}

/// Under lockdown the unsigned kernel is refused, and the signed one started.
pub(super) fn lockdown_x86_64(shop: &Shop, row: &Row) -> Outcome<Guest> {
    let unsigned = shop.kernel(row.arch, Which::Unsigned)?;
    Ok(
        load::plain(shop, row, Which::Stock, Which::Older, Vec::clone)?
            .append("lockdown=integrity")
            .file("unsigned", &unsigned.bytes()?),
    )
}

/// `kexec_load` checks no signature, so lockdown forbids it.
pub(super) fn lockdown_aarch64(shop: &Shop, row: &Row) -> Outcome<Guest> {
    let kernel = shop.kernel(row.arch, Which::Stock)?;
    Ok(Guest::new(shop, row.arch, &kernel)?
        .append("lockdown=integrity")
        .file("image", &kernel.bytes()?)
        .refused(
            POLICY,
            "kpeel: ?",
            &format!("{KPEEL} load --trust none --command-line quiet /image"),
        )
        .stays())
}
