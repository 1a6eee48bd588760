//! Generates the loader, a BPF program of type SYSCALL.
//!
//! It keeps the context in r6, its status in r7, the address of its data in r9, and uses no stack.
//! It looks up kfuncs and patches their calls; creates, fills and freezes the map of constants;
//! per program looks up the anchor and loads it; writes the descriptors to the context. At the end
//! it closes the descriptors of module BTFs, after a failure also those of the map and programs.
//!
//! The context's log fields are passed on to `PROG_LOAD`; its descriptors are written only after
//! everything succeeded. One run uses the data up: descriptors and patches stay in it.

use kpeel_abi::{BpfCmd, Helper};

use crate::Error;
use crate::asm::{Asm, Label, R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, Reg, When, Width};
use crate::attr::{ctx, map_create, map_freeze, map_update, prog_load};
use crate::blob::{Blob, Offset};
use crate::layout::{FD_SIZE, Kfunc, Layout, Load, Map, Text};
use crate::program::Parser;

/// Index of the data's map in the fd array a host gives the loader.
const DATA_FD_INDEX: i32 = 0;
/// `BTF_KIND_FUNC`.
const BTF_KIND_FUNC: i32 = 12;
/// Where an instruction holds its offset and its immediate.
const INSN_OFF: i32 = 2;
const INSN_IMM: i32 = 4;

/// `opts_insn` and `opts_data`.
#[derive(Debug)]
pub(crate) struct Loader {
    pub(crate) insns: Vec<u8>,
    pub(crate) data: Vec<u8>,
}

impl Loader {
    pub(crate) fn generate(parser: &Parser) -> Result<Self, Error> {
        let mut blob = Blob::default();
        let layout = Layout::put(&mut blob, parser)?;
        let mut asm = Asm::default();
        let fail = asm.label();
        let mut code = Code { asm, fail };
        code.asm.mov(R6, R1);
        code.asm.map_value(R9, DATA_FD_INDEX);
        for kfunc in &layout.kfuncs {
            code.resolve_kfunc(kfunc);
        }
        if let Some(map) = &layout.map {
            code.make_map(map);
        }
        for load in &layout.programs {
            code.load_program(load, &layout);
        }
        code.hand_over(&layout)?;
        code.close(&layout);
        Ok(Self {
            insns: code.asm.finish()?,
            data: blob.into_bytes(),
        })
    }
}

/// The loader's code so far.
struct Code {
    asm: Asm,
    /// Where a failed step goes, its negative errno in r0.
    fail: Label,
}

impl Code {
    /// Patches a kfunc's BTF id into its calls, and for a module's kfunc the index of its BTF.
    fn resolve_kfunc(&mut self, kfunc: &Kfunc) {
        self.find_function(kfunc.name);
        for call in &kfunc.calls {
            self.store(Width::W, call.plus(INSN_IMM), R0);
        }
        let vmlinux = self.asm.label();
        self.asm.shift_right(R0, 32);
        self.asm.jump(When::Zero(R0), vmlinux);
        self.store(Width::W, kfunc.fd, R0);
        for call in &kfunc.calls {
            let (base, off) = self.place(call.plus(INSN_OFF));
            self.asm.store_half(base, off, kfunc.fd_index);
        }
        self.asm.land(vmlinux);
    }

    fn make_map(&mut self, map: &Map) {
        self.command(BpfCmd::MapCreate, map.create, map_create::SIZE);
        self.store(Width::W, map.fd, R0);
        self.store(Width::W, map.update.plus(map_update::MAP_FD), R0);
        // The key is 0, as the flags are.
        let key = map.update.plus(map_update::FLAGS);
        self.store_address(map.update.plus(map_update::KEY), key);
        self.store_address(map.update.plus(map_update::VALUE), map.value);
        self.command(BpfCmd::MapUpdateElem, map.update, map_update::SIZE);
        self.command(BpfCmd::MapFreeze, map.fd, map_freeze::SIZE);
    }

