//! Small images, good and bad, each signed by the key of one kernel.
//!
//! Signatures hold the time of signing, so images are made once for a kernel and what is in them, and kept.

use std::fs;
use std::path::{Path, PathBuf};

use kpeel_images::cache_dir;
use kpeel_images::make::{Codec, Machine, Scratch, noise, text, tiny_kernel, zboot};
use kpeel_vm::Arch;

use super::{Subject, sha256};
use crate::Outcome;
use crate::fixtures::{HOSTILE, STREAMS};
use crate::shop::Shop;

const ARCH: Arch = Arch::X86_64;
const MACHINE: Machine = Machine::Amd64;
/// Hexadecimal digits of the name under which images are kept.
const KEY: usize = 16;
/// Bytes of the kernels inside: loaded, never started.
const KERNEL: usize = 64 << 10;

/// One image.
pub struct Image {
    /// Its file's name.
    pub name: String,
    /// The errno with which Linux refuses it; 0 for none.
    pub errno: i32,
    /// The file.
    pub bytes: Vec<u8>,
}

/// The images for one kernel.
pub struct Images {
    /// In the order in which they are loaded, good and bad in turn.
    pub all: Vec<Image>,
    /// The image whose parser decompresses what the caller gives.
    pub streams: Image,
}

impl Images {
    /// The images, from the cache or made now.
    ///
    /// # Errors
    /// When a tool for them fails.
    pub fn of(shop: &Shop, subject: &Subject) -> Outcome<Self> {
        let maker = Maker {
            shop,
            subject,
            dir: cache_dir().join("soak").join(key(subject)),
        };
        fs::create_dir_all(&maker.dir)?;
        Ok(Self {
            all: vec![
                maker.kept("uki", 0, Maker::uki)?,
                maker.kept("unsigned", errno::EKEYREJECTED, Maker::unsigned)?,
                maker.kept("zboot-gzip", 0, |maker| maker.zboot(Codec::Gzip))?,
                maker.kept("publishes-nothing", errno::ENOEXEC, Maker::nothing)?,
                maker.kept("nested", 0, Maker::nested)?,
                maker.kept("damaged", errno::ENOEXEC, Maker::damaged)?,
                maker.kept("zboot-zstd", 0, |maker| maker.zboot(Codec::Zstd))?,
                maker.kept("no-kernel", errno::EOPNOTSUPP, Maker::no_kernel)?,
                maker.kept("loader-gives-up", errno::EPERM, Maker::gives_up)?,
            ],
            streams: maker.kept("streams", 0, Maker::streams)?,
        })
    }

    /// The list that kpeel-soak reads.
    pub(super) fn list(images: &[&Image]) -> String {
        let inside = sha256(&kernel());
        let line = |image: &&Image| format!("/{} {} {inside}\n", image.name, image.errno);
        images.iter().map(line).collect()
    }

    /// A stream of every codec, and a stream of zeros of every codec that is a hundredth of what it unpacks to or less.
    ///
    /// # Errors
    /// When a compressor fails.
    pub fn intact() -> Outcome<Vec<Image>> {
        const ZEROS: usize = 16 << 20;
        let mut sample = text(20_000);
        sample.extend(noise(6_000, 1));
        sample.extend(vec![0; 12_000]);
        sample.extend(text(2_000));
        let mut all = Vec::new();
        for codec in Codec::ALL {
            for (suffix, bytes) in [("", &sample), ("-zeros", &vec![0; ZEROS])] {
                all.push(Image {
                    name: format!("{}{suffix}", codec.name()),
                    errno: 0,
                    bytes: codec.compress(MACHINE, bytes)?,
                });
            }
        }
        Ok(all)
    }
}

/// Errnos by their names (`include/uapi/asm-generic/errno.h`).
mod errno {
    pub(super) const EPERM: i32 = 1;
    pub(super) const ENOEXEC: i32 = 8;
    pub(super) const EOPNOTSUPP: i32 = 95;
    pub(super) const EKEYREJECTED: i32 = 129;
}

struct Maker<'a> {
    shop: &'a Shop,
    subject: &'a Subject,
    dir: PathBuf,
}

