//! Saying why.

use crate::kfunc::{self, Name};
use kpeel_abi::VerdictCode;

/// Tells the host `code` about `field`.
#[inline(always)]
pub fn verdict(code: VerdictCode, field: Name, found: u64, needed: u64) {
    kfunc::verdict(code as u32, field, found, needed);
}

/// The image is of another format. Comes before any publication.
#[inline(always)]
pub fn not_mine<T>(field: Name, found: u64, needed: u64) -> Option<T> {
    verdict(VerdictCode::NotMine, field, found, needed);
    None
}

/// The bytes break the format's rules.
#[inline(always)]
pub fn malformed<T>(field: Name, found: u64, needed: u64) -> Option<T> {
    verdict(VerdictCode::Malformed, field, found, needed);
    None
}

/// The format is right, but uses something this parser cannot do.
#[inline(always)]
pub fn unsupported<T>(field: Name, found: u64, needed: u64) -> Option<T> {
    verdict(VerdictCode::Unsupported, field, found, needed);
    None
}

/// Something was left out or looks odd; the load goes on.
#[inline(always)]
pub fn warn(field: Name, found: u64, needed: u64) {
    verdict(VerdictCode::Warn, field, found, needed);
}
