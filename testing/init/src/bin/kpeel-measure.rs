//! Measures commands against each other, interleaved.
//!
//! `kpeel-measure ROUNDS FILE`: each line of FILE is `NAME<tab>NEEDLE<tab>PROGRAM ARGUMENT...`, parted by blanks. A
//! round runs every command once, in turn forwards and backwards; a round before the first warms up and is not told.
//! For each run one line is printed (times in microseconds):
//!
//! ```text
//! kpeel-measure: NAME reached=1 wall=12 cpu=10 resident=4096 peak=8192
//! ```
//! `reached`: NEEDLE is in what the command said. `cpu`: user and system time, children's too. `resident`: bytes of
//! its largest process. `peak`: bytes that all its processes had together at one moment, files in memory and the
//! kernel's share included, as the memory controller counts; programs and images lie in memory before, and are in
//! no one's count.
#![expect(unsafe_code, reason = "mount and wait4 are raw calls")]

use std::ffi::CStr;
use std::fs::{self, File};
use std::io;
use std::process::{Command, ExitCode, Stdio};
use std::ptr;
use std::time::Instant;

const GROUPS: &CStr = c"/run/groups";
const SAID: &str = "/run/said";
/// Where programs leave files behind.
const LEFT: &str = "/tmp";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [rounds, file] => match measure(rounds, file) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("kpeel-measure: {error}");
                ExitCode::FAILURE
            }
        },
        _ => {
            eprintln!("usage: kpeel-measure ROUNDS FILE");
            ExitCode::from(2)
        }
    }
}

fn measure(rounds: &str, file: &str) -> Result<(), String> {
    let rounds: u32 = rounds.parse().map_err(|_| "ROUNDS is no number")?;
    let text = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    let mut entrants = text
        .lines()
        .map(|line| Entrant::parse(line).ok_or_else(|| format!("{file}: cannot read {line:?}")))
        .collect::<Result<Vec<_>, _>>()?;
    control_memory().map_err(|error| format!("memory controller: {error}"))?;
    for entrant in &entrants {
        let run = entrant.run().map_err(|error| entrant.failed(&error))?;
        println!("kpeel-measure: first run of {}:", entrant.name);
        print!("{}", run.said);
    }
    for _ in 0..rounds {
        for entrant in &entrants {
            let run = entrant.run().map_err(|error| entrant.failed(&error))?;
            println!(
                "kpeel-measure: {} reached={} wall={} cpu={} resident={} peak={}",
                entrant.name,
                u8::from(run.said.contains(entrant.needle)),
                run.wall,
                run.cpu,
                run.resident,
                run.peak
            );
        }
        entrants.reverse();
    }
    Ok(())
}

/// One of the commands.
struct Entrant<'t> {
    name: &'t str,
    needle: &'t str,
    command: Vec<&'t str>,
}

/// What one run took, in microseconds and bytes.
struct Run {
    said: String,
    wall: u128,
    cpu: i64,
    resident: i64,
    peak: u64,
}

impl<'t> Entrant<'t> {
    fn parse(line: &'t str) -> Option<Self> {
        let mut parts = line.splitn(3, '\t');
        let (name, needle) = (parts.next()?, parts.next()?);
        let command: Vec<&str> = parts.next()?.split_whitespace().collect();
        (!command.is_empty()).then_some(Self {
            name,
            needle,
            command,
        })
    }

    fn failed(&self, error: &io::Error) -> String {
        format!("{}: {error}", self.name)
    }

    fn run(&self) -> io::Result<Run> {
        let said = File::create(SAID)?;
        let mut command = Command::new(self.command[0]);
        command
            .args(&self.command[1..])
            .stdin(Stdio::null())
            .stderr(said.try_clone()?)
            .stdout(said);
        let group = Group::enter()?;
        let begun = Instant::now();
        let child = command.spawn()?;
        let usage = wait(child.id())?;
        let wall = begun.elapsed().as_micros();
        let peak = group.leave()?;
        for left in fs::read_dir(LEFT)? {
            fs::remove_file(left?.path())?;
        }
        let micros = |time: libc::timeval| time.tv_sec * 1_000_000 + time.tv_usec;
        Ok(Run {
            said: String::from_utf8_lossy(&fs::read(SAID)?).into_owned(),
            wall,
            cpu: micros(usage.ru_utime) + micros(usage.ru_stime),
            // In KiB, by getrusage(2).
            resident: usage.ru_maxrss * 1024,
            peak,
        })
    }
}

/// A memory control group with this process in it; what it starts is in it too.
struct Group;

impl Group {
    const PLACE: &str = "/run/groups/run";

    fn enter() -> io::Result<Self> {
        fs::create_dir(Self::PLACE)?;
        fs::write(format!("{}/cgroup.procs", Self::PLACE), "0")?;
        Ok(Self)
    }

    /// Leaves and removes the group; returns its peak in bytes.
    fn leave(self) -> io::Result<u64> {
        fs::write("/run/groups/cgroup.procs", "0")?;
        let peak = fs::read_to_string(format!("{}/memory.peak", Self::PLACE))?;
        fs::remove_dir(Self::PLACE)?;
        peak.trim().parse().map_err(io::Error::other)
    }
}

fn control_memory() -> io::Result<()> {
    let groups = GROUPS.to_str().map_err(io::Error::other)?;
    fs::create_dir_all(groups)?;
    let kind = c"cgroup2".as_ptr();
    // SAFETY: the strings are NUL-terminated literals; without data a null pointer is what the call expects.
    let result = unsafe { libc::mount(kind, GROUPS.as_ptr(), kind, 0, ptr::null()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    fs::write(format!("{groups}/cgroup.subtree_control"), "+memory")
}

/// Waits for a child and returns what it and its own children used.
fn wait(child: u32) -> io::Result<libc::rusage> {
    let child = libc::pid_t::try_from(child).map_err(io::Error::other)?;
    let mut status = 0;
    // SAFETY: the structure holds only integers, for all of which zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live variables of the types that wait4(2) fills.
    let waited = unsafe { libc::wait4(child, &raw mut status, 0, &raw mut usage) };
    if waited == child {
        return Ok(usage);
    }
    Err(io::Error::last_os_error())
}
