//! The types a parser meets in place of Linux's: what `vmlinux` would say about our part of it.

use kpeel_abi::{ANCHOR, Context, KFUNCS, Kfunc, MemRangeResult, POST_ANCHOR, Param, Return};

use super::build::{BOOL, Builder, SIGNED};
use super::{Btf, Kind};

/// The emulated kernel's BTF.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) btf: Btf,
    anchors: [u32; 2],
    kfuncs: Vec<u32>,
}

/// A function of the emulated kernel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Symbol {
    /// [`ANCHOR`].
    Anchor,
    /// [`POST_ANCHOR`].
    PostAnchor,
    /// The entry of [`KFUNCS`] at this index.
    Kfunc(usize),
}

/// Where functions of the emulated kernel stand: no address of a program's memory.
const TEXT: u64 = 0xffff_ffff_8100_0000;
const FUNCTION_ALIGNMENT: u64 = 16;

/// Ids of types that prototypes and structs are made of.
struct Basics {
    int: u32,
    bool: u32,
    u32: u32,
    u64: u32,
    char_ptr: u32,
    const_char_ptr: u32,
    void_ptr: u32,
}

impl Kernel {
    pub(crate) fn new() -> Self {
        let mut builder = Builder::new();
        let basics = Basics::add(&mut builder);
        let context = basics.context(&mut builder);
        let context_ptr = builder.refer(Kind::Ptr, "", context);
        let result = basics.result(&mut builder);
        let result_ptr = builder.refer(Kind::Ptr, "", result);
        let anchors = [ANCHOR, POST_ANCHOR]
            .map(|name| builder.function(name, 0, &[("context", context_ptr)]));
        let mut add = |kfunc: &Kfunc| basics.kfunc(&mut builder, kfunc, result_ptr);
        let kfuncs = KFUNCS.iter().map(&mut add).collect();
        Self {
            btf: Btf::own(builder.finish()),
            anchors,
            kfuncs,
        }
    }

    /// What the function with this type id is.
    pub(crate) fn symbol(&self, id: u32) -> Option<Symbol> {
        let [anchor, post] = self.anchors;
        if id == anchor {
            return Some(Symbol::Anchor);
        }
        if id == post {
            return Some(Symbol::PostAnchor);
        }
        self.kfuncs
            .iter()
            .position(|kfunc| *kfunc == id)
            .map(Symbol::Kfunc)
    }

    /// The address a program sees of the function with this type id.
    pub(crate) fn address(&self, id: u32) -> Option<u64> {
        self.symbol(id)?;
        Some(TEXT.wrapping_add(u64::from(id).wrapping_mul(FUNCTION_ALIGNMENT)))
    }

    /// Its address by name.
    pub(crate) fn address_of(&self, name: &[u8]) -> Option<u64> {
        self.address(self.btf.find(name, Kind::Func)?)
    }
}

impl Basics {
    fn add(builder: &mut Builder) -> Self {
        let int = builder.int("int", 4, SIGNED);
        let bool_type = builder.int("_Bool", 1, BOOL);
        let bool = builder.refer(Kind::Typedef, "bool", bool_type);
        let unsigned = builder.int("unsigned int", 4, 0);
        let raw_u32 = builder.refer(Kind::Typedef, "__u32", unsigned);
        let u32 = builder.refer(Kind::Typedef, "u32", raw_u32);
        let long = builder.int("long long unsigned int", 8, 0);
        let raw_u64 = builder.refer(Kind::Typedef, "__u64", long);
        let u64 = builder.refer(Kind::Typedef, "u64", raw_u64);
        // `char` is signed on x86 and unsigned on arm64; DWARF of the former is what BTF shows.
        let char = builder.int("char", 1, SIGNED);
        let char_ptr = builder.refer(Kind::Ptr, "", char);
        let const_char = builder.refer(Kind::Const, "", char);
        let const_char_ptr = builder.refer(Kind::Ptr, "", const_char);
        let void_ptr = builder.refer(Kind::Ptr, "", 0);
        Self {
            int,
            bool,
            u32,
            u64,
            char_ptr,
            const_char_ptr,
            void_ptr,
        }
    }

