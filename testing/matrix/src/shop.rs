//! Where kernels, images and programs come from.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kpeel_images::make::{Machine, Scratch, uki};
use kpeel_images::{Item, fetch};
use kpeel_kernel::Image;
use kpeel_vm::{Arch, guest};

use crate::Outcome;
use crate::secure_boot::run;

/// A kernel a row uses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Which {
    /// Debian's signed 6.12 for clouds.
    Stock,
    /// Debian's 6.1 for clouds: told from the first kernel by its version.
    Older,
    /// Debian's 6.12 for clouds without a signature (`x86_64` only).
    Unsigned,
    /// Our unpatched build with `kexec_file_load` (aarch64 only).
    Built,
    /// The same build as a zboot image, by zstd.
    BuiltZboot,
    /// The same by gzip.
    BuiltZbootGzip,
    /// Our patched build, which opens images with parsers itself.
    Patched,
    /// The same with `KEXEC_SIG_FORCE` (`x86_64` only).
    Forced,
}

/// A kernel's file and its version.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// The image.
    pub path: PathBuf,
    /// As `uname -r` prints it.
    pub release: String,
}

impl Kernel {
    /// The kernel of this image.
    ///
    /// # Errors
    /// When it cannot be read, or does not tell its version.
    pub fn of(path: PathBuf) -> Outcome<Self> {
        let release = release(&read(&path)?)?;
        Ok(Self { path, release })
    }

    /// The image's bytes.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn bytes(&self) -> Outcome<Vec<u8>> {
        read(&self.path)
    }
}

/// Static programs, built once; everything else is made on demand.
pub struct Shop {
    guests: Vec<Programs>,
    /// kpeel for this machine.
    host: PathBuf,
}

/// Static programs for one architecture.
pub(crate) struct Programs {
    arch: Arch,
    pub(crate) init: PathBuf,
    pub(crate) kpeel: PathBuf,
    /// Rewrites a file while kpeel reads it.
    pub(crate) churn: PathBuf,
    /// Makes the system call and nothing else.
    pub(crate) raw: PathBuf,
    /// Looks for what Linux loads for an image.
    pub(crate) attack: PathBuf,
    /// Attacks its own load.
    pub(crate) race: PathBuf,
    /// Runs a program and watches the kernel.
    pub(crate) under: PathBuf,
    /// Keys and signatures for IMA.
    pub(crate) ima: PathBuf,
}

impl Shop {
    /// Builds what guests of these architectures run.
    ///
    /// # Errors
    /// When a build fails or a tool for it is missing.
    pub fn open(arches: &[Arch]) -> Outcome<Self> {
        let host = Arch::from_name(std::env::consts::ARCH).unwrap_or(Arch::X86_64);
        let build = |arch| -> Outcome<Programs> {
            Ok(Programs {
                arch,
                init: guest::build(arch, "kpeel-init", "kpeel-init")?,
                churn: guest::build(arch, "kpeel-init", "kpeel-churn")?,
                raw: guest::build(arch, "kpeel-init", "kpeel-raw")?,
                attack: guest::build(arch, "kpeel-init", "kpeel-attack")?,
                race: guest::build(arch, "kpeel-init", "kpeel-race")?,
                under: guest::build(arch, "kpeel-init", "kpeel-under")?,
                ima: guest::build(arch, "kpeel-init", "kpeel-ima")?,
                kpeel: guest::build(arch, "kpeel-cli", "kpeel")?,
            })
        };
        Ok(Self {
            guests: arches
                .iter()
                .map(|&arch| build(arch))
                .collect::<Outcome<_>>()?,
            host: guest::build(host, "kpeel-cli", "kpeel")?,
        })
    }

    pub(crate) fn programs(&self, arch: Arch) -> Outcome<&Programs> {
        let found = self.guests.iter().find(|programs| programs.arch == arch);
        found.ok_or_else(|| format!("no programs were built for {}", arch.name()).into())
    }

