//! Running the programs of a build, with a log.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::kernel::Arch;
use crate::{Error, Result, bindgen, build, tools};

/// Lines of the log that a failure quotes.
const TAIL: usize = 40;

/// Where everything goes that the programs say.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
}

impl Log {
    /// Begins an empty log.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        File::create(path).map_err(Error::io("creating", path))?;
        Ok(Self {
            path: path.to_owned(),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs a program to its end and shows each line it says to `watch`.
    ///
    /// It sees nothing of the caller's environment but `PATH` and where temporary files go, and dies with the caller.
    ///
    /// # Errors
    /// [`Error::Step`] with the end of the log when it fails.
    pub(crate) fn run(
        &self,
        command: &mut Command,
        step: &str,
        watch: impl FnMut(&str),
    ) -> Result<()> {
        let failed = || Error::io("running", Path::new(command.get_program()));
        let status = self.follow(command, watch).map_err(failed())?;
        if status.success() {
            return Ok(());
        }
        let text = fs::read(&self.path).map_err(Error::io("reading", &self.path))?;
        Err(Error::Step {
            step: step.to_owned(),
            status,
            log: self.path.clone(),
            tail: tail(&String::from_utf8_lossy(&text)),
        })
    }

    fn follow(
        &self,
        command: &Command,
        mut watch: impl FnMut(&str),
    ) -> io::Result<std::process::ExitStatus> {
        let mut log = File::options().append(true).open(&self.path)?;
        writeln!(log, "==> {command:?}")?;
        let (reader, writer) = io::pipe()?;
        let mut child = isolated(command)
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .spawn()?;
        // The command, and with it our end of the pipe, is gone by now.
        let mut reader = BufReader::new(reader);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? != 0 {
            log.write_all(&line)?;
            watch(String::from_utf8_lossy(&line).trim_end());
            line.clear();
        }
        child.wait()
    }
}

/// The kernel's `make`, out of tree.
#[derive(Debug)]
pub(crate) struct Make<'a> {
    pub(crate) arch: Arch,
    pub(crate) tree: &'a Path,
    pub(crate) output: &'a Path,
    /// Only for kernels with Rust in them.
    pub(crate) bindgen: Option<&'a Path>,
    pub(crate) log: &'a Log,
}

impl Make<'_> {
    /// Makes the targets; `watch` sees each line.
    pub(crate) fn run(&self, targets: &[&str], watch: impl FnMut(&str)) -> Result<()> {
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        let mut make = Command::new("make");
        make.arg("-C").arg(self.tree);
        make.arg(format!("O={}", self.output.display()));
        make.arg(format!("ARCH={}", self.arch.name()));
        make.args(["LLVM=-22", "--no-print-directory"]);
        if let Some(bindgen) = self.bindgen {
            for name in ["RUSTC", "HOSTRUSTC"] {
                make.arg(format!("{name}={}", tools::RUSTC));
            }
            make.arg(format!("BINDGEN={}", bindgen.display()));
            make.arg(format!("LIBCLANG_PATH={}", bindgen::LIBCLANG));
        }
        make.arg(format!("--jobs={jobs}")).args(targets);
        let step = format!("make {}", targets.join(" "));
        self.log.run(&mut make, &step, watch)
    }
}

/// The same command in an environment of its own, ended when its parent is: a killed build leaves nothing behind that
/// still writes.
fn isolated(command: &Command) -> Command {
    let mut wrapped = Command::new("setpriv");
    wrapped.args(["--pdeathsig", "TERM", "--"]);
    wrapped.arg(command.get_program()).args(command.get_args());
    wrapped.env_clear();
    for name in ["PATH", "TMPDIR"] {
        if let Some(value) = std::env::var_os(name) {
            wrapped.env(name, value);
        }
    }
    wrapped.env("LC_ALL", "C.UTF-8");
    wrapped.envs(build::STAMPS.iter().copied());
    wrapped
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(TAIL);
    let last = lines.iter().skip(from);
    last.flat_map(|line| ["  | ", line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(name: &str) -> Log {
        let name = format!("kpeel-kernel-{name}-{}.log", std::process::id());
        Log::create(&std::env::temp_dir().join(name)).unwrap()
    }

    fn shell(script: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        shell
    }

    #[test]
    fn shows_and_logs_both_outputs() {
        let log = log("both");
        let mut lines = Vec::new();
        log.run(&mut shell("echo one; echo two >&2"), "two lines", |line| {
            lines.push(line.to_owned());
        })
        .unwrap();
        assert_eq!(lines, ["one", "two"]);
        let text = fs::read_to_string(log.path()).unwrap();
        assert!(text.ends_with("\none\ntwo\n"), "{text}");
        fs::remove_file(log.path()).unwrap();
    }

    #[test]
    fn a_failure_quotes_the_end_of_the_log_only() {
        let log = log("end");
        let script = "i=0; while [ $i -lt 100 ]; do echo \"<$i>\"; i=$((i + 1)); done; exit 3";
        let error = log.run(&mut shell(script), "counting", |_| ()).unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("counting failed (exit status: 3); the end of "),
            "{text}"
        );
        assert!(
            text.contains("<60>") && text.ends_with("<99>\n") && !text.contains("<59>"),
            "{text}"
        );
        fs::remove_file(log.path()).unwrap();
    }

    #[test]
    fn the_callers_environment_stays_outside() {
        let log = log("environment");
        let mut lines = Vec::new();
        log.run(
            &mut shell("echo ${CARGO_MANIFEST_DIR-unset} $KBUILD_BUILD_USER"),
            "echo",
            |line| {
                lines.push(line.to_owned());
            },
        )
        .unwrap();
        assert_eq!(lines, ["unset kpeel"]);
        fs::remove_file(log.path()).unwrap();
    }
}
