//! `linux`: what it costs that Linux opens an image itself, against loading the kernel in it.
//!
//! All images hold the same kernel, initrd and command line; signatures are verified for all of them (lockdown). The
//! loads are interleaved in one boot. What a codec takes is measured apart: a parser that unpacks the caller's initrd
//! and gives up, against the same that gives up at once.

use std::fmt::Write as _;
use std::time::Duration;

use kpeel_images::cache_dir;
use kpeel_images::make::{Codec, Machine, Scratch, noise, zboot};
use kpeel_matrix::Outcome;
use kpeel_matrix::fixtures::HOSTILE;
use kpeel_matrix::guest::Guest;
use kpeel_matrix::row::{Make, Row};
use kpeel_matrix::shop::{Shop, Which};
use kpeel_vm::{Accel, Arch, guest};

const ARCH: Arch = Arch::X86_64;
/// Loads that are counted, unless said otherwise.
const ROUNDS: u32 = 9;
/// A small initrd, so that the kernel's size counts; Linux hashes whatever a signature covers, so a large one inside the
/// image is measured, too.
const SMALL: usize = 1 << 20;
const LARGE: usize = 24 << 20;
const LINE: &str = "console=ttyS0";
/// Time that the guest has, emulated on a busy machine.
const DEADLINE: Duration = Duration::from_secs(2400);
const PREFIX: &str = "kpeel-latency: ";
/// What a load of the parsers that give up ends with: no kernel was published.
const ENOEXEC: i32 = 8;

/// One image of the contest.
struct Entry {
    name: String,
    image: Vec<u8>,
    /// The name of the caller's initrd; none if the image has its own.
    initrd: &'static str,
    line: &'static str,
    errno: i32,
}

/// What is compared: name, what it is measured against, the codec that is taken off, envelopes.
const RATIOS: [(&str, &str, Option<Codec>, u32); 6] = [
    ("uki", "bare", None, 1),
    ("nested", "bare", None, 2),
    ("zboot-gzip", "bare", Some(Codec::Gzip), 1),
    ("zboot-zstd", "bare", Some(Codec::Zstd), 1),
    ("uki-zboot", "bare", Some(Codec::Zstd), 2),
    ("uki-24", "bare-24", None, 1),
];

/// Measures, prints and writes everything.
pub(crate) fn run(words: &[&str]) -> Outcome<bool> {
    let rounds = match words {
        [] => ROUNDS,
        ["--rounds", number] => number.parse()?,
        _ => return Err("linux takes --rounds N".into()),
    };
    let shop = Shop::open(&[ARCH])?;
    let entries = entries(&shop)?;
    let ran = guest(&shop, &entries, rounds)?.run(&row())?;
    let times = entries
        .iter()
        .map(|entry| Ok((entry.name.as_str(), read(entry, rounds, &ran.lines)?)))
        .collect::<Outcome<Vec<_>>>()?;
    let accel = match ran.accel {
        Accel::Kvm => "kvm",
        Accel::Tcg => "tcg",
    };
    print!("{}", table(&times, accel)?);
    let json = cache_dir().join("bench/linux.json");
    std::fs::create_dir_all(json.parent().unwrap_or(&json))?;
    std::fs::write(&json, to_json(&times, accel))?;
    println!("every load: {}", json.display());
    Ok(true)
}

