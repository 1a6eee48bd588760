//! `kpeel-kernel`: kernels built from source for test guests.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use kpeel_kernel::{Arch, Image, Kernel, Result, Variant, lint, packages, path, sizes};

const USAGE: &str = "\
usage: kpeel-kernel path --arch ARCH [--stock | --debug | --sanitize] [--image IMAGE]
                                                                     print the image's path, building the kernel if need be
       kpeel-kernel path --arch x86_64 --sizes                       print instead, as JSON, what kpeel's side adds to
                                                                      the kernel's size, in bytes
       kpeel-kernel lint                                             let checkpatch and clippy look at kpeel's side
       kpeel-kernel packages                                         name the Debian packages that builds need
ARCH: arm64, x86_64 (not with --stock)
IMAGE: Image (arm64), bzImage (x86_64), bzImage.forced (x86_64: signatures are enforced); with --stock also
       vmlinuz.efi.gzip, vmlinuz.efi.zstd
--debug: lockdep, kmemleak, fault injection and more (linux/config/debug.config); --sanitize: KASAN and UBSAN
       (linux/config/sanitize.config); both without bzImage.forced";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["path", options @ ..] => match parse(options) {
            Ok((kernel, What::Image(image))) => print_path(kernel, image),
            Ok((kernel, What::Sizes)) => print_sizes(kernel),
            Err(reason) => return misuse(&reason),
        },
        ["lint"] => lint(Kernel::kpeel(Arch::X86_64)),
        ["packages"] => {
            println!("{}", packages().join(" "));
            Ok(())
        }
        _ => return misuse("found no command"),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kpeel-kernel: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print_path(kernel: Kernel, image: Image) -> Result<()> {
    println!("{}", path(kernel, image)?.display());
    Ok(())
}

fn print_sizes(kernel: Kernel) -> Result<()> {
    print!("{}", sizes(kernel)?.unwrap_or_default());
    Ok(())
}

fn misuse(reason: &str) -> ExitCode {
    eprintln!("kpeel-kernel: {reason}\n{USAGE}");
    ExitCode::from(2)
}

/// What is asked for of a kernel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum What {
    Image(Image),
    Sizes,
}

/// Which kernel the options name and what of it, or what is wrong with them.
fn parse(options: &[&str]) -> std::result::Result<(Kernel, What), String> {
    let (mut arch, mut variant, mut image, mut sizes) = (None, Variant::Kpeel, None, false);
    let mut rest = options.iter();
    while let Some(&option) = rest.next() {
        let mut value = || {
            let value = rest.next().copied();
            value.ok_or_else(|| format!("{option} needs a value"))
        };
        match option {
            "--stock" => variant = Variant::Stock,
            "--sizes" => sizes = true,
            "--debug" => variant = Variant::KpeelDebug,
            "--sanitize" => variant = Variant::KpeelSanitize,
            "--arch" => arch = Some(known("--arch", value()?, Arch::from_name)?),
            "--image" => image = Some(known("--image", value()?, Image::from_name)?),
            other => return Err(format!("unknown option {other}")),
        }
    }
    let arch: Arch = arch.ok_or("--arch is missing")?;
    let kernel = Kernel { arch, variant };
    if !kernel.exists() {
        return Err(format!("{}: Debian ships this kernel", kernel.name()));
    }
    if sizes {
        return match (kernel.has_sizes(), image) {
            (true, None) => Ok((kernel, What::Sizes)),
            (true, Some(_)) => Err("--sizes and --image exclude each other".to_owned()),
            (false, _) => Err(format!("{}: its sizes are not told", kernel.name())),
        };
    }
    let image = image.unwrap_or(arch.image());
    if !kernel.images().contains(&image) {
        return Err(format!("{} has no {}", kernel.name(), image.name()));
    }
    Ok((kernel, What::Image(image)))
}

fn known<T>(
    option: &str,
    value: &str,
    from_name: fn(&str) -> Option<T>,
) -> std::result::Result<T, String> {
    from_name(value).ok_or_else(|| format!("{option} {value} is not known"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_kernel_and_image() {
        assert_eq!(
            parse(&["--stock", "--arch", "arm64"]),
            Ok((Kernel::STOCK_ARM64, What::Image(Image::Plain)))
        );
        assert_eq!(
            parse(&["--image", "vmlinuz.efi.zstd", "--arch", "arm64", "--stock"]),
            Ok((Kernel::STOCK_ARM64, What::Image(Image::ZbootZstd)))
        );
        assert_eq!(
            parse(&["--arch", "x86_64"]),
            Ok((Kernel::kpeel(Arch::X86_64), What::Image(Image::BzImage)))
        );
        assert_eq!(
            parse(&["--arch", "x86_64", "--sizes"]),
            Ok((Kernel::kpeel(Arch::X86_64), What::Sizes))
        );
        let variant = |option| parse(&["--arch", "arm64", option]).unwrap().0.variant;
        assert_eq!(variant("--debug"), Variant::KpeelDebug);
        assert_eq!(variant("--sanitize"), Variant::KpeelSanitize);
    }

    #[test]
    fn refuses_what_it_cannot_build_by_name() {
        let refused = |options: &[&str]| parse(options).unwrap_err();
        assert!(refused(&["--stock"]).contains("--arch"));
        assert!(refused(&["--stock", "--arch", "x86_64"]).contains("Debian ships"));
        assert!(refused(&["--stock", "--arch", "riscv64"]).contains("riscv64"));
        assert!(refused(&["--arch", "arm64", "--image", "bzImage"]).contains("no bzImage"));
        assert!(refused(&["--arch", "arm64", "--fast"]).contains("--fast"));
        assert!(refused(&["--stock", "--arch"]).contains("needs a value"));
        assert!(refused(&["--arch", "arm64", "--sizes"]).contains("not told"));
        let both = ["--arch", "x86_64", "--sizes", "--image", "bzImage"];
        assert!(refused(&both).contains("exclude"));
        let forced = ["--arch", "x86_64", "--debug", "--image", "bzImage.forced"];
        assert!(refused(&forced).contains("has no bzImage.forced"));
    }
}
