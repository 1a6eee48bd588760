//! Arithmetic where RFC 9669 section 4.1 says more than the operator does.

/// Division by zero gives zero.
#[inline(always)]
pub(super) fn div64(a: u64, b: u64) -> u64 {
    a.checked_div(b).unwrap_or(0)
}

/// Division by zero gives zero.
#[inline(always)]
pub(super) fn div32(a: u32, b: u32) -> u32 {
    a.checked_div(b).unwrap_or(0)
}

/// The remainder by zero is the dividend.
#[inline(always)]
pub(super) fn mod64(a: u64, b: u64) -> u64 {
    a.checked_rem(b).unwrap_or(a)
}

/// The remainder by zero is the dividend.
#[inline(always)]
pub(super) fn mod32(a: u32, b: u32) -> u32 {
    a.checked_rem(b).unwrap_or(a)
}

/// Signed division truncates towards zero; by zero it gives zero, and the least number by -1 itself.
#[inline(always)]
pub(super) fn sdiv64(a: u64, b: u64) -> u64 {
    if b == 0 {
        0
    } else {
        (a as i64).wrapping_div(b as i64) as u64
    }
}

/// As [`sdiv64`].
#[inline(always)]
pub(super) fn sdiv32(a: u32, b: u32) -> u32 {
    if b == 0 {
        0
    } else {
        (a as i32).wrapping_div(b as i32) as u32
    }
}

/// The signed remainder has the dividend's sign; by zero it is the dividend.
#[inline(always)]
pub(super) fn smod64(a: u64, b: u64) -> u64 {
    if b == 0 {
        a
    } else {
        (a as i64).wrapping_rem(b as i64) as u64
    }
}

/// As [`smod64`].
#[inline(always)]
pub(super) fn smod32(a: u32, b: u32) -> u32 {
    if b == 0 {
        a
    } else {
        (a as i32).wrapping_rem(b as i32) as u32
    }
}

/// Shifts take the low six bits of their count.
#[inline(always)]
pub(super) fn lsh64(a: u64, b: u64) -> u64 {
    a.wrapping_shl(b as u32)
}

/// As [`lsh64`].
#[inline(always)]
pub(super) fn rsh64(a: u64, b: u64) -> u64 {
    a.wrapping_shr(b as u32)
}

/// As [`lsh64`]; the sign moves in.
#[inline(always)]
pub(super) fn arsh64(a: u64, b: u64) -> u64 {
    (a as i64).wrapping_shr(b as u32) as u64
}

/// 32-bit shifts take the low five bits of their count.
#[inline(always)]
pub(super) fn lsh32(a: u32, b: u32) -> u32 {
    a.wrapping_shl(b)
}

/// As [`lsh32`].
#[inline(always)]
pub(super) fn rsh32(a: u32, b: u32) -> u32 {
    a.wrapping_shr(b)
}

/// As [`lsh32`]; the sign moves in.
#[inline(always)]
pub(super) fn arsh32(a: u32, b: u32) -> u32 {
    (a as i32).wrapping_shr(b) as u32
}
