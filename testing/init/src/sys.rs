//! The system calls of PID 1 that the standard library does not have.
#![expect(
    unsafe_code,
    reason = "mount, modules, kexec, the console level and power-off are raw calls"
)]

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::ptr;

/// Source (also the type) and place of each file system.
const MOUNTS: &[(&str, &str)] = &[
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("tmpfs", "/tmp"),
    ("tmpfs", "/run"),
];

/// Mounted if the kernel has it.
const OPTIONAL: (&str, &str) = ("securityfs", "/sys/kernel/security");

/// `SYSLOG_ACTION_CONSOLE_LEVEL` of syslog(2).
const SET_CONSOLE_LEVEL: libc::c_int = 8;
/// Only a panic is still printed.
const CONSOLE_SILENT: libc::c_int = 1;

/// Mounts what programs expect to find.
pub(crate) fn mount_all() -> Result<(), String> {
    for (kind, place) in MOUNTS {
        mount(kind, place).map_err(|error| format!("mounting {place}: {error}"))?;
    }
    let (kind, place) = OPTIONAL;
    // A step that needs it says that it is missing.
    let _ = mount(kind, place);
    Ok(())
}

/// Takes the flag of a file that must not change away.
pub(crate) fn make_mutable(file: &File) -> io::Result<()> {
    const FS_IMMUTABLE_FL: libc::c_int = 0x10;
    let mut flags: libc::c_int = 0;
    // SAFETY: the descriptor is open; the call writes one int, which `flags` has room for.
    let read = unsafe { libc::ioctl(file.as_raw_fd(), libc::FS_IOC_GETFLAGS, &mut flags) };
    if read != 0 {
        return Err(io::Error::last_os_error());
    }
    flags &= !FS_IMMUTABLE_FL;
    // SAFETY: the descriptor is open; the call reads one int.
    let written = unsafe { libc::ioctl(file.as_raw_fd(), libc::FS_IOC_SETFLAGS, &flags) };
    if written != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Loads the module in the file at `path`, without parameters.
pub(crate) fn load_module(path: &str) -> Result<(), String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    // SAFETY: the descriptor is open for the whole call, and the parameters are a NUL-terminated
    // literal; the kernel reads both and keeps neither.
    let result = unsafe {
        libc::syscall(
            libc::SYS_finit_module,
            file.as_raw_fd(),
            c"".as_ptr(),
            0 as libc::c_int,
        )
    };
    if result == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error().to_string())
}

/// Loads a kernel with its initrd and command line, and starts it; comes back only to say why not.
pub(crate) fn kexec(kernel: &str, initrd: &str, command_line: &str) -> Result<(), String> {
    let open = |path: &str| File::open(path).map_err(|error| format!("{path}: {error}"));
    let (kernel, initrd) = (open(kernel)?, open(initrd)?);
    let line = CString::new(command_line).map_err(|error| error.to_string())?;
    // SAFETY: both descriptors are open for the whole call; the length is that of the command line
    // with its NUL, which the kernel copies.
    let result = unsafe {
        libc::syscall(
            libc::SYS_kexec_file_load,
            kernel.as_raw_fd(),
            initrd.as_raw_fd(),
            line.as_bytes_with_nul().len(),
            line.as_ptr(),
            0 as libc::c_ulong,
        )
    };
    if result != 0 {
        return Err(format!("loading: {}", io::Error::last_os_error()));
    }
    // SAFETY: takes a constant; it returns only on failure.
    unsafe {
        libc::reboot(libc::LINUX_REBOOT_CMD_KEXEC);
    }
    Err(format!("starting: {}", io::Error::last_os_error()))
}

/// Keeps the kernel's messages off the console, so that the last line stays whole.
pub(crate) fn silence_kernel() {
    // SAFETY: this action takes no buffer; the pointer is not read.
    unsafe {
        libc::klogctl(SET_CONSOLE_LEVEL, ptr::null_mut(), CONSOLE_SILENT);
    }
}

/// Ends the guest.
pub(crate) fn power_off() -> ! {
    let _ = io::stdout().flush();
    // SAFETY: takes no arguments and touches no memory of ours.
    unsafe {
        libc::sync();
    }
    // SAFETY: takes a constant; it returns only on failure.
    unsafe {
        libc::reboot(libc::RB_POWER_OFF);
    }
    // A kernel without a way to power off halts; the runner's deadline ends it.
    loop {
        std::thread::park();
    }
}

/// Mounts a file system that needs no device.
pub(crate) fn mount(kind: &str, place: &str) -> io::Result<()> {
    std::fs::create_dir_all(place)?;
    let kind = CString::new(kind)?;
    let place = CString::new(place)?;
    // SAFETY: the three strings are NUL-terminated and outlive the call; without data a null
    // pointer is what the call expects.
    let result =
        unsafe { libc::mount(kind.as_ptr(), place.as_ptr(), kind.as_ptr(), 0, ptr::null()) };
    if result == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error())
}
