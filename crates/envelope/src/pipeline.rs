//! The pipeline: envelope after envelope, until a plain kernel is left.
//!
//! ```text
//! bytes -> header checks -> signature verdict -> carrier -> arm -> run -> publications -> disarm
//!       -> the published kernel is the next envelope -> ... -> composition
//! ```

use super::authenticode::check_coverage;
use super::carrier::Carrier;
use super::compose::{check_caller, check_size, cmdline_text, join, split_selector};
use super::error::{Class, Error, Needed, Result};
use super::host::{Envelope, Host, Source, Stage, Trust};
use super::limits::{Limits, ABI_SIZE_MAX};
use super::pe::{looks_like_pe, Pe, SUBSYSTEM_EFI_APPLICATION};
use super::publication::{Complaint, Publications, Resource, MAX_PUBLICATIONS};

/// Name of the section that holds the carrier.
pub const SECTION_BPF: &str = ".bpf";

/// What to unfold, and how.
#[derive(Debug)]
pub struct Request<'a, B> {
    /// The image, all its bytes.
    pub image: B,
    /// The caller's initrd.
    pub initrd: Option<B>,
    /// The caller's command line without NUL at its end; `@N ` before it selects a profile.
    pub cmdline: Option<B>,
    /// Whether this is a crash (kdump) load.
    pub crash: bool,
    /// Whether policy enforces signatures.
    pub enforced: bool,
    /// Whether the parsers that envelopes carry are run.
    pub embedded: bool,
    /// Parsers tried, in order, on envelopes whose own is absent or not wanted.
    pub parsers: &'a [Parser<'a>],
}

/// A parser offered by the caller or the host.
#[derive(Clone, Copy, Debug)]
pub struct Parser<'a> {
    /// How messages call it.
    pub name: &'a str,
    /// Its carrier.
    pub carrier: &'a [u8],
}

/// What is left when every envelope is open.
#[derive(Debug)]
pub struct Unfolded<B> {
    /// The plain kernel.
    pub kernel: B,
    /// The initrd, if there is one.
    pub initrd: Option<B>,
    /// The command line without NUL, if there is one.
    pub cmdline: Option<B>,
    /// Where the parts come from.
    pub provenance: Provenance,
}

/// Where the parts of a result come from.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Provenance {
    /// Envelopes opened; 0 means that the image itself is the kernel, untouched.
    pub opened: u32,
    /// Parts of the initrd.
    pub initrd: Parts,
    /// Parts of the command line.
    pub cmdline: Parts,
    /// The profile the caller selected.
    pub profile: Option<u32>,
}

/// Parts of a composed resource.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Parts {
    /// The envelope that published it, if one did.
    pub envelope: Option<u32>,
    /// Whether the caller's part follows.
    pub caller: bool,
}

/// Runs the pipeline to its end.
///
/// # Errors
/// Each with the depth of the envelope it concerns; see [`Error`].
pub fn unfold<H: Host>(
    host: &mut H,
    request: Request<'_, H::Buffer>,
) -> Result<Unfolded<H::Buffer>> {
    check_request(host, &request)?;
    let mut pipeline = Pipeline {
        host,
        request: &request,
        trusted: false,
        taken: Taken::new(),
    };
    let mut image = request.image.clone();
    let mut depth: u32 = 0;
    loop {
        let next = depth.saturating_add(1);
        match pipeline
            .open(&image, next)
            .map_err(|error| error.at_depth(next))?
        {
            Some(kernel) => image = kernel,
            None => break,
        }
        depth = next;
    }
    let Pipeline { host, taken, .. } = pipeline;
    host.recognise(image.as_ref())
        .map_err(|error| error.at_depth(depth))?;
    compose(host, &request, taken, depth, image)
}

struct Pipeline<'p, H: Host> {
    host: &'p mut H,
    request: &'p Request<'p, H::Buffer>,
    /// Whether an envelope's signature was verified: it covers everything inside.
    trusted: bool,
    taken: Taken<H::Buffer>,
}

/// Initrd and command line so far, with the envelope that published them.
struct Taken<B> {
    initrd: Option<(B, u32)>,
    cmdline: Option<(B, u32)>,
    /// Whether any envelope gave a command line, be it blank: what is signed says then that there is none.
    cmdline_given: bool,
}

/// What one parser made of one envelope.
enum Opened<B> {
    Kernel(B),
    NotMine,
}

impl<B> Taken<B> {
    const fn new() -> Self {
        Self {
            initrd: None,
            cmdline: None,
            cmdline_given: false,
        }
    }
}

