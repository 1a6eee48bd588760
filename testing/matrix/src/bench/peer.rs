//! kexec-tools in a guest.

use std::fs;
use std::path::Path;

use kpeel_images::{Item, fetch, origins};
use kpeel_matrix::Outcome;
use kpeel_vm::{Arch, Initramfs};

/// Where the initramfs keeps it. `/sbin/kexec` is kpeel.
pub(crate) const PROGRAM: &str = "/usr/sbin/kexec";

/// The oldest version that is a match: the first that opens zboot images and UKIs.
const OLDEST: [u32; 3] = [2, 0, 32];

/// Puts kexec-tools and its libraries where they find each other.
pub(crate) fn install(arch: Arch, archive: &mut Initramfs) -> Outcome<()> {
    let root = fetch(item(arch))?;
    archive.program(&PROGRAM[1..], &root.join(&PROGRAM[1..]))?;
    let (libraries, interpreter) = match arch {
        Arch::Aarch64 => ("usr/lib/aarch64-linux-gnu", "lib/ld-linux-aarch64.so.1"),
        Arch::X86_64 => ("usr/lib/x86_64-linux-gnu", "lib64/ld-linux-x86-64.so.2"),
    };
    for entry in fs::read_dir(root.join(libraries))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        archive.program(&format!("{libraries}/{name}"), &path)?;
    }
    let name = Path::new(interpreter).file_name().unwrap_or_default();
    archive.program(interpreter, &root.join(libraries).join(name))?;
    Ok(())
}

/// Its version as Debian writes it; fetch it first.
pub(crate) fn version(arch: Arch) -> Outcome<String> {
    let origins = origins(item(arch))?;
    let found = origins
        .into_iter()
        .find(|origin| origin.package == "kexec-tools");
    let version = found.ok_or("kexec-tools is not in its item")?.version;
    if numbers(&version) < OLDEST.to_vec() {
        return Err(format!("kexec-tools: found {version}, needed at least 2.0.32").into());
    }
    Ok(version)
}

fn item(arch: Arch) -> Item {
    match arch {
        Arch::Aarch64 => Item::KexecToolsArm64,
        Arch::X86_64 => Item::KexecToolsAmd64,
    }
}

/// The numbers of the upstream version in one of Debian's.
fn numbers(version: &str) -> Vec<u32> {
    let upstream = version.split_once(':').map_or(version, |(_, rest)| rest);
    let upstream = upstream.split(['-', '+', '~']).next().unwrap_or(upstream);
    upstream.split('.').map_while(|n| n.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::{OLDEST, numbers};

    #[test]
    fn tells_an_old_peer_from_a_new_one() {
        assert_eq!(numbers("1:2.0.32-3+b1"), OLDEST);
        assert!(numbers("1:2.0.29-2+b2") < OLDEST.to_vec());
        assert!(numbers("2.1-1") > OLDEST.to_vec());
    }
}
