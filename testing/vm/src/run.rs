//! One run of a guest, from start to verdict.

use std::fs::{self, File};
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::accel::Accel;
use crate::error::Error;
use crate::judge::{End, judge};
use crate::machine::Machine;
use crate::{console, qmp};

/// A run that passed.
#[derive(Clone, Debug)]
pub struct Report {
    /// What the guest printed, without line ends.
    pub lines: Vec<String>,
    /// How it was executed.
    pub accel: Accel,
    /// From QEMU's start to its exit.
    pub elapsed: Duration,
}

/// A run that ended, well or not.
pub(crate) struct Run {
    pub(crate) lines: Vec<String>,
    pub(crate) end: End,
    /// What QEMU itself printed.
    complaints: String,
    elapsed: Duration,
}

/// How often the runner looks after its guest.
const POLL: Duration = Duration::from_millis(20);
/// Lines of the serial log that a failure quotes.
const TAIL: usize = 60;

impl Machine {
    /// Runs the guest to its end and demands `expected` on its console, by the rule that the crate
    /// states. Everything the guest prints goes to the file `log`, also when it fails.
    ///
    /// # Errors
    /// [`Error::Failed`] if the guest did not pass, the other kinds if it could not be run.
    pub fn run(&self, expected: &str, log: &Path) -> Result<Report, Error> {
        if let Some(parent) = log.parent() {
            fs::create_dir_all(parent)
                .map_err(Error::system(format!("creating {}", parent.display())))?;
        }
        let accel = Accel::choose(self);
        let run = self.execute(accel, Some(log))?;
        match judge(&run.lines, expected, &run.end) {
            Ok(()) => Ok(Report {
                lines: run.lines,
                accel,
                elapsed: run.elapsed,
            }),
            Err(failure) => Err(Error::Failed {
                failure,
                log: log.to_owned(),
                tail: tail(&run),
            }),
        }
    }

    /// Runs the guest to its end; without a `log` the console is kept in memory only.
    pub(crate) fn execute(&self, accel: Accel, log: Option<&Path>) -> Result<Run, Error> {
        let scratch = Scratch::new()?;
        let log = log.map_or_else(|| scratch.file("serial"), Path::to_owned);
        let serial = File::create(&log).map_err(Error::system(log.display().to_string()))?;
        let variables = scratch.file("variables.fd");
        if let Some(firmware) = &self.firmware {
            fs::copy(&firmware.variables, &variables).map_err(Error::system(format!(
                "copying {}",
                firmware.variables.display()
            )))?;
        }
        let socket = scratch.file("qmp");
        let listener = UnixListener::bind(&socket)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .map_err(Error::system("listening for QEMU's monitor"))?;
        let complaints = scratch.file("stderr");

        let started = Instant::now();
        let mut child = self.spawn(accel, &variables, &socket, &complaints)?;
        let stdout = child.stdout.take().expect("standard output is piped");
        let console = thread::spawn(move || console::collect(stdout, serial));
        let ended = wait(&mut child, &listener, started + self.deadline);
        let lines = console
            .join()
            .expect("the console reader does not panic")
            .map_err(Error::system(log.display().to_string()))?;
        Ok(Run {
            lines,
            end: ended.map_err(Error::system("waiting for QEMU"))?,
            complaints: fs::read_to_string(&complaints).unwrap_or_default(),
            elapsed: started.elapsed(),
        })
    }

    fn spawn(
        &self,
        accel: Accel,
        variables: &Path,
        socket: &Path,
        complaints: &Path,
    ) -> Result<Child, Error> {
        let program = self.arch.qemu();
        if !installed(program) {
            return Err(Error::Missing {
                program: program.to_owned(),
                package: self.arch.qemu_package(),
            });
        }
        let stderr =
            File::create(complaints).map_err(Error::system(complaints.display().to_string()))?;
        // A runner that is killed takes its QEMU with it.
        Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", program])
            .args(self.to_arguments(accel, variables))
            .args(["-chardev", "stdio,id=serial,signal=off"])
            .args(["-serial", "chardev:serial", "-S"])
            .arg("-chardev")
            .arg(format!("socket,id=qmp,path={}", socket.display()))
            .args(["-mon", "chardev=qmp,mode=control"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .map_err(Error::system(format!("starting {program}")))
    }
}

/// Waits for QEMU, which has until `deadline`, and follows its monitor meanwhile.
fn wait(child: &mut Child, listener: &UnixListener, deadline: Instant) -> io::Result<End> {
    let mut monitor = None;
    let (timed_out, status) = loop {
        if monitor.is_none() {
            monitor = accept(listener)?.map(|stream| thread::spawn(move || qmp::follow(stream)));
        }
        if let Some(status) = child.try_wait()? {
            break (false, status);
        }
        if Instant::now() >= deadline {
            break (true, kill(child)?);
        }
        thread::sleep(POLL);
    };
    let reason = match monitor {
        Some(thread) => thread.join().expect("the monitor does not panic")?,
        None => None,
    };
    Ok(End::new(timed_out, reason, status))
}

fn accept(listener: &UnixListener) -> io::Result<Option<UnixStream>> {
    match listener.accept() {
        Ok((stream, _)) => Ok(Some(stream)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

fn kill(child: &mut Child) -> io::Result<ExitStatus> {
    child.kill()?;
    child.wait()
}

/// Whether a program of this name is in `PATH`.
pub(crate) fn installed(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

fn tail(run: &Run) -> String {
    let from = run.lines.len().saturating_sub(TAIL);
    let mut text: String = run
        .lines
        .iter()
        .skip(from)
        .flat_map(|line| ["  | ", line, "\n"])
        .collect();
    if !run.complaints.is_empty() {
        text.push_str("QEMU says: ");
        text.push_str(&run.complaints);
    }
    text
}

/// A directory of this run, gone with it. Short, because a socket's path must be.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, Error> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("kpeel-vm-{}-{count}", std::process::id()));
        fs::create_dir(&path).map_err(Error::system(format!("creating {}", path.display())))?;
        Ok(Self(path))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing to be done about a file that stays.
        let _ = fs::remove_dir_all(&self.0);
    }
}
