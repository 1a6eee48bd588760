//! The demonstration: a UKI is built around a real kernel, and a stock kernel kexecs into it.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kpeel_images::{Item, cache_dir, origins};
use kpeel_vm::{Accel, Arch, Report};

use crate::Outcome;
use crate::guest::{Guest, logs, second};
use crate::row::{Make, Row};
use crate::shop::{Kernel, Shop, Which};

/// What the demonstration needs of the archive.
const ITEMS: [(Item, &str); 3] = [
    (Item::LinuxAmd64, "the kernel that runs first"),
    (Item::LinuxAmd64V61, "the kernel inside the UKI"),
    (Item::StubAmd64V252, "systemd's UKI stub"),
];
/// Packages and package index together, in MB, rounded up.
const DOWNLOAD_MB: u32 = 65;

/// Emulated, on a slow machine.
const DEADLINE: Duration = Duration::from_secs(420);
/// How often the serial log is looked at.
const POLL: Duration = Duration::from_millis(50);
/// What the caller adds to the UKI's command line.
const CALLER: &str = "kpeel.caller=demo";

const ROW: Row = Row {
    name: "demo",
    arch: Arch::X86_64,
    claim: "a kexec into a UKI",
    full: false,
    deadline: DEADLINE,
    guest: Make::Linux(guest),
};

/// Runs it, with its console on standard output; returns what was seen, in one sentence.
///
/// # Errors
/// When anything fails: a download, a build, or the guest.
pub fn run() -> Outcome<String> {
    let started = Instant::now();
    announce()?;
    println!("==> building kpeel and the guest's init, linked statically");
    let shop = Shop::open(&[ROW.arch])?;
    println!("==> fetching the kernels, building the UKI with a BPF parser in its section .bpf");
    let first = shop.kernel(ROW.arch, Which::Stock)?;
    let next = shop.kernel(ROW.arch, Which::Older)?;
    let guest = guest(&shop, &ROW)?;
    println!("==> booting Linux {} in QEMU", first.release);
    let report = watched(|| guest.run(&ROW))?;
    Ok(sentence(&first, &next, &report, started.elapsed()))
}

fn announce() -> Outcome<()> {
    println!(
        "This builds kpeel, then downloads, unless they are there already, about {DOWNLOAD_MB} MB \
         into {}:",
        cache_dir().display()
    );
    for (item, what) in ITEMS {
        for origin in origins(item)? {
            println!("  {} {} ({what})", origin.package, origin.version);
        }
    }
    println!("Nothing of it is installed, and nothing outside that directory and target/ changes.");
    Ok(())
}

/// The stock kernel, whose job is what a user would type.
fn guest(shop: &Shop, row: &Row) -> Outcome<Guest> {
    let next = shop.kernel(row.arch, Which::Older)?;
    let line = row.line();
    let initrd = second(shop, row, &next, Some(&format!("{line} {CALLER}")), &[])?;
    let sections: [(&str, &[u8]); 3] = [
        (".linux", &next.bytes()?),
        (".initrd", &initrd),
        (".cmdline", line.as_bytes()),
    ];
    let plain = shop.uki_on(Item::StubAmd64V252, &sections)?;
    let image = shop.attach(&plain, "uki")?;
    Ok(
        Guest::new(shop, row.arch, &shop.kernel(row.arch, Which::Stock)?)?
            .append("quiet")
            .file("linux.efi", &image)
            .kpeel("inspect /linux.efi")
            .kpeel(&format!("load /linux.efi --append {CALLER}"))
            .kpeel("status")
            .exec(),
    )
}

/// Runs `guest` and prints its serial log as it grows.
fn watched(guest: impl FnOnce() -> Outcome<Report>) -> Outcome<Report> {
    let log = logs().join(format!("{}.log", ROW.name));
    // What an earlier run left is not this one's.
    let _ = fs::remove_file(&log);
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| follow(&log, &ended));
        let report = guest();
        ended.store(true, Ordering::Release);
        report
    })
}

/// Prints the lines of a growing file, until `ended` and the file's end.
fn follow(log: &Path, ended: &AtomicBool) {
    let mut file: Option<BufReader<File>> = None;
    let mut line = Vec::new();
    loop {
        // Asked first: what is written before the end is still read below.
        let last = ended.load(Ordering::Acquire);
        file = file.or_else(|| File::open(PathBuf::from(log)).ok().map(BufReader::new));
        if let Some(reader) = &mut file {
            while reader
                .read_until(b'\n', &mut line)
                .is_ok_and(|count| count > 0)
            {
                // Half a line stays until the rest of it is there.
                if !last && line.last() != Some(&b'\n') {
                    break;
                }
                println!("  guest | {}", printable(&line));
                line.clear();
            }
        }
        if last {
            return;
        }
        thread::sleep(POLL);
    }
}

/// What a terminal would show of the line in the end: a carriage return starts it again, as
/// progress bars do; escape sequences and other control characters are dropped.
fn printable(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let shown = text.trim_end().rsplit('\r').next().unwrap_or_default();
    let mut out = String::new();
    let mut letters = shown.chars();
    while let Some(letter) = letters.next() {
        if letter == '\u{1b}' {
            // ESC [ PARAMETERS LETTER (ECMA-48, section 5.4).
            let rest = letters.as_str();
            if let Some(sequence) = rest.strip_prefix('[') {
                letters = sequence.chars();
                let _ = letters.by_ref().find(char::is_ascii_alphabetic);
            }
        } else if !letter.is_control() || letter == '\t' {
            out.push(letter);
        }
    }
    out
}

fn sentence(first: &Kernel, next: &Kernel, report: &Report, took: Duration) -> String {
    let accel = match report.accel {
        Accel::Kvm => "KVM",
        Accel::Tcg => "emulation",
    };
    format!(
        "Seen, after {:.0} s in all: Debian's stock Linux {}, running in QEMU ({accel}), let kpeel \
         open a UKI by the BPF parser inside it, and started Linux {} out of that UKI, whose init \
         found its initrd and exactly the command line it was given.",
        took.as_secs_f32(),
        first.release,
        next.release
    )
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn a_guest_cannot_move_the_terminals_cursor() {
        assert_eq!(printable(b"\x1b[2J\x07ok\tgo\r\n"), "ok\tgo");
        assert_eq!(printable(b"1 %\r\x1b[2K2 %   \r\n"), "2 %");
        assert_eq!(printable(b"\x1b"), "");
        assert_eq!(printable(b"\x1b[1;3"), "");
    }
}
