//! What the loader's data holds, and where.

use kpeel_abi::{MapType, PROG_FLAGS_SLEEPABLE, ProgType, TRACE_FENTRY};

use crate::Error;
use crate::attr::{map_create, map_update, prog_load};
use crate::blob::{Attr, Blob, Offset};
use crate::insn::{INSN_SIZE, to_bytes};
use crate::program::{KfuncCall, Parser, Program};

/// Bytes of a file descriptor.
pub(crate) const FD_SIZE: i32 = 4;
/// A descriptor that is not open; 0 may be a real one.
const NO_FD: i32 = -1;
/// Name of the map of constants.
const MAP_NAME: &[u8] = b".rodata";

/// A string in the data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text {
    pub(crate) at: Offset,
    /// Bytes, NUL included.
    pub(crate) len: i32,
}

/// Everything the loader's code refers to.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) fds: Fds,
    pub(crate) map: Option<Map>,
    pub(crate) kfuncs: Vec<Kfunc>,
    pub(crate) license: Offset,
    pub(crate) programs: Vec<Load>,
}

/// The map of constants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Map {
    /// Descriptor; also index 0 of the fd array.
    pub(crate) fd: Offset,
    pub(crate) create: Offset,
    pub(crate) update: Offset,
    pub(crate) value: Offset,
}

#[derive(Debug)]
pub(crate) struct Kfunc {
    pub(crate) name: Text,
    /// Descriptor of its module's BTF.
    pub(crate) fd: Offset,
    /// Its index in the fd array; never 0, which in a call means vmlinux.
    pub(crate) fd_index: u16,
    /// The call instructions to patch.
    pub(crate) calls: Vec<Offset>,
}

/// One program to load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) fd: Offset,
    /// Descriptor of the BTF of the anchor's module.
    pub(crate) anchor_fd: Offset,
    pub(crate) attr: Offset,
    pub(crate) insns: Offset,
    pub(crate) anchor: Text,
}

/// The descriptors: those of programs, then the programs' fd array (the map, the BTFs of kfuncs),
/// then the BTFs of anchors. So a success closes the last part, a failure all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fds {
    pub(crate) start: Offset,
    /// What `PROG_LOAD` calls `fd_array`.
    pub(crate) array: Offset,
    /// Where those begin that no host needs after the load.
    pub(crate) temporary: Offset,
    pub(crate) end: Offset,
}

impl Layout {
    /// Fills the blob.
    pub(crate) fn put(blob: &mut Blob, parser: &Parser) -> Result<Self, Error> {
        let programs = parser.programs.len();
        let kfuncs = parser.kfuncs.len();
        let put_fds = |blob: &mut Blob, count: usize| {
            let fds = NO_FD.to_le_bytes().repeat(count);
            blob.put(FD_SIZE as usize, &fds)
        };
        let start = put_fds(blob, programs)?;
        let array = put_fds(blob, 1)?;
        let temporary = put_fds(blob, kfuncs)?;
        let anchors = put_fds(blob, programs)?;
        let end = blob.put(FD_SIZE as usize, &[])?;
        let map = put_map(blob, array, &parser.rodata)?;
        let license = put_text(blob, &parser.license)?.at;
        let mut loads = Vec::new();
        for (index, program) in parser.programs.iter().enumerate() {
            let fd = start.element(index, FD_SIZE);
            let anchor_fd = anchors.element(index, FD_SIZE);
            loads.push(put_program(blob, program, fd, anchor_fd)?);
        }
        let mut layout = Self {
            fds: Fds {
                start,
                array,
                temporary,
                end,
            },
            map,
            kfuncs: Vec::new(),
            license,
            programs: loads,
        };
        for (index, name) in parser.kfuncs.iter().enumerate() {
            let kfunc = layout.put_kfunc(blob, parser, index, name)?;
            layout.kfuncs.push(kfunc);
        }
        Ok(layout)
    }

    fn put_kfunc(
        &self,
        blob: &mut Blob,
        parser: &Parser,
        index: usize,
        name: &str,
    ) -> Result<Kfunc, Error> {
        let mut calls = Vec::new();
        for (program, load) in parser.programs.iter().zip(&self.programs) {
            let mine = |call: &&KfuncCall| call.kfunc == index;
            let at = |call: &KfuncCall| load.insns.element(call.insn, INSN_SIZE as i32);
            calls.extend(program.kfunc_calls.iter().filter(mine).map(at));
        }
        let fd_index = u16::try_from(index + 1)
            .ok()
            .filter(|index| i16::try_from(*index).is_ok());
        let Some(fd_index) = fd_index else {
            return Err(Error::unsupported("kfuncs", index + 1, "at most 32767"));
        };
        Ok(Kfunc {
            name: put_text(blob, name)?,
            fd: self.fds.temporary.element(index, FD_SIZE),
            fd_index,
            calls,
        })
    }
}

fn put_text(blob: &mut Blob, text: &str) -> Result<Text, Error> {
    let at = blob.put(1, text.as_bytes())?;
    let nul = blob.put(1, &[0])?;
    Ok(Text {
        at,
        len: nul.get() - at.get() + 1,
    })
}

fn put_map(blob: &mut Blob, fd: Offset, rodata: &[u8]) -> Result<Option<Map>, Error> {
    if rodata.is_empty() {
        return Ok(None);
    }
    let create = Attr::<{ map_create::SIZE }>::new()
        .word(map_create::MAP_TYPE, MapType::Array as u32)
        .word(map_create::KEY_SIZE, 4)
        .word(map_create::VALUE_SIZE, count(rodata.len())?)
        .word(map_create::MAX_ENTRIES, 1)
        .word(map_create::MAP_FLAGS, map_create::RDONLY_PROG)
        .bytes(map_create::MAP_NAME, MAP_NAME);
    Ok(Some(Map {
        fd,
        create: blob.put(8, create.get())?,
        update: blob.put(8, &[0; map_update::SIZE])?,
        value: blob.put(8, rodata)?,
    }))
}

fn put_program(
    blob: &mut Blob,
    program: &Program,
    fd: Offset,
    anchor_fd: Offset,
) -> Result<Load, Error> {
    let attr = Attr::<{ prog_load::SIZE }>::new()
        .word(prog_load::PROG_TYPE, ProgType::Tracing as u32)
        .word(prog_load::INSN_CNT, count(program.insns.len())?)
        .word(prog_load::PROG_FLAGS, PROG_FLAGS_SLEEPABLE)
        .bytes(prog_load::PROG_NAME, program.name.as_bytes())
        .word(prog_load::EXPECTED_ATTACH_TYPE, TRACE_FENTRY);
    Ok(Load {
        fd,
        anchor_fd,
        attr: blob.put(8, attr.get())?,
        insns: blob.put(8, &to_bytes(&program.insns))?,
        anchor: put_text(blob, program.anchor)?,
    })
}

fn count(n: usize) -> Result<u32, Error> {
    u32::try_from(n).map_err(|_| Error::unsupported("programs and constants", n, "less than 2^32"))
}
