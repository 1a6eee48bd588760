//! Reports as trees for people.

use crate::commands::Checked;
use crate::report::{Carrier, Layer, Opened, Outcome, Parser, Report, Section, Signature};
#[cfg(feature = "trust")]
use crate::text::printable;
use crate::text::{escape, shown, size};
use crate::tree::Node;

/// Characteristics that people care for ("Section Flags").
const EXECUTE: u32 = 0x2000_0000;
const READ: u32 = 0x4000_0000;
const WRITE: u32 = 0x8000_0000;

/// The layers of an image.
pub(crate) fn tree(report: &Report) -> Node {
    let (path, bytes) = (escape(report.path.as_bytes()), size(report.size));
    let mut root = Node::new(format!("{path}: {bytes}, sha256 {}", report.sha256));
    for layer in &report.layers {
        root.push(self::layer(layer));
    }
    if let Some(result) = &report.result {
        root.push(outcome(result));
    }
    root
}

/// What a parser did to an image.
pub(crate) fn checked(checked: &Checked) -> Node {
    let (parser, image) = (
        escape(checked.parser.as_bytes()),
        escape(checked.image.as_bytes()),
    );
    let mut root = Node::new(format!("{parser} on {image}: {}", checked.verdict));
    root.push(carrier("parser", &checked.carrier));
    for published in &checked.published {
        let how = if published.append { " (appended)" } else { "" };
        let (bytes, hash) = (size(published.blob.size), &published.blob.sha256);
        root.line(format!(
            "{}{how}: {bytes}, sha256 {hash}",
            published.resource
        ));
    }
    for warning in &checked.warnings {
        root.line(warning.line());
    }
    root.line(format!("{} instructions executed", checked.instructions));
    root
}

/// Who signed an image, layer by layer. Sources of keys are files, whose names may hold anything.
#[cfg(feature = "trust")]
pub(crate) fn verified(verified: &crate::commands::Verified) -> Node {
    let path = escape(verified.path.as_bytes());
    let verdict = if verified.trusted {
        "trusted"
    } else {
        "NOT trusted"
    };
    let mut root = Node::new(format!("{path}: {verdict}"));
    for layer in &verified.layers {
        let (depth, format) = (layer.depth, layer.format);
        let how = match (&layer.report.verdict, layer.covered_by) {
            (kpeel_trust::Verdict::Signed { signature }, _) => {
                format!("good signature ({})", signature.saturating_add(1))
            }
            (kpeel_trust::Verdict::Listed { source }, _) => format!("digest listed by {source}"),
            (kpeel_trust::Verdict::Refused { reason }, None) => format!("refused: {reason}"),
            (kpeel_trust::Verdict::Refused { reason }, Some(outer)) => {
                format!("covered by envelope {outer}; by itself: {reason}")
            }
        };
        let how = printable(&how);
        let mut node = Node::new(format!("envelope {depth} ({format}): {how}"));
        for (index, one) in layer.report.signatures.iter().enumerate() {
            node.push(judged(index.saturating_add(1), one));
        }
        for part in &layer.report.uncovered {
            let (start, end, what) = (part.start, part.end, part.what);
            node.line(format!("not covered: bytes {start:#x} to {end:#x}, {what}"));
        }
        root.push(node);
    }
    if let Some(error) = &verified.error {
        let error = escape(error.message().as_bytes());
        root.line(format!("nothing more was opened: {error}"));
    }
    for skipped in &verified.skipped {
        root.line(format!("left out: {}", printable(skipped)));
    }
    root
}

/// One signature.
#[cfg(feature = "trust")]
fn judged(number: usize, one: &kpeel_trust::SignatureReport) -> Node {
    let hash = one.hash.map_or("", kpeel_trust::Hash::name);
    let verdict = match &one.refused {
        None => "good".to_owned(),
        Some(reason) => printable(&format!("refused: {reason}")),
    };
    let mut node = Node::new(format!("signature {number} {hash}: {verdict}"));
    for (index, certificate) in one.chain.iter().enumerate() {
        let role = if index == 0 { "signed by" } else { "issued by" };
        let (subject, key) = (&certificate.subject, &certificate.key);
        let (from, to) = (&certificate.not_before, &certificate.not_after);
        node.line(format!("{role} {subject} ({key}, {from} to {to})"));
    }
    if let Some(source) = &one.anchor {
        node.line(printable(&format!("trusted by {source}")));
    }
    node
}

