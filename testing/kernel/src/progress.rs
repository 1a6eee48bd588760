//! Says on standard error how far a build is.

use std::time::{Duration, Instant};

/// A longer silence would look like a hang.
const INTERVAL: Duration = Duration::from_secs(10);

/// Says what is being done.
pub(crate) fn say(text: &str) {
    eprintln!("kpeel-kernel: {text}");
}

/// Counts the steps that `make` tells.
#[derive(Debug)]
pub(crate) struct Progress {
    started: Instant,
    said: Instant,
    count: u32,
    /// About how many there will be.
    total: u32,
}

impl Progress {
    pub(crate) fn new(total: u32) -> Self {
        let now = Instant::now();
        Self {
            started: now,
            said: now,
            count: 0,
            total,
        }
    }

    /// Takes one line of `make`'s output.
    pub(crate) fn line(&mut self, line: &str) {
        if !is_step(line) {
            return;
        }
        self.count += 1;
        if self.said.elapsed() >= INTERVAL {
            self.said = Instant::now();
            say(&self.told(line));
        }
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn told(&self, line: &str) -> String {
        let seconds = self.started.elapsed().as_secs();
        let step = line.split_whitespace().collect::<Vec<_>>().join(" ");
        format!(
            "{}:{:02}, step {} of about {}: {step}",
            seconds / 60,
            seconds % 60,
            self.count,
            self.total.max(self.count)
        )
    }
}

/// Whether the line is `make`'s short form of a command, such as `  CC      init/main.o`.
fn is_step(line: &str) -> bool {
    line.strip_prefix("  ")
        .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_uppercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_steps_and_nothing_else() {
        let mut progress = Progress::new(1);
        for line in [
            "  CC      init/main.o",
            "make[1]: Entering",
            "",
            "   note",
            "  HOSTCC  a",
        ] {
            progress.line(line);
        }
        assert_eq!(progress.count(), 2);
        assert_eq!(
            progress.told("  CC      init/main.o"),
            "0:00, step 2 of about 2: CC init/main.o"
        );
    }
}