    /// A kernel, fetched or built if the cache lacks it.
    ///
    /// # Errors
    /// When it cannot be had, or there is none for this architecture.
    pub fn kernel(&self, arch: Arch, which: Which) -> Outcome<Kernel> {
        let path = match (arch, which) {
            (Arch::X86_64, Which::Stock) => fetch(Item::LinuxAmd64)?,
            (Arch::X86_64, Which::Older) => fetch(Item::LinuxAmd64V61)?,
            (Arch::X86_64, Which::Unsigned) => fetch(Item::LinuxAmd64Unsigned)?,
            (Arch::Aarch64, Which::Stock) => fetch(Item::LinuxArm64)?,
            (Arch::Aarch64, Which::Older) => fetch(Item::LinuxArm64V61)?,
            (Arch::Aarch64, Which::Built) => built(Image::Plain)?,
            (_, Which::Patched) => {
                let kernel = patched(arch);
                kpeel_kernel::path(kernel, kernel.arch.image())?
            }
            (Arch::X86_64, Which::Forced) => {
                kpeel_kernel::path(patched(arch), Image::BzImageForced)?
            }
            (Arch::Aarch64, Which::BuiltZboot) => return zboot(Image::ZbootZstd),
            (Arch::Aarch64, Which::BuiltZbootGzip) => return zboot(Image::ZbootGzip),
            _ => return Err(format!("{which:?}: no such kernel for {}", arch.name()).into()),
        };
        Kernel::of(path)
    }

    /// A UKI around these sections, made by objcopy.
    ///
    /// # Errors
    /// When the stub cannot be had or objcopy fails.
    pub fn uki(&self, arch: Arch, sections: &[(&str, &[u8])]) -> Outcome<Vec<u8>> {
        self.uki_on(
            match arch {
                Arch::X86_64 => Item::StubAmd64V257,
                Arch::Aarch64 => Item::StubArm64,
            },
            sections,
        )
    }

    /// The same, around this stub.
    ///
    /// # Errors
    /// When the stub cannot be had or objcopy fails.
    pub fn uki_on(&self, stub: Item, sections: &[(&str, &[u8])]) -> Outcome<Vec<u8>> {
        let stub = fetch(stub)?;
        let scratch = Scratch::new()?;
        let out = scratch.join("uki.efi");
        uki(&stub, sections, &out)?;
        read(&out)
    }

    /// A UKI by `kpeel build uki`. Of the profiles, each metadata and a command line, the first has
    /// nothing of its own but its name.
    ///
    /// # Errors
    /// When the stub cannot be had or kpeel refuses.
    pub(crate) fn build_uki(
        &self,
        arch: Arch,
        kernel: &Kernel,
        initrd: &[u8],
        line: &str,
        profiles: &[(&str, &str)],
    ) -> Outcome<Vec<u8>> {
        let scratch = Scratch::new()?;
        let stub = fetch(match arch {
            Arch::X86_64 => Item::StubAmd64V257,
            Arch::Aarch64 => Item::StubArm64,
        })?;
        let build = |out: &Path| {
            let mut command = self.host();
            command.args(["build", "uki", "--os-release="]);
            command.arg("--stub").arg(&stub).arg("--output").arg(out);
            command
        };
        let out = scratch.join("uki.efi");
        let mut command = build(&out);
        command.arg("--linux").arg(&kernel.path);
        command
            .arg("--initrd")
            .arg(scratch.write("initrd", initrd)?);
        command.arg(format!("--cmdline={line}"));
        for (index, (metadata, line)) in profiles.iter().enumerate() {
            if index == 0 {
                command.arg(format!("--profile={metadata}"));
                continue;
            }
            let profile = scratch.join(&format!("profile{index}.efi"));
            let mut one = build(&profile);
            one.arg(format!("--profile={metadata}"));
            self.kpeel(one.arg(format!("--cmdline={line}")))?;
            command.arg("--join-profile").arg(profile);
        }
        self.kpeel(&mut command)?;
        read(&out)
    }

    /// What Debian's `x86_64` kernel of this version has as a module, such as `fs/efivarfs/efivarfs`.
    ///
    /// # Errors
    /// When it cannot be had, or xz is missing.
    pub(crate) fn module(&self, release: &str, name: &str) -> Outcome<Vec<u8>> {
        let module = format!("lib/modules/{release}/kernel/{name}.ko.xz");
        let output = Command::new("xz")
            .args(["--decompress", "--stdout"])
            .arg(fetch(Item::ModulesAmd64)?.join(&module))
            .output()
            .map_err(|error| format!("xz: {error} (Debian package xz-utils)"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{module}: {}", said.trim()).into());
        }
        Ok(output.stdout)
    }

    /// A command of kpeel's for this machine, to be given arguments and to [`Shop::kpeel`].
    pub(crate) fn host(&self) -> Command {
        Command::new(&self.host)
    }

    /// Runs such a command.
    ///
    /// # Errors
    /// What kpeel says.
    pub(crate) fn kpeel(&self, command: &mut Command) -> Outcome<()> {
        let output = command.output()?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("{command:?}: {}: {}", output.status, said.trim()).into())
    }

