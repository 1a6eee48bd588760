//! Image after image, good ones and bad ones.

use std::fs::File;
use std::time::Instant;

use crate::health::Health;
use crate::{Outcome, call, read, say};

/// An image and how its load must end.
#[derive(Debug)]
pub(crate) struct Image {
    path: String,
    file: File,
    errno: i32,
    /// The SHA-256 of the kernel inside.
    kernel: String,
}

/// What a debugging kernel tells of the last load (`linux/overlay/kernel/kexec_pe/debug.rs`).
const LAST: &str = "/sys/kernel/debug/kexec_pe/last";

impl Image {
    /// The images of a list.
    pub(crate) fn list(path: &str) -> Outcome<Vec<Self>> {
        let text = read(path)?;
        let images = text.lines().map(Self::parse);
        let images: Vec<Self> = images.collect::<Outcome<_>>()?;
        if images.is_empty() {
            return Err(format!("{path}: no image"));
        }
        Ok(images)
    }

    fn parse(line: &str) -> Outcome<Self> {
        let wrong = || format!("{line:?}: needed PATH ERRNO SHA256");
        let words: Vec<&str> = line.split(' ').collect();
        let [path, errno, kernel] = words.as_slice() else {
            return Err(wrong());
        };
        Ok(Self {
            path: (*path).to_owned(),
            file: File::open(path).map_err(|error| format!("{path}: {error}"))?,
            errno: errno.parse().map_err(|_| wrong())?,
            kernel: (*kernel).to_owned(),
        })
    }

    /// Loads it and lets it go again: the errno.
    pub(crate) fn load(&self) -> Outcome<i32> {
        let errno = call::load(&self.file, None);
        if errno == 0 {
            call::unload()?;
        }
        Ok(errno)
    }

    /// Loads it, and demands that it ends as it must.
    pub(crate) fn check(&self) -> Outcome<()> {
        let found = self.load()?;
        let Self { path, errno, .. } = self;
        if found != *errno {
            return Err(format!("{path}: errno: found {found}, needed {errno}"));
        }
        self.check_told()
    }

    /// What the kernel tells of the last load, but for its number: how it ended, the resources' sizes and SHA-256.
    pub(crate) fn told() -> Outcome<String> {
        let told = read(LAST)?;
        let number = |line: &&str| line.starts_with("load ");
        let lines: Vec<&str> = told.lines().filter(|line| !number(line)).collect();
        Ok(lines.join("; "))
    }

    /// Demands that the kernel tells the same, if it is one that tells.
    fn check_told(&self) -> Outcome<()> {
        let Self { path, errno, .. } = self;
        if !std::fs::exists(LAST).unwrap_or(false) {
            return Ok(());
        }
        let told = read(LAST)?;
        let has = |name: &str, needed: &str| {
            let mut lines = told.lines().map(|line| line.split(' '));
            lines.any(|mut words| words.next() == Some(name) && words.next_back() == Some(needed))
        };
        let kernel = *errno != 0 || has("kernel", &self.kernel);
        if has("errno", &errno.to_string()) && kernel {
            return Ok(());
        }
        Err(format!("{path}: {LAST} tells {told:?}"))
    }
}

/// Loads `count` images from number `first` on, all in turn; a sample before, each `every` loads, and at the end.
pub(crate) fn run(images: &[Image], first: u32, count: u32, every: u32) -> Outcome<()> {
    // What is allocated once and kept is no leak.
    for image in images {
        image.check()?;
    }
    let health = Health::begin()?;
    health.sample(0)?;
    let begun = Instant::now();
    let mut refused = 0;
    for done in 1..=count {
        let image = images
            .get((first + done - 1) as usize % images.len())
            .ok_or("no image")?;
        image.check()?;
        refused += u32::from(image.errno != 0);
        if done.is_multiple_of(every) && done != count {
            health.sample(done)?;
        }
    }
    let took = begun.elapsed().as_millis();
    health.sample(count)?;
    say(&format!(
        "{{\"loads\": {count}, \"first\": {first}, \"refused\": {refused}, \"milliseconds\": {took}}}"
    ))
}
