//! How each step is taken. Errors are sentences for the console.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::process::{Command, ExitStatus, Output};

use crate::job::Step;
use crate::sys;

/// First bytes of an ELF file (System V ABI, "ELF Identification").
const ELF_MAGIC: [u8; 4] = *b"\x7fELF";

/// Takes one step.
pub(crate) fn take(step: &Step) -> Result<(), String> {
    match step {
        Step::Cmdline(word) => cmdline_has(word),
        Step::Copy(from, to) => copy(from, to),
        Step::Elf(path) => begins(path, ELF_MAGIC),
        Step::Fail(_) => Err("reached".to_owned()),
        Step::Kexec(kernel, initrd, text) => sys::kexec(kernel, initrd, text),
        Step::Module(path) => sys::load_module(path),
        Step::Mount(kind, place) => sys::mount(kind, place).map_err(|error| error.to_string()),
        Step::Refuse(code, command) => run(command, *code),
        Step::Run(command) => run(command, 0),
        Step::Says(path, code, command) => says(path, *code, command),
        Step::Same(first, second) => same(first, second),
        Step::Text(path, text) => has_text(path, text),
        Step::Write(path, text) => {
            fs::write(path, format!("{text}\n")).map_err(|error| error.to_string())
        }
    }
}

/// The running kernel's command line.
pub(crate) fn command_line() -> Result<String, String> {
    read("/proc/cmdline").map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned())
}

fn run(command: &[String], needed: i32) -> Result<(), String> {
    let (program, mut command) = prepared(command)?;
    let status = command
        .status()
        .map_err(|error| format!("{program}: {error}"))?;
    exited(status, needed)
}

fn says(path: &str, needed: i32, command: &[String]) -> Result<(), String> {
    let message = read(path)?;
    let (program, mut command) = prepared(command)?;
    let Output { status, stderr, .. } = command
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    // What was said belongs into the log, also when it is right.
    let _ = io::stderr().write_all(&stderr);
    exited(status, needed)?;
    let (found, needed) = (trimmed(&stderr), trimmed(&message));
    if found == needed {
        return Ok(());
    }
    Err(format!("said {found:?}, needed {needed:?}"))
}

fn prepared(command: &[String]) -> Result<(&String, Command), String> {
    let (program, arguments) = command.split_first().ok_or("no program")?;
    let mut command = Command::new(program);
    command.args(arguments);
    Ok((program, command))
}

fn exited(status: ExitStatus, needed: i32) -> Result<(), String> {
    match status.code() {
        Some(code) if code == needed => Ok(()),
        _ => Err(format!("ended with {status}, needed exit status: {needed}")),
    }
}

fn trimmed(text: &[u8]) -> String {
    String::from_utf8_lossy(text).trim().to_owned()
}

fn begins(path: &str, magic: [u8; 4]) -> Result<(), String> {
    let mut found = [0; 4];
    File::open(path)
        .and_then(|mut file| file.read_exact(&mut found))
        .map_err(|error| format!("{path}: {error}"))?;
    if found == magic {
        return Ok(());
    }
    Err(format!("begins with {found:02x?}, needed {magic:02x?}"))
}

fn cmdline_has(word: &str) -> Result<(), String> {
    let line = command_line()?;
    if line.split_whitespace().any(|found| found == word) {
        return Ok(());
    }
    Err(format!("command line: found {line:?}"))
}

/// In one write: a variable of the firmware's takes no less.
fn copy(from: &str, to: &str) -> Result<(), String> {
    let bytes = read(from)?;
    if let Ok(file) = File::open(to) {
        // efivarfs protects variables; other file systems may have no such flag.
        let _ = sys::make_mutable(&file);
    }
    fs::write(to, bytes).map_err(|error| error.to_string())
}

fn same(first: &str, second: &str) -> Result<(), String> {
    let (left, right) = (read(first)?, read(second)?);
    if left == right {
        return Ok(());
    }
    let at = left.iter().zip(&right).take_while(|(l, r)| l == r).count();
    Err(format!(
        "differ at byte {at}; sizes {} and {}",
        left.len(),
        right.len()
    ))
}

fn has_text(path: &str, needed: &str) -> Result<(), String> {
    let bytes = read(path)?;
    let found = String::from_utf8_lossy(&bytes);
    if found.trim() == needed {
        return Ok(());
    }
    Err(format!("found {:?}", found.trim()))
}

fn read(path: &str) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{path}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(line: &str) -> Result<(), String> {
        let job = crate::job::Job::parse(&format!("name test\n{line}")).expect("step is known");
        take(&job.steps[0])
    }

    #[test]
    fn run_demands_exit_status_zero() {
        assert_eq!(step("run true"), Ok(()));
        assert_eq!(
            step("run false"),
            Err("ended with exit status: 1, needed exit status: 0".to_owned())
        );
    }

    #[test]
    fn refuse_demands_the_exact_exit_status() {
        assert_eq!(step("refuse 1 false"), Ok(()));
        assert!(step("refuse 2 false").is_err());
        assert!(step("refuse 1 true").is_err());
    }

    #[test]
    fn says_demands_exit_status_and_message() {
        let message = std::env::temp_dir().join(format!("kpeel-init-{}", std::process::id()));
        fs::write(&message, "no  such\n").expect("temporary directory is writable");
        let says = |code, text| {
            let message = message.display();
            step(&format!(
                "says {message} {code} sh -c \"echo '{text}' >&2; exit 4\""
            ))
        };
        assert_eq!(says(4, "no  such"), Ok(()));
        assert!(says(4, "no such").is_err());
        assert!(says(4, "").is_err());
        assert!(says(3, "no  such").is_err());
        fs::remove_file(&message).expect("it was there");
    }

    #[test]
    fn elf_demands_the_magic() {
        assert_eq!(step("elf /proc/self/exe"), Ok(()));
        assert!(step("elf /proc/version").is_err());
        assert!(step("elf /dev/null").is_err());
    }

    #[test]
    fn run_tells_a_missing_program() {
        assert!(
            step("run /no/such/program")
                .expect_err("missing")
                .contains("/no/such/program")
        );
    }

    #[test]
    fn text_and_same_compare_content() {
        assert_eq!(step("text /proc/sys/kernel/ostype Linux"), Ok(()));
        assert!(step("text /proc/sys/kernel/ostype Linu").is_err());
        assert_eq!(step("same /proc/version /proc/version"), Ok(()));
        assert!(step("same /proc/version /proc/cmdline").is_err());
    }

    #[test]
    fn fail_always_fails() {
        assert!(step("fail never").is_err());
    }
}
