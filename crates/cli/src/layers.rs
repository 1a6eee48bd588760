//! Watches envelopes as the pipeline opens them.

use kpeel_envelope::carrier::Carrier;
use kpeel_envelope::error::Result;
use kpeel_envelope::host::{Envelope, Host, Source, Stage, Trust};
use kpeel_envelope::limits::Meter;
use kpeel_envelope::pipeline::SECTION_BPF;
use kpeel_envelope::publication::{Resource, Run};

use crate::report::{Layer, Opened, Published};
use crate::sections;
use crate::text::sha256;

/// A host that takes notes and leaves all work to another one.
#[derive(Debug)]
pub(crate) struct Watch<'h, H> {
    host: &'h mut H,
    /// The envelopes seen so far.
    pub(crate) layers: Vec<Layer>,
    /// What the host said to the bytes that no parser opened.
    pub(crate) recognised: Result<()>,
    parser: String,
}

impl<'h, H: Host> Watch<'h, H> {
    pub(crate) fn new(host: &'h mut H) -> Self {
        Self {
            host,
            layers: Vec::new(),
            recognised: Ok(()),
            parser: String::new(),
        }
    }
}

impl<H: Host> Host for Watch<'_, H> {
    type Buffer = H::Buffer;
    type Armed = H::Armed;

    fn meter(&self) -> &Meter {
        self.host.meter()
    }

    fn verdict(&mut self, envelope: &Envelope<'_>) -> Result<Trust> {
        let pe = envelope.pe;
        let listed = sections::sections(pe);
        self.layers.push(Layer {
            depth: envelope.depth,
            size: pe.bytes().len() as u64,
            sha256: sha256(pe.bytes()),
            format: sections::format(pe),
            pe: sections::headers(pe),
            signature: sections::signature(pe),
            profiles: sections::profiles(&listed),
            sections: listed,
            zboot: sections::zboot(pe.bytes()),
            carrier: pe
                .find(SECTION_BPF)
                .next()
                .map(|section| sections::carrier(section.data())),
            opened_by: None,
        });
        self.host.verdict(envelope)
    }

    fn arm(
        &mut self,
        stage: &Stage<'_, Self::Buffer>,
        carrier: &Carrier<'_>,
    ) -> Result<Self::Armed> {
        self.parser = match stage.source {
            Source::Embedded => SECTION_BPF.to_owned(),
            Source::Offered(name) => name.to_owned(),
        };
        self.host.arm(stage, carrier)
    }

    fn run(&mut self, armed: &mut Self::Armed) -> Result<Run<Self::Buffer>> {
        let run = self.host.run(armed)?;
        if run.complaint().is_none() {
            let mut published = Vec::new();
            for resource in [Resource::Kernel, Resource::Initrd, Resource::Cmdline] {
                published.extend(run.publications.of(resource).map(|publication| Published {
                    resource: resource.name(),
                    size: publication.bytes.as_ref().len() as u64,
                    sha256: sha256(publication.bytes.as_ref()),
                }));
            }
            if let Some(layer) = self.layers.last_mut() {
                let parser = std::mem::take(&mut self.parser);
                layer.opened_by = Some(Opened {
                    parser,
                    published,
                    warnings: Vec::new(),
                });
            }
        }
        Ok(run)
    }

    fn post(&mut self, armed: &mut Self::Armed) -> Result<()> {
        self.host.post(armed)
    }

    fn concat(&mut self, parts: &[&[u8]]) -> Result<Self::Buffer> {
        self.host.concat(parts)
    }

    fn recognise(&mut self, kernel: &[u8]) -> Result<()> {
        self.recognised = self.host.recognise(kernel);
        self.recognised
    }
}
