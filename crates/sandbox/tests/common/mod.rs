//! What the tests share: running the pipeline on bytes.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::path::Path;
use std::process::Command;

use kpeel_envelope::error::Error;
use kpeel_envelope::limits::Limits;
use kpeel_envelope::pipeline::{Parser, Request, unfold};
use kpeel_images::make::{Codec, Machine, Scratch, zboot};
use kpeel_sandbox::{Buffer, Event, Sandbox, Warning};

/// What came out, all in plain bytes.
#[derive(Debug)]
pub struct Outcome {
    pub kernel: Vec<u8>,
    pub initrd: Option<Vec<u8>>,
    pub cmdline: Option<Vec<u8>>,
    pub warnings: Vec<Warning>,
    /// Bytes still charged when everything was dropped.
    pub leaked: u64,
    /// Most bytes charged at one time.
    pub peak: u64,
    pub instructions: u64,
}

/// One run of the pipeline.
#[derive(Clone, Copy)]
pub struct Load<'a> {
    pub image: &'a [u8],
    pub initrd: Option<&'a [u8]>,
    pub cmdline: Option<&'a [u8]>,
    pub carrier: Option<&'a [u8]>,
    pub limits: Limits,
}

impl<'a> Load<'a> {
    pub fn new(image: &'a [u8], carrier: &'a [u8]) -> Self {
        let limits = Limits::default();
        Self {
            image,
            initrd: None,
            cmdline: None,
            carrier: Some(carrier),
            limits,
        }
    }

    pub fn run(&self) -> Result<Outcome, Error> {
        self.traced(&mut Vec::new())
    }

    /// Runs it; every event lands in `events`, also when it fails.
    pub fn traced(&self, events: &mut Vec<Event>) -> Result<Outcome, Error> {
        let mut sandbox = Sandbox::new(self.limits).on_event(|event| events.push(event));
        let meter = sandbox.charge_to().clone();
        let input = |bytes: Option<&[u8]>| {
            bytes
                .map(|bytes| Buffer::from_vec(bytes.to_vec(), &meter))
                .transpose()
        };
        let offered = self.carrier.map(|carrier| Parser {
            name: "test",
            carrier,
        });
        let parsers: Vec<Parser<'_>> = offered.into_iter().collect();
        let request = Request {
            image: Buffer::from_file(self.image, &meter)?,
            initrd: input(self.initrd)?,
            cmdline: input(self.cmdline)?,
            crash: false,
            enforced: false,
            embedded: true,
            parsers: &parsers,
        };
        let result = unfold(&mut sandbox, request);
        let bytes = |buffer: Buffer| buffer.as_ref().to_vec();
        let outcome = result.map(|unfolded| Outcome {
            kernel: bytes(unfolded.kernel),
            initrd: unfolded.initrd.map(bytes),
            cmdline: unfolded.cmdline.map(bytes),
            warnings: sandbox.warnings().to_vec(),
            leaked: 0,
            peak: meter.peak(),
            instructions: sandbox.instructions(),
        });
        drop(sandbox);
        outcome.map(|outcome| Outcome {
            leaked: meter.held(),
            ..outcome
        })
    }
}

/// A zboot image around `kernel`, made by the GNU assembler and the codec's own tool.
pub fn zboot_image(codec: Codec, kernel: &[u8]) -> Vec<u8> {
    let scratch = Scratch::new().unwrap();
    let path = scratch.join("zboot.efi");
    zboot(Machine::Arm64, codec, kernel, &path).unwrap();
    std::fs::read(path).unwrap()
}

/// The carrier of a bundled parser.
pub fn bundled(name: &str) -> &'static [u8] {
    kpeel_parsers::by_name(name).unwrap().carrier
}

/// Debian's package clang-22.
const CLANG: &str = "clang-22";

/// Compiles a fixture and makes a carrier of it as the series' Makefile does.
pub fn c_carrier(name: &str) -> Vec<u8> {
    let scratch = Scratch::new().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/{name}.bpf.c"));
    let object = scratch.join("parser.o");
    let flags = [
        "-target", "bpf", "-mcpu=v3", "-g", "-O2", "-Wall", "-Werror", "-c", "-o",
    ];
    run(Command::new(CLANG).args(flags).arg(&object).arg(source));
    let skeleton = ["gen", "skeleton", "-L"];
    let header = run(Command::new("bpftool")
        .args(skeleton)
        .arg(&object)
        .args(["name", "parser"]));
    let header = String::from_utf8(header).unwrap();
    // bpftool 7.1 leaves its two strings without names.
    let text = format!(
        "const char opts_data[] = {};\nconst char opts_insn[] = {};\n",
        literal(&header, "opts.data = (void *)"),
        literal(&header, "opts.insns = (void *)"),
    );
    let names = scratch.write("carrier.c", text.as_bytes()).unwrap();
    let carrier = scratch.join("carrier.o");
    run(Command::new(CLANG)
        .args(["-c", "-o"])
        .arg(&carrier)
        .arg(names));
    std::fs::read(carrier).unwrap()
}

/// The string literal behind `start`.
fn literal<'h>(header: &'h str, start: &str) -> &'h str {
    let (_, rest) = header
        .split_once(start)
        .unwrap_or_else(|| panic!("no {start} in the header"));
    rest.split_once(';').unwrap().0
}

fn run(command: &mut Command) -> Vec<u8> {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// A trace as text.
pub fn told(events: &[Event]) -> String {
    events.iter().map(|event| format!("{event}\n")).collect()
}

/// The lines that programs printed.
pub fn printed(events: &[Event]) -> Vec<String> {
    let text = |event: &Event| match event {
        Event::Print { text, .. } => Some(text.clone()),
        _ => None,
    };
    events.iter().filter_map(text).collect()
}