fn entries(shop: &Shop) -> Outcome<Vec<Entry>> {
    let kernel = shop.kernel(ARCH, Which::Unsigned)?.bytes()?;
    let uki = |kernel: &[u8], initrd: &[u8]| -> Outcome<Vec<u8>> {
        let sections: [(&str, &[u8]); 3] = [
            (".linux", kernel),
            (".initrd", initrd),
            (".cmdline", LINE.as_bytes()),
        ];
        shop.attach(&shop.uki(ARCH, &sections)?, "uki")
    };
    let (small, large) = (noise(SMALL, 1), noise(LARGE, 2));
    let packed = |codec| packed(shop, codec, &kernel);
    let own = |name: &str, image: &[u8]| Entry::new(shop, name, image, "", "", 0);
    let given = |name: &str, image: &[u8], initrd| Entry::new(shop, name, image, initrd, LINE, 0);
    let inner = uki(&kernel, &small)?;
    let mut entries = vec![
        given("bare", &kernel, "small")?,
        own("uki", &inner)?,
        own("nested", &uki(&inner, b"replaced")?)?,
        given("zboot-gzip", &packed(Codec::Gzip)?, "small")?,
        given("zboot-zstd", &packed(Codec::Zstd)?, "small")?,
        own("uki-zboot", &uki(&packed(Codec::Zstd)?, &small)?)?,
        given("bare-24", &kernel, "large")?,
        own("uki-24", &uki(&kernel, &large)?)?,
    ];
    for (macros, what) in [("DECOMPRESSES_THE_INITRD", "unpacks"), ("NOTHING", "idle")] {
        let carrier = shop.parser(HOSTILE, &[macros])?;
        let sections: [(&str, &[u8]); 1] = [(".linux", b"a kernel")];
        let image = shop.attach_carrier(&shop.uki(ARCH, &sections)?, &carrier)?;
        for initrd in [Codec::Gzip.name(), Codec::Zstd.name()] {
            let name = format!("{what}-{initrd}");
            entries.push(Entry::new(shop, &name, &image, initrd, "", ENOEXEC)?);
        }
    }
    Ok(entries)
}

impl Entry {
    fn new(
        shop: &Shop,
        name: &str,
        image: &[u8],
        initrd: &'static str,
        line: &'static str,
        errno: i32,
    ) -> Outcome<Self> {
        Ok(Self {
            name: name.to_owned(),
            image: shop.sign(ARCH, image)?,
            initrd,
            line,
            errno,
        })
    }

    /// The line of the measuring program.
    fn line(&self) -> String {
        let initrd = match self.initrd {
            "" => String::new(),
            name => format!("/initrds/{name}"),
        };
        format!("{0}\t/{0}\t{initrd}\t{1}\n", self.name, self.line)
    }
}

fn packed(shop: &Shop, codec: Codec, kernel: &[u8]) -> Outcome<Vec<u8>> {
    let scratch = Scratch::new()?;
    let out = scratch.join("zboot.efi");
    zboot(Machine::Amd64, codec, kernel, &out)?;
    shop.attach(&std::fs::read(&out)?, "zboot")
}

fn row() -> Row {
    Row {
        name: "bench-linux-x86_64",
        arch: ARCH,
        claim: "measures loads that Linux opens",
        full: true,
        deadline: DEADLINE,
        guest: Make::Linux(|shop, _| guest(shop, &entries(shop)?, ROUNDS)),
    }
}

fn guest(shop: &Shop, entries: &[Entry], rounds: u32) -> Outcome<Guest> {
    let latency = guest::build(ARCH, "kpeel-init", "kpeel-latency")?;
    let kernel = shop.kernel(ARCH, Which::Unsigned)?.bytes()?;
    let mut guest = Guest::new(shop, ARCH, &shop.kernel(ARCH, Which::Patched)?)?
        .append("lockdown=integrity loglevel=1")
        .memory(2048)
        .with(|archive| Ok(archive.program("bin/kpeel-latency", &latency)?))?
        .file("initrds/small", &noise(SMALL, 1))
        .file("initrds/large", &noise(LARGE, 2));
    for codec in [Codec::Gzip, Codec::Zstd] {
        let path = format!("initrds/{}", codec.name());
        guest = guest.file(&path, &codec.compress(Machine::Amd64, &kernel)?);
    }
    for entry in entries {
        guest = guest.file(&entry.name, &entry.image);
    }
    let lines: String = entries.iter().map(Entry::line).collect();
    Ok(guest
        .file("list", lines.as_bytes())
        .step(format!("run /bin/kpeel-latency {rounds} /list"))
        .stays())
}

/// The times of one image in microseconds, sorted. Every load must end as it should.
fn read(entry: &Entry, rounds: u32, lines: &[String]) -> Outcome<Vec<u64>> {
    let begins = format!("{PREFIX}{} errno={} us=", entry.name, entry.errno);
    let found = lines.iter().filter_map(|line| line.strip_prefix(&begins));
    let mut times = found.map(str::parse).collect::<Result<Vec<u64>, _>>()?;
    if times.len() != rounds as usize {
        let errno = entry.errno;
        let found = times.len();
        return Err(format!(
            "{}: {found} of {rounds} loads gave errno {errno}",
            entry.name
        )
        .into());
    }
    times.sort_unstable();
    Ok(times)
}

