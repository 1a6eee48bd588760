//! An image's layers as a picture: what is drawn, and where it stands in bytes.
//!
//! [`svg`](crate::svg) puts it to paper.

use crate::report::{Layer, Outcome, Report};
use crate::text::{escape, shown};

/// A whole picture.
#[derive(Debug)]
pub(crate) struct Picture {
    pub(crate) title: String,
    /// What the image is, in one line.
    pub(crate) summary: String,
    /// From the outermost envelope to what is left.
    pub(crate) rows: Vec<Row>,
    /// Lines of text below: command line, error.
    pub(crate) notes: Vec<(&'static str, String)>,
}

/// One bar.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// Said beside the name: how it was opened.
    pub(crate) opened: Option<String>,
    /// Bytes.
    pub(crate) size: u64,
    pub(crate) blocks: Vec<Block>,
    /// The stretch of the row above that this row comes from, and how.
    pub(crate) from: Option<From>,
    /// Depth of the envelope, if it is one.
    pub(crate) depth: Option<u32>,
}

/// A stretch of a row.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) name: String,
    pub(crate) offset: u64,
    pub(crate) size: u64,
    pub(crate) role: Role,
}

/// Where a row's bytes were.
#[derive(Debug, Clone)]
pub(crate) struct From {
    pub(crate) offset: u64,
    pub(crate) size: u64,
    /// The codec, where the bytes were unpacked.
    pub(crate) codec: Option<String>,
}

/// What a block is for, which decides its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Headers of the layer.
    Headers,
    /// Code and data of the envelope itself.
    Program,
    /// The kernel, or the envelope inside.
    Kernel,
    /// An initrd, microcode among it.
    Initrd,
    /// Command lines, names, metadata.
    Text,
    /// Device trees and other things for firmware.
    Firmware,
    /// The parser.
    Parser,
    /// Signatures.
    Signature,
}

impl Role {
    fn of_section(name: &str) -> Self {
        match name {
            ".linux" => Self::Kernel,
            ".initrd" | ".ucode" => Self::Initrd,
            ".cmdline" | ".osrel" | ".uname" | ".profile" | ".sbat" | ".pcrpkey" | ".pcrsig" => {
                Self::Text
            }
            ".dtb" | ".dtbauto" | ".hwids" | ".efifw" | ".splash" => Self::Firmware,
            ".bpf" => Self::Parser,
            _ => Self::Program,
        }
    }
}

/// The picture of what was found out.
pub(crate) fn picture(report: &Report) -> Picture {
    let mut rows: Vec<Row> = Vec::new();
    for layer in &report.layers {
        let from = outer(report, layer.depth).and_then(source);
        rows.push(row(layer, from));
    }
    if rows.is_empty() {
        rows.push(bar("file".into(), report.size, None));
    }
    let mut notes = Vec::new();
    if let Some(result) = &report.result {
        results(report, result, &mut rows);
        if let Some(cmdline) = &result.cmdline {
            notes.push(("cmdline", shown(cmdline.as_bytes())));
        }
    }
    if let Some(error) = &report.error {
        notes.push(("error", shown(error.message().as_bytes())));
    }
    let name = report.path.rsplit('/').next().unwrap_or(&report.path);
    Picture {
        title: escape(name.as_bytes()),
        summary: summary(report),
        rows,
        notes,
    }
}

fn summary(report: &Report) -> String {
    let formats: Vec<&str> = report.layers.iter().map(|layer| layer.format).collect();
    let machine = report.layers.first().and_then(|it| it.pe.machine_name);
    let signed = report.layers.iter().any(|layer| layer.signature.present);
    [
        formats.join(" \u{203a} "),
        machine.unwrap_or_default().to_owned(),
        if signed { "signed" } else { "" }.to_owned(),
    ]
    .into_iter()
    .filter(|part| !part.is_empty())
    .collect::<Vec<_>>()
    .join(", ")
}

