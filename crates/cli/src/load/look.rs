//! Looks at Unified Kernel Images as the pipeline opens them, for what only a loader needs to know.

use kpeel_envelope::carrier::Carrier;
use kpeel_envelope::error::{Class, Error, Needed, Result};
use kpeel_envelope::host::{Envelope, Host, Stage, Trust};
use kpeel_envelope::limits::Meter;
use kpeel_envelope::pe::Pe;
use kpeel_envelope::publication::Run;
use kpeel_envelope::section::Section;
use kpeel_formats::uki;
use kpeel_kexec::segments::TREE_MAX;

/// A host that takes notes and leaves all work to another one.
#[derive(Debug)]
pub(super) struct Look<'h, H> {
    host: &'h mut H,
    profile: Option<u32>,
    notes: Notes,
}

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Whether there was a Unified Kernel Image at all.
    uki: bool,
    /// The device tree of the profile that counts.
    pub(super) dtb: Option<Vec<u8>>,
    /// Whether there are signatures over measurements.
    pub(super) pcrsig: bool,
}

impl<'h, H: Host> Look<'h, H> {
    /// `profile` is the one the caller selects.
    pub(super) fn new(host: &'h mut H, profile: Option<u32>) -> Self {
        Self {
            host,
            profile,
            notes: Notes::default(),
        }
    }

    /// What was seen by the time the image was open.
    ///
    /// # Errors
    /// `Misuse` when a profile was selected and there was nothing to select from.
    pub(super) fn notes(self) -> Result<Notes> {
        match self.profile {
            Some(profile) if profile != 0 && !self.notes.uki => Err(no_profiles(profile)),
            _ => Ok(self.notes),
        }
    }

    fn look(&mut self, pe: &Pe<'_>) -> Result<()> {
        let sections: Vec<_> = pe.sections().map(|section| described(&section)).collect();
        // What is wrong with a table, the parser says.
        let Ok(table) = uki::Uki::new(&sections) else {
            return Ok(());
        };
        self.notes.uki = true;
        let profile = self.profile.unwrap_or(0);
        let selection = match table.select(profile.into()) {
            Ok(selection) => selection,
            Err(uki::Error::NoProfile { count, .. }) => return Err(no_profile(profile, count)),
            Err(_) => return Ok(()),
        };
        let content = |kind| {
            let index = selection.get(kind)?.offset;
            let section = pe.sections().find(|section| section.index == index)?;
            Some(section.data()).filter(|data| !data.is_empty())
        };
        self.notes.pcrsig |= content(uki::Kind::Pcrsig).is_some();
        if let Some(dtb) = content(uki::Kind::Dtb).filter(|dtb| dtb.len() as u64 <= TREE_MAX) {
            self.notes.dtb = Some(dtb.to_vec());
        }
        Ok(())
    }
}

/// A section as the rules of UKIs look at it; its index stands for the offset, which they do not
/// look at.
fn described(section: &Section<'_>) -> uki::Section {
    let mut name = [0; 8];
    for (to, from) in name.iter_mut().zip(section.name()) {
        *to = *from;
    }
    uki::Section {
        name,
        offset: section.index,
        size: section.data().len() as u32,
    }
}

fn no_profile(profile: u32, count: usize) -> Error {
    let Some(last) = (count as u64).checked_sub(1) else {
        return no_profiles(profile);
    };
    let needed = Needed::AtMost(last);
    Error::value(Class::Misuse, "profile", profile.into(), needed)
}

fn no_profiles(profile: u32) -> Error {
    let needed = Needed::Words("0, since the image has no profiles");
    Error::value(Class::Misuse, "profile", profile.into(), needed)
}

impl<H: Host> Host for Look<'_, H> {
    type Buffer = H::Buffer;
    type Armed = H::Armed;

    fn meter(&self) -> &Meter {
        self.host.meter()
    }

    fn verdict(&mut self, envelope: &Envelope<'_>) -> Result<Trust> {
        // Contents are looked at after the verdict only.
        let trust = self.host.verdict(envelope)?;
        self.look(envelope.pe)?;
        Ok(trust)
    }

    fn arm(
        &mut self,
        stage: &Stage<'_, Self::Buffer>,
        carrier: &Carrier<'_>,
    ) -> Result<Self::Armed> {
        self.host.arm(stage, carrier)
    }

    fn run(&mut self, armed: &mut Self::Armed) -> Result<Run<Self::Buffer>> {
        self.host.run(armed)
    }

    fn post(&mut self, armed: &mut Self::Armed) -> Result<()> {
        self.host.post(armed)
    }

    fn concat(&mut self, parts: &[&[u8]]) -> Result<Self::Buffer> {
        self.host.concat(parts)
    }

    fn recognise(&mut self, kernel: &[u8]) -> Result<()> {
        self.host.recognise(kernel)
    }
}
