//! The parent's side: has an image opened in a confined child, and takes the results in sealed
//! memory.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::thread;

use kpeel_confine::Killed;

use super::input::{Input, memory, seal};
use super::results::{Opened, take};
use super::wire::{Answer, Order, Parser, Results, Warning, shown};
use crate::failure::{Cause, Failure, Result};
use crate::terminal;
use crate::trust::KeyFile;

/// The hidden command that the child runs.
pub(crate) const CHILD: &str = "open-confined";

/// Longest answer read, in bytes; there are few and short texts in it.
const ANSWER_MAX: u64 = 16 << 20;
/// Longest line of a child's that is passed on in one piece, in bytes.
const LINE_MAX: u64 = 4096;

/// What is to be opened.
#[derive(Debug)]
pub(crate) struct Task<'t> {
    pub(crate) image: &'t Input,
    pub(crate) initrd: Option<&'t Input>,
    /// The caller's command line with its selector.
    pub(crate) cmdline: Option<&'t str>,
    pub(crate) crash: bool,
    pub(crate) embedded: bool,
    /// Name, and carrier of those that do not come with kpeel.
    pub(crate) parsers: Vec<(String, Option<Vec<u8>>)>,
    pub(crate) trace: bool,
    /// Whose signatures count; none where nobody asks.
    pub(crate) keys: Option<Vec<KeyFile>>,
}

/// Opens the image. Warnings are handed over even when it fails.
pub(crate) fn open(task: &Task<'_>) -> (Vec<Warning>, Result<Opened>) {
    kpeel_confine::inherit_no_files();
    let mut command = Command::new("/proc/self/exe");
    command.arg0("kpeel").arg(CHILD).env_clear();
    open_by(command, task)
}

/// As [`open`], with this command as the child.
fn open_by(command: Command, task: &Task<'_>) -> (Vec<Warning>, Result<Opened>) {
    let results = match Results::new() {
        Ok(results) => results,
        Err(failure) => return (Vec::new(), Err(failure)),
    };
    match answer(command, task, &results) {
        Ok(Answer { warnings, done }) => {
            let opened = match done {
                Ok(done) => take(task, results, done),
                Err(failed) => {
                    if let (Some(more), Some(part)) = (&failed.more, task.image.parts.first()) {
                        let path = part.path.display();
                        terminal::note(&format!("kpeel: {path}: {}", shown(more)));
                    }
                    Err(Failure {
                        path: None,
                        cause: Cause::Envelope(failed.error()),
                    })
                }
            };
            (warnings, opened.map_err(|failure| failure.about(task)))
        }
        Err(failure) => (Vec::new(), Err(failure.about(task))),
    }
}

impl Failure {
    /// Most of what fails here concerns the image.
    fn about(self, task: &Task<'_>) -> Self {
        match (&self.path, task.image.parts.first()) {
            (None, Some(part)) => self.of(&part.path),
            _ => self,
        }
    }
}

impl Results<File> {
    fn new() -> Result<Self> {
        Ok(Self {
            kernel: memory("kernel")?,
            initrd: memory("initrd")?,
            dtb: memory("dtb")?,
        })
    }
}

/// Runs the child to its end.
fn answer(mut command: Command, task: &Task<'_>, results: &Results<File>) -> Result<Answer> {
    let shared = Shared::new(task, results)?;
    let child = command
        .stdin(stdin(&shared.order(task))?)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| Failure::system(format!("cannot start the confined child: {error}")))?;
    drop(shared);
    let (text, status) = collect(child)?;
    if let Some(killed) = kpeel_confine::killed(status) {
        return Err(killed_by(killed));
    }
    serde_json::from_slice(&text).map_err(|error| {
        bug(format!(
            "the confined child ended with {status} and no answer: {}",
            shown(&error.to_string())
        ))
    })
}

/// The files that the child inherits. Dropped, no later child does.
struct Shared {
    image: OwnedFd,
    initrd: Option<OwnedFd>,
    results: Results<OwnedFd>,
}

impl Shared {
    fn new(task: &Task<'_>, results: &Results<File>) -> Result<Self> {
        let initrd = task.initrd.map(|initrd| inheritable(&initrd.memory));
        Ok(Self {
            image: inheritable(&task.image.memory)?,
            initrd: initrd.transpose()?,
            results: Results {
                kernel: inheritable(&results.kernel)?,
                initrd: inheritable(&results.initrd)?,
                dtb: inheritable(&results.dtb)?,
            },
        })
    }

    fn order(&self, task: &Task<'_>) -> Order {
        let parsers = task.parsers.iter().map(|(name, carrier)| Parser {
            name: name.clone(),
            carrier: carrier.clone(),
        });
        Order {
            parent: std::process::id(),
            image: self.image.as_raw_fd(),
            initrd: self.initrd.as_ref().map(AsRawFd::as_raw_fd),
            cmdline: task.cmdline.map(|line| line.as_bytes().to_vec()),
            results: Results {
                kernel: self.results.kernel.as_raw_fd(),
                initrd: self.results.initrd.as_raw_fd(),
                dtb: self.results.dtb.as_raw_fd(),
            },
            crash: task.crash,
            embedded: task.embedded,
            parsers: parsers.collect(),
            trace: task.trace,
            keys: task.keys.clone(),
        }
    }
}

/// The order as a file to read from.
fn stdin(order: &Order) -> Result<File> {
    let text = serde_json::to_vec(order).map_err(|error| bug(error.to_string()))?;
    let mut order = memory("order")?;
    order
        .write_all(&text)
        .map_err(|error| Failure::system(format!("writing memory: {error}")))?;
    seal(&order)?;
    Ok(order)
}

