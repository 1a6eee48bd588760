//! Runs a carrier's loader on our BPF machine and answers its helpers as Linux 6.12 would.

use std::collections::BTreeMap;
use std::convert::Infallible;

use kpeel_bpf::{Access, Budget, Calls, Memory, Program, Pseudo, Resolver, Trap, Unresolved, run};
use kpeel_envelope::carrier::Carrier;

use crate::model::{FUNCTIONS, Load, Step, errno};

/// `sizeof(union bpf_attr)` in 6.12.
const ATTR_SIZE: usize = 152;
const BTF_KIND_FUNC: u64 = 12;
const BUDGET: u64 = 10_000;

/// What stands behind a descriptor.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fd {
    Map { value: Vec<u8>, frozen: bool },
    Program,
    Btf,
}

/// The model; set the public fields, then [`Host::load`].
#[derive(Default)]
pub struct Host {
    /// The lowest descriptor that is free.
    pub first_fd: i32,
    /// Functions in a module.
    pub in_module: Vec<&'static str>,
    /// The step that fails (closing counts not), and how.
    pub fail: Option<(usize, i64)>,
    pub steps: Vec<Step>,
    pub fds: BTreeMap<i32, Fd>,
    /// Address of the loader's data.
    pub data: u64,
}

/// How a load ended.
pub struct Outcome {
    pub status: Result<i64, Trap<Infallible>>,
    pub context: Vec<u8>,
}

impl Host {
    /// Runs the loader over this context.
    pub fn load(&mut self, carrier: &[u8], context: Vec<u8>) -> Outcome {
        let carrier = Carrier::parse(carrier).unwrap();
        let mut memory = Memory::new();
        let data = carrier.data.to_vec();
        self.data = memory.map_owned(data, Access::ReadWrite).unwrap();
        let context = memory.map_owned(context, Access::ReadWrite).unwrap();
        let program = Program::decode(carrier.insns, self).unwrap();
        let mut budget = Budget::new(BUDGET);
        let status = run(&program, &[context], &mut memory, self, &mut budget);
        Outcome {
            status: status.map(u64::cast_signed),
            context: memory.take(context).unwrap(),
        }
    }

    /// The steps other than closing.
    pub fn commands(&self) -> impl Iterator<Item = &Step> {
        let command = |step: &&Step| !matches!(step, Step::Close(_));
        self.steps.iter().filter(command)
    }

    pub fn programs(&self) -> Vec<&Load> {
        let loads = self.steps.iter().filter_map(|step| match step {
            Step::ProgLoad(load) => Some(&**load),
            _ => None,
        });
        loads.collect()
    }

    fn open(&mut self, fd: Fd) -> i64 {
        let free = (self.first_fd..).find(|n| !self.fds.contains_key(n));
        let free = free.unwrap();
        self.fds.insert(free, fd);
        free.into()
    }

    /// Notes a step; gives the injected error if it is this one's turn.
    fn step(&mut self, step: Step) -> Option<i64> {
        let index = self.commands().count();
        self.steps.push(step);
        self.fail
            .filter(|(at, _)| *at == index)
            .map(|(_, error)| error)
    }

    fn find(&mut self, memory: &Memory, [name, len, kind, flags, _]: [u64; 5]) -> i64 {
        assert_eq!((kind, flags), (BTF_KIND_FUNC, 0));
        let bytes = memory.bytes(name, len).unwrap().into_owned();
        let name = std::ffi::CStr::from_bytes_with_nul(&bytes).unwrap();
        let name = name.to_str().unwrap().to_owned();
        if let Some(error) = self.step(Step::Find(name.clone())) {
            return error;
        }
        let Some((_, id)) = FUNCTIONS.iter().find(|(known, _)| *known == name) else {
            return errno::NOENT;
        };
        let fd = match self.in_module.contains(&name.as_str()) {
            true => self.open(Fd::Btf),
            false => 0,
        };
        fd << 32 | i64::from(*id)
    }