    /// The image with a bundled parser in it, put there by `kpeel attach`.
    ///
    /// # Errors
    /// When kpeel refuses.
    pub fn attach(&self, image: &[u8], parser: &str) -> Outcome<Vec<u8>> {
        let scratch = Scratch::new()?;
        let before = scratch.write("before.efi", image)?;
        let after = scratch.join("after.efi");
        let output = Command::new(&self.host)
            .arg("attach")
            .arg(&before)
            .args(["--parser", parser, "--drop-signature", "--output"])
            .arg(&after)
            .output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("kpeel attach: {}: {}", output.status, said.trim()).into());
        }
        read(&after)
    }

    /// The directory of our patched kernel, where the key lies that it trusts: `kpeel.key`, `kpeel.crt`.
    ///
    /// # Errors
    /// When the kernel cannot be had.
    pub fn keys(&self, arch: Arch) -> Outcome<PathBuf> {
        Ok(kpeel_kernel::dir(patched(arch))?)
    }

    /// The image signed by the key that our patched kernel trusts.
    ///
    /// # Errors
    /// When the kernel cannot be had or sbsign fails.
    pub fn sign(&self, arch: Arch, image: &[u8]) -> Outcome<Vec<u8>> {
        self.sign_by(&kpeel_kernel::dir(patched(arch))?, image)
    }

    /// The image signed by the key `kpeel.key` of this directory.
    ///
    /// # Errors
    /// When sbsign fails.
    pub fn sign_by(&self, keys: &Path, image: &[u8]) -> Outcome<Vec<u8>> {
        let scratch = Scratch::new()?;
        let before = scratch.write("before.efi", image)?;
        let signed = scratch.join("signed.efi");
        run(Command::new("sbsign")
            .arg("--key")
            .arg(keys.join("kpeel.key"))
            .arg("--cert")
            .arg(keys.join("kpeel.crt"))
            .arg("--output")
            .arg(&signed)
            .arg(&before))?;
        read(&signed)
    }

    /// The carrier of a parser in C, with these macros defined, made by clang and our linker.
    ///
    /// # Errors
    /// When clang or the linker refuses.
    pub fn parser(&self, source: &str, macros: &[&str]) -> Outcome<Vec<u8>> {
        let scratch = Scratch::new()?;
        let source = scratch.write("parser.c", source.as_bytes())?;
        let object = scratch.join("parser.o");
        run(Command::new("clang-22")
            .args(["-target", "bpf", "-O2", "-mcpu=v3", "-c", "-o"])
            .arg(&object)
            .args(macros.iter().map(|name| format!("-D{name}")))
            .arg(&source))?;
        Ok(kpeel_lskel::link(&read(&object)?)?)
    }

    /// The carrier of a parser in C, with these macros defined, as the C toolchain makes it: by clang and `bpftool gen
    /// skeleton -L`.
    ///
    /// # Errors
    /// When a tool refuses or its output is not understood.
    pub fn c_parser(&self, source: &str, macros: &[&str]) -> Outcome<Vec<u8>> {
        let scratch = Scratch::new()?;
        let source = scratch.write("parser.c", source.as_bytes())?;
        let object = scratch.join("parser.o");
        run(Command::new("clang-22")
            .args(["-target", "bpf", "-g", "-O2", "-mcpu=v3", "-c", "-o"])
            .arg(&object)
            .args(macros.iter().map(|name| format!("-D{name}")))
            .arg(&source))?;
        let header = run(Command::new("bpftool")
            .args(["gen", "skeleton", "-L"])
            .arg(&object)
            .args(["name", "parser"]))?;
        // bpftool 7.1 gives its two string literals no names.
        let literal = |start: &str| {
            let rest = header.split_once(start).map(|(_, rest)| rest);
            let text = rest.and_then(|rest| Some(rest.split_once(';')?.0));
            text.ok_or(format!("no {start:?} in bpftool's header"))
        };
        let text = format!(
            "const char opts_data[] = {};\nconst char opts_insn[] = {};\n",
            literal("opts.data = (void *)")?,
            literal("opts.insns = (void *)")?
        );
        let names = scratch.write("carrier.c", text.as_bytes())?;
        let carrier = scratch.join("carrier.o");
        run(Command::new("clang-22")
            .args(["-c", "-o"])
            .arg(&carrier)
            .arg(names))?;
        read(&carrier)
    }

    /// The image with this carrier in it.
    ///
    /// # Errors
    /// When kpeel refuses.
    pub fn attach_carrier(&self, image: &[u8], carrier: &[u8]) -> Outcome<Vec<u8>> {
        let scratch = Scratch::new()?;
        let carrier = scratch.write("carrier.o", carrier)?;
        self.attach(image, &carrier.to_string_lossy())
    }

    /// The bytes as a `.gz` file, made by gzip.
    ///
    /// # Errors
    /// When gzip fails.
    pub fn gzip(&self, arch: Arch, bytes: &[u8]) -> Outcome<Vec<u8>> {
        let machine = match arch {
            Arch::X86_64 => Machine::Amd64,
            Arch::Aarch64 => Machine::Arm64,
        };
        Ok(kpeel_images::make::Codec::Gzip.compress(machine, bytes)?)
    }
}

