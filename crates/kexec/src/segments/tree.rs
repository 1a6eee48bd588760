//! The device tree for the next kernel: the running one, or another, with its `/chosen` edited.
//!
//! Source: `Documentation/devicetree/bindings/chosen.yaml` (dt-schema), `drivers/of/kexec.c`.

use std::ops::Range;

use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};
use dtoolkit::{Node, Property};

use super::TREE_MAX;
use crate::error::{Error, Result};

/// What errors call it.
const FIELD: &str = "device tree";
/// Levels of nodes below the root. Linux reads no deeper (`FDT_MAX_DEPTH`, `drivers/of/fdt.c`), and reading, copying and
/// writing a tree nest as deep as its nodes do.
const DEPTH_MAX: usize = 64;
const CHOSEN: &str = "chosen";
const BOOTARGS: &str = "bootargs";
const INITRD_START: &str = "linux,initrd-start";
const INITRD_END: &str = "linux,initrd-end";
const KASLR_SEED: &str = "kaslr-seed";
const RNG_SEED: &str = "rng-seed";
const ELFCOREHDR: &str = "linux,elfcorehdr";
const USABLE_MEMORY: &str = "linux,usable-memory-range";
/// Cells of addresses and sizes where the root does not say (Devicetree Specification 2.3.5).
const DEFAULT_CELLS: (u32, u32) = (2, 1);

/// A device tree being edited.
pub(super) struct Tree {
    tree: DeviceTree,
    /// What the node is called that Linux takes for `/chosen`.
    chosen: String,
}

impl Tree {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        if bytes.len() as u64 > TREE_MAX {
            let found = format!("{} bytes", bytes.len());
            return Err(Error::malformed(
                FIELD,
                found,
                format!("at most {TREE_MAX}"),
            ));
        }
        let fdt = Fdt::new(bytes)
            .map_err(|error| Error::malformed(FIELD, error, "a flattened device tree"))?;
        if !within(&fdt.root(), DEPTH_MAX) {
            let found = format!("nodes over {DEPTH_MAX} levels below the root");
            return Err(Error::malformed(
                FIELD,
                found,
                format!("at most {DEPTH_MAX}"),
            ));
        }
        let mut tree = DeviceTree::from_fdt(&fdt);
        // `child` takes `chosen@0` for it, too, and the first of several: as `fdt_path_offset` of libfdt does, by which
        // Linux finds it.
        let chosen = tree.root.child(CHOSEN).map(|node| node.name().to_owned());
        let chosen = chosen.unwrap_or_else(|| {
            tree.root.add_child(DeviceTreeNode::new_unchecked(CHOSEN));
            CHOSEN.to_owned()
        });
        Ok(Self { tree, chosen })
    }

    /// What the tree's memory reservation block keeps.
    pub(super) fn reserved(&self) -> Vec<Range<u64>> {
        let reservations = self.tree.memory_reservations.iter();
        reservations
            .map(|one| one.address()..one.address().saturating_add(one.size()))
            .collect()
    }

    pub(super) fn set_cmdline(&mut self, cmdline: &str) {
        self.set(BOOTARGS, cmdline);
    }

    /// Where the initrd lies; `None` removes the running kernel's.
    pub(super) fn set_initrd(&mut self, initrd: Option<Range<u64>>) {
        match initrd {
            Some(range) => {
                self.set(INITRD_START, range.start);
                self.set(INITRD_END, range.end);
            }
            None => {
                self.remove(INITRD_START);
                self.remove(INITRD_END);
            }
        }
    }

    /// Fresh seeds: a second kernel must not reuse those of the first.
    pub(super) fn set_seeds(&mut self, random: &[u8; 64]) {
        let (kaslr, rng) = random.split_at(8);
        self.set(KASLR_SEED, kaslr);
        self.set(RNG_SEED, rng);
    }

    /// Where the core header lies, and the only memory the crash kernel may use.
    pub(super) fn set_crash(&mut self, core: Range<u64>, usable: Range<u64>) -> Result<()> {
        let core = self.reg(&core)?;
        self.set(ELFCOREHDR, core);
        let usable = self.reg(&usable)?;
        self.set(USABLE_MEMORY, usable);
        Ok(())
    }

    /// For a load that is none of a crash kernel: the running kernel may be one, and its bounds are
    /// not the next one's.
    pub(super) fn forget_crash(&mut self) {
        self.remove(ELFCOREHDR);
        self.remove(USABLE_MEMORY);
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        self.tree.to_dtb()
    }

    fn chosen(&mut self) -> Option<&mut DeviceTreeNode> {
        // Added by `parse` where it was missing.
        self.tree.root.child_mut(&self.chosen)
    }

    fn set(&mut self, name: &str, value: impl dtoolkit::ToPropertyValue) {
        if let Some(chosen) = self.chosen() {
            chosen.remove_property(name);
            chosen.add_property(DeviceTreeProperty::new_unchecked(name, value));
        }
    }

    fn remove(&mut self, name: &str) {
        if let Some(chosen) = self.chosen() {
            chosen.remove_property(name);
        }
    }

    /// An address and size in the root's cells.
    fn reg(&self, range: &Range<u64>) -> Result<Vec<u8>> {
        let cells = |name: &str, default: u32| {
            let property = self.tree.root.property(name);
            let value = property.and_then(|property| property.value().try_into().ok());
            value.map_or(default, u32::from_be_bytes)
        };
        let mut bytes = Vec::new();
        for (name, default, value) in [
            ("#address-cells", DEFAULT_CELLS.0, range.start),
            ("#size-cells", DEFAULT_CELLS.1, range.end - range.start),
        ] {
            match cells(name, default) {
                2 => bytes.extend_from_slice(&value.to_be_bytes()),
                1 => {
                    let value = u32::try_from(value)
                        .map_err(|_| Error::malformed(name, 1, format!("2 for {value:#x}")))?;
                    bytes.extend_from_slice(&value.to_be_bytes());
                }
                other => return Err(Error::malformed(name, other, "1 or 2")),
            }
        }
        Ok(bytes)
    }
}

