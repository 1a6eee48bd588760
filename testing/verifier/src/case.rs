//! One load in the guest, and what should become of it.

use std::collections::BTreeSet;
use std::path::Path;

use kpeel_envelope::carrier::Carrier;

use crate::error::Error;

/// One load.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// One word.
    pub(crate) name: String,
    /// The loader's instructions.
    pub(crate) insns: Vec<u8>,
    /// The loader's data.
    pub(crate) data: Vec<u8>,
    pub(crate) expect: Expect,
    pub(crate) lockdown: Lockdown,
}

/// What the kernel forbids meanwhile.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Lockdown {
    /// `confidentiality`, its strictest level.
    Confidentiality,
    /// Nothing.
    None,
}

/// What should become of a load.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Expect {
    /// It works, and its programs attach to their anchors.
    Loads,
    /// The loader itself reports this errno.
    Refused(i32),
}

impl Case {
    /// A carrier in a file, which must load. It is called by its path.
    pub(crate) fn from_file(file: &Path) -> Result<Self, Error> {
        let bytes = std::fs::read(file).map_err(Error::system("reading", file))?;
        Self::from_carrier(&file.display().to_string(), &bytes)
    }

    /// A carrier, which must load.
    pub(crate) fn from_carrier(name: &str, bytes: &[u8]) -> Result<Self, Error> {
        let wrong = |reason| Error::Carrier {
            name: name.to_owned(),
            reason,
        };
        if name.contains(char::is_whitespace) {
            return Err(wrong("its name has a blank".to_owned()));
        }
        let carrier = Carrier::parse(bytes).map_err(|error| wrong(format!("{error:?}")))?;
        Ok(Self {
            name: name.to_owned(),
            insns: carrier.insns.to_owned(),
            data: carrier.data.to_owned(),
            expect: Expect::Loads,
            lockdown: Lockdown::None,
        })
    }

    /// The same load under lockdown, with what should become of it then.
    pub(crate) fn locked_down(&self, expect: Expect) -> Self {
        Self {
            name: format!("{}-lockdown", self.name),
            expect,
            lockdown: Lockdown::Confidentiality,
            ..self.clone()
        }
    }
}

/// The console tells cases apart by name.
pub(crate) fn demand_distinct_names(cases: &[Case]) -> Result<(), Error> {
    let mut names = BTreeSet::new();
    match cases.iter().find(|case| !names.insert(&case.name)) {
        Some(case) => Err(Error::SameName {
            name: case.name.clone(),
        }),
        None => Ok(()),
    }
}