/// Which of the sorted times counts. On a busy machine the least is the one that was disturbed least.
#[derive(Clone, Copy)]
enum Pick {
    Median,
    Least,
}

/// The time of this image in milliseconds.
fn time(times: &[(&str, Vec<u64>)], name: &str, pick: Pick) -> Outcome<f64> {
    let found = times.iter().find(|(known, _)| *known == name);
    let all = &found.ok_or_else(|| format!("{name} was not measured"))?.1;
    let (low, high) = match pick {
        Pick::Median => (all.get((all.len() - 1) / 2), all.get(all.len() / 2)),
        Pick::Least => (all.first(), all.first()),
    };
    let sum = low.zip(high).map(|(low, high)| (low + high) as f64);
    Ok(sum.ok_or("no loads")? / 2000.0)
}

fn table(times: &[(&str, Vec<u64>)], accel: &str) -> Outcome<String> {
    let mut text = String::new();
    for (pick, title) in [(Pick::Median, "medians"), (Pick::Least, "least")] {
        let _ = writeln!(text, "{title} of {} loads ({accel})", times[0].1.len());
        for (name, _) in times {
            let _ = writeln!(text, "  {name:14} {:9.1} ms", time(times, name, pick)?);
        }
        for (name, base, codec, envelopes) in RATIOS {
            let taken = match codec {
                Some(codec) => {
                    time(times, &format!("unpacks-{}", codec.name()), pick)?
                        - time(times, &format!("idle-{}", codec.name()), pick)?
                }
                None => 0.0,
            };
            let (own, base_time) = (time(times, name, pick)?, time(times, base, pick)?);
            let rest = own - taken;
            let _ = writeln!(
                text,
                "  {name:14} x{:.2} of {base}; without the codec's {taken:.1} ms x{:.2}, {:.1} ms more for each of {envelopes}",
                own / base_time,
                rest / base_time,
                (rest - base_time) / f64::from(envelopes)
            );
        }
    }
    Ok(text)
}

/// Names are plain words, so nothing needs quoting.
fn to_json(times: &[(&str, Vec<u64>)], accel: &str) -> String {
    let rows: Vec<String> = times
        .iter()
        .map(|(name, times)| format!("  {{\"image\": \"{name}\", \"us\": {times:?}}}"))
        .collect();
    format!(
        "{{\"schema\": 1, \"accel\": \"{accel}\", \"loads\": [\n{}\n]}}\n",
        rows.join(",\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            name: "uki".to_owned(),
            image: Vec::new(),
            initrd: "",
            line: "",
            errno: 0,
        }
    }

    #[test]
    fn counts_only_loads_that_ended_as_they_should() {
        let line = |errno, us| format!("{PREFIX}uki errno={errno} us={us}");
        let good = [line(0, 7000), "noise".to_owned(), line(0, 5000)];
        assert_eq!(read(&entry(), 2, &good).unwrap(), [5000, 7000]);
        assert!(read(&entry(), 3, &good).is_err());
        assert!(read(&entry(), 2, &[line(0, 7000), line(8, 5000)]).is_err());
    }

    #[test]
    fn takes_the_codec_off_before_it_compares() {
        let times: Vec<(&str, Vec<u64>)> = [
            ("bare", 100),
            ("uki", 110),
            ("nested", 130),
            ("zboot-gzip", 150),
            ("zboot-zstd", 150),
            ("uki-zboot", 160),
            ("bare-24", 100),
            ("uki-24", 200),
            ("unpacks-gzip", 60),
            ("idle-gzip", 20),
            ("unpacks-zstd", 60),
            ("idle-zstd", 20),
        ]
        .map(|(name, ms)| (name, vec![ms * 1000; 3]))
        .into();
        let text = table(&times, "tcg").unwrap();
        assert!(text.contains("uki            x1.10 of bare;"), "{text}");
        let zboot = "zboot-zstd     x1.50 of bare; without the codec's 40.0 ms x1.10, 10.0 ms more for each of 1";
        assert!(text.contains(zboot), "{text}");
        assert!(text.contains("15.0 ms more for each of 2"), "{text}");
    }
}
