//! `kpeel-kernel`: kernels built from source for test guests.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use kpeel_kernel::{Arch, Image, Kernel, Result, Variant, packages, path};

const USAGE: &str = "\
usage: kpeel-kernel path --stock --arch arm64 [--image IMAGE]   print the image's path, building the kernel if need be
       kpeel-kernel packages                                    name the Debian packages that builds need
IMAGE: Image (if not said), vmlinuz.efi.gzip, vmlinuz.efi.zstd";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["path", options @ ..] => match parse(options) {
            Ok((kernel, image)) => print_path(kernel, image),
            Err(reason) => return misuse(&reason),
        },
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

fn misuse(reason: &str) -> ExitCode {
    eprintln!("kpeel-kernel: {reason}\n{USAGE}");
    ExitCode::from(2)
}

/// Which kernel and image the options name, or what is wrong with them.
fn parse(options: &[&str]) -> std::result::Result<(Kernel, Image), String> {
    let (mut arch, mut variant, mut image) = (None, None, Image::Plain);
    let mut rest = options.iter();
    while let Some(&option) = rest.next() {
        let mut value = || {
            let value = rest.next().copied();
            value.ok_or_else(|| format!("{option} needs a value"))
        };
        match option {
            "--stock" => variant = Some(Variant::Stock),
            "--arch" => arch = Some(known("--arch", value()?, Arch::from_name)?),
            "--image" => image = known("--image", value()?, Image::from_name)?,
            other => return Err(format!("unknown option {other}")),
        }
    }
    let kernel = Kernel {
        arch: arch.ok_or("--arch is missing")?,
        variant: variant.ok_or("--stock is missing; no other kernel can be built")?,
    };
    Ok((kernel, image))
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
            Ok((Kernel::STOCK_ARM64, Image::Plain))
        );
        assert_eq!(
            parse(&["--image", "vmlinuz.efi.zstd", "--arch", "arm64", "--stock"]),
            Ok((Kernel::STOCK_ARM64, Image::ZbootZstd))
        );
    }

    #[test]
    fn refuses_what_it_cannot_build_by_name() {
        let refused = |options: &[&str]| parse(options).unwrap_err();
        assert!(refused(&["--arch", "arm64"]).contains("--stock"));
        assert!(refused(&["--stock"]).contains("--arch"));
        assert!(refused(&["--stock", "--arch", "x86_64"]).contains("x86_64"));
        assert!(refused(&["--stock", "--arch", "arm64", "--debug"]).contains("--debug"));
        assert!(refused(&["--stock", "--arch"]).contains("needs a value"));
    }
}
