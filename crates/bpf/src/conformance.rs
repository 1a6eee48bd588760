//! How the public conformance suite (bpf_conformance) calls a machine.
//!
//! A test is a program and, for most, some memory. Register 1 is the memory's address, register 2 its
//! length; without memory both are zero. The result is register 0. Tests may call [`Helpers`].

use crate::decode::{Program, Pseudo, Resolver};
use crate::error::{DecodeError, Fault, MapError, Trap, Unresolved};
use crate::machine::{Budget, Calls, MAX_ARGUMENTS, run};
use crate::memory::{Access, Memory};
use alloc::vec::Vec;
use thiserror::Error;

/// Instructions that a test may execute.
pub const BUDGET: u64 = 100_000_000;

/// A test that came to no result.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Failure {
    /// The program was refused before it ran.
    #[error("program refused: {0}")]
    Load(#[from] DecodeError),
    /// The memory could not be mapped.
    #[error("memory refused: {0}")]
    Map(#[from] MapError),
    /// The run ended without an exit.
    #[error("run ended: {0}")]
    Run(#[from] Trap<Stop>),
}

/// Why a helper of the suite ends a run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Stop {
    /// It was given memory that it may not use.
    #[error("helper: {0}")]
    Fault(#[from] Fault),
    /// Helper 5 was called with 0: the whole program returns 0.
    #[error("helper: unwind")]
    Unwind,
}

/// Text that is not pairs of hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HexError {
    /// A character that is neither a digit nor a blank.
    #[error("hex: byte {0:#04x} is neither a digit nor a blank")]
    Digit(u8),
    /// A digit without its partner.
    #[error("hex: an odd number of digits")]
    Odd,
}

/// Executes a test and returns register 0.
///
/// # Errors
///
/// Says in which phase the test failed, and why.
pub fn execute(program: &[u8], memory: &[u8]) -> Result<u64, Failure> {
    let program = Program::decode(program, &mut Helpers)?;
    let mut space = Memory::new();
    let mut arguments = [0, 0];
    if !memory.is_empty() {
        let base = space.map_owned(memory.to_vec(), Access::ReadWrite)?;
        arguments = [base, memory.len() as u64];
    }
    match run(
        &program,
        &arguments,
        &mut space,
        &mut Helpers,
        &mut Budget::new(BUDGET),
    ) {
        Err(Trap::Call {
            error: Stop::Unwind,
            ..
        }) => Ok(0),
        result => Ok(result?),
    }
}

/// Reads bytes in hexadecimal, with or without blanks between them.
///
/// # Errors
///
/// Anything but an even number of digits is refused.
pub fn parse_hex(text: &str) -> Result<Vec<u8>, HexError> {
    let mut bytes = Vec::with_capacity(text.len() / 2);
    let mut high = None;
    for byte in text.bytes().filter(|byte| !byte.is_ascii_whitespace()) {
        let digit = char::from(byte).to_digit(16).ok_or(HexError::Digit(byte))? as u8;
        high = match high {
            None => Some(digit << 4),
            Some(high) => {
                bytes.push(high | digit);
                None
            }
        };
    }
    if high.is_some() {
        Err(HexError::Odd)
    } else {
        Ok(bytes)
    }
}

/// The suite's helpers: 0 gathers five bytes into a number, 1 inverts some bits of a range, 2 does
/// nothing, 3 is the square root, 4 compares strings, 5 returns its argument and unwinds when that is 0.
#[derive(Debug, Clone, Copy, Default)]
pub struct Helpers;

impl Resolver for Helpers {
    fn immediate(&mut self, _: usize, _: Pseudo, _: i32, _: i32) -> Result<u64, Unresolved> {
        Err("64-bit immediate: the suite has no maps".into())
    }

    fn helper(&mut self, _: usize, id: u32) -> Result<(), Unresolved> {
        if id <= 5 {
            Ok(())
        } else {
            Err("call: the suite has helpers 0 to 5".into())
        }
    }

    fn kfunc(&mut self, _: usize, _: i32, _: i16) -> Result<u32, Unresolved> {
        Err("call: the suite has no kfuncs".into())
    }
}

impl Calls for Helpers {
    type Error = Stop;

    fn helper(
        &mut self,
        memory: &mut Memory,
        id: u32,
        args: [u64; MAX_ARGUMENTS],
    ) -> Result<u64, Stop> {
        let [a, b, ..] = args;
        match id {
            0 => Ok(args.iter().fold(0, |sum, arg| (sum << 8) | (arg & 0xff))),
            1 => {
                memory
                    .bytes_mut(a, b)?
                    .iter_mut()
                    .for_each(|byte| *byte ^= 42);
                Ok(0)
            }
            3 => Ok(a.isqrt()),
            4 => compare(memory, a, b),
            5 if a == 0 => Err(Stop::Unwind),
            5 => Ok(a),
            _ => Ok(0),
        }
    }

    fn kfunc(&mut self, _: &mut Memory, _: u32, _: [u64; MAX_ARGUMENTS]) -> Result<u64, Stop> {
        Ok(0)
    }
}

/// Difference of the first bytes in which two terminated strings differ.
fn compare(memory: &Memory, mut a: u64, mut b: u64) -> Result<u64, Stop> {
    loop {
        let (x, y) = (memory.read_u8(a)?, memory.read_u8(b)?);
        if x != y || x == 0 {
            return Ok((i64::from(x) - i64::from(y)) as u64);
        }
        a = a.wrapping_add(1);
        b = b.wrapping_add(1);
    }
}
