//! The table of rows.

mod boot;
mod crash;
mod hops;
mod linux;
mod linux_aarch64;
mod linux_agree;
mod linux_codecs;
mod linux_forced;
mod load;
mod personality;
mod refusals;
mod soak;
mod system;
mod walk;

use kpeel_vm::Arch::{Aarch64, X86_64};

use crate::row::Row;
use crate::shop::Which;

/// Every row, in the order they run: the slow ones first, so that two at a time end together.
#[must_use]
pub fn all() -> Vec<Row> {
    [
        hops::rows(),
        linux::rows(),
        linux_codecs::rows(),
        soak::rows(),
        linux_aarch64::rows(),
        linux_forced::rows(),
        linux_agree::rows(),
        x86_64(),
        aarch64(),
        personality::rows(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What is proven with Secure Boot on.
const SIGNED_UKI: &str = "Secure Boot: a signed UKI boots; firmware refuses it unsigned or changed";

fn x86_64() -> Vec<Row> {
    const FIRST: Which = Which::Stock;
    let row = |name, claim, guest| Row::new(name, X86_64, claim, guest);
    vec![
        row("x86_64-bzimage", "a plain bzImage", |shop, row| {
            load::plain(shop, row, FIRST, Which::Older, Vec::clone)
        }),
        row("x86_64-uki", "a UKI, by the bundled parser", |shop, row| {
            load::uki(shop, row, FIRST, Which::Older, None)
        }),
        row(
            "x86_64-uki-bpf",
            "a UKI, by the parser in its .bpf",
            |shop, row| load::uki(shop, row, FIRST, Which::Older, Some("uki")),
        ),
        row("x86_64-uki-profile", "profile 1 of a UKI", |shop, row| {
            load::profile(shop, row, FIRST, Which::Older)
        }),
        row(
            "x86_64-lockdown",
            "lockdown: an unsigned kernel is refused",
            refusals::lockdown_x86_64,
        ),
        row(
            "x86_64-signed",
            "Secure Boot: a kernel without a signature or by a stranger is refused, a signed one starts",
            refusals::secure_boot,
        ),
        row(
            "x86_64-signed-inner",
            "Secure Boot: a UKI is loaded if the kernel in it is signed, refused if not",
            refusals::inner,
        ),
        row(
            "x86_64-crash",
            "a panic boots the crash kernel out of a UKI",
            |shop, row| crash::uki(shop, row, FIRST, Which::Older),
        ),
        row("x86_64-trust-system", system::CLAIM, system::trust).within(600),
        row("x86_64-refusals", refusals::CLAIM, refusals::unlocked),
        Row::other(
            "x86_64-firmware-uki",
            X86_64,
            "firmware boots a UKI that kpeel built",
            boot::uki,
        ),
        Row::other(
            "x86_64-firmware-measured",
            X86_64,
            "firmware measures a UKI with profiles as kpeel measure says",
            boot::measured,
        ),
        Row::other(
            "x86_64-tampered",
            X86_64,
            "Secure Boot: firmware says of tampered images what kpeel says, but for listed reasons",
            walk::tampered,
        ),
        Row::other("x86_64-signed-uki", X86_64, SIGNED_UKI, walk::uki),
    ]
}

fn aarch64() -> Vec<Row> {
    const FIRST: Which = Which::Stock;
    const FILE: Which = Which::Built;
    let row = |name, claim, guest| Row::new(name, Aarch64, claim, guest);
    vec![
        row(
            "aarch64-image",
            "a plain Image, by kexec_load",
            |shop, row| load::plain(shop, row, FIRST, Which::Older, Vec::clone),
        ),
        row(
            "aarch64-gzip",
            "a gzip'ed Image, by kexec_load",
            |shop, row| load::gzip(shop, row, FIRST, Which::Older),
        ),
        row("aarch64-uki", "a UKI, by kexec_load", |shop, row| {
            load::uki(shop, row, FIRST, Which::Older, None)
        }),
        row(
            "aarch64-uki-zboot",
            "a zboot kernel inside a UKI, by kexec_load",
            |shop, row| load::uki(shop, row, FIRST, Which::BuiltZboot, None),
        ),
        row(
            "aarch64-crash",
            "a panic boots the crash kernel, placed by us",
            |shop, row| crash::uki(shop, row, FIRST, Which::Older),
        ),
        row(
            "aarch64-file-image",
            "a plain Image, by kexec_file_load",
            |shop, row| load::plain(shop, row, FILE, Which::Older, Vec::clone),
        ),
        row(
            "aarch64-file-gzip",
            "a gzip'ed Image, by kexec_file_load",
            |shop, row| load::gzip(shop, row, FILE, Which::Older),
        ),
        row(
            "aarch64-file-uki",
            "a UKI, by kexec_file_load",
            |shop, row| load::uki(shop, row, FILE, Which::Older, None),
        ),
        row(
            "aarch64-file-uki-zboot",
            "a zboot kernel inside a UKI, each with its .bpf, by kexec_file_load",
            |shop, row| load::nested_bpf(shop, row, FILE),
        ),
        row("aarch64-refusals", refusals::CLAIM, refusals::unlocked),
        Row::other(
            "aarch64-firmware-uki",
            Aarch64,
            "firmware boots a UKI that kpeel built",
            boot::uki,
        ),
        Row::other(
            "aarch64-firmware-zboot",
            Aarch64,
            "firmware boots a zboot image that kpeel re-packed",
            boot::zboot,
        ),
        row(
            "aarch64-lockdown",
            "lockdown: kexec_load is refused",
            refusals::lockdown_aarch64,
        ),
        Row::other("aarch64-signed-uki", Aarch64, SIGNED_UKI, walk::uki),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_tell_the_architecture() {
        let rows = super::all();
        let names: BTreeSet<&str> = rows.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), rows.len());
        assert!(rows.iter().all(|row| row.name.starts_with(row.arch.name())));
    }
}
