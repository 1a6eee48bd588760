//! Watches envelopes as the pipeline opens them.

use kpeel_envelope::carrier::Carrier;
use kpeel_envelope::error::Result;
use kpeel_envelope::host::{Envelope, Host, Source, Stage, Trust};
use kpeel_envelope::limits::Meter;
use kpeel_envelope::pipeline::SECTION_BPF;
use kpeel_envelope::publication::{Resource, Run};
use kpeel_sandbox::Describer;

use crate::hashes::{self, Hashes};
use crate::report::{Layer, Opened, Published};
use crate::sections;

/// A host that takes notes and leaves all work to another one.
pub(crate) struct Watch<'h, H: Host> {
    host: &'h mut H,
    /// The envelopes seen so far.
    pub(crate) layers: Vec<Layer>,
    /// What the host said to the bytes that no parser opened.
    pub(crate) recognised: Result<()>,
    /// Hashes of what is still held.
    pub(crate) hashes: Hashes,
    describer: Describer,
    parser: String,
    /// The image of the armed stage.
    image: Option<H::Buffer>,
    /// The initrd that counts so far.
    initrd: Option<H::Buffer>,
}

impl<'h, H: Host> Watch<'h, H> {
    pub(crate) fn new(host: &'h mut H, hashes: Hashes, describer: Describer) -> Self {
        Self {
            host,
            layers: Vec::new(),
            recognised: Ok(()),
            hashes,
            describer,
            parser: String::new(),
            image: None,
            initrd: None,
        }
    }

    /// Takes down what a parser published.
    fn published(&mut self, run: &Run<H::Buffer>) -> Vec<Published> {
        let image = self.image.take();
        let mut published = Vec::new();
        for resource in [Resource::Kernel, Resource::Initrd, Resource::Cmdline] {
            for publication in run.publications.of(resource) {
                let bytes = publication.bytes.as_ref();
                let whole = image.as_ref().map(AsRef::as_ref);
                let offset = whole.and_then(|whole| hashes::offset(bytes, whole));
                published.push(Published {
                    resource: resource.name(),
                    size: bytes.len() as u64,
                    sha256: self.hashes.sha256(bytes),
                    offset: offset.map(|offset| offset as u64),
                });
            }
        }
        self.forget(run);
        published
    }

    /// Of all that has been hashed, only the kernel and the initrd stay in memory.
    fn forget(&mut self, run: &Run<H::Buffer>) {
        let last = |resource| run.publications.of(resource).last();
        let Some(kernel) = last(Resource::Kernel) else {
            return;
        };
        if let Some(initrd) = last(Resource::Initrd) {
            self.initrd = Some(initrd.bytes.clone());
        }
        let initrd = self.initrd.as_ref().map_or(&[][..], AsRef::as_ref);
        self.hashes.keep(&[kernel.bytes.as_ref(), initrd]);
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
        let listed = sections::sections(pe, &mut self.hashes);
        self.layers.push(Layer {
            depth: envelope.depth,
            size: pe.bytes().len() as u64,
            sha256: self.hashes.sha256(pe.bytes()),
            format: sections::format(pe),
            pe: sections::headers(pe),
            signature: sections::signature(pe),
            profiles: sections::profiles(&listed),
            sections: listed,
            zboot: sections::zboot(pe.bytes()),
            carrier: pe.find(SECTION_BPF).next().map(|section| {
                sections::carrier(section.data(), &mut self.hashes, &mut self.describer)
            }),
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
        self.image = Some(stage.image.clone());
        self.host.arm(stage, carrier)
    }

    fn run(&mut self, armed: &mut Self::Armed) -> Result<Run<Self::Buffer>> {
        let run = self.host.run(armed)?;
        if run.complaint().is_none() {
            let published = self.published(&run);
            let parser = std::mem::take(&mut self.parser);
            if let Some(layer) = self.layers.last_mut() {
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