    fn bpf(&mut self, memory: &Memory, command: u64, attr: &Attr) -> i64 {
        match command {
            0 => self.map_create(attr),
            2 => self.map_update(memory, attr),
            5 => self.prog_load(memory, attr),
            22 => self.map_freeze(attr),
            other => panic!("bpf command {other}"),
        }
    }

    fn map_create(&mut self, attr: &Attr) -> i64 {
        let step = Step::MapCreate {
            kind: attr.u32(0),
            key: attr.u32(4),
            value: attr.u32(8),
            entries: attr.u32(12),
            flags: attr.u32(16),
            name: attr.name(28),
        };
        let error = self.step(step);
        assert!(attr.is_zero(20, 28) && attr.is_zero(44, ATTR_SIZE));
        error.unwrap_or_else(|| {
            self.open(Fd::Map {
                value: vec![0; attr.u32(8) as usize],
                frozen: false,
            })
        })
    }

    fn map_update(&mut self, memory: &Memory, attr: &Attr) -> i64 {
        let fd = attr.u32(0).cast_signed();
        let size = match self.fds.get(&fd) {
            Some(Fd::Map { value, .. }) => value.len() as u64,
            _ => return errno::BADF,
        };
        let key = memory.read_u32(attr.u64(8)).unwrap();
        let value = memory.bytes(attr.u64(16), size).unwrap().into_owned();
        let step = Step::MapUpdate {
            fd,
            key,
            value: value.clone(),
        };
        if let Some(error) = self.step(step) {
            return error;
        }
        assert!(attr.is_zero(24, ATTR_SIZE));
        self.fds.insert(
            fd,
            Fd::Map {
                value,
                frozen: false,
            },
        );
        0
    }

    fn map_freeze(&mut self, attr: &Attr) -> i64 {
        let fd = attr.u32(0).cast_signed();
        if let Some(error) = self.step(Step::MapFreeze(fd)) {
            return error;
        }
        assert!(attr.is_zero(4, ATTR_SIZE));
        match self.fds.get_mut(&fd) {
            Some(Fd::Map { frozen, .. }) if !*frozen => {
                *frozen = true;
                0
            }
            _ => errno::BADF,
        }
    }

    fn prog_load(&mut self, memory: &Memory, attr: &Attr) -> i64 {
        let count = u64::from(attr.u32(4));
        let insns = memory.bytes(attr.u64(8), count * 8).unwrap().into_owned();
        let (insns, rest) = insns.as_chunks::<8>();
        assert!(rest.is_empty());
        let mut load = Load {
            kind: attr.u32(0),
            insns: insns.to_vec(),
            license: text(memory, attr.u64(16)),
            log: (attr.u32(24), attr.u32(28), attr.u64(32)),
            flags: attr.u32(44),
            name: attr.name(48),
            expected_attach_type: attr.u32(68),
            attach_btf_id: attr.u32(108),
            attach_btf_fd: attr.u32(112).cast_signed(),
            ..Load::default()
        };
        let fd_array = attr.u64(120);
        let fd_at = |index: i32| {
            let at = fd_array + 4 * u64::try_from(index).unwrap();
            memory.read_u32(at).unwrap().cast_signed()
        };
        let valid = self.check_insns(&mut load, &fd_at);
        let error = self.step(Step::ProgLoad(Box::new(load.clone())));
        let unused = [(40, 44), (64, 68), (72, 108), (116, 120), (128, ATTR_SIZE)];
        assert!(unused.iter().all(|(from, to)| attr.is_zero(*from, *to)));
        error.unwrap_or_else(|| match valid && self.btf_of(load.attach_btf_fd) {
            true => self.open(Fd::Program),
            false => errno::INVAL,
        })
    }

    /// A BTF is vmlinux's (0), or a module's that is open.
    fn btf_of(&self, fd: i32) -> bool {
        fd == 0 || self.fds.get(&fd) == Some(&Fd::Btf)
    }

