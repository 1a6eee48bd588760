//! What an image holds, according to code that shares nothing with kpeel: the `object` crate reads
//! PE, other libraries unpack, and the rules of UKI and zboot are written down a second time.
//!
//! It is lenient: where kpeel refuses, it may well find something. Only what kpeel takes is compared.

pub mod codec;

use std::collections::VecDeque;
use std::sync::Mutex;

use object::LittleEndian as LE;
use object::pe::{ImageDosHeader, ImageNtHeaders64};
use object::read::pe::ImageNtHeaders;

/// The parts that are left when every envelope is open.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Parts {
    /// The innermost kernel.
    pub kernel: Vec<u8>,
    /// The initrd, if there is one.
    pub initrd: Option<Vec<u8>>,
    /// The command line, if there is one.
    pub cmdline: Option<Vec<u8>>,
}

/// A codec's name and a stream.
type Stream = (String, Vec<u8>);

/// Takes images apart.
///
/// It remembers the streams it has met last, since most mutations leave them as they were.
#[derive(Debug, Default)]
pub struct Extractor {
    /// Streams with what they unpack to; the one met last is the last.
    unpacked: Mutex<VecDeque<(Stream, Vec<u8>)>>,
}

/// Names of UAPI.5, as section headers hold them: all eight bytes count.
const LINUX: &[u8; 8] = b".linux\0\0";
const UCODE: &[u8; 8] = b".ucode\0\0";
const INITRD: &[u8; 8] = b".initrd\0";
const CMDLINE: &[u8; 8] = b".cmdline";
const PROFILE: &[u8; 8] = b".profile";
/// Most envelopes it opens; kpeel's own bound is 4.
const DEPTH: usize = 8;
/// Streams it remembers: more than threads, so that one that is met again and again stays.
const REMEMBERED: usize = 8;

impl Extractor {
    /// The parts of `image` for this profile.
    ///
    /// # Errors
    /// What stands in the way, in the words of the library that found it.
    pub fn parts(&self, image: &[u8], profile: usize) -> Result<Parts, String> {
        let mut parts = Parts {
            kernel: image.to_vec(),
            ..Parts::default()
        };
        for _ in 0..DEPTH {
            let inner = match sections(&parts.kernel) {
                Ok(sections) if sections.iter().any(|(name, _)| *name == LINUX) => {
                    open_uki(&sections, profile, &mut parts.initrd, &mut parts.cmdline)?
                }
                Ok(_) if parts.kernel.get(4..8) == Some(b"zimg") => {
                    self.open_zboot(&parts.kernel)?
                }
                _ => break,
            };
            parts.kernel = inner;
        }
        Ok(parts)
    }

    fn open_zboot(&self, image: &[u8]) -> Result<Vec<u8>, String> {
        let word = |at: usize| {
            let word = image.get(at..at + 4).and_then(|word| word.try_into().ok());
            word.map_or(0, u32::from_le_bytes) as usize
        };
        let stream = image.get(word(8)..).and_then(|rest| rest.get(..word(12)));
        let stream = stream.ok_or("the stream is not in the file")?;
        let name = image.get(0x18..0x38).unwrap_or_default();
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        let name = String::from_utf8_lossy(name).into_owned();
        if let Some(known) = self.remembered(&name, stream)? {
            return Ok(known);
        }
        let unpacked = codec::unpack(&name, stream)?;
        let mut remembered = self.unpacked.lock().map_err(|e| e.to_string())?;
        remembered.push_back(((name, stream.to_vec()), unpacked.clone()));
        if remembered.len() > REMEMBERED {
            remembered.pop_front();
        }
        Ok(unpacked)
    }

    fn remembered(&self, name: &str, stream: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let mut remembered = self.unpacked.lock().map_err(|e| e.to_string())?;
        let same = |((known, bytes), _): &(Stream, _)| known == name && bytes == stream;
        let found = remembered.iter().position(same);
        let found = found.and_then(|at| remembered.remove(at));
        Ok(found.map(|found| {
            let unpacked = found.1.clone();
            remembered.push_back(found);
            unpacked
        }))
    }
}

type Section<'a> = (&'a [u8; 8], &'a [u8]);

/// Name and contents of every section.
fn sections(image: &[u8]) -> Result<Vec<Section<'_>>, String> {
    let text = |error: object::Error| error.to_string();
    let dos = ImageDosHeader::parse(image).map_err(text)?;
    let mut offset = u64::from(dos.nt_headers_offset());
    let (headers, _) = ImageNtHeaders64::parse(image, &mut offset).map_err(text)?;
    let table = headers.sections(image, offset).map_err(text)?;
    let contents = table.iter().map(|section| {
        let start = section.pointer_to_raw_data.get(LE) as usize;
        let size = section.size_of_raw_data.get(LE);
        let size = size.min(section.virtual_size.get(LE)) as usize;
        let content = match size {
            0 => Some(&[][..]),
            _ => image.get(start..).and_then(|rest| rest.get(..size)),
        };
        content
            .map(|content| (&section.name, content))
            .ok_or_else(|| "a section past the end of the file".to_owned())
    });
    contents.collect()
}

/// UAPI.5, "UKI Profiles": sections of the profile hide those of the same name before the first
/// `.profile`.
fn open_uki(
    sections: &[Section<'_>],
    profile: usize,
    initrd: &mut Option<Vec<u8>>,
    cmdline: &mut Option<Vec<u8>>,
) -> Result<Vec<u8>, String> {
    let mut scopes: Vec<&[Section<'_>]> = Vec::new();
    let mut rest = sections;
    while let Some(at) = rest
        .iter()
        .skip(usize::from(!scopes.is_empty()))
        .position(|(name, _)| *name == PROFILE)
    {
        let (scope, tail) = rest.split_at(at + usize::from(!scopes.is_empty()));
        scopes.push(scope);
        rest = tail;
    }
    scopes.push(rest);
    if profile != 0 && profile + 1 >= scopes.len() {
        return Err(format!("no profile {profile}"));
    }
    let own = scopes.get(profile + 1).copied().unwrap_or_default();
    let get = |wanted: &[u8; 8]| {
        let mut both = own.iter().chain(scopes[0]);
        let found = both.find(|(name, _)| *name == wanted);
        found.map(|(_, content)| content.to_vec())
    };
    let archives = [get(UCODE), get(INITRD)];
    let archives: Vec<Vec<u8>> = archives.into_iter().flatten().collect();
    let mut whole = Vec::new();
    for archive in archives.iter().filter(|archive| !archive.is_empty()) {
        whole.resize(whole.len().next_multiple_of(4), 0);
        whole.extend_from_slice(archive);
    }
    if !whole.is_empty() {
        *initrd = Some(whole);
    }
    let line = get(CMDLINE).unwrap_or_default();
    let line = line.split(|byte| *byte == 0).next().unwrap_or_default();
    let line = line.trim_ascii_end().to_vec();
    if !line.is_empty() {
        *cmdline = Some(line);
    }
    get(LINUX).ok_or_else(|| "no .linux in this profile".to_owned())
}
