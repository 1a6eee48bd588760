//! Nothing but `kexec_file_load(2)`: a client that knows no format, for kernels that open images
//! themselves.
//!
//! `kpeel-raw --start` starts the kernel that was loaded, `kpeel-raw --unload` lets it go, `kpeel-raw --measured TEXT`
//! only looks into IMA's list.
//!
//! `kpeel-raw [--crash] [--initrd FILE] [--append TEXT] [--kill MILLISECONDS] [--measured TEXT] [--logged TEXT]
//! [--memory ADDRESS] IMAGE`:
//! exit status 0 if the kernel took the image, 1 if not. Standard error then holds the call's error
//! and what the kernel told of it in its log. With `--kill` a child makes the call and gets SIGKILL
//! after that time, or, where the call is over by then, after half of it and so on; it must be gone within a second. With `--measured` IMA's list must afterwards
//! hold exactly one command line for kexec, this one. With `--logged` this is one of the lines the kernel told of a
//! load that succeeded. With `--memory` the caller has readable memory at this address (hexadecimal), which holds no zero.
#![expect(
    unsafe_code,
    reason = "kexec_file_load and reboot are raw calls; fork, to kill who calls it; mmap, to have memory at an address"
)]

#[path = "../file_load.rs"]
mod file_load;

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// A flag of `kexec_file_load` (`include/uapi/linux/kexec.h`).
const ON_CRASH: libc::c_ulong = 2;
/// What the kernel's part begins its messages with.
const PREFIX: &str = "kexec_pe: ";
/// One record of the kernel's log at most (`PRINTKRB_RECORD_MAX`, `kernel/printk`).
const RECORD: usize = 8192;
/// IMA's list, one entry a line: PCR, hash, template, digest, name, and of buffers their bytes in
/// hexadecimal (`Documentation/security/IMA-templates.rst`).
const MEASUREMENTS: &str = "/sys/kernel/security/ima/ascii_runtime_measurements";
const MEASURED_NAME: &str = "kexec-cmdline";
/// A call that is killed has to have worked for longer.
const KILLED_AFTER: Duration = Duration::from_millis(50);
/// Time a killed call has to come back.
const KILLED_WITHIN: Duration = Duration::from_secs(1);

/// One call.
struct Call {
    image: File,
    initrd: Option<File>,
    line: Option<CString>,
    flags: libc::c_ulong,
    kill: Option<Duration>,
    measured: Option<String>,
    logged: Option<String>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["--start"] => start(),
        ["--unload"] => unload(),
        ["--measured", line] => measured(line),
        _ => Call::parse(arguments.into_iter()).and_then(|call| call.run()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

impl Call {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let open = |path: String| File::open(&path).map_err(|error| format!("{path}: {error}"));
        let (mut image, mut initrd, mut line) = (None, None, None);
        let (mut kill, mut measured, mut logged) = (None, None, None);
        let mut flags = 0;
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "--crash" => flags |= ON_CRASH,
                "--initrd" => initrd = Some(open(value()?)?),
                "--append" => {
                    line = Some(CString::new(value()?).map_err(|error| error.to_string())?);
                }
                "--kill" => {
                    let millis = value()?.parse().map_err(|_| "--kill needs a number")?;
                    kill = Some(Duration::from_millis(millis));
                }
                "--measured" => measured = Some(value()?),
                "--logged" => logged = Some(value()?),
                "--memory" => map(&value()?)?,
                _ => image = Some(open(word)?),
            }
        }
        Ok(Self {
            image: image.ok_or("usage: kpeel-raw [OPTION...] IMAGE")?,
            initrd,
            line,
            flags,
            kill,
            measured,
            logged,
        })
    }

    fn run(&self) -> Result<(), String> {
        let mut log = Log::open().map_err(|error| format!("/dev/kmsg: {error}"))?;
        if let Some(after) = self.kill {
            return self.killed(after);
        }
        self.load().map_err(|error| {
            let mut text = format!("kexec_file_load: {error}");
            for line in log.new_lines() {
                text.push('\n');
                text.push_str(&line);
            }
            text
        })?;
        if let Some(needed) = &self.logged {
            let lines = log.new_lines();
            if !lines.contains(needed) {
                return Err(format!("the kernel told {lines:?}, needed {needed:?}"));
            }
        }
        self.measured.as_deref().map_or(Ok(()), measured)
    }

    fn load(&self) -> io::Result<()> {
        let line = self.line.as_deref();
        file_load::load(&self.image, self.initrd.as_ref(), line, self.flags)
    }

    /// Kills a child amid its call, and demands that it is gone soon.
    ///
    /// How long a call takes is the machine's affair: halving meets its second half.
    fn killed(&self, mut after: Duration) -> Result<(), String> {
        while after > KILLED_AFTER {
            if let Some(took) = self.kill(after)? {
                println!("kpeel-raw: gone {took:?} after SIGKILL, sent after {after:?}");
                if took <= KILLED_WITHIN {
                    return Ok(());
                }
                return Err(format!(
                    "gone {took:?} after SIGKILL, needed {KILLED_WITHIN:?}"
                ));
            }
            after /= 2;
        }
        Err(format!("the call took less than {KILLED_AFTER:?}"))
    }

    /// How long a child that is killed `after` some time stays; `None` if its call was over before.
    fn kill(&self, after: Duration) -> Result<Option<Duration>, String> {
        // SAFETY: There is one thread; the child makes one system call and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let _ = self.load();
            std::process::abort();
        }
        std::thread::sleep(after);
        let sent = Instant::now();
        let mut status = 0;
        // SAFETY: The child is ours and not yet waited for.
        unsafe { libc::kill(child, libc::SIGKILL) };
        // SAFETY: As above; the status is written.
        let ended = unsafe { libc::waitpid(child, &mut status, 0) };
        let took = sent.elapsed();
        if ended != child || !libc::WIFSIGNALED(status) {
            return Err(format!("waitpid: {ended}, status {status:#x}"));
        }
        Ok((libc::WTERMSIG(status) == libc::SIGKILL).then_some(took))
    }
}

