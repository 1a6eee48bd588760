//! Loading through `kexec_load(2)`: aarch64 kernels placed by us.
//!
//! ```text
//! kernel   2 MiB aligned base + text_offset, image_size bytes free from there
//! initrd   page aligned, within 32 GiB of the kernel
//! tree     page aligned, at most 2 MiB, edited for this boot
//! (crash)  ELF core header, so that /proc/vmcore shows the memory of the crashed kernel
//! entry    a few instructions that put the tree's address in x0 and branch to the kernel
//! ```
//! Everything is planned by safe code from plain data ([`plan`]); only then are the running
//! system's files read ([`Machine::running`]) and the call made ([`Plan::load`]).
//!
//! Source: `Documentation/arch/arm64/booting.rst`, `arch/arm64/kernel/machine_kexec.c`.

mod core_header;
mod entry;
mod header;
mod iomem;
mod placement;
mod tree;

use std::borrow::Cow;
use std::fs;
use std::ops::Range;
use std::path::Path;

pub use header::ImageHeader;
pub use iomem::Memory;

use crate::error::{Error, Part, Result};
use crate::syscall::{ARCH_AARCH64, ON_CRASH, RawSegment, kexec_load};
use placement::{End, Free, Request, align_up};

/// Page size that satisfies every aarch64 kernel: the largest one supported.
pub const PAGE: u64 = 64 << 10;

/// The window around the kernel within which the initrd must lie (booting.rst, section 3).
const WINDOW: u64 = 32 << 30;
/// Alignment of the kernel's base.
const KERNEL_ALIGNMENT: u64 = 2 << 20;
/// Largest device tree (booting.rst, section 2).
pub const TREE_MAX: u64 = 2 << 20;

/// What to load.
#[derive(Clone, Copy, Debug)]
pub struct SegmentLoad<'a> {
    /// A plain arm64 `Image`.
    pub kernel: &'a [u8],
    /// The initrd.
    pub initrd: Option<&'a [u8]>,
    /// The command line.
    pub cmdline: &'a str,
    /// A device tree to use instead of the running one.
    pub tree: Option<&'a [u8]>,
    /// Load as the crash (kdump) kernel.
    pub crash: bool,
}

/// What the plan needs to know of the machine.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Physical memory.
    pub memory: Memory,
    /// The running kernel's device tree.
    pub tree: Vec<u8>,
    /// For crash loads: notes of each processor, then vmcoreinfo; physical address and size.
    pub notes: Vec<Range<u64>>,
    /// 64 random bytes for the next kernel's randomisation.
    pub seed: [u8; 64],
}

/// Segments with their places.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// Physical address of the first instruction.
    pub entry: u64,
    /// In ascending order of address.
    pub segments: Vec<Segment<'a>>,
    crash: bool,
}

/// Bytes and their place in physical memory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Segment<'a> {
    /// What it is.
    pub part: &'static str,
    /// Physical address, a multiple of [`PAGE`].
    pub address: u64,
    /// Bytes of memory, a multiple of [`PAGE`].
    pub size: u64,
    /// The bytes, the caller's where they go in unchanged; zeros follow up to `size`.
    pub bytes: Cow<'a, [u8]>,
}

/// Places everything.
///
/// # Errors
/// [`Error::Given`] for a kernel or tree that is none, [`Error::Malformed`] if it is the running system's tree,
/// [`Error::NoRoom`], [`Error::NoCrashReservation`].
pub fn plan<'a>(load: &SegmentLoad<'a>, machine: &Machine) -> Result<Plan<'a>> {
    let header = ImageHeader::parse(load.kernel).map_err(|error| error.given(Part::Kernel))?;
    let of_tree = |error: Error| match load.tree {
        Some(_) => error.given(Part::Tree),
        None => error,
    };
    let mut tree = tree::Tree::parse(load.tree.unwrap_or(&machine.tree)).map_err(of_tree)?;
    // Inside a reservation nothing else is allocated, and the kernel belongs at its start.
    let end = if load.crash || !header.goes_anywhere() {
        End::Low
    } else {
        End::High
    };
    let mut free = Free::new(&machine.memory, &tree.reserved(), load.crash, end)?;
    let kernel = place_kernel(&mut free, &header, load.kernel)?;
    let window = window_around(&kernel);
    let mut segments = Vec::new();
    let mut place = |part: &'static str, bytes: Cow<'a, [u8]>, align: u64| -> Result<u64> {
        let size = align_up(bytes.len() as u64, PAGE);
        let address = free.take(&Request {
            part,
            size,
            align,
            offset: 0,
            window: window.clone(),
        })?;
        segments.push(Segment {
            part,
            address,
            size,
            bytes,
        });
        Ok(address)
    };
    if let Some(initrd) = load.initrd {
        let address = place("initrd", initrd.into(), PAGE)?;
        tree.set_initrd(Some(address..address.saturating_add(initrd.len() as u64)));
    } else {
        tree.set_initrd(None);
    }
    if load.crash {
        let core = core_header::write(&machine.memory, &machine.notes);
        let len = core.len() as u64;
        let address = place("core header", core.into(), PAGE)?;
        let reservation = machine
            .memory
            .crash
            .clone()
            .ok_or(Error::NoCrashReservation)?;
        tree.set_crash(address..address.saturating_add(len), reservation)
            .map_err(of_tree)?;
    } else {
        tree.forget_crash();
    }
    tree.set_cmdline(load.cmdline);
    tree.set_seeds(&machine.seed);
    let tree = tree.to_bytes();
    if tree.len() as u64 > TREE_MAX {
        return Err(of_tree(Error::malformed(
            "device tree size",
            tree.len(),
            format!("at most {TREE_MAX}"),
        )));
    }
    let tree_address = place("device tree", tree.into(), PAGE)?;
    let kernel_entry = kernel.address.saturating_add(header.text_offset_in_base());
    let entry = place(
        "entry",
        entry::code(kernel_entry, tree_address).into(),
        PAGE,
    )?;
    segments.push(kernel.into_segment(header.text_offset_in_base(), load.kernel));
    segments.sort_by_key(|segment| segment.address);
    Ok(Plan {
        entry,
        segments,
        crash: load.crash,
    })
}