/// The patched build for an architecture.
fn patched(arch: Arch) -> kpeel_kernel::Kernel {
    kpeel_kernel::Kernel::kpeel(match arch {
        Arch::X86_64 => kpeel_kernel::Arch::X86_64,
        Arch::Aarch64 => kpeel_kernel::Arch::Arm64,
    })
}

fn built(image: Image) -> Outcome<PathBuf> {
    Ok(kpeel_kernel::path(
        kpeel_kernel::Kernel::STOCK_ARM64,
        image,
    )?)
}

/// A zboot image does not tell its version; the plain one of the same build does.
fn zboot(image: Image) -> Outcome<Kernel> {
    let plain = built(Image::Plain)?;
    Ok(Kernel {
        path: built(image)?,
        release: release(&read(&plain)?)?,
    })
}

/// Offset of `kernel_version`, which counts from 0x200, in the setup header
/// (Documentation/arch/x86/boot.rst).
const KERNEL_VERSION: usize = 0x20e;
const SETUP_MAGIC: (usize, &[u8]) = (0x202, b"HdrS");
/// Begins the banner of every Linux.
const BANNER: &[u8] = b"Linux version ";

/// The version a kernel image tells: a bzImage in its setup header, an `Image` by its banner.
fn release(image: &[u8]) -> Outcome<String> {
    let (at, magic) = SETUP_MAGIC;
    let text = if image.get(at..at + magic.len()) == Some(magic) {
        let pointer = image.get(KERNEL_VERSION..KERNEL_VERSION + 2);
        let pointer = pointer.and_then(|bytes| bytes.try_into().ok());
        let start = usize::from(u16::from_le_bytes(pointer.unwrap_or_default())) + 0x200;
        image.get(start..)
    } else {
        let found = image.windows(BANNER.len() + 1).position(|window| {
            window.starts_with(BANNER) && window.last().is_some_and(u8::is_ascii_digit)
        });
        found.and_then(|at| image.get(at + BANNER.len()..))
    };
    let end = |text: &[u8]| text.iter().position(|byte| matches!(byte, b' ' | 0));
    let release = text.and_then(|text| text.get(..end(text)?));
    let release = release.ok_or("a kernel image that does not tell its version")?;
    Ok(String::from_utf8_lossy(release).into_owned())
}

fn read(path: &Path) -> Outcome<Vec<u8>> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()).into())
}

#[cfg(test)]
mod tests {
    use super::release;

    #[test]
    fn reads_the_version_of_either_kind() {
        let mut image = vec![0; 0x400];
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x20e..0x210].copy_from_slice(&0x100_u16.to_le_bytes());
        image[0x300..0x30b].copy_from_slice(b"6.1.0 (debi");
        assert_eq!(release(&image).unwrap(), "6.1.0");
        let image = b"Linux version %s .. Linux version 6.12.1-x (gcc)";
        assert_eq!(release(image).unwrap(), "6.12.1-x");
    }

    #[test]
    fn rejects_an_image_without_a_version() {
        assert!(release(b"Linux version ").is_err());
        assert!(release(&[]).is_err());
    }
}
