//! What can go wrong: in mapping, in decoding, in an access, in a run.

use alloc::borrow::Cow;
use core::fmt;
use thiserror::Error;

/// A region cannot be mapped or its permission not be changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MapError {
    /// The region is longer than an address can reach.
    #[error("region: {found} bytes, at most {allowed} can be mapped")]
    TooLong {
        /// Bytes asked for.
        found: usize,
        /// Bytes a region may have.
        allowed: u64,
    },
    /// This memory has handed out every region it may; ids are never used twice.
    #[error("regions: all {allowed} are used up")]
    TooMany {
        /// Regions a memory may map in its life.
        allowed: usize,
    },
    /// A patched view's head is longer than the body it covers.
    #[error("patched region: a head of {head} bytes over a body of {body}")]
    Head {
        /// Length of the head.
        head: usize,
        /// Length of the body.
        body: usize,
    },
    /// No region that the caller owns starts at this address.
    #[error("no owned region at {base:#x}")]
    NotOwned {
        /// The address given.
        base: u64,
    },
}

/// Which way bytes were to move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From memory.
    Read,
    /// To memory.
    Write,
}

/// Why an access was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// No region has this id, or no longer.
    Unmapped,
    /// The range leaves its region, which has this many bytes.
    Bounds {
        /// Length of the region.
        region: u64,
    },
    /// The region may only be read.
    ReadOnly,
}

/// An access that the memory refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub struct Fault {
    /// First address of the range.
    pub address: u64,
    /// Bytes in the range.
    pub len: u64,
    /// Which way the bytes were to move.
    pub direction: Direction,
    /// Why it was refused.
    pub kind: FaultKind,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.direction {
            Direction::Read => "read",
            Direction::Write => "write",
        };
        let (id, offset) = (self.address >> 32, self.address & 0xffff_ffff);
        write!(f, "{verb} of {} bytes at {:#x} ", self.len, self.address)?;
        match self.kind {
            FaultKind::Unmapped => write!(f, "(region {id} is not mapped)"),
            FaultKind::Bounds { region } => {
                write!(
                    f,
                    "(offset {offset:#x} in region {id}, which has {region:#x} bytes)"
                )
            }
            FaultKind::ReadOnly => write!(f, "(region {id} is read-only)"),
        }
    }
}

/// Why a [`Resolver`](crate::Resolver) has no answer: what was named, and what it would have needed to be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Unresolved(pub Cow<'static, str>);

impl From<&'static str> for Unresolved {
    fn from(reason: &'static str) -> Self {
        Self(Cow::Borrowed(reason))
    }
}

/// Instruction bytes that are no program. `at` counts 8-byte instruction slots from the start.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes are not a positive number of 8-byte slots.
    #[error("program: {found} bytes, needs a positive multiple of 8")]
    Size {
        /// Length of the bytes.
        found: usize,
    },
    /// More slots than [`MAX_INSTRUCTIONS`](crate::MAX_INSTRUCTIONS).
    #[error("program: {found} instructions, at most {allowed} are accepted")]
    TooLong {
        /// Slots in the bytes.
        found: usize,
        /// Slots accepted.
        allowed: usize,
    },
    /// RFC 9669 defines no such opcode.
    #[error("instruction {at}: opcode {found:#04x} does not exist")]
    Opcode {
        /// The instruction.
        at: usize,
        /// Its opcode byte.
        found: u8,
    },
    /// The opcode is known, and deliberately not offered.
    #[error("instruction {at}: {what} (opcode {found:#04x}) is not offered")]
    Refused {
        /// The instruction.
        at: usize,
        /// Its opcode byte.
        found: u8,
        /// What the opcode would do.
        what: &'static str,
    },
    /// A field holds a value that this instruction does not define.
    #[error("instruction {at}: {field} is {found}, needs {needed}")]
    Field {
        /// The instruction.
        at: usize,
        /// `dst`, `src`, `offset`, `imm`, or one of these of the second slot.
        field: &'static str,
        /// The field's value.
        found: i64,
        /// Which values are defined.
        needed: &'static str,
    },
    /// A jump, call or function reference does not lead to an instruction it may lead to.
    #[error("instruction {at}: target {found} {problem}")]
    Target {
        /// The instruction.
        at: usize,
        /// Slot it leads to.
        found: i64,
        /// What is wrong with that slot.
        problem: &'static str,
    },
    /// Control would run past the end of a function.
    #[error("instruction {at}: last of its function, needs to be an exit or a jump")]
    Open {
        /// The function's last instruction.
        at: usize,
    },
    /// The resolver has no value for this 64-bit immediate.
    #[error("instruction {at}: {reason}")]
    Unresolved {
        /// The instruction.
        at: usize,
        /// The resolver's reason.
        reason: Unresolved,
    },
}

/// Why a run ended before the program's exit. `at` counts instruction slots, as [`DecodeError`] does.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Trap<E> {
    /// An access was refused.
    #[error("instruction {at}: {fault}")]
    Fault {
        /// The instruction.
        at: usize,
        /// The access.
        fault: Fault,
    },
    /// The budget has no instruction left.
    #[error("instruction {at}: the instruction budget is used up")]
    Budget {
        /// The first instruction that was not executed.
        at: usize,
    },
    /// A call would need a frame too many.
    #[error("instruction {at}: call depth, at most {allowed} frames")]
    Depth {
        /// The calling instruction.
        at: usize,
        /// Frames that may be live at once.
        allowed: usize,
    },
    /// A call was reached that the resolver had no answer for.
    #[error("instruction {at}: {reason}")]
    Unresolved {
        /// The instruction.
        at: usize,
        /// The resolver's reason.
        reason: Unresolved,
    },
    /// A helper or kfunc ended the run.
    #[error("instruction {at}: {error}")]
    Call {
        /// The calling instruction.
        at: usize,
        /// What it answered.
        error: E,
    },
    /// The embedder gave more arguments than there are argument registers.
    #[error("{found} arguments, at most {allowed} fit")]
    Arguments {
        /// Arguments given.
        found: usize,
        /// Argument registers.
        allowed: usize,
    },
    /// Control left the program. Decoding rules this out; it is here so that nothing has to panic.
    #[error("instruction {at}: outside of the program")]
    Lost {
        /// Where control went.
        at: usize,
    },
}
