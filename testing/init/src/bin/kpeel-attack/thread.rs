//! The loader thread and its descriptors, looked for by whoever has the right to look.

use std::fs;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// The thread's name.
const NAME: &str = "kexec_pe";
/// Descriptors that are tried.
const TRIED: i32 = 8;

/// What was seen of it.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Times the thread was there.
    pub(crate) threads: u64,
    /// `pidfd_getfd` refused with EPERM.
    pub(crate) refused: u64,
    /// Descriptors it gave.
    pub(crate) taken: u64,
    /// Files of `/proc/PID/fd` that could be opened.
    pub(crate) opened: u64,
    /// Descriptors of BPF objects in this process, beyond its own.
    pub(crate) own: u64,
}

/// Tries until told to stop.
pub(crate) fn watch(stop: &AtomicBool) -> Result<Seen, String> {
    let mut seen = Seen::default();
    // Of our own making.
    let before = bpf_files("/proc/self/fd");
    while !stop.load(Ordering::Relaxed) {
        seen.own += bpf_files("/proc/self/fd").saturating_sub(before);
        for pid in threads() {
            seen.threads += 1;
            try_one(pid, &mut seen);
        }
    }
    Ok(seen)
}

/// `pidfd_getfd` and `/proc` work where they may: on this process.
pub(crate) fn take_own(file: &OwnedFd) -> Result<(), String> {
    let pid = std::process::id() as i32;
    let pidfd = open(pid).ok_or("pidfd_open fails for this very process")?;
    if bpf_files("/proc/self/fd") != 1 {
        return Err("a map of our own is not seen in /proc/self/fd".to_owned());
    }
    take(&pidfd, file.as_raw_fd())
        .map(|_| ())
        .map_err(|errno| format!("pidfd_getfd of our own map: errno {errno}"))
}

/// Kernel threads of the loader's name.
fn threads() -> Vec<i32> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == NAME)
    })
    .collect()
}

fn try_one(pid: i32, seen: &mut Seen) {
    let Some(pidfd) = open(pid) else {
        return;
    };
    for fd in 0..TRIED {
        match take(&pidfd, fd) {
            Ok(_) => seen.taken += 1,
            Err(libc::EPERM) => seen.refused += 1,
            Err(_) => {}
        }
        let path = format!("/proc/{pid}/fd/{fd}");
        if fs::File::open(&path).is_ok() {
            seen.opened += 1;
        }
        if std::ffi::CString::new(path).is_ok_and(|path| crate::bpf::get(&path).is_ok()) {
            seen.opened += 1;
        }
    }
}

fn bpf_files(dir: &str) -> u64 {
    let Ok(files) = fs::read_dir(dir) else {
        return 0;
    };
    let links = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    // Another thread's iterators come and go.
    links
        .filter(|link| link.to_string_lossy().starts_with("anon_inode:bpf"))
        .filter(|link| link.as_os_str() != "anon_inode:bpf_iter")
        .count() as u64
}

fn open(pid: i32) -> Option<OwnedFd> {
    // SAFETY: Takes numbers only.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    // SAFETY: The kernel just opened it for us.
    (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

fn take(pidfd: &OwnedFd, fd: i32) -> Result<OwnedFd, i32> {
    // SAFETY: Takes numbers only.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), fd, 0) };
    if fd < 0 {
        return Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0));
    }
    // SAFETY: The kernel just opened it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
