//! `load`: which images, which commands, in which guests.

use std::time::Duration;

use kpeel_images::cache_dir;
use kpeel_images::make::{Codec, Machine, Scratch, noise, zboot};
use kpeel_kernel::Image;
use kpeel_matrix::Outcome;
use kpeel_matrix::guest::{Guest, KPEEL};
use kpeel_matrix::row::{Make, Row};
use kpeel_matrix::shop::{Shop, Which};
use kpeel_vm::{Arch, guest};

use crate::peer;
use crate::table::{Contest, Report};

/// What is asked for.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Options {
    arches: Vec<Arch>,
    rounds: u32,
}

/// Runs that are counted, unless said otherwise.
const ROUNDS: u32 = 7;
/// An ordinary initrd is about this large, and as incompressible.
const INITRD: usize = 24 << 20;
/// Time that a guest has, emulated on a busy machine.
const DEADLINE: Duration = Duration::from_secs(1200);

impl Options {
    pub(crate) fn parse(words: &[&str]) -> Option<Self> {
        let mut options = Self {
            arches: Arch::ALL.to_vec(),
            rounds: ROUNDS,
        };
        let (&"load", mut rest) = words.split_first()? else {
            return None;
        };
        while let [option, value, others @ ..] = rest {
            match *option {
                "--arch" => options.arches = vec![Arch::from_name(value)?],
                "--rounds" => options.rounds = value.parse().ok().filter(|rounds| *rounds > 0)?,
                _ => return None,
            }
            rest = others;
        }
        rest.is_empty().then_some(options)
    }
}

/// Measures, prints and writes everything; whether every program reached its system call.
pub(crate) fn run(options: &Options) -> Outcome<bool> {
    let shop = Shop::open(&options.arches)?;
    let mut report = Report::default();
    for &arch in &options.arches {
        let entries = entries(&shop, arch)?;
        let guest = guest(&shop, arch, &entries, options.rounds)?;
        let ran = guest.run(&row(arch))?;
        let version = peer::version(arch)?;
        for entry in &entries {
            report.add(Contest::read(
                entry.name,
                &version,
                ran.accel,
                &entry.names(),
                &ran.lines,
            )?);
        }
    }
    print!("{}", report.table());
    let json = cache_dir().join("bench/load.json");
    std::fs::create_dir_all(json.parent().unwrap_or(&json))?;
    std::fs::write(&json, report.to_json())?;
    println!("every run: {}", json.display());
    Ok(report.all_reached())
}

/// One image, and the commands that load it.
struct Entry {
    name: &'static str,
    image: Vec<u8>,
    call: &'static str,
    /// Name and command line up to the image's path.
    commands: Vec<(&'static str, String)>,
}

impl Entry {
    fn names(&self) -> Vec<String> {
        let names = self.commands.iter();
        names
            .map(|(program, _)| format!("{}/{program}", self.name))
            .collect()
    }

    /// The lines of the measuring program.
    fn lines(&self) -> String {
        let commands = self.commands.iter().zip(self.names());
        let line = |((_, command), name): (&(_, String), String)| {
            let call = self.call;
            format!(
                "{name}\t{call} failed: Operation not permitted\t{command} /{}\n",
                self.name
            )
        };
        commands.map(line).collect()
    }
}

fn entries(shop: &Shop, arch: Arch) -> Outcome<Vec<Entry>> {
    match arch {
        Arch::X86_64 => Ok(vec![uki(shop, arch)?]),
        Arch::Aarch64 => {
            let kernel = shop.kernel(arch, Which::Stock)?.bytes()?;
            let scratch = Scratch::new()?;
            let large = scratch.join("zboot");
            zboot(Machine::Arm64, Codec::Gzip, &kernel, &large)?;
            let small = kpeel_kernel::path(kpeel_kernel::Kernel::STOCK_ARM64, Image::ZbootGzip)?;
            Ok(vec![
                entry_zboot("zboot-debian", std::fs::read(large)?),
                entry_zboot("zboot-small", std::fs::read(small)?),
            ])
        }
    }
}

fn uki(shop: &Shop, arch: Arch) -> Outcome<Entry> {
    let kernel = shop.kernel(arch, Which::Stock)?.bytes()?;
    let sections: [(&str, &[u8]); 3] = [
        (".linux", &kernel),
        (".initrd", &noise(INITRD, 1)),
        (".cmdline", b"console=ttyS0"),
    ];
    Ok(Entry {
        name: "uki",
        image: shop.uki(arch, &sections)?,
        call: "kexec_file_load",
        commands: vec![
            ("kpeel", format!("{KPEEL} load --trust none")),
            ("kexec-tools", format!("{} -s -l", peer::PROGRAM)),
        ],
    })
}

/// Debian's arm64 kernels have only `kexec_load`. There kexec-tools hashes all that it loads, for its code between
/// the two kernels to check; `-i` has it leave that out, as kpeel does.
fn entry_zboot(name: &'static str, image: Vec<u8>) -> Entry {
    let line = "console=ttyAMA0";
    let peer = peer::PROGRAM;
    Entry {
        name,
        image,
        call: "kexec_load",
        commands: vec![
            (
                "kpeel",
                format!("{KPEEL} load --trust none --command-line {line}"),
            ),
            ("kexec-tools", format!("{peer} -c -l --command-line={line}")),
            (
                "kexec-tools-i",
                format!("{peer} -c -i -l --command-line={line}"),
            ),
        ],
    }
}

fn row(arch: Arch) -> Row {
    Row {
        name: match arch {
            Arch::Aarch64 => "bench-load-aarch64",
            Arch::X86_64 => "bench-load-x86_64",
        },
        arch,
        claim: "measures loading",
        full: true,
        deadline: DEADLINE,
        guest: Make::Linux(|shop, row| guest(shop, row.arch, &entries(shop, row.arch)?, ROUNDS)),
    }
}

fn guest(shop: &Shop, arch: Arch, entries: &[Entry], rounds: u32) -> Outcome<Guest> {
    let measure = guest::build(arch, "kpeel-init", "kpeel-measure")?;
    let mut guest = Guest::new(shop, arch, &shop.kernel(arch, Which::Stock)?)?.with(|archive| {
        archive.program("bin/kpeel-measure", &measure)?;
        peer::install(arch, archive)
    })?;
    for entry in entries {
        guest = guest.file(entry.name, &entry.image);
    }
    let lines: String = entries.iter().map(Entry::lines).collect();
    Ok(guest
        .file("commands", lines.as_bytes())
        .step("write /proc/sys/kernel/kexec_load_disabled 1")
        .step(format!("run /bin/kpeel-measure {rounds} /commands"))
        .stays())
}

#[cfg(test)]
mod tests {
    use super::Options;

    #[test]
    fn takes_its_options_and_no_others() {
        let all = Options::parse(&["load"]).unwrap();
        assert_eq!((all.arches.len(), all.rounds), (2, super::ROUNDS));
        let some = Options::parse(&["load", "--arch", "aarch64", "--rounds", "3"]).unwrap();
        assert_eq!((some.arches.len(), some.rounds), (1, 3));
        for words in [
            &[][..],
            &["unfold"],
            &["load", "--arch"],
            &["load", "--rounds", "0"],
            &["load", "--arch", "vax"],
        ] {
            assert_eq!(Options::parse(words), None, "{words:?}");
        }
    }
}
