//! Keeping Linux's verifier from following what it need not follow.

use crate::Bytes;

/// Zeros, as values neither the compiler nor Linux's verifier can know.
///
/// The verifier walks every path of a loop. Two paths that meet again are told apart as long as a
/// variable that later decides a branch has a *known* value in one of them that differs from the
/// other's: a counter that starts at 0 and is raised in a branch, or a set of flags, multiplies
/// the paths with every turn. Started from a value it does not know, such a variable is "some
/// number" on every path, the paths count as equal, and a loop costs its turns once.
///
/// - Each is unknown in all its 64 bits, because a bounded one would give away what follows from
///   it.
/// - They are unrelated: the verifier knows copies of one value for what they are, and comparing
///   one with 0 would make them all known. A variable that is compared gets one of its own.
///
/// They are the difference of two reads of the same bytes, which belong to the host and do not
/// change while the program runs. `None` if `bytes` is shorter than `8 * N` or the host refuses.
#[inline(always)]
#[must_use]
pub fn unknown_zeros<const N: usize>(bytes: Bytes) -> Option<[u64; N]> {
    let mut zeros: [u64; N] = bytes.read(0)?;
    let again: [u64; N] = bytes.read(0)?;
    for (zero, again) in zeros.iter_mut().zip(again) {
        *zero ^= again;
    }
    Some(zeros)
}
