//! The images: sound ones, and seeded mutations of them.

use kpeel_hostile::class::{Class, mutate};
use kpeel_hostile::subject::{Subject, for_hosts};
use kpeel_trust::{Existing, SignOptions, sign};

use super::Keys;
use crate::Outcome;

/// What is mutated: what parsers and loaders of both hosts read. Carriers and programs are left alone, since Linux's
/// verifier and the sandbox rightly differ about them.
const CLASSES: [Class; 5] = [
    Class::PeHeaders,
    Class::SectionTable,
    Class::ZbootHeader,
    Class::UkiScopes,
    Class::Payload,
];

/// One image.
#[derive(Debug)]
pub(crate) struct Case {
    /// Image, class and number as `kpeel-hostile replay` takes them; of a sound image its name.
    pub(crate) name: String,
    /// What the guest calls it.
    pub(crate) file: String,
    /// Its bytes, signed if they can be.
    pub(crate) bytes: Vec<u8>,
    /// The caller's command line: a profile's selector, or nothing.
    pub(crate) cmdline: String,
    /// Whether nothing was changed, so that both hosts must open it.
    pub(crate) sound: bool,
}

/// Mutations `from..to`, and before number 0 every sound image.
pub(crate) fn cases(keys: &Keys, from: u64, to: u64) -> Outcome<Vec<Case>> {
    let subjects = for_hosts()?;
    let pairs: Vec<(&Subject, Class)> = subjects
        .iter()
        .flat_map(|subject| {
            let classes = CLASSES.into_iter();
            let classes = classes.filter(|class| class.applies(subject));
            classes.map(move |class| (subject, class))
        })
        .collect();
    let mut cases = Vec::new();
    if from == 0 {
        cases.extend(
            subjects
                .iter()
                .map(|subject| Case::new(subject, None, subject.bytes.clone(), keys)),
        );
    }
    for number in from..to {
        let (subject, class) = pairs[number as usize % pairs.len()];
        let bytes = mutate(subject, class, number);
        cases.push(Case::new(subject, Some((class, number)), bytes, keys));
    }
    for (index, case) in cases.iter_mut().enumerate() {
        case.file = format!("images/{index}");
    }
    Ok(cases)
}

impl Case {
    fn new(subject: &Subject, change: Option<(Class, u64)>, bytes: Vec<u8>, keys: &Keys) -> Self {
        let options = SignOptions {
            existing: Existing::Replace,
            ..SignOptions::default()
        };
        // What cannot be signed breaks a rule that both hosts know before they ask for a signature.
        let bytes = sign(&bytes, std::slice::from_ref(&keys.identity), &options).unwrap_or(bytes);
        let selector = subject.cmdline.as_ref();
        let selector = selector.and_then(|line| line.split(' ').next());
        Self {
            name: match change {
                Some((class, number)) => format!("{} {} {number}", subject.name, class.name()),
                None => subject.name.clone(),
            },
            file: String::new(),
            bytes,
            // More than the selector would be refused beside the image's own.
            sound: change.is_none(),
            cmdline: selector.map_or_else(String::new, |word| format!("{word} ")),
        }
    }
}
