//! Rows that call kpeel by the name `kexec`, one of them through Debian's own scripts.

use kpeel_images::{Item, fetch};
use kpeel_vm::Arch::{Aarch64, X86_64};

use super::crash::{RESERVATION, VMCORE};
use super::load;
use crate::Outcome;
use crate::guest::{Guest, second};
use crate::row::Row;
use crate::shop::{Shop, Which};

const KEXEC: &str = "/sbin/kexec";

pub(super) fn rows() -> Vec<Row> {
    vec![
        Row::new(
            "x86_64-kexec-file",
            X86_64,
            "kexec -s -l UKI --append, then kexec -e",
            file,
        ),
        Row::new(
            "aarch64-kexec-load",
            Aarch64,
            "kexec -l IMAGE --initrd --reuse-cmdline --append, kexec -u, -S, then kexec -e",
            segments,
        ),
        Row::new(
            "aarch64-kexec-panic",
            Aarch64,
            "kexec -p IMAGE --ramdisk, then a panic",
            panic,
        ),
        Row::new(
            "aarch64-kdump-tools",
            Aarch64,
            "Debian's kdump-config load, then a panic",
            kdump_tools,
        ),
    ]
}

fn file(shop: &Shop, row: &Row) -> Outcome<Guest> {
    let kernel = shop.kernel(row.arch, Which::Older)?;
    let line = row.line();
    // kexec-tools' --append sets the line, unless the image has one of its own.
    let initrd = second(
        shop,
        row,
        &kernel,
        Some(&format!("{line} {}", load::CALLER)),
        &[],
    )?;
    let sections: [(&str, &[u8]); 3] = [
        (".linux", &kernel.bytes()?),
        (".initrd", &initrd),
        (".cmdline", line.as_bytes()),
    ];
    Ok(
        Guest::new(shop, row.arch, &shop.kernel(row.arch, Which::Stock)?)?
            .file("image", &shop.uki(row.arch, &sections)?)
            .step(format!(
                "run {KEXEC} -s -l /image --append={}",
                load::CALLER
            ))
            .step("text /sys/kernel/kexec_loaded 1")
            .step(format!("run {KEXEC} -e"))
            .step("fail kexec -e came back"),
    )
}

fn segments(shop: &Shop, row: &Row) -> Outcome<Guest> {
    let kernel = shop.kernel(row.arch, Which::Older)?;
    let line = row.line();
    let initrd = second(
        shop,
        row,
        &kernel,
        Some(&format!("{line} {}", load::CALLER)),
        &[],
    )?;
    let load = format!(
        "run {KEXEC} -l /image --initrd=/initrd --reuse-cmdline \"--append=kpeel.row={} {}\"",
        row.name,
        load::CALLER
    );
    Ok(
        Guest::new(shop, row.arch, &shop.kernel(row.arch, Which::Stock)?)?
            .file("image", &kernel.bytes()?)
            .file("initrd", &initrd)
            .step(&load)
            // Of the crash kernel: 0 is "not loaded".
            .step(format!("run {KEXEC} -S"))
            .step(format!("run {KEXEC} -u"))
            .step("text /sys/kernel/kexec_loaded 0")
            .step(&load)
            .step(format!("run {KEXEC} -e"))
            .step("fail kexec -e came back"),
    )
}

fn panic(shop: &Shop, row: &Row) -> Outcome<Guest> {
    let kernel = shop.kernel(row.arch, Which::Older)?;
    let line = row.line();
    let initrd = second(shop, row, &kernel, Some(&line), &[VMCORE])?;
    Ok(
        Guest::new(shop, row.arch, &shop.kernel(row.arch, Which::Stock)?)?
            .append(RESERVATION)
            .file("image", &kernel.bytes()?)
            .file("initrd", &initrd)
            .step(format!("run {KEXEC} -S"))
            .step(format!(
                "run {KEXEC} -p /image --ramdisk=/initrd \"--command-line={line}\""
            ))
            // kexec-tools turns the answer round: 1 is "loaded".
            .step(format!("refuse 1 {KEXEC} -S"))
            .panic(),
    )
}

/// What kdump-config calls that is no shell built-in; all of it busybox.
const APPLETS: [&str; 20] = [
    "sh", "basename", "cat", "cmp", "cp", "cut", "find", "grep", "hexdump", "ln", "logger", "ls",
    "mkdir", "rev", "rm", "sed", "sysctl", "tput", "tr", "uname",
];

/// kdump-tools finds the running kernel in `/boot` and the small initrd that it would have built
/// in `/var/lib/kdump`, derives the command line, and calls `/sbin/kexec -p`.
fn kdump_tools(shop: &Shop, row: &Row) -> Outcome<Guest> {
    let package = fetch(Item::KdumpTools)?;
    let kernel = shop.kernel(row.arch, Which::Stock)?;
    let release = &kernel.release;
    let word = format!("cmdline kpeel.row={}", row.name);
    let checks = [word.as_str(), "cmdline reset_devices", VMCORE];
    let initrd = second(shop, row, &kernel, None, &checks)?;
    Guest::new(shop, row.arch, &kernel)?
        .append(RESERVATION)
        .append(&format!("kpeel.row={}", row.name))
        .file(&format!("boot/vmlinuz-{release}"), &kernel.bytes()?)
        .file(&format!("var/lib/kdump/initrd.img-{release}"), &initrd)
        .with(|archive| {
            let read = |path: &str| std::fs::read(package.join(path));
            archive.program(
                "usr/sbin/kdump-config",
                &package.join("usr/sbin/kdump-config"),
            )?;
            archive.program("bin/busybox", &package.join("usr/bin/busybox"))?;
            for applet in APPLETS {
                archive.symlink(&format!("bin/{applet}"), "busybox");
            }
            let defaults = read("usr/share/kdump-tools/kdump-tools.conf")?;
            archive.file("etc/default/kdump-tools", &defaults);
            archive.file(
                "lib/lsb/init-functions",
                &read("usr/lib/lsb/init-functions")?,
            );
            // The same twice: the initrd is up to date.
            let settings = read("etc/kdump/sysctl.conf")?;
            archive.file("etc/kdump/sysctl.conf", &settings);
            archive.file(
                &format!("var/lib/kdump/latest_sysctls-{release}"),
                &settings,
            );
            Ok(())
        })
        .map(|guest| guest.step("run /usr/sbin/kdump-config load").panic())
}
