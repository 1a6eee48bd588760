//! Runs a carrier's loader program and keeps what it makes.
//!
//! A light skeleton is a program that creates maps and programs by commands of bpf(2). Nothing is
//! assumed about its shape: it runs over a zeroed context, and what counts is which programs exist
//! when it is done.

mod attr;
mod commands;
mod fd;
mod program;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use kpeel_abi::{Helper, LOADER_HELPERS};
use kpeel_bpf::{
    Access, Budget, Calls, MapError, Memory, Program, Pseudo, Resolver, Unresolved, run,
};
use kpeel_envelope::carrier::Carrier;
use kpeel_envelope::error::{Class, Error, Needed, Result};
use sha2::{Digest, Sha256};

use crate::answer::{Answer, EINVAL, ENOENT, Stop, WORK_UNIT, negative};
use crate::btf::{Kernel, Kind, Symbol};
use crate::buffer::Charge;
use crate::env::{Env, place, stray};
use crate::event::{Caller, Event};
use crate::helpers;
use crate::map::Maps;
use crate::text;

use fd::{Descriptors, Object};
pub(crate) use program::Loaded;

/// Bytes of the context: more than any skeleton's, less than Linux's limit of 65535.
const CONTEXT_SIZE: usize = 4096;
/// `BPF_SKEL_KERNEL`: addresses in the context are the kernel's own.
const FLAG_KERNEL: u32 = 1;
/// `struct bpf_map` as signed skeletons read it: the data's SHA-256, then a flag.
const SIGNED_MAP_SIZE: usize = 64;
const SIGNED_FLAG_OFFSET: usize = 32;
/// Longest name that is looked up.
const MAX_SYMBOL: u64 = 512;

/// What a carrier's loader made.
#[derive(Debug)]
pub(crate) struct Skeleton {
    pub(crate) memory: Memory,
    pub(crate) maps: Maps,
    pub(crate) main: Arc<Loaded>,
    pub(crate) post: Option<Arc<Loaded>>,
    /// Instructions the loader executed.
    pub(crate) executed: u64,
}

/// A loader at work.
pub(super) struct Loader<'l, 'e, 't> {
    kernel: &'l Kernel,
    env: &'l mut Env<'e, 't>,
    fds: Descriptors,
    maps: Maps,
    /// The last refusal with each errno.
    denied: BTreeMap<i32, Error>,
}

/// Where the loader's own data stand.
struct Blob {
    base: u64,
    size: u32,
    /// A stand-in for the data's `struct bpf_map`.
    map: u64,
}

/// Runs the loader of `carrier`.
///
/// # Errors
/// `Malformed` when the loader is no program, is stopped or fails; `Refused` when it asks for what
/// no loader may do, or for more than the limits.
pub(crate) fn load(
    carrier: &Carrier<'_>,
    kernel: &Kernel,
    env: &mut Env<'_, '_>,
    budget: &mut Budget,
) -> Result<Skeleton> {
    let data = carrier.data.len() as u64;
    let code = carrier.insns.len() as u64;
    let decoded = (code / program::INSN_SIZE).saturating_mul(program::DECODED_SIZE);
    let _charge = Charge::new(env.meter, data.saturating_add(decoded))?;
    let mut memory = Memory::new();
    let mut blob = Blob::map(carrier.data, &mut memory)?;
    let program = Program::decode(carrier.insns, &mut blob).map_err(|error| {
        env.trace.trap = Some(format!("loader program: {error}"));
        program::undecodable("loader program", &error)
    })?;
    let mut context = vec![0; CONTEXT_SIZE];
    let head = [CONTEXT_SIZE as u32, FLAG_KERNEL];
    let head = head.iter().flat_map(|word| word.to_le_bytes());
    context
        .iter_mut()
        .zip(head)
        .for_each(|(to, from)| *to = from);
    let context = memory
        .map_owned(context, Access::ReadWrite)
        .map_err(unmappable)?;

    let (fds, maps) = (Descriptors::default(), Maps::default());
    let mut loader = Loader {
        kernel,
        env,
        fds,
        maps,
        denied: BTreeMap::new(),
    };
    let before = budget.left();
    let result = run(&program, &[context], &mut memory, &mut loader, budget);
    let executed = before.saturating_sub(budget.left());
    loader.ended(result, executed)?;
    for base in [blob.base, blob.map, context] {
        memory.unmap(base);
    }
    loader.finish(memory, executed)
}

