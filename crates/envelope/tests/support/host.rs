//! A host whose "parsers" are scripts: the carrier's data, one command a line.
//!
//! ```text
//! kernel SECTION       publish the named section as kernel
//! initrd TEXT          publish; initrd+ TEXT appends; cmdline and cmdline+ alike
//! self                 publish the whole image as kernel
//! notmine | malformed  end with that verdict
//! hint                 a call was refused
//! ```

use std::sync::Arc;

use kpeel_envelope::carrier::Carrier;
use kpeel_envelope::error::{Class, Error, Name, Refusal, Result};
use kpeel_envelope::host::{Envelope, Host, Source, Stage, Trust};
use kpeel_envelope::limits::{Limits, Meter};
use kpeel_envelope::pe::Pe;
use kpeel_envelope::publication::{Complaint, Mode, Origin, Publication, Resource, Run};

pub type Buffer = Arc<[u8]>;

pub struct Script {
    pub meter: Meter,
    /// What `verdict` says for an envelope that nothing covers.
    pub trust: Result<Trust>,
    /// What happened, one line each.
    pub log: Vec<String>,
    /// Bytes that `concat` wrote.
    pub copied: usize,
}

pub struct Armed {
    text: String,
    image: Buffer,
    depth: u32,
}

impl Script {
    pub fn new(limits: Limits) -> Self {
        Self {
            meter: Meter::new(limits),
            trust: Ok(Trust::Unchecked),
            log: Vec::new(),
            copied: 0,
        }
    }
}

pub fn buffer(bytes: &[u8]) -> Buffer {
    Arc::from(bytes)
}

impl Host for Script {
    type Buffer = Buffer;
    type Armed = Armed;

    fn meter(&self) -> &Meter {
        &self.meter
    }

    fn verdict(&mut self, envelope: &Envelope<'_>) -> Result<Trust> {
        self.log.push(format!("verdict {}", envelope.depth));
        if envelope.covered {
            Ok(Trust::Covered)
        } else {
            self.trust
        }
    }

    fn arm(&mut self, stage: &Stage<'_, Buffer>, carrier: &Carrier<'_>) -> Result<Armed> {
        let name = match stage.source {
            Source::Embedded => "embedded",
            Source::Offered(name) => name,
        };
        let cmdline = stage.cmdline.map_or(String::new(), |line| {
            format!(" sees {}", String::from_utf8_lossy(line))
        });
        let crash = if stage.crash { " for a crash" } else { "" };
        self.log
            .push(format!("arm {} {name}{cmdline}{crash}", stage.depth));
        let text = String::from_utf8(carrier.data.to_vec()).unwrap();
        Ok(Armed {
            text,
            image: stage.image.clone(),
            depth: stage.depth,
        })
    }

    fn run(&mut self, armed: &mut Armed) -> Result<Run<Buffer>> {
        let mut run = Run::new();
        for line in armed.text.lines() {
            let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
            let (command, mode) = match command.strip_suffix('+') {
                Some(command) => (command, Mode::Append),
                None => (command, Mode::Replace),
            };
            let (resource, bytes) = match command {
                "kernel" => {
                    let pe = Pe::parse(&armed.image)?;
                    let section = pe.find(rest).next().unwrap();
                    (Resource::Kernel, section.data().to_vec())
                }
                "self" => (Resource::Kernel, armed.image.to_vec()),
                "initrd" => (Resource::Initrd, rest.as_bytes().to_vec()),
                "cmdline" => (Resource::Cmdline, rest.replace('~', "\0").into_bytes()),
                "notmine" => {
                    let field = Name::from_bytes(b"magic");
                    run.complain(Complaint::NotMine {
                        field,
                        found: 1,
                        needed: 2,
                    });
                    continue;
                }
                "malformed" => {
                    let field = Name::from_bytes(rest.as_bytes());
                    let error = Error::verdict(Class::Malformed, field, 1, 2);
                    run.complain(Complaint::Error(error));
                    continue;
                }
                "hint" => {
                    run.hint(Error::absent(Class::Malformed, "payload"));
                    continue;
                }
                other => panic!("unknown command {other:?}"),
            };
            let bytes = Arc::from(bytes);
            run.publications.push(Publication {
                resource,
                mode,
                origin: Origin::Image,
                bytes,
            })?;
        }
        Ok(run)
    }

    fn post(&mut self, armed: &mut Armed) -> Result<()> {
        self.log.push(format!("post {}", armed.depth));
        Ok(())
    }

    fn concat(&mut self, parts: &[&[u8]]) -> Result<Buffer> {
        let whole = parts.concat();
        self.copied += whole.len();
        Ok(Arc::from(whole))
    }

    fn recognise(&mut self, kernel: &[u8]) -> Result<()> {
        let pe = |name| Pe::parse(kernel).is_ok_and(|pe| pe.find(name).next().is_some());
        if kernel.starts_with(b"KERNEL") || pe(".kernel") {
            return Ok(());
        }
        Err(Error::reason(
            Class::Unsupported,
            "format",
            "no plain kernel",
        ))
    }
}

/// Refusal for want of a good signature.
pub fn bad_signature() -> Error {
    Error::reason(Class::Refused(Refusal::Signature), "signature", "bad")
}
