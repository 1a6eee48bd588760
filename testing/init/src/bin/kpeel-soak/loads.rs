//! Image after image, good ones and bad ones.

use std::fs::File;
use std::time::Instant;

use crate::{Outcome, call, health, read, say};

/// An image and how its load must end.
#[derive(Debug)]
pub(crate) struct Image {
    path: String,
    file: File,
    errno: i32,
}

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
        let (path, errno) = line
            .split_once(' ')
            .ok_or(format!("{line:?}: needed PATH ERRNO"))?;
        Ok(Self {
            path: path.to_owned(),
            file: File::open(path).map_err(|error| format!("{path}: {error}"))?,
            errno: errno
                .parse()
                .map_err(|_| format!("{line:?}: needed PATH ERRNO"))?,
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
        if found == self.errno {
            return Ok(());
        }
        let Self { path, errno, .. } = self;
        Err(format!("{path}: errno: found {found}, needed {errno}"))
    }
}

/// Loads `count` images from number `first` on, all in turn; a sample before, each `every` loads, and at the end.
pub(crate) fn run(images: &[Image], first: u32, count: u32, every: u32) -> Outcome<()> {
    // What is allocated once and kept is no leak.
    for image in images {
        image.check()?;
    }
    health::begin()?;
    health::sample(0)?;
    let begun = Instant::now();
    let mut refused = 0;
    for done in 1..=count {
        let image = images
            .get((first + done - 1) as usize % images.len())
            .ok_or("no image")?;
        image.check()?;
        refused += u32::from(image.errno != 0);
        if done.is_multiple_of(every) && done != count {
            health::sample(done)?;
        }
    }
    let took = begun.elapsed().as_millis();
    health::sample(count)?;
    say(&format!(
        "{{\"loads\": {count}, \"first\": {first}, \"refused\": {refused}, \"milliseconds\": {took}}}"
    ))
}