impl<H: Host> Pipeline<'_, H> {
    /// Opens one envelope; `None` when no parser is there for these bytes.
    fn open(&mut self, image: &H::Buffer, depth: u32) -> Result<Option<H::Buffer>> {
        let bytes = image.as_ref();
        if !looks_like_pe(bytes) {
            return Ok(None);
        }
        let pe = Pe::parse(bytes)?;
        if self.request.enforced && !self.trusted {
            check_coverage(&pe)?;
        }
        let envelope = Envelope {
            depth,
            pe: &pe,
            covered: self.trusted,
        };
        self.trusted |= matches!(
            self.host.verdict(&envelope)?,
            Trust::Verified | Trust::Covered
        );
        // Section contents are read from here on.
        let embedded = embedded_carrier(&pe)?.filter(|_| self.request.embedded);
        if embedded.is_none() && self.request.parsers.is_empty() {
            return Ok(None);
        }
        if depth > self.host.meter().limits().depth {
            return self.too_deep(bytes, embedded.is_some(), depth);
        }
        match embedded {
            Some(carrier) => self.open_by_own(image, &pe, depth, carrier).map(Some),
            None => self.open_by_offered(image, &pe, depth),
        }
    }

    /// Past the depth bound only a plain kernel without a parser of its own may follow.
    fn too_deep(
        &mut self,
        bytes: &[u8],
        has_parser: bool,
        depth: u32,
    ) -> Result<Option<H::Buffer>> {
        if !has_parser && self.host.recognise(bytes).is_ok() {
            return Ok(None);
        }
        let allowed = self.host.meter().limits().depth;
        Err(Error::bound("depth", depth.into(), allowed.into()))
    }

    fn open_by_own(
        &mut self,
        image: &H::Buffer,
        pe: &Pe<'_>,
        depth: u32,
        carrier: &[u8],
    ) -> Result<H::Buffer> {
        match self.run(image, pe, depth, Source::Embedded, carrier)? {
            Opened::Kernel(kernel) => Ok(kernel),
            Opened::NotMine => Err(Error::reason(
                Class::Malformed,
                SECTION_BPF,
                "the envelope's own parser says that the image is not of its format",
            )),
        }
    }

    fn open_by_offered(
        &mut self,
        image: &H::Buffer,
        pe: &Pe<'_>,
        depth: u32,
    ) -> Result<Option<H::Buffer>> {
        for parser in self.request.parsers {
            let source = Source::Offered(parser.name);
            match self.run(image, pe, depth, source, parser.carrier)? {
                Opened::Kernel(kernel) => return Ok(Some(kernel)),
                Opened::NotMine => {}
            }
        }
        Ok(None)
    }

    /// Arms one parser, runs it, takes what it published, disarms it.
    fn run(
        &mut self,
        image: &H::Buffer,
        pe: &Pe<'_>,
        depth: u32,
        source: Source<'_>,
        carrier: &[u8],
    ) -> Result<Opened<H::Buffer>> {
        let subsystem = pe.headers().subsystem;
        if subsystem != SUBSYSTEM_EFI_APPLICATION {
            let needed = Needed::Exactly(SUBSYSTEM_EFI_APPLICATION.into());
            let class = Class::Unsupported;
            return Err(Error::value(class, "Subsystem", subsystem.into(), needed));
        }
        let carrier = Carrier::parse(carrier)?;
        let covered = pe.covered();
        Limits::check("image", covered.len as u64, ABI_SIZE_MAX)?;
        let stage = Stage {
            depth,
            image,
            covered,
            initrd: self.request.initrd.as_ref(),
            cmdline: self.request.cmdline.as_ref(),
            crash: self.request.crash,
            source,
        };
        let mut armed = self.host.arm(&stage, &carrier)?;
        let run = self.host.run(&mut armed)?;
        match run.complaint() {
            Some(Complaint::NotMine { .. }) => return Ok(Opened::NotMine),
            Some(Complaint::Error(error)) => return Err(error),
            None => {}
        }
        let kernel = self.take(run.publications, depth)?;
        self.host.post(&mut armed)?;
        Ok(Opened::Kernel(kernel))
    }

    /// Takes a stage's resources; they replace those of earlier stages.
    fn take(&mut self, mut publications: Publications<H::Buffer>, depth: u32) -> Result<H::Buffer> {
        let kernel = publications
            .take(Resource::Kernel)
            .map(|publication| publication.bytes);
        let kernel = kernel.ok_or(Error::absent(Class::Bug, Resource::Kernel.name()))?;
        check_size(self.host, Resource::Kernel, &[kernel.as_ref().len()])?;
        if let Some(initrd) = self.joined(&mut publications, Resource::Initrd)? {
            self.taken.initrd = Some((initrd, depth));
        }
        self.taken.cmdline_given |= publications.of(Resource::Cmdline).next().is_some();
        if let Some(cmdline) = self.joined(&mut publications, Resource::Cmdline)? {
            self.taken.cmdline = text(self.host, cmdline)?.map(|text| (text, depth));
        }
        Ok(kernel)
    }

    fn joined(
        &mut self,
        publications: &mut Publications<H::Buffer>,
        resource: Resource,
    ) -> Result<Option<H::Buffer>> {
        let mut parts = [const { None }; MAX_PUBLICATIONS];
        for slot in &mut parts {
            let Some(part) = publications.take(resource) else {
                break;
            };
            *slot = match resource {
                Resource::Cmdline => text(self.host, part.bytes)?,
                _ => Some(part.bytes),
            };
        }
        join(self.host, resource, &parts)
    }
}

