//! An image's parser: the section `.bpf`.

use kpeel_envelope::carrier::Carrier;
use kpeel_envelope::error::{Class, Error, Result};
pub use kpeel_envelope::pipeline::SECTION_BPF;

use crate::editor::{Certificates, Contents, Editor};
use crate::undo;

/// How [`attach`] treats what is already there.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct AttachOptions {
    /// Drops the certificate table of a signed image instead of refusing it.
    pub drop_signature: bool,
    /// Replaces a parser that the image carries instead of refusing it.
    pub replace: bool,
}

/// How [`detach`] treats what is there.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct DetachOptions {
    /// Drops the certificate table of a signed image instead of refusing it.
    pub drop_signature: bool,
}

/// The image with `carrier` as its parser, in a section `.bpf` behind all others.
///
/// Room for the section header is made where it lacks; section data then move by multiples of
/// FileAlignment. The certificate table is dropped only on request.
///
/// # Errors
/// `Malformed` for an image or a carrier that cannot be read; `Refused` (signature) for a signed
/// image; `Misuse` when the image has a parser; `Unsupported` when no room can be made.
pub fn attach(image: &[u8], carrier: &[u8], options: AttachOptions) -> Result<Vec<u8>> {
    Carrier::parse(carrier)?;
    let mut editor = Editor::parse(image)?;
    editor.set_certificates(certificates(options.drop_signature));
    if editor.has(SECTION_BPF) {
        if !options.replace {
            let reason = "the image carries a parser already; --replace takes its place";
            return Err(Error::reason(Class::Misuse, SECTION_BPF, reason));
        }
        let detach_options = DetachOptions {
            drop_signature: options.drop_signature,
        };
        let bare = detach(image, detach_options)?;
        return attach(
            &bare,
            carrier,
            AttachOptions {
                replace: false,
                ..options
            },
        );
    }
    let record = undo::record(&editor, carrier.len())?;
    editor.add_with_tail(SECTION_BPF, carrier.into(), Contents::Data, &record)?;
    editor.finish()
}

/// Adds `carrier` to an image that is being made, such that [`detach`] gives back the image as it
/// is without.
pub(crate) fn add_parser<'a>(editor: &mut Editor<'a>, carrier: &'a [u8]) -> Result<()> {
    Carrier::parse(carrier)?;
    let record = undo::record_of_output(editor, carrier.len())?;
    editor.add_with_tail(SECTION_BPF, carrier.into(), Contents::Data, &record)
}

fn certificates(drop_signature: bool) -> Certificates {
    if drop_signature {
        Certificates::Drop
    } else {
        Certificates::Refuse
    }
}

/// The image without its parser: the very bytes of before if [`attach`] made it from an unsigned
/// image and nothing changed it since, else the image with the section taken out.
///
/// # Errors
/// `Malformed` for an image that cannot be read; `Refused` (signature) for a signed one; `Misuse`
/// when it has no parser.
pub fn detach(image: &[u8], options: DetachOptions) -> Result<Vec<u8>> {
    let mut editor = Editor::parse(image)?;
    if !editor.has(SECTION_BPF) {
        return Err(Error::absent(Class::Misuse, SECTION_BPF));
    }
    editor.set_certificates(certificates(options.drop_signature));
    let mut removed = editor.clone();
    removed.remove(SECTION_BPF)?;
    let removed = removed.finish()?;
    Ok(exact(image, &editor).unwrap_or(removed))
}

/// The bytes of before, proven by attaching again.
fn exact(image: &[u8], editor: &Editor<'_>) -> Option<Vec<u8>> {
    let section = undo::last_section(&editor.pe).filter(|last| last.is_named(SECTION_BPF))?;
    let before = undo::undo(editor, &section)?;
    let again = attach(&before, section.data(), AttachOptions::default()).ok()?;
    (again == image).then_some(before)
}
