//! One load, again and again; each time another allocation fails.
//!
//! `/proc/thread-self/fail-nth` counts down with every allocation of this thread, and of the loader thread while it works
//! for it; the one at which it becomes zero fails (`Documentation/fault-injection/fault-injection.rst`).

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::time::Instant;

use crate::health::Health;
use crate::loads::Image;
use crate::{Outcome, say, write};

/// What may come of a load that lacks memory somewhere.
///
/// | errno | why |
/// |---|---|
/// | 0 | what lacked memory can do without |
/// | ENOMEM | it cannot |
/// | EKEYREJECTED | verification hid it: no algorithm was found, so no signature vouches for the image |
/// | ENOEXEC | bpf(2) hid it: Linux refused the loader or the parser with EINVAL |
const ALLOWED: &[i32] = &[0, libc::ENOMEM, libc::EKEYREJECTED, libc::ENOEXEC];

/// Points told in one line.
const TOLD: usize = 100;
/// Points between two looks at the kernel's health.
const EVERY: u32 = 250;

/// Fails allocations `first`, `first + 1`, ..., `count` of them or as many as the load of the first image makes. After each
/// of them the last image, which may be the same, must load.
pub(crate) fn run(images: &[Image], first: u32, count: u32) -> Outcome<()> {
    let (Some(image), Some(next)) = (images.first(), images.last()) else {
        return Err("no image".to_owned());
    };
    next.check()?;
    image.check()?;
    let health = Health::begin()?;
    let whole = Image::told()?;
    configure()?;
    health.sample(0)?;
    let begun = Instant::now();
    let mut points = Vec::new();
    let mut exhausted = false;
    for nth in first..first.saturating_add(count) {
        let Some(errno) = point(image, nth, &whole)? else {
            exhausted = true;
            break;
        };
        points.push(errno);
        if !ALLOWED.contains(&errno) {
            tell(first, &points)?;
            return Err(format!(
                "allocation {nth} failed: errno {errno}, needed one of {ALLOWED:?}"
            ));
        }
        // Nothing of it is left.
        next.check()?;
        let done = points.len() as u32;
        if done.is_multiple_of(EVERY) && done != count {
            health.sample(done)?;
        }
    }
    let took = begun.elapsed().as_millis();
    health.sample(points.len() as u32)?;
    tell(first, &points)?;
    let mut ends: BTreeMap<i32, u32> = BTreeMap::new();
    for errno in &points {
        *ends.entry(*errno).or_default() += 1;
    }
    let ends: Vec<String> = ends
        .iter()
        .map(|(errno, count)| format!("\"{errno}\": {count}"))
        .collect();
    say(&format!(
        "{{\"points\": {}, \"first\": {first}, \"exhausted\": {exhausted}, \"ends\": {{{}}}, \"milliseconds\": {took}}}",
        points.len(),
        ends.join(", ")
    ))
}

/// One load in which allocation `nth` fails: its errno; `None` if the load makes fewer.
///
/// # Errors
/// Also when it succeeds, but hands on something else than a `whole` load.
fn point(image: &Image, nth: u32, whole: &str) -> Outcome<Option<i32>> {
    let failed = |error| format!("fail-nth: {error}");
    let file = counter()?;
    file.write_at(nth.to_string().as_bytes(), 0)
        .map_err(failed)?;
    let ended = image.load();
    let mut left = [0; 16];
    let len = file.read_at(&mut left, 0).map_err(failed)?;
    file.write_at(b"0", 0).map_err(failed)?;
    let left = String::from_utf8_lossy(left.get(..len).unwrap_or_default()).into_owned();
    let errno = ended?;
    if errno == 0 {
        let told = Image::told()?;
        if told != whole {
            return Err(format!(
                "allocation {nth} failed: found {told:?}, needed {whole:?}"
            ));
        }
    }
    if left.trim() == "0" {
        return Ok(Some(errno));
    }
    if errno != 0 {
        return Err(format!(
            "no allocation failed, {} left, but errno {errno}",
            left.trim()
        ));
    }
    Ok(None)
}

fn counter() -> Outcome<File> {
    let path = "/proc/thread-self/fail-nth";
    let mut options = OpenOptions::new();
    let opened = options.read(true).write(true).open(path);
    opened.map_err(|error| format!("{path}: {error}"))
}

/// Every allocation may fail, also where the kernel could wait for memory; none is told in the log. Those of kmemleak
/// itself, one for each of the load's, are left out.
fn configure() -> Outcome<()> {
    let caches = "/sys/kernel/slab";
    let list = std::fs::read_dir(caches).map_err(|error| format!("{caches}: {error}"))?;
    for cache in list.flatten() {
        let own = cache.file_name().to_string_lossy().starts_with("kmemleak");
        let file = cache.path().join("failslab");
        if !own {
            write(&file.to_string_lossy(), "1")?;
        }
    }
    for (file, value) in [
        ("failslab/cache-filter", "Y"),
        ("failslab/ignore-gfp-wait", "N"),
        ("failslab/verbose", "0"),
        ("fail_page_alloc/ignore-gfp-wait", "N"),
        ("fail_page_alloc/ignore-gfp-highmem", "N"),
        ("fail_page_alloc/min-order", "0"),
        ("fail_page_alloc/verbose", "0"),
    ] {
        write(&format!("/sys/kernel/debug/{file}"), value)?;
    }
    Ok(())
}

/// Tells how each point ended, in lines that the log has room for.
fn tell(first: u32, points: &[i32]) -> Outcome<()> {
    for (part, ends) in points.chunks(TOLD).enumerate() {
        let from = first as usize + part * TOLD;
        say(&format!("{{\"from\": {from}, \"errnos\": {ends:?}}}"))?;
    }
    Ok(())
}
