//! How each step is taken. Errors are sentences for the console.

use std::fs;
use std::process::Command;

use crate::job::Step;
use crate::sys;

/// Takes one step.
pub(crate) fn take(step: &Step) -> Result<(), String> {
    match step {
        Step::Cmdline(word) => cmdline_has(word),
        Step::Fail(_) => Err("reached".to_owned()),
        Step::Kexec(kernel, initrd, text) => sys::kexec(kernel, initrd, text),
        Step::Module(path) => sys::load_module(path),
        Step::Refuse(code, command) => run(command, *code),
        Step::Run(command) => run(command, 0),
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
    let (program, arguments) = command.split_first().ok_or("no program")?;
    let status = Command::new(program)
        .args(arguments)
        .status()
        .map_err(|error| format!("{program}: {error}"))?;
    match status.code() {
        Some(code) if code == needed => Ok(()),
        _ => Err(format!("ended with {status}, needed exit status: {needed}")),
    }
}

fn cmdline_has(word: &str) -> Result<(), String> {
    let line = command_line()?;
    if line.split_whitespace().any(|found| found == word) {
        return Ok(());
    }
    Err(format!("command line: found {line:?}"))
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