impl Loader<'_, '_, '_> {
    /// Judges the loader's end.
    fn ended(
        &mut self,
        result: core::result::Result<u64, kpeel_bpf::Trap<Error>>,
        executed: u64,
    ) -> Result<()> {
        let value = result.map_err(|trap| self.env.trapped(Caller::Loader, &trap, executed))?;
        self.env.trace.tell(|depth| Event::End {
            depth,
            caller: Caller::Loader,
            instructions: executed,
            result: Ok(value),
        });
        // The loader's result is a C int.
        let status = value as i32;
        if status >= 0 {
            return Ok(());
        }
        // What was refused with this very number is why the loader gave up.
        let reason = status
            .checked_neg()
            .and_then(|errno| self.denied.get(&errno));
        Err(reason.copied().unwrap_or(Error::value(
            Class::Malformed,
            "loader program's result",
            i64::from(status) as u64,
            Needed::Words("0 or more: it gave up for a reason of its own"),
        )))
    }

    /// Looks which programs there are and lets everything else go.
    fn finish(mut self, mut memory: Memory, executed: u64) -> Result<Skeleton> {
        let (mut mains, mut posts) = (Vec::new(), Vec::new());
        let objects: Vec<Object> = self.fds.close_all().collect();
        for object in objects {
            match object {
                Object::Program(program) if program.anchor == Symbol::Anchor => mains.push(program),
                Object::Program(program) => posts.push(program),
                Object::Map(id) => self.maps.release(id, &mut memory),
                Object::Btf(_) => {}
            }
        }
        let (found, needed) = (mains.len() as u64, Needed::Exactly(1));
        let main = mains.pop().filter(|_| found == 1);
        let main = main.ok_or(Error::malformed(
            "programs for bpf_handle_pefile",
            found,
            needed,
        ))?;
        let (found, needed) = (posts.len() as u64, Needed::AtMost(1));
        if found > 1 {
            return Err(Error::malformed(
                "programs for bpf_post_handle_pefile",
                found,
                needed,
            ));
        }
        Ok(Skeleton {
            memory,
            maps: self.maps,
            main,
            post: posts.pop(),
            executed,
        })
    }

    /// Turns an answer into register 0; keeps the reason of a refusal.
    fn answer(&mut self, answer: Answer<u64>) -> Result<u64> {
        match answer {
            Ok(value) => Ok(value),
            Err(Stop::Abort(error)) => Err(error),
            Err(Stop::Deny(errno, error)) => {
                self.denied.insert(errno, error);
                self.env.trace.tell(|depth| Event::Refusal { depth, error });
                Ok(negative(errno))
            }
        }
    }

    /// `bpf_btf_find_by_name_kind`.
    fn find(&mut self, memory: &Memory, args: [u64; 5]) -> Answer<u64> {
        let [name, size, kind, flags, _] = args;
        let name = self.symbol(memory, name, size, flags)?;
        let kind = Kind::from_id(kind as u32);
        // Every type is looked at.
        let types = self.kernel.btf.len() as u64;
        self.env.spend(types.saturating_mul(WORK_UNIT))?;
        let found = kind.and_then(|kind| self.kernel.btf.find(&name, kind));
        let result = found.map_or(negative(ENOENT), u64::from);
        if found.is_none() {
            // For a weak name this is no refusal; for any other it is why the loader gives up.
            let class = Class::Malformed;
            let error = Error::reason(class, "btf_find_by_name_kind", "no such name and kind");
            self.denied.insert(ENOENT, error);
        }
        let arguments = || format!("{}, {kind:?}", text::quoted(&name));
        self.env
            .called(Caller::Loader, "btf_find_by_name_kind", arguments, result);
        Ok(result)
    }

    /// `bpf_kallsyms_lookup_name`.
    fn address_of(&mut self, memory: &mut Memory, args: [u64; 5]) -> Answer<u64> {
        let [name, size, flags, result, _] = args;
        let place = place(memory, result, 8, "kallsyms_lookup_name result")?;
        place.fill(0);
        let name = self.symbol(memory, name, size, flags)?;
        let address = self.kernel.address_of(&name);
        let shown = address.unwrap_or(0);
        let arguments = || text::quoted(&name);
        self.env
            .called(Caller::Loader, "kallsyms_lookup_name", arguments, shown);
        let address = address.ok_or(Stop::wrong(ENOENT, "kallsyms_lookup_name", "no such name"))?;
        memory
            .write_u64(result, address)
            .map_err(|_| Stop::Abort(stray("kallsyms_lookup_name result")))?;
        Ok(0)
    }

    /// A name argument: `size` counts its NUL.
    fn symbol(&mut self, memory: &Memory, name: u64, size: u64, flags: u64) -> Answer<Vec<u8>> {
        self.env.spend(size)?;
        if flags != 0 {
            return Err(Stop::invalid("lookup flags", flags, Needed::Exactly(0)));
        }
        if size <= 1 || size > MAX_SYMBOL {
            return Err(Stop::invalid("name size", size, Needed::AtLeast(2)));
        }
        let bytes = memory
            .bytes(name, size)
            .map_err(|_| Stop::Abort(stray("name")))?;
        match bytes.split_last() {
            Some((0, name)) => Ok(name.to_vec()),
            _ => Err(Stop::wrong(EINVAL, "name", "does not end in a NUL")),
        }
    }
}