/// The layer around the one at `depth`.
fn outer(report: &Report, depth: u32) -> Option<&Layer> {
    let depth = depth.checked_sub(1)?;
    report.layers.iter().find(|layer| layer.depth == depth)
}

/// The stretch of a layer that its kernel came from, as far as that is known.
fn source(layer: &Layer) -> Option<From> {
    let mut published = layer.opened_by.as_ref()?.published.iter();
    let kernel = published.rfind(|it| it.resource.ends_with("kernel"))?;
    match (kernel.offset, &layer.zboot) {
        (Some(offset), _) => Some(From {
            offset,
            size: kernel.size,
            codec: None,
        }),
        (None, Some(zboot)) => Some(From {
            offset: zboot.payload_offset.into(),
            size: zboot.payload_size.into(),
            codec: Some(zboot.codec.clone()),
        }),
        (None, None) => Some(From {
            offset: 0,
            size: layer.size,
            codec: Some("parser".into()),
        }),
    }
    .filter(|from| {
        let end = from.offset.checked_add(from.size);
        end.is_some_and(|end| end <= layer.size)
    })
}

fn row(layer: &Layer, from: Option<From>) -> Row {
    let by = |parser: &str| match parser {
        ".bpf" => "opened by its own parser, .bpf".to_owned(),
        name => format!("opened by parser {}", shown(name.as_bytes())),
    };
    Row {
        name: layer.format.to_owned(),
        opened: layer.opened_by.as_ref().map(|opened| by(&opened.parser)),
        size: layer.size,
        blocks: blocks(layer),
        from,
        depth: Some(layer.depth),
    }
}

/// Headers, sections, payload and signatures of a layer, those inside others last.
fn blocks(layer: &Layer) -> Vec<Block> {
    let headers = u64::from(layer.pe.size_of_headers).min(layer.size);
    let mut blocks = vec![Block {
        name: "headers".into(),
        offset: 0,
        size: headers,
        role: Role::Headers,
    }];
    // A plain kernel is a kernel all over: what its loader calls sections is no envelope.
    let plain = layer.format == "kernel";
    blocks.extend(layer.sections.iter().map(|section| Block {
        name: section.name.clone(),
        offset: section.pointer_to_raw_data.into(),
        size: section.size_of_raw_data.into(),
        role: match Role::of_section(&section.name) {
            Role::Program if plain => Role::Kernel,
            role => role,
        },
    }));
    if let Some(zboot) = &layer.zboot {
        blocks.push(Block {
            name: format!("payload ({})", shown(zboot.codec.as_bytes())),
            offset: zboot.payload_offset.into(),
            size: zboot.payload_size.into(),
            role: Role::Kernel,
        });
    }
    if let Some(table) = layer.signature.table {
        blocks.push(Block {
            name: "signatures".into(),
            offset: table.offset,
            size: table.size,
            role: Role::Signature,
        });
    }
    blocks.retain(|block| {
        let end = block.offset.checked_add(block.size);
        block.size > 0 && end.is_some_and(|end| end <= layer.size)
    });
    blocks
}

/// What is left: a kernel that is no layer of its own, and the initrd.
fn results(report: &Report, result: &Outcome, rows: &mut Vec<Row>) {
    let innermost = report.layers.last();
    let seen = innermost.is_some_and(|layer| layer.sha256 == result.kernel.sha256);
    let block = |name: &str, size, role| Block {
        name: name.into(),
        offset: 0,
        size,
        role,
    };
    if !seen {
        let size = result.kernel.size;
        let mut kernel = bar("kernel".into(), size, innermost.and_then(source));
        kernel.blocks.push(block("kernel", size, Role::Kernel));
        rows.push(kernel);
    }
    if let Some(initrd) = &result.initrd {
        let mut bar = bar("initrd".into(), initrd.size, None);
        bar.blocks.push(block("initrd", initrd.size, Role::Initrd));
        rows.push(bar);
    }
}

fn bar(name: String, size: u64, from: Option<From>) -> Row {
    Row {
        name,
        opened: None,
        size,
        blocks: Vec::new(),
        from,
        depth: None,
    }
}
