//! Standard output and error.

use std::io::{self, IsTerminal, Write};

use crate::failure::{Failure, Result};
use crate::progress::Progress;
use crate::text;

/// Where a command's words go.
pub(crate) struct Terminal {
    progress: Progress,
}

impl Terminal {
    pub(crate) fn new() -> Self {
        Self {
            progress: Progress::new(io::stderr().is_terminal()),
        }
    }

    /// Writes a command's result. That nobody reads it any more changes nothing about how the command
    /// ends: whoever did has seen enough.
    pub(crate) fn result(&mut self, bytes: &[u8]) -> Result<()> {
        self.progress.finish();
        let mut stdout = io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written.map_err(Failure::stdout),
        }
    }

    /// Whether results are read by a person.
    pub(crate) fn is_interactive(&self) -> bool {
        io::stdout().is_terminal()
    }

    /// Says something beside the result.
    pub(crate) fn note(&mut self, line: &str) {
        self.progress.finish();
        note(line);
    }

    /// Says why the command ends.
    pub(crate) fn error(&mut self, failure: &Failure) {
        self.note(&format!("kpeel: {failure}"));
    }

    /// The progress of the work at hand.
    pub(crate) fn progress(&mut self) -> &mut Progress {
        &mut self.progress
    }
}

/// Writes one line to standard error; that it may be closed is no error. Parts of it may come from
/// an image, so it is made safe for a terminal.
pub(crate) fn note(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", text::printable(line));
}
