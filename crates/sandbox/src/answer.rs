//! What a call into the host ends with.

use kpeel_envelope::error::{Class, Error, Needed, Refusal, Result};

pub(crate) const EPERM: i32 = 1;
pub(crate) const ENOENT: i32 = 2;
pub(crate) const E2BIG: i32 = 7;
pub(crate) const EBADF: i32 = 9;
pub(crate) const ENOMEM: i32 = 12;
pub(crate) const EFAULT: i32 = 14;
pub(crate) const EBUSY: i32 = 16;
pub(crate) const EEXIST: i32 = 17;
pub(crate) const EINVAL: i32 = 22;
pub(crate) const EMFILE: i32 = 24;
/// Linux's internal "operation is not supported", which leaks out of bpf(2).
pub(crate) const ENOTSUPP: i32 = 524;

/// Bytes of host work that count as one unit; see [`Work`].
pub(crate) const WORK_UNIT: u64 = 64;

/// What any call costs.
const CALL_UNITS: u64 = 16;
const MIN_ALLOWANCE: u64 = (3 << 30) / WORK_UNIT;

/// Why a call has no good answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Stop {
    /// The caller gets a negative errno and goes on; the error is the reason in words.
    Deny(i32, Error),
    /// The program is stopped.
    Abort(Error),
}

/// Answer of a call.
pub(crate) type Answer<T> = core::result::Result<T, Stop>;

/// Bounds what programs make the host do between their own instructions: copying, parsing,
/// decompressing.
#[derive(Debug)]
pub(crate) struct Work {
    left: u64,
    allowed: u64,
}

impl Stop {
    pub(crate) fn invalid(field: &'static str, found: u64, needed: Needed) -> Self {
        Self::Deny(EINVAL, Error::malformed(field, found, needed))
    }

    pub(crate) fn wrong(errno: i32, field: &'static str, reason: &'static str) -> Self {
        Self::Deny(errno, Error::reason(Class::Malformed, field, reason))
    }

    pub(crate) fn forbidden(field: &'static str, found: u64, needed: &'static str) -> Self {
        let class = Class::Refused(Refusal::Permission);
        Self::Deny(
            EPERM,
            Error::value(class, field, found, Needed::Words(needed)),
        )
    }

    pub(crate) fn bound(errno: i32, bound: &'static str, asked: u64, allowed: u64) -> Self {
        Self::Deny(errno, Error::bound(bound, asked, allowed))
    }

    /// A refusal of the meter or of the system, as a call's answer.
    pub(crate) fn memory(error: Error) -> Self {
        Self::Deny(ENOMEM, error)
    }

    pub(crate) fn unreadable(field: &'static str) -> Self {
        Self::wrong(EFAULT, field, "lies outside of the program's memory")
    }
}

impl Work {
    /// The allowance of a load that may execute `instructions`: as many units, but never fewer than
    /// 3 GiB take, so that a small bound on instructions does not forbid large images.
    pub(crate) fn for_instructions(instructions: u64) -> Self {
        Self::new(instructions.max(MIN_ALLOWANCE))
    }

    fn new(allowed: u64) -> Self {
        Self {
            left: allowed,
            allowed,
        }
    }

    /// Takes off what `bytes` bytes and the call itself cost.
    pub(crate) fn spend(&mut self, bytes: u64) -> Result<()> {
        let units = (bytes / WORK_UNIT).saturating_add(CALL_UNITS);
        let asked = self.allowed.saturating_sub(self.left).saturating_add(units);
        self.left = self.left.checked_sub(units).ok_or(Error::bound(
            "work in calls (64-byte units)",
            asked,
            self.allowed,
        ))?;
        Ok(())
    }
}

/// What register 0 holds for a negative errno.
pub(crate) fn negative(errno: i32) -> u64 {
    i64::from(errno).wrapping_neg() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_ends_at_its_allowance() {
        let mut work = Work::new(2 * CALL_UNITS + 1);
        assert!(work.spend(WORK_UNIT).is_ok());
        assert_eq!(
            work.spend(WORK_UNIT).unwrap_err(),
            Error::bound("work in calls (64-byte units)", 34, 33)
        );
        assert!(work.spend(0).is_ok());
    }

    #[test]
    fn errnos_are_sign_extended() {
        assert_eq!(negative(EINVAL) as i64, -22);
    }
}