/// Puts memory at this address, in hexadecimal, each byte of it 1.
fn map(address: &str) -> Result<(), String> {
    const SIZE: usize = 4096;
    let number = usize::from_str_radix(address, 16).map_err(|error| error.to_string())?;
    let wanted: *mut libc::c_void = std::ptr::without_provenance_mut(number);
    // SAFETY: Memory that is there already is not replaced.
    let memory = unsafe {
        libc::mmap(
            wanted,
            SIZE,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE,
            -1,
            0,
        )
    };
    if memory != wanted {
        return Err(format!("mmap {address}: {}", io::Error::last_os_error()));
    }
    // SAFETY: They are ours, just mapped to be written.
    unsafe { memory.cast::<u8>().write_bytes(1, SIZE) };
    Ok(())
}

/// Comes back only to say why not.
fn start() -> Result<(), String> {
    // SAFETY: Takes a constant; the memory file systems have nothing to lose.
    unsafe { libc::reboot(libc::LINUX_REBOOT_CMD_KEXEC) };
    Err(format!("reboot: {}", io::Error::last_os_error()))
}

fn unload() -> Result<(), String> {
    file_load::unload().map_err(|error| format!("kexec_file_load: {error}"))
}

/// Demands one measured command line, this one.
fn measured(needed: &str) -> Result<(), String> {
    let list = std::fs::read_to_string(MEASUREMENTS);
    let list = list.map_err(|error| format!("{MEASUREMENTS}: {error}"))?;
    let lines = list.lines().map(|line| line.split_whitespace().skip(4));
    let found: Vec<&str> = lines
        .filter_map(|mut fields| (fields.next()? == MEASURED_NAME).then(|| fields.next())?)
        .collect();
    let needed: String = needed.bytes().map(|byte| format!("{byte:02x}")).collect();
    if found == [needed.as_str()] {
        return Ok(());
    }
    Err(format!("measured {found:?}, needed one {needed:?}"))
}

/// The kernel's log from now on.
struct Log(File);

impl Log {
    fn open() -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/kmsg")?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self(file))
    }

    /// The messages of the part that opens images, one record each (`Documentation/ABI/testing/dev-kmsg`).
    fn new_lines(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut record = [0; RECORD];
        loop {
            match self.0.read(&mut record) {
                Ok(len) => {
                    let text = String::from_utf8_lossy(record.get(..len).unwrap_or_default());
                    let text = text.split_once(';').map_or("", |(_, text)| text);
                    let text = text.lines().next().unwrap_or_default();
                    if text.starts_with(PREFIX) {
                        lines.push(text.to_owned());
                    }
                }
                // Records were lost: go on with the next.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                Err(_) => return lines,
            }
        }
    }
}
