//! `kpeel-speed unfold`: the table.

use std::path::{Path, PathBuf};

use kpeel_images::make::{Codec, Scratch};
use serde::Serialize;

use crate::Outcome;
use crate::child::{Cost, measure, text};
use crate::image::{self, Image};
use crate::stats::{Growth, median};

/// Sizes that growth is measured at, in millions of bytes unpacked.
const SIZES: [usize; 5] = [10, 50, 100, 250, 500];
const MEGABYTE: usize = 1_000_000;
/// Bytes that the sum of growth's runs per size should be about, so that small sizes are run more often.
const GROWTH_BYTES: usize = 1_500_000_000;

/// How often `kpeel inspect` hashes nearly all of that UKI: the whole, its `.linux`, and the sections of the kernel
/// that is in there, which is a PE image too.
const DIGESTS: &str = "3";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    json: bool,
    rounds: usize,
    /// The `kpeel` program.
    kpeel: PathBuf,
}

impl Options {
    pub(crate) fn parse(words: &[&str]) -> Option<Self> {
        let beside = std::env::current_exe().ok()?.with_file_name("kpeel");
        let mut options = Self {
            json: false,
            rounds: 15,
            kpeel: beside,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--json" => options.json = true,
                "--rounds" => options.rounds = words.next()?.parse().ok().filter(|&n| n > 0)?,
                "--kpeel" => options.kpeel = words.next()?.into(),
                _ => return None,
            }
        }
        Some(options)
    }
}

/// All that was measured.
#[derive(Debug, Serialize)]
struct Report {
    schema: u32,
    rounds: usize,
    images: Vec<Row>,
    growth: Vec<Line>,
    inspect: Inspect,
}

/// One image: kpeel's costs over the bare codec's.
#[derive(Debug, Serialize)]
struct Row {
    image: String,
    image_bytes: u64,
    result_bytes: u64,
    /// From bytes in memory to bytes in memory.
    memory: Contest,
    /// From a file to bytes in memory.
    file: Contest,
    /// Two whole programs, from a file to a file.
    process: Contest,
    /// Peak memory of the library's run from a file, over image and result.
    peak_ratio: f64,
    /// The same of the whole program `kpeel unfold`.
    peak_ratio_process: f64,
}

/// Runs that took turns.
#[derive(Debug, Serialize)]
struct Contest {
    /// Median of the ratios within each round.
    ratio: f64,
    ours_ms: f64,
    bare_ms: f64,
}

/// How one codec's images grow.
#[derive(Debug, Serialize)]
struct Line {
    codec: &'static str,
    /// Unpacked bytes, median CPU time in milliseconds, peak in bytes.
    points: Vec<(usize, f64, u64)>,
    time_exponent: f64,
    time_r_squared: f64,
    peak_exponent: f64,
}

/// `kpeel inspect` of a UKI that holds a plain kernel.
#[derive(Debug, Serialize)]
struct Inspect {
    image_bytes: u64,
    /// CPU time of the whole program.
    total_ms: f64,
    /// SHA-256 over as many bytes as inspect prints digests of; see [`DIGESTS`].
    hashing_ms: f64,
    beyond_hashing_ms: f64,
}

/// Runs all and prints the report.
pub(crate) fn run(options: &Options) -> Outcome<()> {
    let scratch = Scratch::new()?;
    let mut images = Vec::new();
    eprintln!("making images ...");
    for image in image::real(&scratch)? {
        eprintln!("{} ...", image.name);
        images.push(row(&image, options, &scratch)?);
    }
    let growth = [Codec::Gzip, Codec::Zstd]
        .into_iter()
        .map(|codec| line(codec, &scratch))
        .collect::<Outcome<_>>()?;
    let report = Report {
        schema: 1,
        rounds: options.rounds,
        images,
        growth,
        inspect: inspect(options, &scratch)?,
    };
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    Ok(())
}

fn row(image: &Image, options: &Options, scratch: &Scratch) -> Outcome<Row> {
    let (path, stream) = (text(&image.path)?, text(&image.stream)?);
    let room = image.unpacked.to_string();
    let (left, bare_left) = (scratch.join("left"), scratch.join("bare-left"));
    let (left, bare_left) = (text(&left)?, text(&bare_left)?);
    let own = std::env::current_exe()?;
    let (own, kpeel) = (text(&own)?, text(&options.kpeel)?);
    let codec = image.codec;
    let pairs: [(Vec<&str>, Vec<&str>); 3] = [
        (
            vec!["unfold-memory", path],
            vec!["bare-memory", codec, stream, &room],
        ),
        (
            vec!["unfold-file", path],
            vec!["bare-file", codec, stream, &room],
        ),
        (
            vec!["process", kpeel, "unfold", path, "-o", left],
            vec![
                "process",
                own,
                crate::child::COMMAND,
                "bare-write",
                codec,
                stream,
                &room,
                bare_left,
            ],
        ),
    ];
    let mut runs: [Vec<(Cost, Cost)>; 3] = Default::default();
    for round in 0..=options.rounds {
        for ((ours, bare), runs) in pairs.iter().zip(&mut runs) {
            let pair = if round % 2 == 0 {
                let ours = measure(ours)?;
                (ours, measure(bare)?)
            } else {
                let bare = measure(bare)?;
                (measure(ours)?, bare)
            };
            // The first round warms up.
            if round > 0 {
                runs.push(pair);
            }
        }
    }
    let whole = (image.size + image.unpacked) as f64;
    let peak = |runs: &[(Cost, Cost)]| {
        let peaks: Vec<f64> = runs.iter().map(|(ours, _)| ours.peak as f64).collect();
        median(&peaks) / whole
    };
    let [memory, file, process] = &runs;
    Ok(Row {
        image: image.name.clone(),
        image_bytes: image.size,
        result_bytes: image.unpacked,
        memory: contest(memory),
        peak_ratio: peak(file),
        peak_ratio_process: peak(process),
        file: contest(file),
        process: contest(process),
    })
}