/// A place for the kernel: a 2 MiB aligned base with `text_offset + image_size` bytes free.
struct KernelPlace {
    address: u64,
    size: u64,
}

impl KernelPlace {
    /// Pages between the base and the kernel's first page stay free of segments.
    fn into_segment(self, offset: u64, kernel: &[u8]) -> Segment<'_> {
        let skipped = offset - offset % PAGE;
        let bytes = match usize::try_from(offset - skipped).unwrap_or(0) {
            0 => Cow::Borrowed(kernel),
            before => [&vec![0; before], kernel].concat().into(),
        };
        Segment {
            part: "kernel",
            address: self.address + skipped,
            size: self.size - skipped,
            bytes,
        }
    }
}

fn place_kernel(free: &mut Free, header: &ImageHeader, kernel: &[u8]) -> Result<KernelPlace> {
    let offset = header.text_offset_in_base();
    let bytes = header.image_size.max(kernel.len() as u64);
    let size = align_up(bytes.saturating_add(offset), PAGE);
    let everywhere = 0..u64::MAX;
    let request = Request {
        part: "kernel",
        size,
        align: KERNEL_ALIGNMENT,
        offset: 0,
        window: everywhere,
    };
    Ok(KernelPlace {
        address: free.take(&request)?,
        size,
    })
}

/// The 1 GiB aligned window of 32 GiB that covers the kernel.
fn window_around(kernel: &KernelPlace) -> Range<u64> {
    const GIB: u64 = 1 << 30;
    let end = align_up(kernel.address.saturating_add(kernel.size), GIB);
    let start = end.saturating_sub(WINDOW);
    let floor = kernel.address - kernel.address % GIB;
    start.min(floor)..start.saturating_add(WINDOW)
}

impl Machine {
    /// The running machine.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Malformed`], [`Error::IomemHidden`], [`Error::System`].
    pub fn running(crash: bool) -> Result<Self> {
        Self::below(Path::new("/"), crash)
    }

    /// The machine whose system files lie below `root`.
    ///
    /// # Errors
    /// As [`Machine::running`].
    pub fn below(root: &Path, crash: bool) -> Result<Self> {
        let read = |path: &str| {
            let path = root.join(path);
            fs::read(&path).map_err(Error::read(path))
        };
        let iomem = read("proc/iomem")?;
        let memory = Memory::parse(&String::from_utf8_lossy(&iomem))?;
        let tree = read("sys/firmware/fdt")?;
        let notes = if crash {
            core_header::notes(root)?
        } else {
            Vec::new()
        };
        let mut seed = [0; 64];
        let random = root.join("dev/urandom");
        fs::File::open(&random)
            .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut seed))
            .map_err(Error::read(random))?;
        Ok(Self {
            memory,
            tree,
            notes,
            seed,
        })
    }
}

impl Plan<'_> {
    /// Hands the segments to the kernel.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub fn load(&self) -> Result<()> {
        let raw: Vec<RawSegment> = self
            .segments
            .iter()
            .map(|segment| RawSegment::new(&segment.bytes, segment.address, segment.size))
            .collect();
        let bytes: Vec<&[u8]> = self
            .segments
            .iter()
            .map(|segment| segment.bytes.as_ref())
            .collect();
        kexec_load(
            self.entry,
            &raw,
            &bytes,
            ARCH_AARCH64 | if self.crash { ON_CRASH } else { 0 },
        )
    }
}

