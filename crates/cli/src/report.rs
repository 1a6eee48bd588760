//! What `kpeel inspect` finds out, as its JSON shows it.
//!
//! Sizes and offsets are bytes; names come from PE fields in lower case.

use kpeel_sandbox::CarrierInfo;
use serde::Serialize;

use crate::hashes::Hashes;
use crate::json::ErrorReport;

/// A whole image.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The file, as the caller named it.
    pub(crate) path: String,
    pub(crate) size: u64,
    pub(crate) sha256: String,
    /// Envelopes from the outermost to the innermost, the PE header of a plain kernel included.
    pub(crate) layers: Vec<Layer>,
    /// What is left when every envelope is open.
    pub(crate) result: Option<Outcome>,
    /// Why no further envelope could be opened.
    pub(crate) error: Option<ErrorReport>,
}

/// One PE layer.
#[derive(Debug, Serialize)]
pub(crate) struct Layer {
    pub(crate) depth: u32,
    pub(crate) size: u64,
    pub(crate) sha256: String,
    /// `uki`, `zboot`, `kernel` or `pe`.
    pub(crate) format: &'static str,
    pub(crate) pe: Headers,
    pub(crate) signature: Signature,
    pub(crate) sections: Vec<Section>,
    /// Profiles of a UKI.
    pub(crate) profiles: Vec<Profile>,
    /// The payload of a zboot image.
    pub(crate) zboot: Option<Zboot>,
    /// The parser in `.bpf`.
    pub(crate) carrier: Option<Carrier>,
    /// The parser that opened the layer.
    pub(crate) opened_by: Option<Opened>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Headers {
    pub(crate) machine: u16,
    pub(crate) machine_name: Option<&'static str>,
    pub(crate) subsystem: u16,
    pub(crate) image_base: u64,
    pub(crate) entry_point: u32,
    pub(crate) section_alignment: u32,
    pub(crate) file_alignment: u32,
    pub(crate) size_of_image: u32,
    pub(crate) size_of_headers: u32,
    pub(crate) check_sum: u32,
    /// Whether a checksum that is given is right.
    pub(crate) check_sum_matches: Option<bool>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Signature {
    pub(crate) present: bool,
    pub(crate) certificates: Vec<Certificate>,
    /// Place of the certificate table in the layer.
    pub(crate) table: Option<Extent>,
    /// Why Linux's digest would not cover the whole layer, if so.
    pub(crate) uncovered: Option<String>,
    /// Why the certificate table cannot be read, if so.
    pub(crate) error: Option<String>,
}

/// A stretch of a layer.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Extent {
    pub(crate) offset: u64,
    pub(crate) size: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Certificate {
    pub(crate) size: u64,
    pub(crate) revision: u16,
    pub(crate) r#type: u16,
    pub(crate) type_name: Option<&'static str>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Section {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) virtual_address: u32,
    pub(crate) virtual_size: u32,
    pub(crate) pointer_to_raw_data: u32,
    pub(crate) size_of_raw_data: u32,
    pub(crate) characteristics: u32,
    /// Profile of a UKI it belongs to; `null` for the base.
    pub(crate) profile: Option<u32>,
    /// Bytes hashed: those both in the file and in memory.
    pub(crate) size: u64,
    pub(crate) sha256: String,
    /// Content of a section that holds short text.
    pub(crate) text: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Profile {
    pub(crate) index: u32,
    pub(crate) id: Option<String>,
    pub(crate) title: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Zboot {
    pub(crate) codec: String,
    pub(crate) payload_offset: u32,
    pub(crate) payload_size: u32,
}

#[derive(Debug, Serialize)]
pub(crate) struct Carrier {
    pub(crate) size: u64,
    pub(crate) sha256: String,
    /// What is in it.
    pub(crate) parser: Option<Parser>,
    /// Why it cannot be loaded, if so.
    pub(crate) error: Option<String>,
}

/// A parser as the sandbox loads it.
#[derive(Debug, Serialize)]
pub(crate) struct Parser {
    /// Instructions of the loader.
    pub(crate) loader_instructions: usize,
    /// Instructions it executes.
    pub(crate) loader_executed: u64,
    /// Bytes of its data.
    pub(crate) loader_data: usize,
    pub(crate) programs: Vec<Program>,
    pub(crate) maps: Vec<Map>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) anchor: &'static str,
    pub(crate) instructions: usize,
    pub(crate) kfuncs: Vec<String>,
    pub(crate) helpers: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Map {
    pub(crate) name: String,
    pub(crate) r#type: &'static str,
    /// Bytes of a value; 0 for a ring buffer.
    pub(crate) value_size: u32,
    /// Entries of an array, bytes of a ring buffer.
    pub(crate) max_entries: u32,
}

#[derive(Debug, Serialize)]
pub(crate) struct Opened {
    /// The parser's name; `.bpf` for the layer's own.
    pub(crate) parser: String,
    /// What it published, in order.
    pub(crate) published: Vec<Published>,
    pub(crate) warnings: Vec<Warning>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Published {
    pub(crate) resource: &'static str,
    pub(crate) size: u64,
    pub(crate) sha256: String,
    /// Where it stands in the layer; `null` for what was unpacked or made.
    pub(crate) offset: Option<u64>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Warning {
    pub(crate) depth: u32,
    pub(crate) field: String,
    pub(crate) found: u64,
    pub(crate) needed: u64,
}

/// What is left in the end.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) kernel: Blob,
    /// Machine it is for, as `uname -m` has it.
    pub(crate) kernel_machine: Option<&'static str>,
    pub(crate) initrd: Option<Blob>,
    pub(crate) cmdline: Option<String>,
    pub(crate) envelopes_opened: u32,
}

#[derive(Debug, Serialize)]
pub(crate) struct Blob {
    pub(crate) size: u64,
    pub(crate) sha256: String,
}

impl Blob {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self::known(bytes, &mut Hashes::default())
    }

    /// Of bytes that may have been hashed already.
    pub(crate) fn known(bytes: &[u8], hashes: &mut Hashes) -> Self {
        Self {
            size: bytes.len() as u64,
            sha256: hashes.sha256(bytes),
        }
    }
}

impl Warning {
    pub(crate) fn new(warning: &kpeel_sandbox::Warning) -> Self {
        Self {
            depth: warning.depth,
            field: warning.field.as_str().to_owned(),
            found: warning.found,
            needed: warning.needed,
        }
    }

    /// As a line.
    pub(crate) fn line(&self) -> String {
        let Self {
            depth,
            field,
            found,
            needed,
        } = self;
        format!("warning: envelope {depth}: {field}: found {found} ({found:#x}), needed {needed}")
    }
}

impl Parser {
    pub(crate) fn new(info: &CarrierInfo) -> Self {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let program = |program: &kpeel_sandbox::ProgramInfo| Program {
            name: program.name.clone(),
            anchor: program.anchor,
            instructions: program.instructions,
            kfuncs: owned(&program.kfuncs),
            helpers: owned(&program.helpers),
        };
        let map = |map: &kpeel_sandbox::MapInfo| Map {
            name: map.name.clone(),
            r#type: map.kind,
            value_size: map.value_size,
            max_entries: map.max_entries,
        };
        Self {
            loader_instructions: info.loader_instructions,
            loader_executed: info.loader_executed,
            loader_data: info.loader_data,
            programs: info.programs.iter().map(program).collect(),
            maps: info.maps.iter().map(map).collect(),
        }
    }
}
