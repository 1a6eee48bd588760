//! The recipe: from a source archive to images.

use std::fs;
use std::path::{Path, PathBuf};

use crate::kernel::{Fragment, Image, Kernel, Relink};
use crate::make::{Log, Make};
use crate::progress::{Progress, say};
use crate::size::{FILE, Part, Sizes};
use crate::{Error, Result, bindgen, check, config, key, linux, source, tools};

/// What the kernel's build would otherwise take from clock, user and host.
pub(crate) const STAMPS: &[(&str, &str)] = &[
    ("KBUILD_BUILD_HOST", "kpeel"),
    ("KBUILD_BUILD_TIMESTAMP", "Thu Jan  1 00:00:00 UTC 1970"),
    ("KBUILD_BUILD_USER", "kpeel"),
    ("KBUILD_BUILD_VERSION", "1"),
];

/// The codecs of zboot images: a choice in the kernel's configuration, so each has a turn.
const CODECS: &[(Image, Fragment)] = &[
    (
        Image::ZbootGzip,
        Fragment {
            name: "gzip",
            text: "CONFIG_KERNEL_GZIP=y\nCONFIG_KERNEL_ZSTD=n\n",
        },
    ),
    (
        Image::ZbootZstd,
        Fragment {
            name: "zstd",
            text: "CONFIG_KERNEL_GZIP=n\nCONFIG_KERNEL_ZSTD=y\n",
        },
    ),
];

/// The kernel side of kpeel, as the tree's build links it.
const KEXEC_PE: &str = "kernel/kexec_pe/built-in.a";

/// The whole kernel before its last link, which aligns sections to 2 MiB and so hides what is added.
const UNPADDED: &str = "vmlinux.o";

/// A build's directories, below one that is the build's alone.
struct Build<'a> {
    kernel: Kernel,
    tree: PathBuf,
    output: PathBuf,
    result: PathBuf,
    log: &'a Log,
}

/// Where kpeel's side lies in the kernel's tree.
const KEXEC_PE_DIR: &str = "kernel/kexec_pe/";

/// Builds the kernel below `dir`, which is empty, and returns the directory with its images.
pub(crate) fn build(kernel: Kernel, archive: &Path, dir: &Path, log: &Log) -> Result<PathBuf> {
    let build = Build::prepare(kernel, archive, dir, log)?;
    let mut progress = Progress::new(kernel.steps());
    if kernel.is_patched() {
        build.patched(&mut progress)?;
    } else {
        for (image, codec) in CODECS {
            build.images(*image, *codec, &mut progress)?;
        }
        build.keep(&build.output.join(".config"), "config")?;
    }
    check::check(kernel, &build.result)?;
    let (steps, seconds) = (progress.count(), progress.elapsed().as_secs());
    say(&format!("{steps} steps took {seconds} s"));
    Ok(build.result)
}

/// Lets checkpatch and clippy look at kpeel's side of this kernel, in a tree below `dir`, which is empty.
///
/// By itself: under clippy, the compiler makes other code.
pub(crate) fn lint(kernel: Kernel, archive: &Path, dir: &Path, log: &Log) -> Result<()> {
    let build = Build::prepare(kernel, archive, dir, log)?;
    say("checkpatch");
    linux::Added::read()?.checkpatch(&build.tree, log)?;
    let driver = format!("CLIPPY_DRIVER={}", tools::CLIPPY);
    let (mut looked_at, mut found) = (0, Vec::new());
    say("clippy");
    build.make(
        &["CLIPPY=1", &driver, KEXEC_PE_DIR],
        |line| match clippy_of_ours(line) {
            Some(Clippy::LooksAt) => looked_at += 1,
            Some(Clippy::Finds(place)) => found.push(place.to_owned()),
            None => {}
        },
    )?;
    let unexpected = |found: String, needed| {
        let dir = Path::new(KEXEC_PE_DIR);
        Err(Error::unexpected(dir, "clippy", found, needed))
    };
    match found.as_slice() {
        [] if looked_at == 0 => unexpected("no crate".to_owned(), "each crate".to_owned()),
        [] => Ok(()),
        found => unexpected(
            found.join(", "),
            format!("no lint; {} tells which", log.path().display()),
        ),
    }
}

/// What a line of the build tells of clippy and kpeel's side.
#[derive(Debug, PartialEq)]
enum Clippy<'l> {
    /// A crate is looked at.
    LooksAt,
    /// A lint has something to say about this place.
    Finds(&'l str),
}

fn clippy_of_ours(line: &str) -> Option<Clippy<'_>> {
    let (first, rest) = line.trim().split_once(' ')?;
    match first {
        _ if !rest.contains(KEXEC_PE_DIR) => None,
        "CLIPPY" => Some(Clippy::LooksAt),
        "-->" => Some(Clippy::Finds(rest)),
        _ => None,
    }
}

