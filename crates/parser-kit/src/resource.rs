//! The names under which a parser publishes (`kpeel_abi::RESOURCES`).

use crate::Name;

/// The kernel inside, itself perhaps another envelope. Every parser publishes one.
pub const KERNEL: Name = Name::new(c"kexec:kernel");
/// The initial RAM disk.
pub const INITRD: Name = Name::new(c"kexec:initrd");
/// More of it, behind zeros up to a multiple of four bytes.
pub const INITRD_MORE: Name = Name::new(c"kexec:initrd+");
/// The kernel command line, without NUL.
pub const CMDLINE: Name = Name::new(c"kexec:cmdline");
/// More of it, behind one space.
pub const CMDLINE_MORE: Name = Name::new(c"kexec:cmdline+");
