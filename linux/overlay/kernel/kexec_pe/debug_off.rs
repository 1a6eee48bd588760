// SPDX-License-Identifier: GPL-2.0 OR MIT

//! In place of `debug.rs` in a kernel that tells nothing.

use core::ffi::c_int;

use super::border::Load;
use super::envelope::error::Error;

pub(crate) fn loaded(_: &Load) {}
pub(crate) fn refused(_: &Error, _: c_int) {}
pub(crate) fn left() {}
