//! Unified Kernel Images (UAPI.5): which PE sections mean what, and which of them count.
//!
//! Sections before the first `.profile` are the *base*; the Nth `.profile` starts profile N, which
//! ends at the next one or with the table. What counts for a boot, the *effective set*, is the
//! base overlaid, name by name, by the selected profile's own sections. Without `.profile` there
//! is only profile 0, which is the base.
//!
//! Decisions the specification leaves open, here and in `parsers/uki` alike:
//!
//! - An empty section takes part like any other (a profile's empty `.initrd` hides the base's, as
//!   in sd-stub), but nothing is handed over for it. Of a `.cmdline` that holds or claims bytes and
//!   no text, one blank is: by it a host learns that the image has a line of its own.
//! - A name that stands twice in one scope, selected or not, makes the image malformed, unless the
//!   specification lets it repeat (`.dtbauto`, `.efifw`); of those the first counts.
//! - A command line ends at its first NUL, as in sd-stub. What sd-stub does besides, cutting blanks
//!   off both ends and turning control characters into spaces, changes nothing for the kernel;
//!   hosts cut blanks off the end when they compose.

mod cmdline;
mod measure;
mod select;

pub use cmdline::{CMDLINE_MAX, SELECTOR_MAX, Selector, command_line};
pub use measure::{MEASURED, Picks};
pub use select::{Error, Scope, Section, Selection, Uki};

use crate::word;

/// Most sections a parser looks at.
pub const MAX_SECTIONS: u16 = 96;

/// A section name the specification gives a meaning.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// `.linux`: the kernel, a PE image; the only one that must exist.
    Linux,
    /// `.osrel`: os-release text.
    Osrel,
    /// `.cmdline`: kernel command line.
    Cmdline,
    /// `.initrd`: initial RAM disk.
    Initrd,
    /// `.ucode`: microcode archive, placed before the initrd.
    Ucode,
    /// `.splash`: picture.
    Splash,
    /// `.dtb`: device tree.
    Dtb,
    /// `.dtbauto`: device tree to choose by hardware; may repeat.
    Dtbauto,
    /// `.efifw`: firmware; may repeat.
    Efifw,
    /// `.hwids`: hardware ids that choose among `.dtbauto` and `.efifw`.
    Hwids,
    /// `.uname`: kernel release.
    Uname,
    /// `.sbat`: revocation metadata.
    Sbat,
    /// `.pcrsig`: signatures over expected TPM measurements.
    Pcrsig,
    /// `.pcrpkey`: public key of those signatures.
    Pcrpkey,
    /// `.profile`: starts a profile; may repeat.
    Profile,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 15] = [
        Self::Linux,
        Self::Osrel,
        Self::Cmdline,
        Self::Initrd,
        Self::Ucode,
        Self::Splash,
        Self::Dtb,
        Self::Dtbauto,
        Self::Efifw,
        Self::Hwids,
        Self::Uname,
        Self::Sbat,
        Self::Pcrsig,
        Self::Pcrpkey,
        Self::Profile,
    ];

    /// The section's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Linux => ".linux",
            Self::Osrel => ".osrel",
            Self::Cmdline => ".cmdline",
            Self::Initrd => ".initrd",
            Self::Ucode => ".ucode",
            Self::Splash => ".splash",
            Self::Dtb => ".dtb",
            Self::Dtbauto => ".dtbauto",
            Self::Efifw => ".efifw",
            Self::Hwids => ".hwids",
            Self::Uname => ".uname",
            Self::Sbat => ".sbat",
            Self::Pcrsig => ".pcrsig",
            Self::Pcrpkey => ".pcrpkey",
            Self::Profile => ".profile",
        }
    }

    /// The name as the [`word`] a section header holds.
    #[must_use]
    pub const fn word(self) -> u64 {
        word(self.name().as_bytes())
    }

    /// Whether one scope may hold several.
    #[must_use]
    pub const fn may_repeat(self) -> bool {
        matches!(self, Self::Dtbauto | Self::Efifw | Self::Profile)
    }

    /// Whether the firmware path would act on it and kexec does not: such a section earns a
    /// warning.
    ///
    /// `.hwids` only chooses among `.dtbauto` and `.efifw`, which are named themselves; the rest
    /// describes the image and changes nothing that is booted.
    #[must_use]
    pub const fn left_out(self) -> bool {
        matches!(
            self,
            Self::Dtb | Self::Dtbauto | Self::Efifw | Self::Pcrsig | Self::Pcrpkey
        )
    }

    /// Its place in [`NAMES`].
    #[must_use]
    #[inline]
    pub const fn slot(self) -> usize {
        slot(self.word())
    }

    /// Its bit in a set of kinds.
    #[must_use]
    #[inline]
    pub const fn bit(self) -> u64 {
        1 << self.slot()
    }
}

/// Slots of [`NAMES`].
pub const SLOTS: usize = 16;

/// Spreads the names over [`SLOTS`] without a collision; found by search, checked by [`NAMES`].
const SPREAD: u64 = 0x0031_39f1;

/// The slot in which this name (as [`word`]) stands, if it is a known one at all.
///
/// A parser asks "which kind is this?" once per section. Comparing with 15 names one after the
/// other would give Linux's verifier 15 paths per section to follow; one multiplication and one
/// table look-up give it two.
#[must_use]
#[inline]
pub const fn slot(name: u64) -> usize {
    (name.wrapping_mul(SPREAD) >> (u64::BITS - SLOTS.trailing_zeros())) as usize
}

/// The known names by slot; 0 where no name stands.
pub const NAMES: [u64; SLOTS] = names();

/// Kinds, as a set of [`Kind::bit`]s, of which one scope may hold only one.
pub const SINGLE: u64 = set(false);

/// Kinds, as a set of [`Kind::bit`]s, that are named in a warning ([`Kind::left_out`]).
pub const LEFT_OUT: u64 = set(true);

#[expect(
    clippy::indexing_slicing,
    reason = "evaluated at compile time; a slot is below SLOTS"
)]
const fn names() -> [u64; SLOTS] {
    let mut table = [0; SLOTS];
    let mut rest: &[Kind] = &Kind::ALL;
    while let Some((kind, tail)) = rest.split_first() {
        assert!(table[kind.slot()] == 0, "two names share a slot");
        table[kind.slot()] = kind.word();
        rest = tail;
    }
    table
}

const fn set(left_out: bool) -> u64 {
    let mut bits = 0;
    let mut rest: &[Kind] = &Kind::ALL;
    while let Some((kind, tail)) = rest.split_first() {
        let wanted = if left_out {
            kind.left_out()
        } else {
            !kind.may_repeat()
        };
        if wanted {
            bits |= kind.bit();
        }
        rest = tail;
    }
    bits
}
