//! What the pipeline needs of whoever executes a stage.

use super::carrier::Carrier;
use super::error::Result;
use super::limits::Meter;
use super::pe::{Covered, Pe};
use super::publication::Run;

/// Executes stages: Linux, or the sandbox in user space.
///
/// The pipeline lends a host nothing while BPF runs: a run returns all it published by value.
pub trait Host {
    /// An immutable, shareable run of bytes, charged to the meter when made and released when the
    /// last clone is dropped.
    type Buffer: AsRef<[u8]> + Clone;

    /// A loaded parser. Dropping it disarms: afterwards nothing of it runs or is reachable.
    type Armed;

    /// The load's meter, with its limits.
    fn meter(&self) -> &Meter;

    /// Whether the signature of an envelope lets its parser run. Called before any section
    /// content is read.
    ///
    /// # Errors
    /// `Refused` where the policy forbids the image.
    fn verdict(&mut self, envelope: &Envelope<'_>) -> Result<Trust>;

    /// Loads the carrier's parser for one stage.
    ///
    /// # Errors
    /// `Malformed` for a carrier that does not load, `Refused` for one that asks too much.
    fn arm(
        &mut self,
        stage: &Stage<'_, Self::Buffer>,
        carrier: &Carrier<'_>,
    ) -> Result<Self::Armed>;

    /// Runs the armed parser on its stage.
    ///
    /// # Errors
    /// Failures of the host or of the program itself; a parser's verdict is inside [`Run`].
    fn run(&mut self, armed: &mut Self::Armed) -> Result<Run<Self::Buffer>>;

    /// Runs the program for the second anchor, if the parser has one, after the stage's
    /// resources are taken. It may not publish.
    ///
    /// # Errors
    /// As for [`Host::run`].
    fn post(&mut self, armed: &mut Self::Armed) -> Result<()>;

    /// One buffer holding all parts, one after the other.
    ///
    /// # Errors
    /// `Refused` when the meter does not allow it, `System` without memory.
    fn concat(&mut self, parts: &[&[u8]]) -> Result<Self::Buffer>;

    /// Whether bytes that no parser opens are a kernel this machine can start; asked once, for
    /// what would be the result.
    ///
    /// # Errors
    /// `Unsupported` for anything else.
    fn recognise(&mut self, kernel: &[u8]) -> Result<()>;
}

/// One envelope before its signature verdict.
#[derive(Debug)]
pub struct Envelope<'a> {
    /// 1 for the outermost.
    pub depth: u32,
    /// Its checked headers.
    pub pe: &'a Pe<'a>,
    /// Whether its bytes lie inside an envelope whose signature was verified.
    pub covered: bool,
}

/// What the host found out about a signature.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trust {
    /// Nobody asked for a check.
    Unchecked,
    /// A good signature of the envelope itself.
    Verified,
    /// Inside a verified envelope.
    Covered,
}

/// What a parser is armed for.
#[derive(Debug)]
pub struct Stage<'a, B> {
    /// 1 for the outermost envelope.
    pub depth: u32,
    /// The envelope, all its bytes.
    pub image: &'a B,
    /// Which of them the parser may see.
    pub covered: Covered,
    /// The caller's initrd.
    pub initrd: Option<&'a B>,
    /// The caller's command line with its selector, as the parser sees it.
    pub cmdline: Option<&'a B>,
    /// Whether this is a crash (kdump) load.
    pub crash: bool,
    /// Where the parser comes from.
    pub source: Source<'a>,
}

/// Where a parser comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Source<'a> {
    /// The envelope's own `.bpf` section.
    Embedded,
    /// One the caller or the host offers, by name.
    Offered(&'a str),
}