/// Reads the answer and waits for the end; on no path is the child left behind.
fn collect(mut child: Child) -> Result<(Vec<u8>, ExitStatus)> {
    let mut text = Vec::new();
    let said = child.stderr.take();
    let said = said.map(|stderr| thread::Builder::new().spawn(move || pass_on(stderr)));
    let (said, started) = match said.transpose() {
        Ok(said) => (said, Ok(())),
        Err(error) => (None, Err(error)),
    };
    let read = started.and_then(|()| match child.stdout.take() {
        Some(stdout) => stdout.take(ANSWER_MAX).read_to_end(&mut text).map(|_| ()),
        None => Ok(()),
    });
    if read.is_err() || text.len() as u64 == ANSWER_MAX {
        let _ = child.kill();
    }
    let status = child.wait();
    if let Some(said) = said {
        let _ = said.join();
    }
    let failure = |error| Failure::system(format!("waiting for the confined child: {error}"));
    read.map_err(failure)?;
    Ok((text, status.map_err(failure)?))
}

/// Says what the child says, line by line, made safe for a terminal.
fn pass_on(stderr: ChildStderr) {
    let mut stderr = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        line.clear();
        match stderr.by_ref().take(LINE_MAX).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => terminal::note(String::from_utf8_lossy(&line).trim_end_matches('\n')),
        }
    }
}

fn killed_by(killed: Killed) -> Failure {
    match killed {
        Killed::ForbiddenCall => Failure::refused(killed.to_string()),
        Killed::Signal(_) => Failure::system(killed.to_string()),
    }
}

/// A descriptor of the same file that a child inherits.
fn inheritable(file: &File) -> Result<OwnedFd> {
    // Unlike those of the standard library, this duplicate stays open over exec.
    rustix::io::dup(file.as_fd())
        .map_err(|error| Failure::system(format!("cannot share a file with a child: {error}")))
}

pub(super) fn bug(message: String) -> Failure {
    Failure {
        path: None,
        cause: Cause::Bug(message),
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::exit::Exit;

    /// Set for the copy of this program that plays a child which was taken over.
    const TAKEN_OVER: &str = "KPEEL_TEST_TAKEN_OVER";

    fn opened_by(command: Command) -> Result<Opened> {
        let image = Input::one(Path::new("/proc/self/cmdline"), "image", 1 << 20).unwrap();
        let task = Task {
            image: &image,
            initrd: None,
            cmdline: Some("quiet"),
            crash: false,
            embedded: true,
            parsers: Vec::new(),
            trace: false,
            keys: None,
        };
        open_by(command, &task).1
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[track_caller]
    fn refused(command: Command, exit: Exit, message: &str) {
        let failure = opened_by(command).unwrap_err();
        let text = failure.to_string();
        assert!(text.contains(message), "{text}");
        assert_eq!(failure.exit(), exit);
    }

    /// No test of its own: the child of the next one.
    #[test]
    fn opens_a_file_in_confinement() {
        if std::env::var_os(TAKEN_OVER).is_some() {
            let ended = super::super::child::run_with(|| drop(File::open("/etc/passwd")));
            panic!("it lives: {ended:?}");
        }
    }

    #[test]
    fn a_forbidden_call_kills_the_child_and_is_reported() {
        let mut command = Command::new("/proc/self/exe");
        let test = "load::isolate::tests::opens_a_file_in_confinement";
        command.args(["--exact", test]).env(TAKEN_OVER, "1");
        refused(
            command,
            Exit::Refused,
            "made a system call outside its list and was killed",
        );
    }

    #[test]
    fn a_child_that_is_killed_is_reported() {
        refused(shell("kill -9 $$"), Exit::System, "was killed by signal 9");
    }

    #[test]
    fn a_child_without_an_answer_is_our_bug() {
        refused(shell("exit 3"), Exit::Bug, "exit status: 3 and no answer");
    }

    #[test]
    fn a_child_that_never_ends_its_answer_is_killed() {
        // By us, or by writing to us when we read no more.
        refused(Command::new("yes"), Exit::System, "was killed by signal");
    }

    #[test]
    fn a_child_that_cannot_be_started_is_reported() {
        refused(
            Command::new(PathBuf::from("/nonexistent")),
            Exit::System,
            "cannot start the confined child",
        );
    }

    /// What a child that was taken over may say, and why it is not believed.
    #[test]
    fn an_untrue_answer_is_not_believed() {
        for (results, cmdline, message) in [
            (
                r#""kernel":5,"initrd":null,"dtb":null"#,
                "quiet",
                "kernel: found 0 bytes",
            ),
            (
                r#""kernel":null,"initrd":9,"dtb":null"#,
                "quiet",
                "initrd: found 0 bytes",
            ),
            (
                r#""kernel":null,"initrd":null,"dtb":null"#,
                "quiet",
                "no header of one",
            ),
        ] {
            let line: Vec<_> = cmdline.bytes().collect();
            let answer = format!(
                r#"{{"warnings":[],"done":{{"Ok":{{"sizes":{{{results}}},"unpacked":false,"opened":1,
                "initrd_envelope":null,"cmdline_envelope":null,"cmdline":{line:?},"profile":null,
                "pcrsig":false,"signed":false,"kernel_signer":null,"signers":[]}}}}}}"#
            );
            refused(shell(&format!("echo '{answer}'")), Exit::Bug, message);
        }
    }
}