/// Whether nothing lies more than `levels` below `node`.
fn within(node: &FdtNode<'_>, levels: usize) -> bool {
    node.children().all(|child| {
        let below = levels.checked_sub(1);
        below.is_some_and(|levels| within(&child, levels))
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A small tree as a machine would hand it over.
    pub(in crate::segments) fn sample() -> Vec<u8> {
        let mut tree = DeviceTree::new();
        tree.root
            .add_property(DeviceTreeProperty::new_unchecked("#address-cells", 2_u32));
        tree.root
            .add_property(DeviceTreeProperty::new_unchecked("#size-cells", 2_u32));
        let mut chosen = DeviceTreeNode::new_unchecked(CHOSEN);
        for (name, value) in [(KASLR_SEED, 1_u64), (INITRD_START, 2), (INITRD_END, 3)] {
            chosen.add_property(DeviceTreeProperty::new_unchecked(name, value));
        }
        chosen.add_property(DeviceTreeProperty::new_unchecked(
            "linux,uefi-mmap-size",
            7_u32,
        ));
        chosen.add_property(DeviceTreeProperty::new_unchecked(BOOTARGS, "old"));
        tree.root.add_child(chosen);
        tree.to_dtb()
    }

    pub(in crate::segments) fn chosen(dtb: &[u8], name: &str) -> Option<Vec<u8>> {
        let fdt = Fdt::new(dtb).unwrap();
        let node = fdt.find_node("/chosen").unwrap();
        node.property(name)
            .map(|property| property.value().to_vec())
    }

    #[test]
    fn edits_chosen_and_keeps_the_rest() {
        let mut tree = Tree::parse(&sample()).unwrap();
        tree.set_cmdline("console=ttyAMA0");
        tree.set_initrd(Some(0x4800_0000..0x4900_0001));
        tree.set_seeds(&[9; 64]);
        let dtb = tree.to_bytes();
        assert_eq!(chosen(&dtb, BOOTARGS).unwrap(), b"console=ttyAMA0\0");
        assert_eq!(
            chosen(&dtb, INITRD_END).unwrap(),
            0x4900_0001_u64.to_be_bytes()
        );
        assert_eq!(chosen(&dtb, KASLR_SEED).unwrap(), [9; 8]);
        assert_eq!(chosen(&dtb, RNG_SEED).unwrap(), [9; 56]);
        assert_eq!(
            chosen(&dtb, "linux,uefi-mmap-size").unwrap(),
            7_u32.to_be_bytes()
        );
    }

    #[test]
    fn the_running_kernels_initrd_is_forgotten() {
        let mut tree = Tree::parse(&sample()).unwrap();
        tree.set_initrd(None);
        assert_eq!(chosen(&tree.to_bytes(), INITRD_START), None);
    }

    #[test]
    fn crash_ranges_use_the_roots_cells() {
        let mut tree = Tree::parse(&sample()).unwrap();
        tree.set_crash(0x1000..0x3000, 0x8_0000_0000..0x8_1000_0000)
            .unwrap();
        let dtb = tree.to_bytes();
        let pair = |one: u64, other: u64| [one.to_be_bytes(), other.to_be_bytes()].concat();
        assert_eq!(chosen(&dtb, ELFCOREHDR).unwrap(), pair(0x1000, 0x2000));
        assert_eq!(
            chosen(&dtb, USABLE_MEMORY).unwrap(),
            pair(0x8_0000_0000, 0x1000_0000)
        );
    }

    #[test]
    fn a_crash_kernels_bounds_are_forgotten() {
        let mut tree = Tree::parse(&sample()).unwrap();
        tree.set_crash(0x1000..0x3000, 0x8000..0x9000).unwrap();
        tree.forget_crash();
        let dtb = tree.to_bytes();
        assert_eq!(
            (chosen(&dtb, ELFCOREHDR), chosen(&dtb, USABLE_MEMORY)),
            (None, None)
        );
    }

    #[test]
    fn a_tree_without_chosen_gets_one() {
        let mut tree = Tree::parse(&DeviceTree::new().to_dtb()).unwrap();
        tree.set_cmdline("quiet");
        assert_eq!(chosen(&tree.to_bytes(), BOOTARGS).unwrap(), b"quiet\0");
    }

    #[test]
    fn the_first_node_that_linux_takes_for_chosen_is_edited() {
        for (nodes, lines) in [
            (&["chosen@0"][..], &[true][..]),
            (&["chosen@0", "chosen"], &[true, false]),
            (&["chosenx", "chosen"], &[false, true]),
        ] {
            let mut tree = DeviceTree::new();
            for node in nodes {
                tree.root.add_child(DeviceTreeNode::new_unchecked(*node));
            }
            let mut tree = Tree::parse(&tree.to_dtb()).unwrap();
            tree.set_cmdline("quiet");
            let dtb = tree.to_bytes();
            let root = Fdt::new(&dtb).unwrap().root();
            let edited = root
                .children()
                .map(|node| node.property(BOOTARGS).is_some());
            assert_eq!(edited.collect::<Vec<_>>(), lines, "{nodes:?}");
        }
    }

    #[test]
    fn rejects_bytes_that_are_no_tree() {
        assert!(matches!(
            Tree::parse(b"not a tree"),
            Err(Error::Malformed { .. })
        ));
    }

    /// A tree of nothing but nodes, each in the one before it, which is as deep as a tree of its size can be.
    fn deep(levels: usize) -> Vec<u8> {
        let mut structure = [0, 0, 0, 1, 0, 0, 0, 0].to_vec();
        structure.extend([0, 0, 0, 1, b'n', 0, 0, 0].repeat(levels));
        structure.extend([0, 0, 0, 2].repeat(levels + 1));
        structure.extend([0, 0, 0, 9]);
        let (reservations, len) = (40_u32, u32::try_from(structure.len()).unwrap());
        let start = reservations + 16;
        let end = start + len;
        let header = [
            0xd00d_feed,
            end,
            start,
            end,
            reservations,
            17,
            16,
            0,
            0,
            len,
        ];
        let mut tree: Vec<u8> = header.iter().flat_map(|cell| cell.to_be_bytes()).collect();
        tree.extend([0; 16]);
        tree.extend(structure);
        tree
    }

    #[test]
    fn nodes_nest_as_deep_as_linux_reads_them() {
        let mut tree = Tree::parse(&deep(DEPTH_MAX)).unwrap();
        tree.set_cmdline("quiet");
        assert_eq!(chosen(&tree.to_bytes(), BOOTARGS).unwrap(), b"quiet\0");
        // The last one is the largest that may be loaded; copying it would take all of the stack and hours.
        for levels in [DEPTH_MAX + 1, 174_000] {
            let Err(Error::Malformed { field, found, .. }) = Tree::parse(&deep(levels)) else {
                panic!("{levels} levels");
            };
            assert_eq!(
                (field, found.as_str()),
                (FIELD, "nodes over 64 levels below the root")
            );
        }
    }

    #[test]
    fn a_tree_over_its_bound_is_not_read() {
        let Err(Error::Malformed { found, needed, .. }) = Tree::parse(&vec![0; 2_097_153]) else {
            panic!("2 MiB and a byte");
        };
        assert_eq!(
            (found.as_str(), needed.as_str()),
            ("2097153 bytes", "at most 2097152")
        );
    }
}
