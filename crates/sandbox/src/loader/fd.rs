//! The loader's descriptors.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::program::Loaded;
use crate::answer::{Answer, EBADF, EMFILE, Stop};
use crate::btf::Btf;

/// Descriptors at one time: the limit of Linux's kernel threads.
const MAX_OPEN: usize = 1024;

/// What a descriptor stands for.
#[derive(Clone, Debug)]
pub(super) enum Object {
    Map(usize),
    Btf(Arc<Btf>),
    Program(Arc<Loaded>),
}

/// Open descriptors, from 1 on: light skeletons take 0 for "none".
#[derive(Debug, Default)]
pub(super) struct Descriptors {
    open: BTreeMap<u32, Object>,
}

impl Descriptors {
    /// Whether one more can be opened; asked before something is made for it.
    pub(super) fn check(&self) -> Answer<()> {
        let (asked, allowed) = (self.open.len().saturating_add(1), MAX_OPEN);
        if asked > allowed {
            return Err(Stop::bound(
                EMFILE,
                "descriptors",
                asked as u64,
                allowed as u64,
            ));
        }
        Ok(())
    }

    /// Opens the lowest free descriptor.
    pub(super) fn open(&mut self, object: Object) -> Answer<u32> {
        self.check()?;
        let free = (1..).find(|fd| !self.open.contains_key(fd)).unwrap_or(0);
        self.open.insert(free, object);
        Ok(free)
    }

    pub(super) fn get(&self, fd: u32) -> Answer<&Object> {
        self.open.get(&fd).ok_or(not_open())
    }

    /// The map behind a descriptor.
    pub(super) fn map(&self, fd: u32) -> Answer<usize> {
        match self.get(fd)? {
            Object::Map(id) => Ok(*id),
            _ => Err(Stop::wrong(
                crate::answer::EINVAL,
                "descriptor",
                "is no map's",
            )),
        }
    }

    pub(super) fn btf(&self, fd: u32) -> Answer<Arc<Btf>> {
        match self.get(fd)? {
            Object::Btf(btf) => Ok(Arc::clone(btf)),
            _ => Err(Stop::wrong(
                crate::answer::EINVAL,
                "descriptor",
                "is no BTF's",
            )),
        }
    }

    pub(super) fn close(&mut self, fd: u32) -> Answer<Object> {
        self.open.remove(&fd).ok_or(not_open())
    }

    /// Closes all; what they stood for comes in order.
    pub(super) fn close_all(&mut self) -> impl Iterator<Item = Object> {
        std::mem::take(&mut self.open).into_values()
    }
}

fn not_open() -> Stop {
    Stop::wrong(EBADF, "descriptor", "is not open")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hands_out_the_lowest_free_descriptor_and_never_zero() {
        let mut fds = Descriptors::default();
        let numbers: Vec<u32> = (0..3)
            .map(|id| fds.open(Object::Map(id)).unwrap())
            .collect();
        assert_eq!(numbers, [1, 2, 3]);
        fds.close(2).unwrap();
        assert!(fds.close(2).is_err() && fds.close(0).is_err());
        assert_eq!(fds.open(Object::Map(9)).unwrap(), 2);
        assert_eq!(fds.map(2), Ok(9));
    }

    #[test]
    fn refuses_more_than_a_kernel_thread_may_open() {
        let mut fds = Descriptors::default();
        for id in 0..MAX_OPEN {
            fds.open(Object::Map(id)).unwrap();
        }
        assert!(fds.open(Object::Map(0)).is_err());
    }
}