impl Maker<'_> {
    fn kept(
        &self,
        name: &str,
        errno: i32,
        make: impl FnOnce(&Self) -> Outcome<Vec<u8>>,
    ) -> Outcome<Image> {
        let path = self.dir.join(name);
        if !path.is_file() {
            let part = path.with_extension("part");
            fs::write(&part, make(self)?)?;
            fs::rename(&part, &path)?;
        }
        Ok(Image {
            name: name.to_owned(),
            errno,
            bytes: fs::read(&path)?,
        })
    }

    fn sign(&self, image: &[u8]) -> Outcome<Vec<u8>> {
        self.shop.sign_by(&self.subject.keys, image)
    }

    /// A UKI around this kernel, with its parser.
    fn around(&self, kernel: &[u8]) -> Outcome<Vec<u8>> {
        self.shop.attach(&self.bare(kernel)?, "uki")
    }

    fn bare(&self, kernel: &[u8]) -> Outcome<Vec<u8>> {
        let initrd = noise(16 << 10, 3);
        let sections: [(&str, &[u8]); 3] = [
            (".linux", kernel),
            (".initrd", &initrd),
            (".cmdline", b"console=ttyS0 kpeel.soak=1"),
        ];
        self.shop.uki(ARCH, &sections)
    }

    fn uki(&self) -> Outcome<Vec<u8>> {
        self.sign(&self.around(&kernel())?)
    }

    fn unsigned(&self) -> Outcome<Vec<u8>> {
        self.around(&kernel())
    }

    /// A zboot image of the kernel, with its parser.
    fn packed(&self, codec: Codec) -> Outcome<Vec<u8>> {
        self.shop.attach(&packed(codec)?, "zboot")
    }

    fn zboot(&self, codec: Codec) -> Outcome<Vec<u8>> {
        self.sign(&self.packed(codec)?)
    }

    fn nested(&self) -> Outcome<Vec<u8>> {
        self.sign(&self.around(&self.packed(Codec::Zstd)?)?)
    }

    /// A zboot image whose payload is spoilt in its middle.
    fn damaged(&self) -> Outcome<Vec<u8>> {
        let mut image = packed(Codec::Gzip)?;
        let payload = Codec::Gzip.compress(MACHINE, &kernel())?;
        let middle = image
            .windows(16)
            .position(|window| {
                payload
                    .get(payload.len() / 2..)
                    .is_some_and(|rest| rest.starts_with(window))
            })
            .ok_or("the payload is not in the image")?;
        if let Some(bytes) = image.get_mut(middle..middle + 16) {
            bytes.fill(0xff);
        }
        self.sign(&self.shop.attach(&image, "zboot")?)
    }

    fn with_parser(&self, source: &str, macros: &[&str]) -> Outcome<Vec<u8>> {
        let carrier = self.shop.parser(source, macros)?;
        let image = self.bare(&kernel())?;
        self.sign(&self.shop.attach_carrier(&image, &carrier)?)
    }

    fn nothing(&self) -> Outcome<Vec<u8>> {
        self.with_parser(HOSTILE, &["PUBLISHES_NOTHING"])
    }

    fn streams(&self) -> Outcome<Vec<u8>> {
        self.with_parser(STREAMS, &[])
    }

    /// Two UKIs around what no loader takes.
    fn no_kernel(&self) -> Outcome<Vec<u8>> {
        self.sign(&self.around(&self.around(b"no kernel")?)?)
    }

    /// A loader that makes nothing and says so: `return -EPERM`.
    fn gives_up(&self) -> Outcome<Vec<u8>> {
        let insns = [
            [0xb7, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
            [0x95, 0, 0, 0, 0, 0, 0, 0],
        ];
        let carrier = kpeel_lskel::carrier(insns.as_flattened(), &[0; 8]);
        let image = self.bare(&kernel())?;
        self.sign(&self.shop.attach_carrier(&image, &carrier)?)
    }
}

/// A name for images: the kernel that trusts them, and their parsers.
fn key(subject: &Subject) -> String {
    let carriers = kpeel_parsers::BUNDLED.iter().map(|parser| parser.carrier);
    let sources = [
        subject.sha256.as_bytes(),
        HOSTILE.as_bytes(),
        STREAMS.as_bytes(),
    ];
    let parts: Vec<&[u8]> = sources.into_iter().chain(carriers).collect();
    let digest = sha256(&parts.concat());
    digest.get(..KEY).unwrap_or_default().to_owned()
}

fn kernel() -> Vec<u8> {
    tiny_kernel(MACHINE, KERNEL)
}

fn packed(codec: Codec) -> Outcome<Vec<u8>> {
    let scratch = Scratch::new()?;
    let out = scratch.join("zboot.efi");
    zboot(MACHINE, codec, &kernel(), &out)?;
    read(&out)
}

fn read(path: &Path) -> Outcome<Vec<u8>> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()).into())
}
