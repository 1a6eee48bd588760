//! Damaged compressed streams for the kernel's decompressors.
//!
//! The image's parser takes the caller's initrd for a table of streams: their number, then place and size of each (all u32,
//! little-endian), then the streams. It decompresses each and publishes nothing, so every load is refused.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::Instant;

use crate::damage::damaged;
use crate::health::Health;
use crate::{Outcome, call, say};

/// Longer than any decompression may take, in milliseconds. Who keeps the record judges.
const LONGEST: u128 = 5000;
/// How often one that took longer is tried: an emulated processor is not always at work.
const TRIES: u32 = 3;
/// How the parser's load may end: the first complaint counts, of a stream (ENOEXEC, EOPNOTSUPP, E2BIG) or that there is no
/// kernel (ENOEXEC).
const ALLOWED: &[i32] = &[libc::ENOEXEC, libc::EOPNOTSUPP, libc::E2BIG];

/// Decompresses copies `first`, `first + 1`, ... of the stream, each damaged in its own way.
pub(crate) fn run(stream: &str, image: &str, first: u32, count: u32, batch: u32) -> Outcome<()> {
    let intact = std::fs::read(stream).map_err(|error| format!("{stream}: {error}"))?;
    let parser = File::open(image).map_err(|error| format!("{image}: {error}"))?;
    let health = Health::begin()?;
    let (mut longest, mut ends) = (0, BTreeMap::<i32, u32>::new());
    let last = first.saturating_add(count);
    let mut next = first;
    while next < last {
        let until = last.min(next.saturating_add(batch.max(1)));
        let cases: Vec<Vec<u8>> = (next..until).map(|case| damaged(&intact, case)).collect();
        let (errno, took) = load(&parser, &cases)?;
        *ends.entry(errno).or_default() += 1;
        // Together they may take longer than one may.
        let alone = took > LONGEST && cases.len() > 1;
        for case in cases.chunks(1).filter(|_| alone) {
            longest = longest.max(fastest(&parser, case)?);
        }
        if !alone {
            longest = longest.max(took);
        }
        next = until;
    }
    health.sample(count)?;
    let name = stream.rsplit('/').next().unwrap_or_default();
    let ends: Vec<String> = ends
        .iter()
        .map(|(errno, count)| format!("\"{errno}\": {count}"))
        .collect();
    say(&format!(
        "{{\"streams\": {count}, \"first\": {first}, \"codec\": \"{name}\", \"longest_ms\": {longest}, \"loads\": {{{}}}}}",
        ends.join(", ")
    ))
}

/// The least time that a load for these streams takes, in milliseconds.
fn fastest(parser: &File, streams: &[Vec<u8>]) -> Outcome<u128> {
    let mut least = u128::MAX;
    for _ in 0..TRIES {
        least = least.min(load(parser, streams)?.1);
        if least <= LONGEST {
            break;
        }
    }
    Ok(least)
}

/// One load for these streams: its errno and the time it took, in milliseconds.
fn load(parser: &File, streams: &[Vec<u8>]) -> Outcome<(i32, u128)> {
    let initrd = call::memory_file()?;
    initrd
        .write_all_at(&table(streams), 0)
        .map_err(|error| format!("memory file: {error}"))?;
    let begun = Instant::now();
    let errno = call::load(parser, Some(&initrd));
    let took = begun.elapsed().as_millis();
    if ALLOWED.contains(&errno) {
        return Ok((errno, took));
    }
    Err(format!("errno: found {errno}, needed one of {ALLOWED:?}"))
}

fn table(streams: &[Vec<u8>]) -> Vec<u8> {
    let mut head = (streams.len() as u32).to_le_bytes().to_vec();
    let mut at = (4 + 8 * streams.len()) as u32;
    for stream in streams {
        head.extend(at.to_le_bytes());
        head.extend((stream.len() as u32).to_le_bytes());
        at += stream.len() as u32;
    }
    head.extend(streams.iter().flatten());
    head
}
