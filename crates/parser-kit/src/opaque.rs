//! Keeping Linux's verifier from following what it need not follow.

use crate::Bytes;

/// Zero, as a value neither the compiler nor Linux's verifier can know.
///
/// The verifier walks every path of a loop. Two paths that meet again are told apart as long as a
/// variable that later decides a branch has a *known* value in one of them that differs from the
/// other's: a counter that starts at 0 and is raised in a branch, or a set of flags, multiplies
/// the paths with every turn. Started from a value it does not know, such a variable is "some
/// number" on every path, the paths count as equal, and a loop costs its turns once.
///
/// The value is the difference of two reads of the same byte: `bytes` belongs to the host and does
/// not change while the program runs. `None` if `bytes` is empty or the host refuses.
#[inline(always)]
#[must_use]
pub fn unknown_zero(bytes: Bytes) -> Option<u64> {
    let first: u8 = bytes.read(0)?;
    let again: u8 = bytes.read(0)?;
    Some(u64::from(first ^ again))
}
