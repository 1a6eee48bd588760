//! A loader for one program without maps, in the contract of light skeletons.

use super::program::{
    INSN_SIZE, Insn, Program, data_address, exit, helper, jump_if_negative, jump_if_zero, load_u32,
    mov, set, shift_right, store_u32, store_u64,
};

/// The loader's instructions and data.
pub(crate) struct Loader {
    pub(crate) insns: Vec<u8>,
    pub(crate) data: Vec<u8>,
}

/// `bpf_sys_bpf`, `bpf_btf_find_by_name_kind`, `bpf_sys_close`.
const SYS_BPF: i32 = 166;
const FIND_BY_NAME: i32 = 167;
const CLOSE: i32 = 168;

/// `BPF_PROG_LOAD`.
const PROG_LOAD: i32 = 5;
/// `BTF_KIND_FUNC`.
const KIND_FUNC: i32 = 12;

/// Where the attribute's fields are, from the start of the data.
const ATTR_SIZE: usize = 128;
const PROG_TYPE: usize = 0;
const INSN_COUNT: usize = 4;
const INSNS: usize = 8;
const LICENSE: usize = 16;
const PROG_FLAGS: usize = 44;
const NAME: usize = 48;
const EXPECTED_ATTACH_TYPE: usize = 68;
const ATTACH_BTF_ID: usize = 108;
const ATTACH_BTF_FD: usize = 112;
const FD_ARRAY: usize = 120;

/// The array of descriptors: slot 0 stays empty, kfunc `n` uses slot `n + 1`.
const FDS: usize = ATTR_SIZE;
const FD_SLOTS: usize = 8;
const FD_SIZE: usize = 4;

/// Where the loader puts the program's descriptor in its context.
const RESULT: i16 = 24;

/// Registers that survive calls.
const CONTEXT: u8 = 6;
const RETURN: u8 = 8;

/// Makes a loader that loads `program` for the anchor of this name.
pub(crate) fn build(anchor: &str, program: &Program) -> Loader {
    let mut builder = Builder::new(program);
    builder.look_up(anchor, &[ATTACH_BTF_ID], ATTACH_BTF_FD);
    for (index, kfunc) in builder.kfuncs.clone().into_iter().enumerate() {
        let sites = builder.call_sites(program, kfunc);
        builder.look_up(kfunc, &sites, fd_slot(index));
    }
    builder.load_program();
    builder.finish()
}

struct Builder {
    code: Vec<Insn>,
    data: Vec<u8>,
    kfuncs: Vec<&'static str>,
    program: usize,
    /// Jumps to the end, taken after a failed look-up.
    bail_outs: Vec<usize>,
    /// Places of descriptors to be closed.
    opened: Vec<usize>,
}

impl Builder {
    fn new(program: &Program) -> Self {
        let mut kfuncs: Vec<&'static str> = Vec::new();
        for name in program.insns.iter().filter_map(|insn| insn.kfunc) {
            if !kfuncs.contains(&name) {
                kfuncs.push(name);
            }
        }
        let mut builder = Self {
            code: vec![mov(CONTEXT, 1)],
            data: vec![0; FDS + FD_SLOTS * FD_SIZE],
            kfuncs,
            program: 0,
            bail_outs: Vec::new(),
            opened: Vec::new(),
        };
        let mut bytes = Vec::new();
        for mut insn in program.insns.iter().copied() {
            if let Some(index) = builder
                .kfuncs
                .iter()
                .position(|name| Some(*name) == insn.kfunc)
            {
                insn.offset = i16::try_from(index + 1).expect("a twin has few kfuncs");
            }
            bytes.extend(insn.to_bytes());
        }
        builder.program = builder.append(&bytes);
        builder.describe(program.insns.len());
        builder
    }

    /// Fills in what is known of the attribute.
    fn describe(&mut self, count: usize) {
        let count = u32::try_from(count).expect("a twin is short");
        for (at, value) in [
            (PROG_TYPE, 26),
            (INSN_COUNT, count),
            (PROG_FLAGS, 1 << 4),
            (EXPECTED_ATTACH_TYPE, 24),
        ] {
            self.put(at, &value.to_le_bytes());
        }
        self.put(NAME, b"twin");
    }

    /// Finds a function; writes its type id to `ids` and its BTF's descriptor to `fd`.
    fn look_up(&mut self, name: &str, ids: &[usize], fd: usize) {
        let text = self.append(format!("{name}\0").as_bytes());
        let length = i32::try_from(name.len() + 1).expect("a name is short");
        self.code.extend(data_address(1, text));
        self.code.extend([
            set(2, length),
            set(3, KIND_FUNC),
            set(4, 0),
            helper(FIND_BY_NAME),
            mov(RETURN, 0),
        ]);
        self.bail_outs.push(self.code.len());
        self.code.push(jump_if_negative(RETURN, 0));
        for &id in ids {
            self.code.extend(data_address(1, id));
            self.code.push(store_u32(1, 0, RETURN));
        }
        self.code.extend(data_address(1, fd));
        self.code
            .extend([shift_right(RETURN, 32), store_u32(1, 0, RETURN)]);
        self.opened.push(fd);
    }

    fn load_program(&mut self) {
        let license = self.append(b"GPL\0");
        for (field, target) in [(INSNS, self.program), (LICENSE, license), (FD_ARRAY, FDS)] {
            self.code.extend(data_address(1, field));
            self.code.extend(data_address(2, target));
            self.code.push(store_u64(1, 0, 2));
        }
        self.code.push(set(1, PROG_LOAD));
        self.code.extend(data_address(2, 0));
        self.code.extend([
            set(3, i32::try_from(ATTR_SIZE).expect("small")),
            helper(SYS_BPF),
            mov(RETURN, 0),
        ]);
    }

    /// Closes what was opened, and returns the program's descriptor or the error.
    fn finish(mut self) -> Loader {
        let end = self.code.len();
        for &at in &self.bail_outs {
            let distance = i16::try_from(end - at - 1).expect("a loader is short");
            if let Some(insn) = self.code.get_mut(at) {
                insn.offset = distance;
            }
        }
        for &fd in &self.opened {
            self.code.extend(data_address(1, fd));
            self.code
                .extend([load_u32(1, 1, 0), jump_if_zero(1, 1), helper(CLOSE)]);
        }
        self.code.extend([
            mov(0, RETURN),
            jump_if_negative(RETURN, 2),
            store_u32(CONTEXT, RESULT, RETURN),
            set(0, 0),
            exit(),
        ]);
        Loader {
            insns: self.code.into_iter().flat_map(Insn::to_bytes).collect(),
            data: self.data,
        }
    }

    /// Where the program's calls of a kfunc have their immediate.
    fn call_sites(&self, program: &Program, kfunc: &str) -> Vec<usize> {
        /// Offset of the immediate in an instruction.
        const IMM: usize = 4;
        program
            .insns
            .iter()
            .enumerate()
            .filter(|(_, insn)| insn.kfunc == Some(kfunc))
            .map(|(index, _)| self.program + index * INSN_SIZE + IMM)
            .collect()
    }

    fn put(&mut self, at: usize, value: &[u8]) {
        self.data
            .get_mut(at..at + value.len())
            .expect("lies inside the attribute")
            .copy_from_slice(value);
    }

    /// Adds to the data, at a multiple of 8.
    fn append(&mut self, bytes: &[u8]) -> usize {
        let at = self.data.len();
        self.data.extend_from_slice(bytes);
        self.data.resize(self.data.len().next_multiple_of(8), 0);
        at
    }
}

fn fd_slot(kfunc: usize) -> usize {
    FDS + (kfunc + 1) * FD_SIZE
}