impl<'a> Build<'a> {
    /// A configured tree below `dir`, which is empty.
    fn prepare(kernel: Kernel, archive: &Path, dir: &Path, log: &'a Log) -> Result<Self> {
        let build = Self {
            kernel,
            tree: dir.join("source"),
            output: dir.join("output"),
            result: dir.join("result"),
            log,
        };
        for dir in [&build.tree, &build.output, &build.result] {
            fs::create_dir(dir).map_err(Error::io("creating", dir))?;
        }
        say("unpacking the source");
        source::unpack(archive, &build.tree, log)?;
        if kernel.is_patched() {
            say("adding linux/overlay and linux/patches");
            linux::Added::read()?.apply(&build.tree, log)?;
            key::make(&build.output, log)?;
        }
        say("configuring");
        build.configure()?;
        Ok(build)
    }

    fn make(&self, targets: &[&str], watch: impl FnMut(&str)) -> Result<()> {
        let bindgen = match self.kernel.is_patched() {
            true => Some(bindgen::path(self.log)?),
            false => None,
        };
        Make {
            arch: self.kernel.arch,
            tree: &self.tree,
            output: &self.output,
            bindgen: bindgen.as_deref(),
            log: self.log,
        }
        .run(targets, watch)
    }

    /// Everything off but what the fragments ask for.
    fn configure(&self) -> Result<()> {
        let fragments = self.kernel.fragments();
        let text: String = fragments.iter().map(|fragment| fragment.text).collect();
        let file = self.output.join("fragment");
        fs::write(&file, &text).map_err(Error::io("writing", &file))?;
        let listed = format!("KCONFIG_ALLCONFIG={}", file.display());
        self.make(&[&listed, "allnoconfig"], |_| ())?;
        let names: Vec<&str> = fragments.iter().map(|fragment| fragment.name).collect();
        config::demand(&self.output.join(".config"), &names.join(" and "), &text)
    }

    fn extend_config(&self, fragment: Fragment) -> Result<()> {
        let file = self.output.join(".config");
        config::append(&file, fragment.text)?;
        self.make(&["olddefconfig"], |_| ())?;
        config::demand(&file, fragment.name, fragment.text)
    }

    /// Makes the plain image and the zboot image of one codec.
    fn images(&self, image: Image, codec: Fragment, progress: &mut Progress) -> Result<()> {
        self.extend_config(codec)?;
        self.make(&["Image", "vmlinuz.efi"], |line| progress.line(line))?;
        let boot = self
            .output
            .join("arch")
            .join(self.kernel.arch.dir())
            .join("boot");
        // The last codec's plain image is kept; the check says whether the others hold the same.
        self.keep(&boot.join("Image"), Image::Plain.name())?;
        self.keep(&boot.join("vmlinuz.efi"), image.name())
    }

    /// Makes a patched kernel's images, and keeps what tests need beside them.
    fn patched(&self, progress: &mut Progress) -> Result<()> {
        let image = self.kernel.arch.image();
        self.image(image, progress)?;
        self.keep(&self.output.join(".config"), "config")?;
        for name in ["System.map", key::KEY, key::CERTIFICATE] {
            self.keep(&self.output.join(name), name)?;
        }
        let with = match self.kernel.has_sizes() {
            true => Some((self.size(UNPADDED)?, self.size(KEXEC_PE)?)),
            false => None,
        };
        for relink in self.kernel.relinks() {
            self.extend_config(relink.fragment())?;
            match *relink {
                Relink::Image(image, _) => self.image(image, progress)?,
                Relink::Without(_) => {
                    self.make(&["vmlinux"], |line| progress.line(line))?;
                    if let Some((with, kexec_pe)) = with {
                        let without = self.size(UNPADDED)?;
                        self.keep_sizes(Sizes {
                            with,
                            without,
                            kexec_pe,
                        })?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Makes the architecture's own image and keeps it under this one's name.
    fn image(&self, image: Image, progress: &mut Progress) -> Result<()> {
        let target = self.kernel.arch.image().name();
        self.make(&[target], |line| progress.line(line))?;
        let boot = self.output.join("arch").join(self.kernel.arch.dir());
        self.keep(&boot.join("boot").join(target), image.name())
    }

    fn size(&self, file: &str) -> Result<Part> {
        Part::of(&self.output.join(file), self.log)
    }

    fn keep_sizes(&self, sizes: Sizes) -> Result<()> {
        let kept = self.result.join(FILE);
        let text = sizes.to_json(self.kernel.name());
        fs::write(&kept, text).map_err(Error::io("writing", &kept))
    }

    fn keep(&self, file: &Path, name: &str) -> Result<()> {
        let kept = self.result.join(name);
        fs::copy(file, &kept).map_err(Error::io("copying", file))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_clippy_says_of_ours() {
        let ours = "/w/source/kernel/kexec_pe/host.rs:95:33";
        assert_eq!(
            clippy_of_ours("  CLIPPY     kernel/kexec_pe/kexec_pe.o"),
            Some(Clippy::LooksAt)
        );
        assert_eq!(
            clippy_of_ours(&format!("  --> {ours}")),
            Some(Clippy::Finds(ours))
        );
        for other in [
            "  CLIPPY L rust/kernel.o",
            "   --> ../rust/kernel/lib.rs:2:1",
            "  CC      kernel/kexec_pe/thread.o",
            "warning: 1 warning emitted",
            "",
        ] {
            assert_eq!(clippy_of_ours(other), None, "{other}");
        }
    }
}
