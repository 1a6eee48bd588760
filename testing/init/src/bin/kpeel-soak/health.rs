//! What the kernel holds, and whether it has complained.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use crate::call::bpf_ids;
use crate::{Outcome, read, say, write};

const KMEMLEAK: &str = "/sys/kernel/debug/kmemleak";
/// kmemleak reports nothing that is younger than five seconds (`mm/kmemleak.c`).
const KMEMLEAK_AGE: Duration = Duration::from_secs(6);
/// How many leaks are told in full.
const LEAKS_TOLD: usize = 4;
/// `BPF_{PROG,MAP,BTF,LINK}_GET_NEXT_ID` of `enum bpf_cmd`.
const NEXT_ID: [libc::c_int; 4] = [11, 12, 23, 31];

/// Looks after the kernel from the first load on.
pub(crate) struct Health {
    /// Whether kmemleak is there and at work; it may be off from the start, but must not give up.
    kmemleak: bool,
}

impl Health {
    /// Makes kmemleak forget what was there before the first load.
    pub(crate) fn begin() -> Outcome<Self> {
        mount_debugfs()?;
        // It takes no command if the kernel's command line has switched it off.
        let kmemleak = fs::exists(KMEMLEAK).unwrap_or(false) && write(KMEMLEAK, "scan=off").is_ok();
        if kmemleak {
            leaks()?;
            write(KMEMLEAK, "clear")?;
        }
        Ok(Self { kmemleak })
    }

    /// Tells the kernel's health after this many loads.
    ///
    /// # Errors
    /// When kmemleak knows of a leak, or has given up.
    pub(crate) fn sample(&self, loads: u32) -> Outcome<()> {
        let leaks = if self.kmemleak { Some(leaks()?) } else { None };
        tell(loads, leaks.as_ref().map(Vec::len))?;
        match leaks {
            Some(leaks) if !leaks.is_empty() => {
                for leak in leaks.iter().take(LEAKS_TOLD) {
                    eprintln!("{leak}");
                }
                Err(format!("{} leaks after {loads} loads", leaks.len()))
            }
            _ => Ok(()),
        }
    }
}

fn tell(loads: u32, leaks: Option<usize>) -> Outcome<()> {
    let memory = read("/proc/meminfo")?;
    let kib = |name: &str| {
        let line = memory.lines().find(|line| line.starts_with(name));
        let word = line.and_then(|line| line.split_whitespace().nth(1));
        word.unwrap_or("null").to_owned()
    };
    say(&format!(
        "{{\"sample\": {loads}, \"mem_available_kib\": {}, \"free_lists_kib\": {}, \"slab_unreclaimable_kib\": {}, \
         \"vmalloc_used_kib\": {}, \"descriptors\": {}, \"bpf_ids\": {:?}, \"threads\": {}, \"kmemleak\": {}, \
         \"tainted\": {}}}",
        kib("MemAvailable:"),
        free_lists()?,
        kib("SUnreclaim:"),
        kib("VmallocUsed:"),
        entries("/proc/self/fd")?,
        NEXT_ID.map(bpf_ids),
        loader_threads()?,
        leaks.map_or("null".to_owned(), |count| count.to_string()),
        read("/proc/sys/kernel/tainted")?.trim(),
    ))
}

fn mount_debugfs() -> Outcome<()> {
    let (kind, place) = (c"debugfs", c"/sys/kernel/debug");
    // SAFETY: The strings end with NUL; without data a null pointer is expected.
    let result = unsafe {
        libc::mount(
            kind.as_ptr(),
            place.as_ptr(),
            kind.as_ptr(),
            0,
            std::ptr::null(),
        )
    };
    let error = std::io::Error::last_os_error();
    if result == 0 || error.raw_os_error() == Some(libc::EBUSY) {
        return Ok(());
    }
    Err(format!("mounting debugfs: {error}"))
}

/// What kmemleak reports, one text a leak.
fn leaks() -> Outcome<Vec<String>> {
    sleep(KMEMLEAK_AGE);
    // The first scan notes checksums; what has not changed at the second is reported.
    write(KMEMLEAK, "scan")?;
    write(KMEMLEAK, "scan")?;
    let report = read(KMEMLEAK)?;
    let mut leaks = Vec::new();
    for line in report.lines() {
        if line.starts_with("unreferenced object") {
            leaks.push(String::new());
        }
        if let Some(leak) = leaks.last_mut() {
            leak.push_str(line);
            leak.push('\n');
        }
    }
    Ok(leaks)
}

/// Memory in the processors' own lists of free pages, in KiB: it is free, but not in what `MemAvailable` counts.
fn free_lists() -> Outcome<u64> {
    const PAGE_KIB: u64 = 4;
    let zones = read("/proc/zoneinfo")?;
    let counts = zones
        .lines()
        .filter_map(|line| line.trim().strip_prefix("count:"));
    let pages = counts.filter_map(|count| count.trim().parse::<u64>().ok());
    Ok(pages.sum::<u64>() * PAGE_KIB)
}

/// Threads of loads, of which none may be left between two.
fn loader_threads() -> Outcome<usize> {
    let processes = fs::read_dir("/proc").map_err(|error| format!("/proc: {error}"))?;
    let comm = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("comm")).ok();
    let names = processes.flatten().filter_map(comm);
    Ok(names.filter(|name| name.trim() == "kexec_pe").count())
}

/// Entries of a directory.
fn entries(path: &str) -> Outcome<usize> {
    let list = fs::read_dir(path).map_err(|error| format!("{path}: {error}"))?;
    Ok(list.count())
}