/// The carrier of the image, if it has one; two are malformed.
fn embedded_carrier<'a>(pe: &Pe<'a>) -> Result<Option<&'a [u8]>> {
    let mut sections = pe.find(SECTION_BPF);
    let first = sections.next();
    let more = sections.count() as u64;
    if more != 0 {
        let found = more.saturating_add(1);
        return Err(Error::malformed(
            "number of .bpf sections",
            found,
            Needed::AtMost(1),
        ));
    }
    Ok(first.map(|section| section.data()))
}

/// A command line as text; `None` when nothing is left of it.
fn text<H: Host>(host: &mut H, cmdline: H::Buffer) -> Result<Option<H::Buffer>> {
    let text = cmdline_text(cmdline.as_ref())?;
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() == cmdline.as_ref().len() {
        return Ok(Some(cmdline));
    }
    host.concat(&[text]).map(Some)
}

fn check_request<H: Host>(host: &H, request: &Request<'_, H::Buffer>) -> Result<()> {
    let limits = *host.meter().limits();
    let len = |buffer: &H::Buffer| buffer.as_ref().len() as u64;
    Limits::check("image", len(&request.image), limits.image)?;
    if let Some(cmdline) = &request.cmdline {
        split_selector(cmdline.as_ref())?;
    }
    for (resource, buffer) in [
        (Resource::Initrd, &request.initrd),
        (Resource::Cmdline, &request.cmdline),
    ] {
        if let Some(buffer) = buffer {
            check_size(host, resource, &[buffer.as_ref().len()])?;
        }
    }
    Ok(())
}

fn compose<H: Host>(
    host: &mut H,
    request: &Request<'_, H::Buffer>,
    taken: Taken<H::Buffer>,
    opened: u32,
    kernel: H::Buffer,
) -> Result<Unfolded<H::Buffer>> {
    let (profile, caller_cmdline) = caller_cmdline(host, request)?;
    let mut provenance = Provenance {
        opened,
        profile,
        ..Provenance::default()
    };
    let caller = request.initrd.clone();
    let (initrd_has, line_has) = (caller.is_some(), caller_cmdline.is_some());
    let initrd_given = taken.initrd.is_some();
    check_caller(Resource::Initrd, request.enforced, initrd_given, initrd_has)?;
    check_caller(
        Resource::Cmdline,
        request.enforced,
        taken.cmdline_given,
        line_has,
    )?;
    let initrd = compose_one(
        host,
        (Resource::Initrd, &mut provenance.initrd),
        taken.initrd,
        caller,
    )?;
    let cmdline = compose_one(
        host,
        (Resource::Cmdline, &mut provenance.cmdline),
        taken.cmdline,
        caller_cmdline,
    )?;
    Ok(Unfolded {
        kernel,
        initrd,
        cmdline,
        provenance,
    })
}

fn compose_one<H: Host>(
    host: &mut H,
    (resource, parts): (Resource, &mut Parts),
    image: Option<(H::Buffer, u32)>,
    caller: Option<H::Buffer>,
) -> Result<Option<H::Buffer>> {
    *parts = Parts {
        envelope: image.as_ref().map(|(_, depth)| *depth),
        caller: caller.is_some(),
    };
    join(host, resource, &[image.map(|(bytes, _)| bytes), caller])
}

/// The caller's command line without its selector, and the profile it selects.
fn caller_cmdline<H: Host>(
    host: &mut H,
    request: &Request<'_, H::Buffer>,
) -> Result<(Option<u32>, Option<H::Buffer>)> {
    let Some(cmdline) = &request.cmdline else {
        return Ok((None, None));
    };
    let (profile, rest) = split_selector(cmdline.as_ref())?;
    let misuse = |error| Error {
        class: Class::Misuse,
        ..error
    };
    let line = cmdline_text(rest).map_err(misuse)?;
    let line = match line.len() {
        0 => None,
        len if len == cmdline.as_ref().len() => Some(cmdline.clone()),
        _ => Some(host.concat(&[line])?),
    };
    Ok((profile, line))
}
