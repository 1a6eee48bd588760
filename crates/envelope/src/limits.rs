//! Bounds of one load, and the meter that counts against them.

use core::sync::atomic::{AtomicU64, Ordering};

use super::error::{Error, Result};

/// Largest size the ABI can express: `struct kexec_context` holds sizes as C `int`.
pub const ABI_SIZE_MAX: u64 = i32::MAX as u64;

/// Bounds of one load; all sizes in bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Most envelopes opened one inside the other.
    pub depth: u32,
    /// Largest image, the caller's file included.
    pub image: u64,
    /// Largest kernel, published or decompressed.
    pub kernel: u64,
    /// Largest initrd, composed.
    pub initrd: u64,
    /// Longest command line, composed, without NUL.
    pub cmdline: u64,
    /// Most memory charged at any time: buffers, maps, decompression results.
    pub memory: u64,
    /// Most BPF instructions executed over the whole load.
    pub instructions: u64,
}

/// Counts what one load uses. Buffers charge it when they are made and release when dropped, so
/// it is shared; all its methods take `&self`.
#[derive(Debug)]
pub struct Meter {
    limits: Limits,
    memory: AtomicU64,
    peak: AtomicU64,
}

impl Default for Limits {
    /// Room for every kernel known (they unpack to 27-60 MB) and initrds of a GiB.
    fn default() -> Self {
        const MIB: u64 = 1 << 20;
        Self {
            depth: 4,
            image: ABI_SIZE_MAX,
            kernel: 512 * MIB,
            initrd: 1024 * MIB,
            cmdline: 64 << 10,
            memory: 4096 * MIB,
            instructions: 50_000_000,
        }
    }
}

impl Limits {
    /// Refuses a size over its bound.
    ///
    /// # Errors
    /// `Refused` with the bound's name, asked and allowed.
    pub fn check(bound: &'static str, asked: u64, allowed: u64) -> Result<()> {
        if asked > allowed {
            return Err(Error::bound(bound, asked, allowed));
        }
        Ok(())
    }
}

impl Meter {
    /// A meter that has counted nothing yet.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            memory: AtomicU64::new(0),
            peak: AtomicU64::new(0),
        }
    }

    /// The bounds it counts against.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Charges `bytes` of memory; whoever charges releases the same number later.
    ///
    /// # Errors
    /// `Refused` when the load would hold more than `limits().memory`; nothing is charged then.
    pub fn charge(&self, bytes: u64) -> Result<()> {
        let charged = self
            .memory
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
                held.checked_add(bytes)
                    .filter(|sum| *sum <= self.limits.memory)
            });
        match charged {
            Ok(held) => {
                self.peak
                    .fetch_max(held.saturating_add(bytes), Ordering::Relaxed);
                Ok(())
            }
            Err(held) => Err(Error::bound(
                "memory",
                held.saturating_add(bytes),
                self.limits.memory,
            )),
        }
    }

    /// Gives back what was charged.
    pub fn release(&self, bytes: u64) {
        let _ = self
            .memory
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
                Some(held.saturating_sub(bytes))
            });
    }

    /// Bytes charged now.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.memory.load(Ordering::Relaxed)
    }

    /// Most bytes charged at one time so far.
    #[must_use]
    pub fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charges_up_to_the_bound_and_not_past_it() {
        let meter = Meter::new(Limits {
            memory: 100,
            ..Limits::default()
        });
        assert_eq!(meter.charge(60), Ok(()));
        assert_eq!(meter.charge(41), Err(Error::bound("memory", 101, 100)));
        assert_eq!(meter.charge(40), Ok(()));
        meter.release(70);
        assert_eq!((meter.held(), meter.peak()), (30, 100));
    }

    #[test]
    fn refuses_a_charge_that_wraps() {
        let meter = Meter::new(Limits::default());
        assert_eq!(meter.charge(1), Ok(()));
        assert!(meter.charge(u64::MAX).is_err());
        assert_eq!(meter.held(), 1);
    }
}
