//! What is wrong with a block, by the name of the part at fault.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault(pub(super) &'static str);

pub(super) type Result<T> = core::result::Result<T, Fault>;