fn layer(layer: &Layer) -> Node {
    let machine = match layer.pe.machine_name {
        Some(name) => name.to_owned(),
        None => format!("machine {:#06x}", layer.pe.machine),
    };
    let signed = if layer.signature.present {
        "signed"
    } else {
        "unsigned"
    };
    let (depth, format, bytes) = (layer.depth, layer.format, size(layer.size));
    let mut node = Node::new(format!(
        "envelope {depth}: {format}, {machine}, {signed}, {bytes}"
    ));
    node.line(format!("sha256 {}", layer.sha256));
    signature(&layer.signature, &mut node);
    let mut table = Node::new(format!("{} sections", layer.sections.len()));
    for section in &layer.sections {
        table.push(self::section(section));
    }
    node.push(table);
    for profile in &layer.profiles {
        let id = profile
            .id
            .as_deref()
            .map(|id| format!(" {}", shown(id.as_bytes())));
        let title = profile
            .title
            .as_deref()
            .map(|title| format!(": {}", shown(title.as_bytes())));
        let (id, title) = (id.unwrap_or_default(), title.unwrap_or_default());
        node.line(format!("profile {}{id}{title}", profile.index));
    }
    if let Some(zboot) = &layer.zboot {
        let (bytes, offset) = (size(zboot.payload_size.into()), zboot.payload_offset);
        let codec = shown(zboot.codec.as_bytes());
        node.line(format!("payload: {codec}, {bytes} at {offset:#x}"));
    }
    if let Some(found) = &layer.carrier {
        node.push(carrier(".bpf", found));
    }
    if let Some(opened) = &layer.opened_by {
        node.push(self::opened(opened));
    }
    node
}

fn signature(signature: &Signature, node: &mut Node) {
    for certificate in &signature.certificates {
        let kind = match certificate.type_name {
            Some(name) => name.to_owned(),
            None => format!("type {:#06x}", certificate.r#type),
        };
        node.line(format!("signature: {kind}, {}", size(certificate.size)));
    }
    if let Some(error) = &signature.error {
        node.line(format!("certificate table: {error}"));
    }
    if let Some(uncovered) = &signature.uncovered {
        node.line(format!("layout that no signature can cover: {uncovered}"));
    }
}

fn section(section: &Section) -> Node {
    let flag = |bit: u32, letter: char| {
        if section.characteristics & bit != 0 {
            letter
        } else {
            '-'
        }
    };
    let flags: String = [flag(READ, 'r'), flag(WRITE, 'w'), flag(EXECUTE, 'x')]
        .iter()
        .collect();
    let profile = section
        .profile
        .map(|number| format!(" profile {number}"))
        .unwrap_or_default();
    let mut node = Node::new(format!(
        "{:8} {flags} address {:#x}+{:#x} file {:#x}+{:#x}{profile} sha256 {}",
        section.name,
        section.virtual_address,
        section.virtual_size,
        section.pointer_to_raw_data,
        section.size_of_raw_data,
        section.sha256,
    ));
    if let Some(text) = section
        .text
        .as_deref()
        .filter(|_| is_one_line(&section.name))
    {
        node.line(format!("\"{}\"", shown(text.as_bytes())));
    }
    node
}

/// Sections whose text says something in one line.
fn is_one_line(name: &str) -> bool {
    matches!(name, ".cmdline" | ".uname")
}

fn carrier(name: &str, carrier: &Carrier) -> Node {
    let mut node = Node::new(format!(
        "{name}: {}, sha256 {}",
        size(carrier.size),
        carrier.sha256
    ));
    if let Some(error) = &carrier.error {
        node.line(error.clone());
    }
    if let Some(parser) = &carrier.parser {
        programs(parser, &mut node);
    }
    node
}

fn programs(parser: &Parser, node: &mut Node) {
    node.line(format!(
        "loader: {} instructions",
        parser.loader_instructions
    ));
    for program in &parser.programs {
        let (name, anchor) = (shown(program.name.as_bytes()), program.anchor);
        let mut line = Node::new(format!(
            "program {name} for {anchor}: {} instructions",
            program.instructions
        ));
        for (kind, names) in [("kfuncs", &program.kfuncs), ("helpers", &program.helpers)] {
            if !names.is_empty() {
                line.line(format!("{kind}: {}", shown(names.join(", ").as_bytes())));
            }
        }
        node.push(line);
    }
    for map in &parser.maps {
        let (name, kind) = (shown(map.name.as_bytes()), map.r#type);
        let bytes = u64::from(map.value_size.max(1)).saturating_mul(map.max_entries.into());
        node.line(format!("map {name}: {kind}, {}", size(bytes)));
    }
}

fn opened(opened: &Opened) -> Node {
    let mut node = Node::new(format!("opened by {}", escape(opened.parser.as_bytes())));
    for published in &opened.published {
        let (bytes, hash) = (size(published.size), &published.sha256);
        node.line(format!("{}: {bytes}, sha256 {hash}", published.resource));
    }
    for warning in &opened.warnings {
        node.line(warning.line());
    }
    node
}

fn outcome(result: &Outcome) -> Node {
    let count = result.envelopes_opened;
    let envelopes = if count == 1 { "envelope" } else { "envelopes" };
    let mut node = Node::new(format!("result after {count} {envelopes}"));
    let kind = result
        .kernel_machine
        .map(|name| format!("for {name}, "))
        .unwrap_or_default();
    let blobs = [
        ("kernel", kind.as_str(), Some(&result.kernel)),
        ("initrd", "", result.initrd.as_ref()),
    ];
    for (name, kind, blob) in blobs {
        if let Some(blob) = blob {
            node.line(format!(
                "{name}: {kind}{}, sha256 {}",
                size(blob.size),
                blob.sha256
            ));
        }
    }
    if let Some(cmdline) = &result.cmdline {
        node.line(format!("cmdline: \"{}\"", shown(cmdline.as_bytes())));
    }
    node
}
