//! The commands of bpf(2) that a loader may issue.

use std::sync::Arc;

use kpeel_abi::BpfCmd;
use kpeel_bpf::Memory;
use kpeel_envelope::error::{Error, Needed};

use super::Loader;
use super::attr::Attr;
use super::fd::Object;
use super::program;
use crate::answer::{Answer, E2BIG, EINVAL, Stop, negative};
use crate::btf::{self, Btf};
use crate::buffer::Charge;
use crate::env::stray;
use crate::event::{Caller, Event};
use crate::map::Attributes;

/// What one command costs at least, as bytes of work.
const COMMAND_WORK: u64 = 4096;
/// Reading BTF costs this many times a copy of it.
const BTF_WORK: u64 = 16;

impl Loader<'_, '_, '_> {
    /// `bpf_sys_bpf`.
    pub(super) fn command(&mut self, memory: &mut Memory, args: [u64; 5]) -> Answer<u64> {
        let [number, address, size, ..] = args;
        self.env.spend(COMMAND_WORK)?;
        // The commands' number and the block's size are C ints.
        let (number, size) = (number as u32, u64::from(size as u32));
        memory
            .bytes(address, size)
            .map_err(|_| Stop::Abort(stray("attr")))?;
        let command = BpfCmd::from_id(number).ok_or(Stop::forbidden(
            "bpf command",
            number.into(),
            "MAP_CREATE (0), MAP_UPDATE_ELEM (2), PROG_LOAD (5), BTF_LOAD (18) or MAP_FREEZE (22)",
        ));
        let attr = Attr::read(memory, address, size);
        let (command, attr) = command.and_then(|command| Ok((command, attr?)))?;
        let mut detail = String::new();
        let result = match command {
            BpfCmd::MapCreate => self.map_create(&attr, memory, &mut detail),
            BpfCmd::MapUpdateElem => self.map_update(&attr, memory, &mut detail),
            BpfCmd::MapFreeze => self.map_freeze(&attr, &mut detail),
            BpfCmd::BtfLoad => self.btf_load(&attr, memory, &mut detail),
            BpfCmd::ProgLoad => self.prog_load(&attr, memory, &mut detail),
        };
        let name = match command {
            BpfCmd::MapCreate => "MAP_CREATE",
            BpfCmd::MapUpdateElem => "MAP_UPDATE_ELEM",
            BpfCmd::MapFreeze => "MAP_FREEZE",
            BpfCmd::BtfLoad => "BTF_LOAD",
            BpfCmd::ProgLoad => "PROG_LOAD",
        };
        let shown = match &result {
            Ok(value) => Some(i64::from(*value)),
            Err(Stop::Deny(errno, _)) => Some(i64::from(*errno).wrapping_neg()),
            Err(Stop::Abort(_)) => None,
        };
        if let Some(result) = shown {
            self.env.trace.tell(|depth| Event::Command {
                depth,
                name,
                detail,
                result,
            });
        }
        result.map(u64::from)
    }

    /// `bpf_sys_close`.
    pub(super) fn close(&mut self, memory: &mut Memory, args: [u64; 5]) -> Answer<u64> {
        let [fd, ..] = args;
        self.env.spend(0)?;
        let result = self.fds.close(fd as u32);
        let shown = result
            .as_ref()
            .map_or(negative(crate::answer::EBADF), |_| 0);
        self.env
            .called(Caller::Loader, "sys_close", || fd.to_string(), shown);
        match result? {
            Object::Map(id) => self.maps.release(id, memory),
            Object::Program(program) => {
                // With its last holder the program is gone, and its maps lose one of theirs.
                if let Some(program) = Arc::into_inner(program) {
                    for id in program.maps {
                        self.maps.release(id, memory);
                    }
                }
            }
            Object::Btf(_) => {}
        }
        Ok(0)
    }

    fn map_create(&mut self, attr: &Attr, memory: &mut Memory, detail: &mut String) -> Answer<u32> {
        const ATTR_END: usize = 80;
        attr.check_end(ATTR_END)?;
        let attributes = Attributes {
            map_type: attr.u32(0),
            key_size: attr.u32(4),
            value_size: attr.u32(8),
            max_entries: attr.u32(12),
            flags: attr.u32(16),
            name: attr.name(28)?,
        };
        *detail = format!(
            "type {}, key {}, value {}, entries {}, flags {:#x}, name {:?}",
            attributes.map_type,
            attributes.key_size,
            attributes.value_size,
            attributes.max_entries,
            attributes.flags,
            attributes.name
        );
        let others = [
            ("inner_map_fd", 20),
            ("map_ifindex", 44),
            ("btf_vmlinux_value_type_id", 60),
            ("map_extra", 64),
            ("value_type_btf_obj_fd", 72),
            ("map_token_fd", 76),
        ];
        for (field, at) in others {
            let found = attr.u32(at);
            if found != 0 {
                return Err(Stop::forbidden(field, found.into(), "0"));
            }
        }
        if attr.u64(64) != 0 {
            return Err(Stop::forbidden("map_extra", attr.u64(64), "0"));
        }
        self.check_map_types(attr)?;
        self.fds.check()?;
        let id = self.maps.create(attributes, memory, self.env.meter)?;
        self.fds.open(Object::Map(id))
    }

    /// Type ids of keys and values must exist; nothing here depends on what they say.
    fn check_map_types(&self, attr: &Attr) -> Answer<()> {
        let ids = [attr.u32(52), attr.u32(56)];
        if ids == [0, 0] {
            return Ok(());
        }
        let btf = self.fds.btf(attr.u32(48))?;
        if !ids.iter().all(|id| btf.exists(*id)) {
            return Err(Stop::wrong(EINVAL, "btf_value_type_id", "does not exist"));
        }
        Ok(())
    }

    fn map_update(&mut self, attr: &Attr, memory: &mut Memory, detail: &mut String) -> Answer<u32> {
        const ATTR_END: usize = 32;
        attr.check_end(ATTR_END)?;
        let (fd, key, value, flags) = (attr.u32(0), attr.u64(8), attr.u64(16), attr.u64(24));
        *detail = format!("fd {fd}");
        let map = self.fds.map(fd).map(|id| self.maps.get_mut(id))?;
        let map = map.ok_or(Stop::wrong(EINVAL, "map", "is gone"))?;
        self.env.spend(map.attributes.value_size.into())?;
        map.update(key, value, flags, memory)?;
        Ok(0)
    }

    fn map_freeze(&mut self, attr: &Attr, detail: &mut String) -> Answer<u32> {
        const ATTR_END: usize = 4;
        attr.check_end(ATTR_END)?;
        let fd = attr.u32(0);
        *detail = format!("fd {fd}");
        let map = self.fds.map(fd).map(|id| self.maps.get_mut(id))?;
        map.ok_or(Stop::wrong(EINVAL, "map", "is gone"))?.freeze()?;
        Ok(0)
    }

    fn btf_load(&mut self, attr: &Attr, memory: &Memory, detail: &mut String) -> Answer<u32> {
        const ATTR_END: usize = 40;
        attr.check_end(ATTR_END)?;
        let (address, size) = (attr.u64(0), attr.u32(16));
        *detail = format!("{size} bytes");
        if size > btf::MAX_SIZE {
            return Err(Stop::bound(
                E2BIG,
                "btf_size",
                size.into(),
                btf::MAX_SIZE.into(),
            ));
        }
        self.fds.check()?;
        self.env.spend(u64::from(size).saturating_mul(BTF_WORK))?;
        let bytes = memory
            .bytes(address, size.into())
            .map_err(|_| Stop::unreadable("btf"))?;
        // At most one four-byte place per twelve bytes of types comes on top.
        let charge = u64::from(size).saturating_mul(4) / 3;
        let charge = Charge::new(self.env.meter, charge).map_err(Stop::memory)?;
        let btf = Btf::parse(bytes.into_owned()).map_err(|bad| {
            let needed = Needed::Words(bad.needed);
            Stop::Deny(EINVAL, Error::malformed(bad.field, bad.found, needed))
        })?;
        self.fds.open(Object::Btf(Arc::new(btf.charged(charge))))
    }

    fn prog_load(&mut self, attr: &Attr, memory: &Memory, detail: &mut String) -> Answer<u32> {
        *detail = format!("{} instructions", attr.u32(4));
        self.fds.check()?;
        let loaded = self.load_program(attr, memory)?;
        *detail = format!(
            "name {:?}, {} instructions",
            loaded.name,
            loaded.program.len()
        );
        for id in &loaded.maps {
            self.maps.hold(*id);
        }
        self.fds.open(program::object(loaded))
    }
}
