//! Debian's stock kernel, and the module that gives it anchors and kfunc stubs.
//!
//! The headers' package has what a module with BTF of its own needs: a `vmlinux` that holds the
//! kernel's BTF for pahole, and resolve_btfids. Nothing is installed; the packages lie extracted in
//! the cache, and so does the module, by its source and kernel.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kpeel_images::{Item, cache_dir, fetch, kernel_release};
use sha2::{Digest as _, Sha256};

use crate::error::Error;

/// The module's files; the first names the second.
const SOURCES: [(&str, &str); 2] = [
    ("Kbuild", include_str!("../module/Kbuild")),
    ("kpeel_stubs.c", include_str!("../module/kpeel_stubs.c")),
];
/// What comes of them.
const MODULE: &str = "kpeel_stubs.ko";
/// Headers' flavour, the end of the kernel's release; the rest is shared by all flavours.
const FLAVOUR: &str = "-cloud-amd64";

/// What the guest needs.
pub(crate) struct Kernel {
    pub(crate) image: PathBuf,
    pub(crate) module: PathBuf,
    pub(crate) release: String,
}

/// Fetches and builds what is not in the cache yet.
pub(crate) fn prepare() -> Result<Kernel, Error> {
    let packages = fetch(Item::VmAmd64)?;
    let release = kernel_release(&packages)?;
    let cache = cache_dir().join("verifier");
    let module = cache.join(format!("{}-{release}.ko", key()));
    if !module.is_file() {
        build(&packages, &release, &module)?;
    }
    Ok(Kernel {
        image: packages.join(format!("boot/vmlinuz-{release}")),
        module,
        release,
    })
}

fn build(packages: &Path, release: &str, module: &Path) -> Result<(), Error> {
    let work = module.with_extension(format!("build-{}", std::process::id()));
    fs::create_dir_all(&work).map_err(Error::system("creating", &work))?;
    for (name, text) in SOURCES {
        let path = work.join(name);
        fs::write(&path, text).map_err(Error::system("writing", &path))?;
    }
    let sources = packages.join("usr/src");
    let common = release.strip_suffix(FLAVOUR).unwrap_or(release);
    let make = Command::new("make")
        // The flavour's own Makefile names the shared one by where the package would install it.
        .arg("-f")
        .arg(sources.join(format!("linux-headers-{common}-common/Makefile")))
        .arg("-C")
        .arg(sources.join(format!("linux-headers-{release}")))
        .arg(format!("M={}", work.display()))
        .arg("modules")
        // Flags of a make or cargo around this one are not meant for the kernel's.
        .env_remove("MAKEFLAGS")
        .env_remove("MFLAGS")
        .output()
        .map_err(Error::system("starting make in", &work))?;
    if !make.status.success() {
        let output = [make.stdout, make.stderr].concat();
        return Err(Error::Module {
            status: make.status,
            output: String::from_utf8_lossy(&output).into_owned(),
        });
    }
    fs::rename(work.join(MODULE), module).map_err(Error::system("keeping", module))?;
    fs::remove_dir_all(&work).map_err(Error::system("removing", &work))
}

/// Names a build of the module by its source.
fn key() -> String {
    let mut digest = Sha256::new();
    for (name, text) in SOURCES {
        digest.update(name);
        digest.update(text);
    }
    let digest = digest.finalize();
    digest
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::SOURCES;
    use kpeel_abi::{Context, KFUNCS, Kfunc, Param, Return};
    use std::mem::offset_of;

    fn source() -> String {
        let words: Vec<&str> = SOURCES[1].1.split_whitespace().collect();
        words.join(" ")
    }

    fn prototype(kfunc: &Kfunc) -> String {
        let returns = match kfunc.returns {
            Return::Int => "int ",
            Return::Result => "struct mem_range_result *",
        };
        let params: Vec<String> = kfunc
            .params
            .iter()
            .map(|(name, param)| {
                let kind = match param {
                    Param::ConstCharPtr => "const char *",
                    Param::CharPtr => "char *",
                    Param::VoidPtr => "void *",
                    Param::ResultPtr => "struct mem_range_result *",
                    Param::Int => "int ",
                    Param::U32 => "u32 ",
                    Param::U64 => "u64 ",
                };
                format!("{kind}{name}")
            })
            .collect();
        format!("__bpf_kfunc {returns}{}({})", kfunc.name, params.join(", "))
    }

    #[test]
    fn module_has_exactly_the_kfuncs_of_the_abi() {
        let source = source();
        for kfunc in KFUNCS {
            let prototype = prototype(kfunc);
            assert!(source.contains(&prototype), "needed {prototype}");
        }
        assert_eq!(source.matches("__bpf_kfunc ").count(), KFUNCS.len());
    }

    #[test]
    fn module_asserts_the_offsets_of_the_abi() {
        let source = source();
        for (field, offset) in [
            ("image", offset_of!(Context, image)),
            ("image_sz", offset_of!(Context, image_sz)),
            ("initrd", offset_of!(Context, initrd)),
            ("initrd_sz", offset_of!(Context, initrd_sz)),
            ("cmdline", offset_of!(Context, cmdline)),
            ("cmdline_sz", offset_of!(Context, cmdline_sz)),
        ] {
            let assertion =
                format!("static_assert(offsetof(struct kexec_context, {field}) == {offset});");
            assert!(source.contains(&assertion), "needed {assertion}");
        }
    }
}