/// Unloads the loaded kernel, or the crash kernel.
///
/// # Errors
/// [`Error::Call`].
pub fn unload(crash: bool) -> Result<()> {
    kexec_load(0, &[], &[], if crash { ON_CRASH } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::header::tests::image;
    use super::tree::tests::{chosen, sample};
    use super::*;

    fn machine() -> Machine {
        Machine {
            memory: Memory {
                ram: [0x4000_0000..0x8000_0000].into(),
                taken: [0x4021_0000..0x41c0_0000].into(),
                crash: Some(0x7000_0000..0x7800_0000),
            },
            tree: sample(),
            notes: [0x5000_0000..0x5000_0100].into(),
            seed: [5; 64],
        }
    }

    fn load<'a>(kernel: &'a [u8], crash: bool) -> SegmentLoad<'a> {
        SegmentLoad {
            kernel,
            initrd: Some(b"initrd"),
            cmdline: "quiet",
            tree: None,
            crash,
        }
    }

    fn part<'a>(plan: &'a Plan<'_>, part: &str) -> &'a Segment<'a> {
        plan.segments
            .iter()
            .find(|segment| segment.part == part)
            .unwrap()
    }

    #[test]
    fn places_kernel_initrd_tree_and_entry_apart_and_free() {
        let kernel = image(0, 0x20_0000, 5000);
        let plan = plan(&load(&kernel, false), &machine()).unwrap();
        assert_eq!(plan.segments.len(), 4);
        for pair in plan.segments.windows(2) {
            assert!(pair[0].address + pair[0].size <= pair[1].address);
        }
        for segment in &plan.segments {
            assert_eq!((segment.address % PAGE, segment.size % PAGE), (0, 0));
            assert!(segment.size >= segment.bytes.len() as u64);
            let range = segment.address..segment.address + segment.size;
            for taken in [0x4021_0000..0x41c0_0000, 0x7000_0000..0x7800_0000] {
                assert!(
                    range.end <= taken.start || taken.end <= range.start,
                    "{segment:?}"
                );
            }
        }
        let kernel = part(&plan, "kernel");
        assert_eq!(kernel.address % KERNEL_ALIGNMENT, 0);
        assert!(kernel.size >= 0x20_0000);
    }

    #[test]
    fn the_tree_names_the_initrd_and_the_entry_names_both() {
        let kernel = image(0, 0x20_0000, 5000);
        let plan = plan(&load(&kernel, false), &machine()).unwrap();
        let initrd = part(&plan, "initrd");
        let tree = part(&plan, "device tree");
        let start = chosen(&tree.bytes, "linux,initrd-start").unwrap();
        assert_eq!(start, initrd.address.to_be_bytes());
        let end = chosen(&tree.bytes, "linux,initrd-end").unwrap();
        assert_eq!(end, (initrd.address + 6).to_be_bytes());
        let entry = part(&plan, "entry");
        assert_eq!(plan.entry, entry.address);
        assert_eq!(
            entry.bytes[24..32],
            part(&plan, "kernel").address.to_le_bytes()
        );
        assert_eq!(entry.bytes[32..40], tree.address.to_le_bytes());
    }

    #[test]
    fn old_kernels_keep_their_text_offset() {
        for offset in [0x8_0000, 0x8_1000] {
            let kernel = image(offset, 0x20_0000, 5000);
            let plan = plan(&load(&kernel, false), &machine()).unwrap();
            let placed = part(&plan, "kernel");
            let entry = part(&plan, "entry");
            let address = u64::from_le_bytes(entry.bytes[24..32].try_into().unwrap());
            assert_eq!(address % KERNEL_ALIGNMENT, offset);
            let at = usize::try_from(address - placed.address).unwrap();
            assert_eq!(placed.bytes[at..], kernel);
        }
    }

    #[test]
    fn a_crash_load_stays_in_its_reservation_and_describes_memory() {
        let kernel = image(0, 0x20_0000, 5000);
        let plan = plan(&load(&kernel, true), &machine()).unwrap();
        for segment in &plan.segments {
            assert!(segment.address >= 0x7000_0000, "{segment:?}");
            assert!(segment.address + segment.size <= 0x7800_0000, "{segment:?}");
        }
        let tree = part(&plan, "device tree");
        let core = part(&plan, "core header");
        let property = chosen(&tree.bytes, "linux,elfcorehdr").unwrap();
        assert_eq!(property[..8], core.address.to_be_bytes());
        assert!(chosen(&tree.bytes, "linux,usable-memory-range").is_some());
    }

    #[test]
    fn what_is_given_is_told_from_what_the_system_has() {
        let kernel = image(0, 0x20_0000, 5000);
        let good = load(&kernel, false);
        let bad_kernel = SegmentLoad {
            kernel: b"none",
            ..good
        };
        let bad_tree = SegmentLoad {
            tree: Some(b"none"),
            ..good
        };
        for (load, whose) in [(bad_kernel, Part::Kernel), (bad_tree, Part::Tree)] {
            let error = plan(&load, &machine()).unwrap_err();
            assert!(
                matches!(error, Error::Given { part, .. } if part == whose),
                "{error:?}"
            );
        }
        let bad_machine = Machine {
            tree: b"none".to_vec(),
            ..machine()
        };
        let error = plan(&good, &bad_machine).unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{error:?}");
    }

    #[test]
    fn rejects_a_kernel_that_does_not_fit() {
        let kernel = image(0, 0x4000_0000, 5000);
        let error = plan(&load(&kernel, false), &machine()).unwrap_err();
        assert!(matches!(error, Error::NoRoom { part: "kernel", .. }));
    }
}
