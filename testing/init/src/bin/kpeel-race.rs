//! What a caller can do while its own load is at work.
//!
//! `kpeel-race ATTACK IMAGE`: one thread loads IMAGE; as soon as Linux runs the image's parser, another one attacks.
//! The load must succeed all the same, and still be at work when the attack is over: one that comes too late
//! proves nothing.
//!
//! | attack | what it does |
//! |---|---|
//! | `descriptors` | closes every descriptor of the process, puts another file in the image's place |
//! | `file` | overwrites and truncates the image |
//! | `second` | loads the image once more, which must be refused with EBUSY |
//! | `signals` | stops, traces and kills the kernel thread that works |
#![expect(
    unsafe_code,
    reason = "kexec_file_load has no other interface, nor has the work on a descriptor somebody else uses"
)]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, RawFd};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// `KEXEC_FILE_NO_INITRAMFS` (`include/uapi/linux/kexec.h`).
const NO_INITRAMFS: libc::c_ulong = 4;
/// The thread's name.
const THREAD: &str = "kexec_pe";
/// Time it has to appear.
const PATIENCE: Duration = Duration::from_secs(60);
/// Descriptors that are closed, from the first behind standard error on.
const CLOSED: std::ops::Range<RawFd> = 3..64;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        [attack, image] => race(attack, image),
        _ => Err("usage: kpeel-race ATTACK IMAGE".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kpeel-race: {error}");
            ExitCode::FAILURE
        }
    }
}

fn race(attack: &str, image: &str) -> Result<(), String> {
    // Forgotten, not dropped: the attack may have closed it, and then it is somebody else's.
    let file = std::mem::ManuallyDrop::new(open(image)?);
    let fd = file.as_raw_fd();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let loading = scope.spawn(|| {
            let result = load(fd);
            over.store(true, Ordering::SeqCst);
            result
        });
        let attacked = wait_for_thread(&over).and_then(|pid| match attack {
            "descriptors" => replace(fd),
            "file" => overwrite(image),
            "second" => second(image),
            "signals" => signals(pid),
            _ => Err(format!("{attack:?} is no attack")),
        });
        let late = over.load(Ordering::SeqCst);
        let loaded = loading.join().map_err(|_| "the load panicked")?;
        attacked?;
        loaded.map_err(|error| format!("the attacked load: {error}"))?;
        if late {
            return Err("the load was over before the attack".to_owned());
        }
        Ok(())
    })
}

/// The process number of the kernel thread, once it is there.
fn wait_for_thread(over: &AtomicBool) -> Result<i32, String> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE && !over.load(Ordering::SeqCst) {
        let processes = fs::read_dir("/proc").map_err(|error| format!("/proc: {error}"))?;
        let mut pids =
            processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
        let found = pids.find(|pid| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == THREAD)
        });
        if let Some(pid) = found {
            return Ok(pid);
        }
    }
    Err(format!("no thread {THREAD} was seen"))
}

fn replace(image: RawFd) -> Result<(), String> {
    for fd in CLOSED {
        // SAFETY: Nothing of this process but the load at work uses a descriptor, which is the attack.
        unsafe { libc::close(fd) };
    }
    let other = std::mem::ManuallyDrop::new(open("/proc/self/exe")?);
    // SAFETY: As above.
    if unsafe { libc::dup2(other.as_raw_fd(), image) } == image {
        return Ok(());
    }
    Err(failed("dup2"))
}

fn overwrite(image: &str) -> Result<(), String> {
    let written = OpenOptions::new()
        .write(true)
        .open(image)
        .and_then(|mut file| {
            file.write_all(b"MZ and something else altogether")?;
            file.set_len(32)
        });
    written.map_err(|error| format!("writing {image}: {error}"))
}

fn second(image: &str) -> Result<(), String> {
    let file = open(image)?;
    match load(file.as_raw_fd()).map_err(|error| error.raw_os_error()) {
        Err(Some(libc::EBUSY)) => Ok(()),
        other => Err(format!("a second load: {other:?}, needed EBUSY")),
    }
}

fn signals(pid: i32) -> Result<(), String> {
    for signal in [libc::SIGSTOP, libc::SIGTERM, libc::SIGKILL] {
        // SAFETY: Takes numbers only.
        if unsafe { libc::kill(pid, signal) } != 0 {
            return Err(failed("kill"));
        }
    }
    // SAFETY: Takes numbers only; attaching uses no address.
    let traced = unsafe { libc::ptrace(libc::PTRACE_ATTACH, pid, 0, 0) };
    let error = io::Error::last_os_error();
    if traced == -1 && error.raw_os_error() == Some(libc::EPERM) {
        return Ok(());
    }
    Err(format!("ptrace: {traced}, {error}, needed EPERM"))
}

fn load(image: RawFd) -> io::Result<()> {
    // SAFETY: With these arguments the kernel reads no memory of ours.
    let result = unsafe {
        libc::syscall(
            libc::SYS_kexec_file_load,
            image,
            -1,
            0,
            std::ptr::null::<libc::c_char>(),
            NO_INITRAMFS,
        )
    };
    if result == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error())
}

fn open(path: &str) -> Result<File, String> {
    File::open(path).map_err(|error| format!("{path}: {error}"))
}

fn failed(what: &str) -> String {
    format!("{what}: {}", io::Error::last_os_error())
}
