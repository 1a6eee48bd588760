//! The recipe: from a source archive to images.

use std::fs;
use std::path::{Path, PathBuf};

use crate::kernel::{Fragment, Image, Kernel};
use crate::make::{Log, Make};
use crate::progress::{Progress, say};
use crate::{Error, Result, check, config, source};

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

/// A build's directories, below one that is the build's alone.
struct Build<'a> {
    kernel: Kernel,
    tree: PathBuf,
    output: PathBuf,
    result: PathBuf,
    log: &'a Log,
}

/// Builds the kernel below `dir`, which is empty, and returns the directory with its images.
pub(crate) fn build(kernel: Kernel, archive: &Path, dir: &Path, log: &Log) -> Result<PathBuf> {
    let build = Build {
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
    say("configuring");
    build.configure()?;
    let mut progress = Progress::new(kernel.steps());
    for (image, codec) in CODECS {
        build.images(*image, *codec, &mut progress)?;
    }
    build.keep(&build.output.join(".config"), "config")?;
    check::check(&build.result)?;
    let (steps, seconds) = (progress.count(), progress.elapsed().as_secs());
    say(&format!("{steps} steps took {seconds} s"));
    Ok(build.result)
}

impl Build<'_> {
    fn make(&self, targets: &[&str], watch: impl FnMut(&str)) -> Result<()> {
        Make {
            arch: self.kernel.arch,
            tree: &self.tree,
            output: &self.output,
            log: self.log,
        }
        .run(targets, watch)
    }

    /// Everything off but what the fragment asks for.
    fn configure(&self) -> Result<()> {
        let fragment = self.kernel.fragment();
        let file = self.output.join("fragment");
        fs::write(&file, fragment.text).map_err(Error::io("writing", &file))?;
        let listed = format!("KCONFIG_ALLCONFIG={}", file.display());
        self.make(&[&listed, "allnoconfig"], |_| ())?;
        config::demand(&self.output.join(".config"), fragment)
    }

    fn extend_config(&self, fragment: Fragment) -> Result<()> {
        let file = self.output.join(".config");
        config::append(&file, fragment.text)?;
        self.make(&["olddefconfig"], |_| ())?;
        config::demand(&file, fragment)
    }

    /// Makes the plain image and the zboot image of one codec.
    fn images(&self, image: Image, codec: Fragment, progress: &mut Progress) -> Result<()> {
        self.extend_config(codec)?;
        self.make(&["Image", "vmlinuz.efi"], |line| progress.line(line))?;
        let boot = self
            .output
            .join("arch")
            .join(self.kernel.arch.name())
            .join("boot");
        // The last codec's plain image is kept; the check says whether the others hold the same.
        self.keep(&boot.join("Image"), Image::Plain.name())?;
        self.keep(&boot.join("vmlinuz.efi"), image.name())
    }

    fn keep(&self, file: &Path, name: &str) -> Result<()> {
        let kept = self.result.join(name);
        fs::copy(file, &kept).map_err(Error::io("copying", file))?;
        Ok(())
    }
}
