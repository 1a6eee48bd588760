//! Writes Unified Kernel Images (UAPI.5), their add-ons and their profiles.
//!
//! A UKI is a stub, an EFI program such as systemd-stub, with sections behind its own. [`Sections`]
//! holds what goes in; [`Sections::arrange`] puts it into the order in which ukify has it, and
//! [`assemble`] adds it to the stub. Each section begins at the stub's SectionAlignment in memory
//! and FileAlignment in the file; VirtualSize is the number of bytes, since file tools take the
//! smaller of VirtualSize and SizeOfRawData for the content.
//!
//! Sources: UAPI.5; systemd's ukify(1), systemd-stub(7), `src/boot/chid.h`, `src/boot/efifirmware.h`.

mod efifw;
mod hwids;
mod profile;
mod sbat;
mod uname;

use std::borrow::Cow;
use std::collections::HashSet;

use kpeel_envelope::error::{Class, Detail, Error, Field, Name, Needed, Refusal, Result};
use kpeel_envelope::pe::{Pe, SUBSYSTEM_EFI_APPLICATION};
use kpeel_formats::uki::Kind;

use crate::attach::{SECTION_BPF, add_parser};
use crate::editor::{Contents, Editor, NX_COMPAT};

pub use efifw::pack as pack_firmware;
pub use hwids::{Device, DeviceKind, pack as pack_hwids};
pub use profile::sections as profile_sections;
pub use sbat::{ADDON_SBAT, UKI_SBAT, merge as merge_sbat};
pub(crate) use uname::codec_of;
pub use uname::{Unpacked, of_kernel as uname_of, unpack_kernel};

/// A section to add: its name and its content.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewSection<'a> {
    /// At most 8 bytes.
    pub name: Cow<'a, str>,
    /// What it holds; may be empty.
    pub data: Cow<'a, [u8]>,
    /// How many bytes more it holds, which whoever writes the image puts in.
    pub later: usize,
}

/// What a UKI, an add-on or a profile is made of; each field is the section of that name.
#[derive(Clone, Debug, Default)]
pub struct Sections<'a> {
    /// `.osrel`.
    pub osrel: Option<Cow<'a, [u8]>>,
    /// `.cmdline`.
    pub cmdline: Option<Cow<'a, [u8]>>,
    /// `.dtb`.
    pub dtb: Option<Cow<'a, [u8]>>,
    /// `.dtbauto`, each a section of its own.
    pub dtbauto: Vec<Cow<'a, [u8]>>,
    /// `.hwids`.
    pub hwids: Option<Cow<'a, [u8]>>,
    /// `.uname`.
    pub uname: Option<Cow<'a, [u8]>>,
    /// `.splash`.
    pub splash: Option<Cow<'a, [u8]>>,
    /// `.pcrpkey`.
    pub pcrpkey: Option<Cow<'a, [u8]>>,
    /// `.linux`.
    pub linux: Option<Cow<'a, [u8]>>,
    /// `.initrd`, all of them joined.
    pub initrd: Option<Initrd<'a>>,
    /// `.efifw`, each a section of its own.
    pub efifw: Vec<Cow<'a, [u8]>>,
    /// `.ucode`.
    pub ucode: Option<Cow<'a, [u8]>>,
    /// Sections of other names.
    pub others: Vec<NewSection<'a>>,
    /// `.sbat`, merged already.
    pub sbat: Option<Cow<'a, [u8]>>,
    /// `.profile`: what is made is a profile, or with `joined` the UKI's first profile.
    pub profile: Option<Cow<'a, [u8]>>,
    /// Further profiles, each beginning with its `.profile`.
    pub joined: Vec<Vec<NewSection<'a>>>,
}

/// An initrd: the largest of all sections, so it need not be in memory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Initrd<'a> {
    /// These bytes.
    Bytes(Cow<'a, [u8]>),
    /// So many bytes, which whoever writes the image puts in.
    Later(usize),
}

impl<'a> NewSection<'a> {
    /// A section of this name and content.
    pub fn new(name: impl Into<Cow<'a, str>>, data: impl Into<Cow<'a, [u8]>>) -> Self {
        Self {
            name: name.into(),
            data: data.into(),
            later: 0,
        }
    }

    /// A section of this name and of `len` bytes that whoever writes the image puts in, where
    /// [`Editor::parts`] gives a [`Part::Later`](crate::Part::Later).
    pub fn later(name: impl Into<Cow<'a, str>>, len: usize) -> Self {
        Self {
            later: len,
            ..Self::new(name, Cow::default())
        }
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.data.is_empty() && self.later == 0
    }
}

