//! Runs a program and demands something of the kernel meanwhile; ends with the program's exit status, or with 99
//! and a message on standard error.
//!
//! `kpeel-under calls none|all FUNCTION[,FUNCTION]... PROGRAM ARGUMENT...`: the kernel calls none, or each, of these
//! functions, as the function tracer sees it (`Documentation/trace/ftrace.rst`).
//!
//! `kpeel-under memory LIMIT|max LOWEST HIGHEST PROGRAM ARGUMENT...`: the program runs in a cgroup of its own, whose
//! memory is limited to so many bytes; the most it took lies between the two other numbers
//! (`Documentation/admin-guide/cgroup-v2.rst`). With a limit, it must be killed by it, or end with 1 and say that memory
//! ran out (ENOMEM); that counts as success.
#![expect(unsafe_code, reason = "mount has no other interface")]

use std::ffi::CString;
use std::fs;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};

const TRACING: &str = "/sys/kernel/tracing";
const CGROUPS: &str = "/sys/fs/cgroup";
/// Exit status: the demand was not met.
const UNMET: u8 = 99;
/// What a program says first that got no memory.
const NO_MEMORY: &str = "kexec_file_load: Cannot allocate memory (os error 12)";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["calls", which @ ("none" | "all"), functions, program @ ..] => {
            calls(*which == "all", functions, program)
        }
        ["memory", limit, lowest, highest, program @ ..] => memory(limit, lowest, highest, program),
        _ => Err("usage: see the source".to_owned()),
    };
    done.map_or_else(
        |error| {
            eprintln!("kpeel-under: {error}");
            ExitCode::from(UNMET)
        },
        ExitCode::from,
    )
}

/// The functions that the kernel called while the program ran.
fn calls(all: bool, functions: &str, program: &[&str]) -> Result<u8, String> {
    mount("tracefs", TRACING)?;
    let functions: Vec<&str> = functions.split(',').collect();
    set("tracing_on", "0")?;
    set("set_ftrace_filter", &functions.join("\n"))?;
    set("current_tracer", "function")?;
    set("trace", "")?;
    set("tracing_on", "1")?;
    let status = command(program)?.status();
    set("tracing_on", "0")?;
    let trace = read(&format!("{TRACING}/trace"))?;
    set("current_tracer", "nop")?;
    // `TASK-PID [CPU] FLAGS TIME: FUNCTION <-CALLER`, after comments.
    let lines = trace.lines().filter(|line| !line.starts_with('#'));
    let called: Vec<&str> = lines
        .filter_map(|line| line.split_once(": ")?.1.split_whitespace().next())
        .collect();
    let missing = functions.iter().find(|name| !called.contains(name));
    match (all, missing, called.first()) {
        (true, Some(name), _) => Err(format!("{name} was not called, others {called:?}")),
        (false, _, Some(name)) => Err(format!("{name} was called")),
        _ => ended(status),
    }
}

fn set(file: &str, text: &str) -> Result<(), String> {
    let path = format!("{TRACING}/{file}");
    // Opening it for truncation empties a list or the trace.
    fs::write(&path, text).map_err(|error| format!("writing {text:?} to {path}: {error}"))
}

fn memory(limit: &str, lowest: &str, highest: &str, program: &[&str]) -> Result<u8, String> {
    let number = |text: &str| {
        text.parse::<u64>()
            .map_err(|_| format!("{text:?} is no number"))
    };
    let (lowest, highest) = (number(lowest)?, number(highest)?);
    mount("cgroup2", CGROUPS)?;
    put(CGROUPS, "cgroup.subtree_control", "+memory")?;
    let group = format!("{CGROUPS}/kpeel-{}", std::process::id());
    fs::create_dir(&group).map_err(|error| format!("{group}: {error}"))?;
    put(&group, "memory.max", limit)?;
    let members = format!("{group}/cgroup.procs");
    let mut command = command(program)?;
    // SAFETY: The child only opens a file and writes one byte to it before it becomes the program.
    unsafe { command.pre_exec(move || fs::write(&members, "0")) };
    let output = command
        .output()
        .map_err(|error| format!("running the program: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    eprint!("{said}");
    let peak = number(read(&format!("{group}/memory.peak"))?.trim())?;
    let events = read(&format!("{group}/memory.events"))?;
    let kills = events
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "))
        .unwrap_or("0");
    println!("kpeel-under: memory.peak {peak}, oom_kill {kills}");
    if peak < lowest || peak > highest {
        return Err(format!("memory.peak {peak}, needed {lowest} to {highest}"));
    }
    let killed = output.status.signal() == Some(libc::SIGKILL) && kills != "0";
    let refused = output.status.code() == Some(1) && said.lines().next() == Some(NO_MEMORY);
    match limit {
        "max" => ended(Ok(output.status)),
        _ if killed || refused => Ok(0),
        _ => Err(format!("the program ended with {}", output.status)),
    }
}

fn put(group: &str, file: &str, text: &str) -> Result<(), String> {
    let path = format!("{group}/{file}");
    fs::write(&path, text).map_err(|error| format!("writing {text:?} to {path}: {error}"))
}

fn command(program: &[&str]) -> Result<Command, String> {
    let (program, arguments) = program.split_first().ok_or("no program")?;
    let mut command = Command::new(program);
    command.args(arguments);
    Ok(command)
}

fn ended(status: std::io::Result<ExitStatus>) -> Result<u8, String> {
    let status = status.map_err(|error| format!("running the program: {error}"))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.ok_or_else(|| format!("the program ended with {status}"))
}

fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))
}

/// Mounts it if it is not yet.
fn mount(kind: &str, place: &str) -> Result<(), String> {
    let mounted = read("/proc/mounts")?;
    if mounted
        .lines()
        .any(|line| line.split_whitespace().nth(1) == Some(place))
    {
        return Ok(());
    }
    if !Path::new(place).is_dir() {
        return Err(format!("the kernel has no {place}"));
    }
    let failed = |error: std::io::Error| format!("mounting {place}: {error}");
    let kind = CString::new(kind).map_err(|error| failed(error.into()))?;
    let target = CString::new(place).map_err(|error| failed(error.into()))?;
    // SAFETY: The strings are NUL-terminated and outlive the call, which needs no data.
    let result = unsafe {
        libc::mount(
            kind.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            0,
            std::ptr::null(),
        )
    };
    if result == 0 {
        return Ok(());
    }
    Err(failed(std::io::Error::last_os_error()))
}
