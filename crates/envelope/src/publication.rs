//! What a parser hands over during one stage.

use super::error::{Error, Name, Result};

/// Most publications a stage may hold at once.
pub const MAX_PUBLICATIONS: usize = 32;

/// What can be published.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Resource {
    /// The kernel inside, perhaps another envelope.
    Kernel,
    /// The initial RAM disk.
    Initrd,
    /// The kernel command line.
    Cmdline,
}

/// How a publication meets earlier ones of the same resource.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Mode {
    /// Takes their place.
    Replace,
    /// Follows them.
    Append,
}

/// Where published bytes come from. A decompression keeps the origin of its input.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Origin {
    /// The stage's image.
    Image,
    /// A map of the parser.
    Map,
    /// The caller's initrd.
    CallerInitrd,
    /// The caller's command line.
    CallerCmdline,
}

/// One publication.
#[derive(Clone, Debug)]
pub struct Publication<B> {
    /// What it is.
    pub resource: Resource,
    /// How it meets earlier ones.
    pub mode: Mode,
    /// Where the bytes come from.
    pub origin: Origin,
    /// The bytes.
    pub bytes: B,
}

/// The publications of one stage, in order. A replacing one drops those it replaces at once.
#[derive(Debug)]
pub struct Publications<B> {
    entries: [Option<Publication<B>>; MAX_PUBLICATIONS],
}

/// Everything one run of a parser leaves behind.
#[derive(Debug)]
pub struct Run<B> {
    /// What it published.
    pub publications: Publications<B>,
    complaint: Option<Complaint>,
    hint: Option<Error>,
}

/// Why a parser gave up, in its own words.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Complaint {
    /// The image is of another format.
    NotMine {
        /// Field that tells.
        field: Name,
        /// What stood there.
        found: u64,
        /// What this format has there.
        needed: u64,
    },
    /// `Malformed` or `Unsupported`.
    Error(Error),
}

impl Resource {
    /// The resource's name in the ABI.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kexec:kernel",
            Self::Initrd => "kexec:initrd",
            Self::Cmdline => "kexec:cmdline",
        }
    }
}

impl<B> Publications<B> {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            entries: [const { None }; MAX_PUBLICATIONS],
        }
    }

    /// Takes one more publication.
    ///
    /// # Errors
    /// `Refused` when a kernel comes from the caller's bytes or the stage holds too many.
    pub fn push(&mut self, publication: Publication<B>) -> Result<()> {
        use super::error::{Class, Refusal};
        let from_caller = matches!(
            publication.origin,
            Origin::CallerInitrd | Origin::CallerCmdline
        );
        if publication.resource == Resource::Kernel && from_caller {
            let class = Class::Refused(Refusal::Permission);
            return Err(Error::reason(
                class,
                "kexec:kernel",
                "comes from the caller's bytes, which can only become initrd or command line",
            ));
        }
        if publication.mode == Mode::Replace {
            for entry in &mut self.entries {
                if entry
                    .as_ref()
                    .is_some_and(|old| old.resource == publication.resource)
                {
                    *entry = None;
                }
            }
        }
        // Order must be kept: after a replacement, what stands behind the gap moves up.
        let mut place = 0;
        for at in 0..MAX_PUBLICATIONS {
            if self.entries.get(at).is_some_and(Option::is_some) {
                self.entries.swap(place, at);
                place = place.saturating_add(1);
            }
        }
        let asked = (place as u64).saturating_add(1);
        match self.entries.get_mut(place) {
            Some(slot) => *slot = Some(publication),
            None => return Err(Error::bound("publications", asked, MAX_PUBLICATIONS as u64)),
        }
        Ok(())
    }

    /// Those of one resource, in order.
    pub fn of(&self, resource: Resource) -> impl Iterator<Item = &Publication<B>> {
        self.entries
            .iter()
            .flatten()
            .filter(move |entry| entry.resource == resource)
    }

    /// Takes the first of one resource out.
    pub fn take(&mut self, resource: Resource) -> Option<Publication<B>> {
        self.entries
            .iter_mut()
            .find(|slot| {
                slot.as_ref()
                    .is_some_and(|entry| entry.resource == resource)
            })
            .and_then(Option::take)
    }
}

impl<B> Default for Publications<B> {
    fn default() -> Self {
        Self::new()
    }
}

