//! One measured run, in a process of its own: what a run leaves behind in the allocator or the caches of the
//! process cannot help or hinder the next.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use kpeel_codec::advise_large_pages;
use kpeel_envelope::limits::Limits;
use kpeel_envelope::pipeline::{self, Parser, Request};
use kpeel_sandbox::{Buffer, Sandbox};
use nix::sys::resource::{UsageWho, getrusage};
use nix::time::{ClockId, clock_gettime};
use sha2::{Digest, Sha256};

use crate::{Outcome, workloads};

/// The hidden command that makes this program a child.
pub(crate) const COMMAND: &str = "child";

/// What one run cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Cost {
    /// User and system time.
    pub(crate) cpu: Duration,
    /// Most memory resident at one time, in bytes: files in memory and the program itself included.
    pub(crate) peak: u64,
}

/// Runs this program as a child with these arguments.
pub(crate) fn measure(arguments: &[&str]) -> Outcome<Cost> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg(COMMAND)
        .args(arguments)
        .stderr(Stdio::inherit());
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", output.status).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let words: Vec<&str> = text.split_whitespace().collect();
    let [cpu, peak] = words.as_slice() else {
        return Err(format!("{command:?} said {text:?}").into());
    };
    Ok(Cost {
        cpu: Duration::from_nanos(cpu.parse()?),
        peak: peak.parse()?,
    })
}

/// What the child does: prints nanoseconds of CPU time and the peak in bytes.
pub(crate) fn main(arguments: &[&str]) -> Outcome<()> {
    let cost = match *arguments {
        ["bare-memory", codec, file, room] => bare(codec, file, room, false)?,
        ["bare-file", codec, file, room] => bare(codec, file, room, true)?,
        ["unfold-memory", image] => unfold(image, false)?,
        ["unfold-file", image] => unfold(image, true)?,
        ["turns", workload, turns] => return workloads::turns(workload, turns.parse()?),
        ["bare-write", codec, file, room, out] => return bare_write(codec, file, room, out),
        ["hash", image, times] => hash(image, times.parse()?)?,
        ["process", program, ref arguments @ ..] => process(program, arguments)?,
        _ => return Err(format!("what is {arguments:?}?").into()),
    };
    println!("{} {}", cost.cpu.as_nanos(), cost.peak);
    Ok(())
}

/// The codec's library alone, into memory of the right size. What the file holds is the compressed stream and no more.
fn bare(codec: &str, file: &str, room: &str, read: bool) -> Outcome<Cost> {
    let room = room.parse()?;
    let input = if read { Vec::new() } else { contents(file)? };
    let begun = cpu()?;
    let input = if read { contents(file)? } else { input };
    let result = decode(codec, &input, room)?;
    let spent = cpu()? - begun;
    assert_eq!(result.len(), room);
    own(spent)
}

/// A whole file on large pages: kpeel puts files and results on such, and the codec alone shall not be slower for want of
/// them.
fn contents(path: &str) -> Outcome<Vec<u8>> {
    let mut file = fs::File::open(path)?;
    let len = file.metadata()?.len();
    let mut bytes = Vec::with_capacity(usize::try_from(len)?);
    advise_large_pages(&mut bytes, len);
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn decode(codec: &str, input: &[u8], room: usize) -> Outcome<Vec<u8>> {
    match codec {
        "gzip" => {
            let mut result = vec![0; room];
            advise_large_pages(&mut result, room as u64);
            let len = libdeflater::Decompressor::new().gzip_decompress(input, &mut result)?;
            result.truncate(len);
            Ok(result)
        }
        "zstd" => {
            let mut result = Vec::with_capacity(room);
            advise_large_pages(&mut result, room as u64);
            let mut context = zstd_safe::DCtx::create();
            context
                .decompress(&mut result, input)
                .map_err(zstd_safe::get_error_name)?;
            Ok(result)
        }
        _ => Err(format!("no codec {codec}").into()),
    }
}

/// What a program around the bare codec would do; measured from outside.
fn bare_write(codec: &str, file: &str, room: &str, out: &str) -> Outcome<()> {
    let result = decode(codec, &contents(file)?, room.parse()?)?;
    fs::File::create(out)?.write_all(&result)?;
    Ok(())
}

/// The library's whole work: the image's file read, every envelope opened, the result in memory.
fn unfold(image: &str, read: bool) -> Outcome<Cost> {
    let mut sandbox = Sandbox::new(Limits::default());
    let meter = std::sync::Arc::clone(sandbox.charge_to());
    let open = || -> Outcome<Buffer> {
        // As the command does: the size is known.
        let file = fs::File::open(image)?;
        let (len, allowed) = (file.metadata()?.len(), meter.limits().image);
        Buffer::read(file, Some(len), "image", allowed, &meter, &mut |_| {})
            .map_err(|error| error.to_string().into())
    };
    let buffer = if read { None } else { Some(open()?) };
    let parsers: Vec<_> = kpeel_parsers::BUNDLED
        .iter()
        .map(|parser| Parser {
            name: parser.name,
            carrier: parser.carrier,
        })
        .collect();
    let begun = cpu()?;
    let image = match buffer {
        Some(buffer) => buffer,
        None => open()?,
    };
    let request = Request {
        image,
        initrd: None,
        cmdline: None,
        crash: false,
        enforced: false,
        embedded: true,
        parsers: &parsers,
    };
    let unfolded = pipeline::unfold(&mut sandbox, request).map_err(|error| error.to_string())?;
    let spent = cpu()? - begun;
    assert!(unfolded.provenance.opened > 0);
    own(spent)
}

/// SHA-256 over the file's bytes, so many times.
fn hash(image: &str, times: u32) -> Outcome<Cost> {
    let bytes = fs::read(image)?;
    let begun = cpu()?;
    for _ in 0..times {
        std::hint::black_box(Sha256::digest(&bytes));
    }
    own(cpu()? - begun)
}

/// Another program, from its start to its end.
fn process(program: &str, arguments: &[&str]) -> Outcome<Cost> {
    let mut command = Command::new(program);
    command.args(arguments).stdout(Stdio::null());
    let status = command.status()?;
    if !status.success() {
        return Err(format!("{program} {arguments:?}: {status}").into());
    }
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let time = |value: nix::sys::time::TimeVal| -> Outcome<Duration> {
        Ok(Duration::new(
            value.tv_sec().try_into()?,
            u32::try_from(value.tv_usec())? * 1000,
        ))
    };
    Ok(Cost {
        cpu: time(usage.user_time())? + time(usage.system_time())?,
        // In KiB, by getrusage(2).
        peak: u64::try_from(usage.max_rss())? << 10,
    })
}

fn own(cpu: Duration) -> Outcome<Cost> {
    // Not getrusage's: that counts what the parent had before this program took its place.
    let peak = kpeel_counting::process_peak()?;
    Ok(Cost { cpu, peak })
}

fn cpu() -> Outcome<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into())
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> Outcome<&str> {
    path.to_str()
        .ok_or_else(|| format!("{} is not UTF-8", path.display()).into())
}