    /// Resolves what instructions name, as the verifier does.
    fn check_insns(&self, load: &mut Load, fd_at: &dyn Fn(i32) -> i32) -> bool {
        let mut valid = true;
        for insn in load.insns.clone() {
            let imm = i32::from_le_bytes([insn[4], insn[5], insn[6], insn[7]]);
            let off = i16::from_le_bytes([insn[2], insn[3]]);
            match (insn[0], insn[1] >> 4) {
                (0x18, 6) => {
                    let fd = fd_at(imm);
                    load.maps.push(fd);
                    valid &= matches!(self.fds.get(&fd), Some(Fd::Map { frozen: true, .. }));
                }
                (0x85, 2) => {
                    let fd = if off == 0 { 0 } else { fd_at(off.into()) };
                    let known = FUNCTIONS.iter().find(|(_, id)| *id == imm.cast_unsigned());
                    valid &= known.is_some() && self.btf_of(fd);
                    let name = known.map_or("?", |(name, _)| name);
                    load.kfuncs.push((name.to_owned(), fd));
                }
                _ => {}
            }
        }
        valid
    }
}

impl Resolver for Host {
    fn immediate(
        &mut self,
        _: usize,
        pseudo: Pseudo,
        imm: i32,
        next: i32,
    ) -> Result<u64, Unresolved> {
        assert_eq!((pseudo, imm), (Pseudo::MapIndexValue, 0));
        Ok(self.data + u64::try_from(next).unwrap())
    }

    fn helper(&mut self, _: usize, id: u32) -> Result<(), Unresolved> {
        assert!(matches!(id, 166..=168), "helper {id}");
        Ok(())
    }

    fn kfunc(&mut self, _: usize, id: i32, _: i16) -> Result<u32, Unresolved> {
        panic!("the loader calls kfunc {id}")
    }
}

impl Calls for Host {
    type Error = Infallible;

    fn helper(&mut self, memory: &mut Memory, id: u32, args: [u64; 5]) -> Result<u64, Infallible> {
        let result = match id {
            166 => {
                let attr = Attr::read(memory, args[1], args[2]);
                self.bpf(memory, args[0], &attr)
            }
            167 => self.find(memory, args),
            _ => {
                let fd = (args[0] as u32).cast_signed();
                self.steps.push(Step::Close(fd));
                self.fds.remove(&fd).map_or(errno::BADF, |_| 0)
            }
        };
        Ok(result.cast_unsigned())
    }

    fn kfunc(&mut self, _: &mut Memory, _: u32, _: [u64; 5]) -> Result<u64, Infallible> {
        unreachable!("the resolver admits none")
    }
}

/// `union bpf_attr`; what a command leaves out is zero.
struct Attr([u8; ATTR_SIZE]);

impl Attr {
    fn read(memory: &Memory, at: u64, size: u64) -> Self {
        let mut attr = [0; ATTR_SIZE];
        memory.read(at, &mut attr[..size as usize]).unwrap();
        Self(attr)
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.0[at..at + 4].try_into().unwrap())
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.0[at..at + 8].try_into().unwrap())
    }

    /// An object's name: 16 bytes, NUL included.
    fn name(&self, at: usize) -> String {
        let name = &self.0[at..at + 16];
        let end = name.iter().position(|byte| *byte == 0).expect("a NUL");
        assert!(name[end..].iter().all(|byte| *byte == 0));
        String::from_utf8(name[..end].to_vec()).unwrap()
    }

    fn is_zero(&self, from: usize, to: usize) -> bool {
        self.0[from..to].iter().all(|byte| *byte == 0)
    }
}

/// A NUL-terminated string of the program's memory.
pub fn text(memory: &Memory, at: u64) -> String {
    let bytes = (at..).map(|at| memory.read_u8(at).unwrap());
    let bytes = bytes.take_while(|byte| *byte != 0).collect();
    String::from_utf8(bytes).unwrap()
}
