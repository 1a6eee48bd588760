//! A progress line for work that takes over a second.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use indicatif::ProgressBar;

use crate::text::printable;

/// Shorter work shows nothing.
const QUIET: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(120);

/// Shows on a terminal's standard error what takes so long.
///
/// A thread of its own draws, so that neither reading nor BPF has to think of it.
#[derive(Debug)]
pub(crate) struct Progress {
    interactive: bool,
    drawing: Option<(Sender<Step>, JoinHandle<()>)>,
}

/// What the drawing thread is told.
#[derive(Debug)]
enum Step {
    /// Other work begins; its length in bytes, if it is known.
    Begin(String, Option<u64>),
    /// So many more bytes are done.
    Advance(u64),
}

impl Progress {
    pub(crate) fn new(interactive: bool) -> Self {
        Self {
            interactive,
            drawing: None,
        }
    }

    /// Names the work that begins; `len` is its length in bytes, if it is known.
    pub(crate) fn begin(&mut self, what: impl Into<String>, len: Option<u64>) {
        if !self.interactive {
            return;
        }
        if self.drawing.is_none() {
            let (sender, steps) = mpsc::channel();
            let thread = thread::Builder::new().spawn(move || draw(&steps));
            // Where the system starts no thread, nothing is drawn; the work goes on.
            self.drawing = thread.ok().map(|thread| (sender, thread));
        }
        if let Some((sender, _)) = &self.drawing {
            let _ = sender.send(Step::Begin(what.into(), len));
        }
    }

    /// Says that `bytes` more bytes are done.
    pub(crate) fn advance(&mut self, bytes: u64) {
        if let Some((sender, _)) = &self.drawing {
            let _ = sender.send(Step::Advance(bytes));
        }
    }

    /// Ends all work and clears the line.
    pub(crate) fn finish(&mut self) {
        if let Some((sender, thread)) = self.drawing.take() {
            drop(sender);
            let _ = thread.join();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

fn draw(steps: &mpsc::Receiver<Step>) {
    let begun = std::time::Instant::now();
    let mut current = (String::new(), None);
    let mut done = 0;
    let mut bar: Option<ProgressBar> = None;
    loop {
        match steps.recv_timeout(TICK) {
            Ok(Step::Begin(what, len)) => {
                current = (what, len);
                done = 0;
                if let Some(bar) = bar.take() {
                    bar.finish_and_clear();
                }
            }
            Ok(Step::Advance(bytes)) => done = bytes.saturating_add(done),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if begun.elapsed() < QUIET {
            continue;
        }
        let bar = bar.get_or_insert_with(|| new_bar(&current));
        bar.set_position(done);
        bar.tick();
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}

fn new_bar((what, len): &(String, Option<u64>)) -> ProgressBar {
    let (bar, template) = match len {
        Some(len) => (
            ProgressBar::new(*len),
            "{msg} {bar:40} {binary_bytes}/{binary_total_bytes}",
        ),
        None => (
            ProgressBar::new_spinner().with_elapsed(QUIET),
            "{spinner} {msg} ({elapsed})",
        ),
    };
    if let Ok(style) = indicatif::ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    // It names files, and a boot entry may give them any name.
    bar.set_message(printable(what));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_cannot_reach_the_terminal_raw() {
        for len in [None, Some(1)] {
            let bar = new_bar(&("reading a\u{1b}[2J\u{202e}b".to_owned(), len));
            assert_eq!(bar.message(), r"reading a\u{1b}[2J\u{202e}b");
        }
    }
}