    fn context(&self, builder: &mut Builder) -> u32 {
        let at = |offset: usize| offset as u32;
        builder.composite(
            "kexec_context",
            Context::SIZE as u32,
            &[
                (
                    "kdump",
                    self.bool,
                    at(core::mem::offset_of!(Context, kdump)),
                ),
                (
                    "image",
                    self.char_ptr,
                    at(core::mem::offset_of!(Context, image)),
                ),
                (
                    "image_sz",
                    self.int,
                    at(core::mem::offset_of!(Context, image_sz)),
                ),
                (
                    "initrd",
                    self.char_ptr,
                    at(core::mem::offset_of!(Context, initrd)),
                ),
                (
                    "initrd_sz",
                    self.int,
                    at(core::mem::offset_of!(Context, initrd_sz)),
                ),
                (
                    "cmdline",
                    self.char_ptr,
                    at(core::mem::offset_of!(Context, cmdline)),
                ),
                (
                    "cmdline_sz",
                    self.int,
                    at(core::mem::offset_of!(Context, cmdline_sz)),
                ),
            ],
        )
    }

    fn result(&self, builder: &mut Builder) -> u32 {
        let at = |offset: usize| offset as u32;
        builder.composite(
            "mem_range_result",
            MemRangeResult::SIZE as u32,
            &[
                (
                    "buf",
                    self.char_ptr,
                    at(core::mem::offset_of!(MemRangeResult, buf)),
                ),
                (
                    "buf_sz",
                    self.u32,
                    at(core::mem::offset_of!(MemRangeResult, buf_sz)),
                ),
                (
                    "data_sz",
                    self.u32,
                    at(core::mem::offset_of!(MemRangeResult, data_sz)),
                ),
            ],
        )
    }

    fn kfunc(&self, builder: &mut Builder, kfunc: &Kfunc, result_ptr: u32) -> u32 {
        let type_of = |param| match param {
            Param::ConstCharPtr => self.const_char_ptr,
            Param::CharPtr => self.char_ptr,
            Param::VoidPtr => self.void_ptr,
            Param::ResultPtr => result_ptr,
            Param::Int => self.int,
            Param::U32 => self.u32,
            Param::U64 => self.u64,
        };
        let parameters: Vec<(&str, u32)> = kfunc
            .params
            .iter()
            .map(|(name, param)| (*name, type_of(*param)))
            .collect();
        let returns = match kfunc.returns {
            Return::Int => self.int,
            Return::Result => result_ptr,
        };
        builder.function(kfunc.name, returns, &parameters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_anchors_and_kfuncs_by_name() {
        let kernel = Kernel::new();
        let find = |name: &str| kernel.btf.find(name.as_bytes(), Kind::Func).unwrap();
        assert_eq!(kernel.symbol(find(ANCHOR)), Some(Symbol::Anchor));
        assert_eq!(kernel.symbol(find(POST_ANCHOR)), Some(Symbol::PostAnchor));
        for (index, kfunc) in KFUNCS.iter().enumerate() {
            assert_eq!(kernel.symbol(find(kfunc.name)), Some(Symbol::Kfunc(index)));
        }
        assert_eq!(kernel.btf.find(b"bpf_handle_pefil", Kind::Func), None);
        assert_eq!(kernel.symbol(0), None);
    }

    #[test]
    fn context_members_stand_at_their_offsets() {
        let kernel = Kernel::new();
        let id = kernel.btf.find(b"kexec_context", Kind::Struct).unwrap();
        assert_eq!(kernel.btf.size_of(id), Some(56));
        let offsets: Vec<u32> = kernel
            .btf
            .get(id)
            .unwrap()
            .members()
            .map(|member| member.bit_offset / 8)
            .collect();
        assert_eq!(offsets, [0, 8, 16, 24, 32, 40, 48]);
    }

    /// The independent reader is bpftool.
    #[test]
    fn bpftool_reads_the_emulated_kernels_types() {
        let path = std::env::temp_dir().join(format!("kpeel-btf-{}", std::process::id()));
        std::fs::write(&path, Kernel::new().btf.bytes).unwrap();
        let output = std::process::Command::new("bpftool")
            .args(["btf", "dump", "file"])
            .arg(&path)
            .args(["format", "c"])
            .output()
            .expect("bpftool is installed");
        std::fs::remove_file(&path).unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        for line in [
            "\tbool kdump;",
            "\tchar *image;",
            "\tint cmdline_sz;",
            "\tu32 data_sz;",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