impl<B> Run<B> {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            publications: Publications::new(),
            complaint: None,
            hint: None,
        }
    }

    /// Notes a parser's verdict that ends the stage; the first one stays.
    pub fn complain(&mut self, complaint: Complaint) {
        if self.complaint.is_none() {
            // What the host refused before explains the verdict better than the verdict does.
            self.complaint = Some(match (self.hint, complaint) {
                (Some(hint), Complaint::Error(_)) => Complaint::Error(hint),
                (_, complaint) => complaint,
            });
        }
    }

    /// Notes that the host refused a call of the parser. It fails the stage only if the parser
    /// then publishes no kernel: a parser may try one way and then another.
    pub fn hint(&mut self, error: Error) {
        self.hint.get_or_insert(error);
    }

    /// What the stage ends with, if not success.
    #[must_use]
    pub fn complaint(&self) -> Option<Complaint> {
        if self.complaint.is_some() {
            return self.complaint;
        }
        if self.publications.of(Resource::Kernel).next().is_some() {
            return None;
        }
        let nothing = Error::absent(super::error::Class::Malformed, "kexec:kernel");
        Some(Complaint::Error(self.hint.unwrap_or(nothing)))
    }
}

impl<B> Default for Run<B> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;
    use crate::error::Class;

    fn publication(resource: Resource, mode: Mode, bytes: u32) -> Publication<u32> {
        Publication {
            resource,
            mode,
            origin: Origin::Image,
            bytes,
        }
    }

    fn held(publications: &Publications<u32>, resource: Resource) -> Vec<u32> {
        publications.of(resource).map(|entry| entry.bytes).collect()
    }

    #[test]
    fn replacing_drops_earlier_ones_of_the_name_only() {
        let mut all = Publications::new();
        for (resource, mode, bytes) in [
            (Resource::Initrd, Mode::Append, 1),
            (Resource::Cmdline, Mode::Replace, 2),
            (Resource::Initrd, Mode::Append, 3),
            (Resource::Initrd, Mode::Replace, 4),
            (Resource::Initrd, Mode::Append, 5),
        ] {
            all.push(publication(resource, mode, bytes)).unwrap();
        }
        assert_eq!(held(&all, Resource::Initrd), [4, 5]);
        assert_eq!(held(&all, Resource::Cmdline), [2]);
    }

    #[test]
    fn appending_keeps_the_order() {
        let mut all = Publications::new();
        for bytes in 0..MAX_PUBLICATIONS as u32 {
            all.push(publication(Resource::Initrd, Mode::Append, bytes))
                .unwrap();
        }
        assert!(held(&all, Resource::Initrd)
            .into_iter()
            .eq(0..MAX_PUBLICATIONS as u32));
        assert_eq!(
            all.push(publication(Resource::Kernel, Mode::Replace, 0)),
            Err(Error::bound("publications", 33, 32))
        );
    }

    #[test]
    fn refuses_a_kernel_from_the_callers_bytes() {
        let mut all = Publications::new();
        for origin in [Origin::CallerInitrd, Origin::CallerCmdline] {
            let kernel = Publication {
                origin,
                ..publication(Resource::Kernel, Mode::Replace, 1)
            };
            assert_eq!(
                all.push(kernel).unwrap_err().field,
                Field::Named("kexec:kernel")
            );
        }
        for origin in [Origin::Image, Origin::Map] {
            let kernel = Publication {
                origin,
                ..publication(Resource::Kernel, Mode::Replace, 1)
            };
            assert_eq!(all.push(kernel), Ok(()));
        }
    }

    #[test]
    fn a_refused_call_is_forgiven_when_a_kernel_follows() {
        let hint = Error::absent(Class::Malformed, "payload");
        let mut run = Run::new();
        run.hint(hint);
        assert_eq!(run.complaint(), Some(Complaint::Error(hint)));
        run.publications
            .push(publication(Resource::Kernel, Mode::Replace, 1))
            .unwrap();
        assert_eq!(run.complaint(), None);
    }

    #[test]
    fn a_run_without_kernel_is_malformed() {
        let run = Run::<u32>::new();
        let nothing = Error::absent(Class::Malformed, "kexec:kernel");
        assert_eq!(run.complaint(), Some(Complaint::Error(nothing)));
    }

    #[test]
    fn the_first_complaint_stays() {
        let mut run = Run::<u32>::new();
        let first = Complaint::Error(Error::absent(Class::Malformed, "first"));
        run.complain(first);
        run.hint(Error::absent(Class::Malformed, "late"));
        run.complain(Complaint::Error(Error::absent(Class::Malformed, "second")));
        assert_eq!(run.complaint(), Some(first));
    }

    use crate::error::Field;
}