impl Calls for Loader<'_, '_, '_> {
    type Error = Error;

    fn helper(&mut self, memory: &mut Memory, id: u32, args: [u64; 5]) -> Result<u64> {
        let answer = match Helper::from_id(id) {
            Some(Helper::SysBpf) => self.command(memory, args),
            Some(Helper::SysClose) => self.close(memory, args),
            Some(Helper::BtfFindByNameKind) => self.find(memory, args),
            Some(Helper::KallsymsLookupName) => self.address_of(memory, args),
            Some(helper) => {
                let show = |_: &Memory, address| format!("{address:#x}");
                helpers::common(helper, memory, args, self.env, Caller::Loader, &show)
            }
            None => Err(Stop::Abort(Error::reason(
                Class::Bug,
                "helper",
                "was not refused",
            ))),
        };
        self.answer(answer)
    }

    fn kfunc(&mut self, _: &mut Memory, _: u32, _: [u64; 5]) -> Result<u64> {
        Err(Error::reason(Class::Bug, "kfunc", "loaders have none"))
    }
}

impl Blob {
    fn map(data: &[u8], memory: &mut Memory) -> Result<Self> {
        let mut map = vec![0; SIGNED_MAP_SIZE];
        map.splice(..SIGNED_FLAG_OFFSET, Sha256::digest(data));
        if let Some(flag) = map.get_mut(SIGNED_FLAG_OFFSET) {
            *flag = 1;
        }
        let size = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let base = memory
            .map_owned(data.to_vec(), Access::ReadWrite)
            .map_err(unmappable)?;
        let map = memory
            .map_owned(map, Access::ReadOnly)
            .map_err(unmappable)?;
        Ok(Self { base, size, map })
    }
}

impl Resolver for Blob {
    fn immediate(
        &mut self,
        _at: usize,
        pseudo: Pseudo,
        imm: i32,
        next: i32,
    ) -> core::result::Result<u64, Unresolved> {
        match (pseudo, imm) {
            (Pseudo::MapIndexValue, 0) if (next as u32) < self.size => {
                Ok(self.base.wrapping_add(u64::from(next as u32)))
            }
            (Pseudo::MapIndexValue, 0) => Err("loader data: the offset is outside of it".into()),
            (Pseudo::MapIndex, 0) if next == 0 => Ok(self.map),
            _ => Err("64-bit immediate: a loader has only its data, map index 0".into()),
        }
    }

    fn helper(&mut self, _at: usize, id: u32) -> core::result::Result<(), Unresolved> {
        let helper = Helper::from_id(id).filter(|helper| LOADER_HELPERS.contains(helper));
        helper
            .map(|_| ())
            .ok_or_else(|| Unresolved(format!("helper {id}: loaders may not call it").into()))
    }

    fn kfunc(
        &mut self,
        _at: usize,
        _id: i32,
        _offset: i16,
    ) -> core::result::Result<u32, Unresolved> {
        Err("kfunc: loaders may call none".into())
    }
}

/// Why a region cannot be mapped, as an error.
pub(crate) fn unmappable(error: MapError) -> Error {
    match error {
        MapError::TooLong { found, allowed } => Error::bound("region", found as u64, allowed),
        MapError::TooMany { allowed } => Error::bound(
            "regions",
            (allowed as u64).saturating_add(1),
            allowed as u64,
        ),
        _ => Error::reason(Class::Bug, "region", "cannot be mapped"),
    }
}