impl<'a> Sections<'a> {
    /// All sections in the order of the table, the file and memory.
    ///
    /// The base's `.profile` is its last section, so that everything before it is shared by all
    /// profiles; a profile on its own begins with it.
    #[must_use]
    pub fn arrange(self) -> Vec<NewSection<'a>> {
        let many = |kind: Kind, all: Vec<Cow<'a, [u8]>>| {
            let named = move |data| NewSection::new(kind.name(), data);
            all.into_iter().map(named).collect::<Vec<_>>()
        };
        let one = |kind: Kind, data: Option<Cow<'a, [u8]>>| many(kind, data.into_iter().collect());
        let initrd = self.initrd.map(|initrd| match initrd {
            Initrd::Bytes(data) => NewSection::new(Kind::Initrd.name(), data),
            Initrd::Later(len) => NewSection::later(Kind::Initrd.name(), len),
        });
        let alone = self.joined.is_empty();
        let profile = one(Kind::Profile, self.profile);
        let (first, last) = if alone {
            (profile, Vec::new())
        } else {
            (Vec::new(), profile)
        };
        let parts = [
            first,
            one(Kind::Osrel, self.osrel),
            one(Kind::Cmdline, self.cmdline),
            one(Kind::Dtb, self.dtb),
            many(Kind::Dtbauto, self.dtbauto),
            one(Kind::Hwids, self.hwids),
            one(Kind::Uname, self.uname),
            one(Kind::Splash, self.splash),
            one(Kind::Pcrpkey, self.pcrpkey),
            one(Kind::Linux, self.linux),
            initrd.into_iter().collect(),
            many(Kind::Efifw, self.efifw),
            one(Kind::Ucode, self.ucode),
            self.others,
            one(Kind::Sbat, self.sbat),
            last,
        ];
        parts.into_iter().chain(self.joined).flatten().collect()
    }
}

/// `stub` with `sections` behind its own and then the parser, ready to be written.
///
/// `.sbat` takes the place of the stub's own when it fits there in memory.
///
/// # Errors
/// `Malformed` and `Unsupported` for a stub that cannot be read or has no room; `Refused`
/// (signature) for a signed stub; `Misuse` for sections that a scope may not hold, that the stub
/// has itself, for a second parser, and for a kernel of another machine than the stub's.
pub fn assemble<'a>(
    stub: &'a [u8],
    sections: Vec<NewSection<'a>>,
    parser: Option<&'a [u8]>,
) -> Result<Editor<'a>> {
    let mut editor = Editor::parse(stub)?;
    check_stub(&editor.pe)?;
    check_names(&sections)?;
    let mut own = editor.len();
    for section in sections {
        if section.name == Kind::Linux.name() {
            check_kernel(&mut editor, &section.data)?;
        }
        let name = section.name.as_ref();
        let of_stub = editor.find(name).into_iter().find(|index| *index < own);
        match of_stub {
            None => add(&mut editor, section)?,
            Some(index) if name == Kind::Sbat.name() => {
                if section.data.len() as u64 <= editor.room(index)? {
                    editor.replace(index, section.data)?;
                } else {
                    // Nothing refers to it by address: it may stand elsewhere.
                    editor.remove_at(index)?;
                    own = own.saturating_sub(1);
                    add(&mut editor, section)?;
                }
            }
            Some(_) => {
                return Err(Error::reason(
                    Class::Misuse,
                    "section name",
                    "the stub has a section of this name itself",
                ));
            }
        }
    }
    if let Some(carrier) = parser {
        if editor.has(SECTION_BPF) {
            let reason = "the stub or a section brings a parser already";
            return Err(Error::reason(Class::Misuse, SECTION_BPF, reason));
        }
        add_parser(&mut editor, carrier)?;
    }
    Ok(editor)
}

fn add<'a>(editor: &mut Editor<'a>, section: NewSection<'a>) -> Result<()> {
    let contents = if section.name == Kind::Linux.name() {
        // Stubs that know the EFI handover protocol only run the kernel in place.
        Contents::Kernel
    } else {
        Contents::Data
    };
    if section.later != 0 {
        return editor.add_later(&section.name, section.later, contents);
    }
    editor.add(&section.name, section.data, contents)
}

fn check_stub(pe: &Pe<'_>) -> Result<()> {
    let subsystem = pe.headers().subsystem;
    if subsystem != SUBSYSTEM_EFI_APPLICATION {
        let needed = Needed::Exactly(SUBSYSTEM_EFI_APPLICATION.into());
        let found = subsystem.into();
        return Err(Error::value(Class::Unsupported, "Subsystem", found, needed));
    }
    if pe.certificate_table().is_some() {
        return Err(Error::reason(
            Class::Refused(Refusal::Signature),
            "certificate table",
            "the stub is signed, and no signature survives what is added; take the unsigned stub",
        ));
    }
    Ok(())
}

/// Refuses names that stand twice where one may stand, before anything is written.
fn check_names(sections: &[NewSection<'_>]) -> Result<()> {
    let mut seen = HashSet::new();
    for section in sections {
        let name = section.name.as_ref();
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
        if kind == Some(Kind::Profile) {
            // A profile may have what base and other profiles have, but the image has one parser.
            seen.retain(|name| *name == SECTION_BPF);
        }
        if !seen.insert(name) && !kind.is_some_and(Kind::may_repeat) {
            let field = kind.map_or_else(
                || Field::Parser(Name::from_bytes(name.as_bytes())),
                |kind| Field::Named(kind.name()),
            );
            let reason = Detail::Reason("given twice for one profile, needed once");
            return Err(Error::new(Class::Misuse, field, reason));
        }
    }
    Ok(())
}

/// A kernel that is a PE image must be of the stub's machine; one that is not ready for memory that
/// is never both writable and executable takes the promise away from the whole.
fn check_kernel(editor: &mut Editor<'_>, kernel: &[u8]) -> Result<()> {
    let pe = Pe::parse(kernel)?;
    let (machine, expected) = (pe.headers().machine, editor.pe.headers().machine);
    if machine != expected {
        let needed = Needed::Exactly(expected.into());
        return Err(Error::value(
            Class::Misuse,
            "Machine of the kernel",
            machine.into(),
            needed,
        ));
    }
    if pe.headers().dll_characteristics & NX_COMPAT == 0 {
        editor.clear_nx_compat();
    }
    Ok(())
}