    fn load_program(&mut self, load: &Load, layout: &Layout) {
        let field = |at| load.attr.plus(at);
        self.find_function(load.anchor);
        self.store(Width::W, field(prog_load::ATTACH_BTF_ID), R0);
        let vmlinux = self.asm.label();
        self.asm.shift_right(R0, 32);
        self.asm.jump(When::Zero(R0), vmlinux);
        self.store(Width::W, load.anchor_fd, R0);
        self.store(Width::W, field(prog_load::ATTACH_BTF_OBJ_FD), R0);
        self.asm.land(vmlinux);
        for (width, from, to) in [
            (Width::W, ctx::LOG_LEVEL, prog_load::LOG_LEVEL),
            (Width::W, ctx::LOG_SIZE, prog_load::LOG_SIZE),
            (Width::Dw, ctx::LOG_BUF, prog_load::LOG_BUF),
        ] {
            self.asm.load(width, R1, R6, from);
            self.store(width, field(to), R1);
        }
        self.store_address(field(prog_load::INSNS), load.insns);
        self.store_address(field(prog_load::LICENSE), layout.license);
        self.store_address(field(prog_load::FD_ARRAY), layout.fds.array);
        self.command(BpfCmd::ProgLoad, load.attr, prog_load::SIZE);
        self.store(Width::W, load.fd, R0);
    }

    /// Copies the descriptors to the context, as every field of it is there.
    fn hand_over(&mut self, layout: &Layout) -> Result<(), Error> {
        let maps = layout.map.iter().map(|map| (map.fd, ctx::MAP_SIZE));
        let programs = layout.programs.iter().map(|load| (load.fd, ctx::PROG_SIZE));
        let mut to = ctx::FDS;
        for (fd, size) in maps.chain(programs) {
            self.load_fd(R1, fd);
            self.asm.store(Width::W, R6, to, R1);
            to = to.checked_add(size).ok_or_else(|| {
                let found = layout.programs.len();
                Error::unsupported("programs", found, "as many as a context holds")
            })?;
        }
        Ok(())
    }

    /// Ends the program: closes from r8 on what is open, returns r7.
    fn close(&mut self, layout: &Layout) {
        let Self { asm, fail } = self;
        let close = asm.label();
        let next = asm.label();
        asm.mov_imm(R7, 0);
        asm.mov_imm(R8, layout.fds.temporary.get());
        asm.jump(When::Always, close);
        asm.land(*fail);
        asm.mov(R7, R0);
        asm.mov_imm(R8, layout.fds.start.get());
        asm.land(close);
        asm.mov(R1, R9);
        asm.add(R1, R8);
        asm.load(Width::W, R1, R1, 0);
        asm.jump(When::Negative32(R1), next);
        asm.call(Helper::SysClose);
        asm.land(next);
        asm.add_imm(R8, FD_SIZE);
        asm.jump(When::Differs(R8, layout.fds.end.get()), close);
        asm.mov(R0, R7);
        asm.exit();
    }

    /// r0 = BTF id of a function, and in its upper half the descriptor of a module's BTF. That is
    /// never 0, for the host holds at least the descriptor of the loader's data.
    fn find_function(&mut self, name: Text) {
        self.address(R1, name.at);
        self.asm.mov_imm(R2, name.len);
        self.asm.mov_imm(R3, BTF_KIND_FUNC);
        self.asm.mov_imm(R4, 0);
        self.asm.call(Helper::BtfFindByNameKind);
        self.asm.jump(When::Negative(R0), self.fail);
    }

    fn command(&mut self, command: BpfCmd, attr: Offset, size: usize) {
        self.asm.mov_imm(R1, command as i32);
        self.address(R2, attr);
        self.asm.mov_imm(R3, size as i32);
        self.asm.call(Helper::SysBpf);
        self.asm.jump(When::Negative(R0), self.fail);
    }

    fn address(&mut self, dst: Reg, at: Offset) {
        self.asm.mov(dst, R9);
        if at.get() != 0 {
            self.asm.add_imm(dst, at.get());
        }
    }

    /// A base register and displacement for a place in the data; r5 for those far away.
    fn place(&mut self, at: Offset) -> (Reg, i16) {
        match at.displacement() {
            Some(near) => (R9, near),
            None => {
                self.address(R5, at);
                (R5, 0)
            }
        }
    }

    fn load_fd(&mut self, dst: Reg, from: Offset) {
        let (base, off) = self.place(from);
        self.asm.load(Width::W, dst, base, off);
    }

    fn store(&mut self, width: Width, to: Offset, src: Reg) {
        let (base, off) = self.place(to);
        self.asm.store(width, base, off, src);
    }

    fn store_address(&mut self, to: Offset, at: Offset) {
        self.address(R1, at);
        self.store(Width::Dw, to, R1);
    }
}