fn contest(runs: &[(Cost, Cost)]) -> Contest {
    let ms = |cost: &Cost| cost.cpu.as_secs_f64() * 1e3;
    let ours: Vec<f64> = runs.iter().map(|(ours, _)| ms(ours)).collect();
    let bare: Vec<f64> = runs.iter().map(|(_, bare)| ms(bare)).collect();
    let ratios: Vec<f64> = ours
        .iter()
        .zip(&bare)
        .map(|(ours, bare)| ours / bare)
        .collect();
    Contest {
        ratio: median(&ratios),
        ours_ms: median(&ours),
        bare_ms: median(&bare),
    }
}

fn line(codec: Codec, scratch: &Scratch) -> Outcome<Line> {
    let mut points = Vec::new();
    for size in SIZES.map(|megabytes| megabytes * MEGABYTE) {
        let image = image::of_size(scratch, codec, size)?;
        eprintln!("growth, {} ...", image.name);
        let path = text(&image.path)?;
        let mut runs = Vec::new();
        for _ in 0..(GROWTH_BYTES / size).clamp(3, 15) {
            runs.push(measure(&["unfold-file", path])?);
        }
        let times: Vec<f64> = runs
            .iter()
            .map(|cost| cost.cpu.as_secs_f64() * 1e3)
            .collect();
        let peak = runs.iter().map(|cost| cost.peak).max().unwrap_or_default();
        points.push((size, median(&times), peak));
        image::remove(&image.path)?;
        image::remove(&image.stream)?;
    }
    let fit = |value: fn(&(usize, f64, u64)) -> f64| {
        let points: Vec<(f64, f64)> = points
            .iter()
            .map(|point| (point.0 as f64, value(point)))
            .collect();
        Growth::through(&points)
    };
    let (time, peak) = (fit(|point| point.1), fit(|point| point.2 as f64));
    Ok(Line {
        codec: codec.name(),
        time_exponent: time.exponent,
        time_r_squared: time.r_squared,
        peak_exponent: peak.exponent,
        points,
    })
}

fn inspect(options: &Options, scratch: &Scratch) -> Outcome<Inspect> {
    let path = image::small_uki(scratch)?;
    let (path, kpeel): (&Path, _) = (&path, text(&options.kpeel)?);
    eprintln!("inspect ...");
    let (mut totals, mut hashes, mut beyond) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=options.rounds * 2 {
        let total = measure(&["process", kpeel, "inspect", text(path)?])?.cpu;
        let hashing = measure(&["hash", text(path)?, DIGESTS])?.cpu;
        if round > 0 {
            let [total, hashing] = [total, hashing].map(|time| time.as_secs_f64() * 1e3);
            totals.push(total);
            hashes.push(hashing);
            beyond.push(total - hashing);
        }
    }
    Ok(Inspect {
        image_bytes: std::fs::metadata(path)?.len(),
        total_ms: median(&totals),
        hashing_ms: median(&hashes),
        beyond_hashing_ms: median(&beyond),
    })
}

fn print(report: &Report) {
    println!(
        "unfold over bare codec, CPU time, medians of {} rounds (milliseconds)",
        report.rounds
    );
    println!(
        "{:36} {:>6} {:>7} | {:^22} | {:^22} | {:^22} | peak / (image + result)",
        "image", "MB", "to MB", "memory to memory", "file to memory", "program, file to file"
    );
    for row in &report.images {
        let contest =
            |c: &Contest| format!("{:6.1} /{:6.1} = {:5.3}", c.ours_ms, c.bare_ms, c.ratio);
        println!(
            "{:36} {:6.1} {:7.1} | {} | {} | {} | {:.2}, program {:.2}",
            row.image,
            row.image_bytes as f64 / 1e6,
            row.result_bytes as f64 / 1e6,
            contest(&row.memory),
            contest(&row.file),
            contest(&row.process),
            row.peak_ratio,
            row.peak_ratio_process,
        );
    }
    println!("\ngrowth: CPU time and peak memory of file to memory, by size unpacked");
    for line in &report.growth {
        for (size, ms, peak) in &line.points {
            let megabytes = *size as f64 / 1e6;
            println!(
                "  {} {megabytes:4.0} MB  {ms:8.1} ms  {:6.3} ms/MB  peak {:7.1} MB",
                line.codec,
                ms / megabytes,
                *peak as f64 / 1e6
            );
        }
        println!(
            "  {}: time grows as size^{:.3} (R^2 {:.4}), peak as size^{:.3}",
            line.codec, line.time_exponent, line.time_r_squared, line.peak_exponent
        );
    }
    let Inspect {
        image_bytes,
        total_ms,
        hashing_ms,
        beyond_hashing_ms,
    } = &report.inspect;
    println!(
        "\nkpeel inspect, UKI of {:.1} MB: {total_ms:.1} ms of CPU, of which hashing {hashing_ms:.1} ms; beyond it {beyond_hashing_ms:.1} ms",
        *image_bytes as f64 / 1e6
    );
}
