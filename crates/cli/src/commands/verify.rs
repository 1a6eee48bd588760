//! `kpeel verify`.

use std::path::PathBuf;

use clap::Args;

use crate::failure::Result;
use crate::offer::ParserArgs;
use crate::terminal::Terminal;

/// Say who signed an image, and whether that counts
///
/// The image is trusted if one of its signatures leads to a trusted certificate, or if its digest is
/// listed, and nothing about it is revoked; the exit code is 4 if it is not. Layers inside it are
/// found by opening it in the sandbox: a trusted envelope covers them, and signatures of their own
/// are shown too, since a kernel that checks what it loads looks at the innermost only.
#[derive(Args, Debug)]
pub(crate) struct Verify {
    /// The image; - is standard input
    #[arg(value_name = "IMAGE")]
    pub(crate) image: PathBuf,

    /// Whose signatures count: system (the firmware's and the owner's keys), or a file with
    /// certificates in PEM or DER or with an EFI signature list (may be repeated)
    #[arg(long, value_name = "system|FILE", default_value = "system")]
    pub(crate) trust: Vec<String>,

    /// Revokes the certificates and digests in a file of such a kind (may be repeated)
    #[arg(long, value_name = "FILE")]
    pub(crate) revoke: Vec<PathBuf>,

    /// Wants every certificate valid at this time: now, or such as 2026-01-31T12:00:00Z; without it
    /// time does not count, as in firmware
    #[arg(long, value_name = "TIME")]
    pub(crate) valid_at: Option<String>,

    /// Takes signers whose certificates are for other things than signing code, as firmware does
    #[arg(long)]
    pub(crate) any_usage: bool,

    /// Looks at the outermost layer only, as other verifiers do; a file with a usual certificate table (1 MiB at most) is then not kept in memory
    #[arg(long)]
    pub(crate) outer: bool,

    #[command(flatten)]
    pub(crate) parsers: ParserArgs,

    /// Prints JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(not(feature = "trust"))]
impl Verify {
    pub(crate) fn run(&self, _: &mut Terminal) -> Result<()> {
        crate::trust::Verifier::new(&[]).map(|_| ())
    }
}

#[cfg(feature = "trust")]
mod present {
    use std::path::Path;

    use kpeel_envelope::host::Trust as Seen;
    use kpeel_envelope::pe::Pe;
    use kpeel_envelope::pipeline::{self, Request};
    use kpeel_trust::{Hash, Policy, Report, Store, Usage, Validity};
    use serde::Serialize;

    use super::{Result, Terminal, Verify};
    use crate::draw;
    use crate::failure::Failure;
    use crate::input;
    use crate::json;
    use crate::offer::Offer;
    use crate::sections;
    use crate::session::Session;
    use crate::text;
    use crate::trust::{Trust, add_keys, skipped, trust_failure};

    /// The JSON document.
    #[derive(Debug, Serialize)]
    pub(crate) struct Verified {
        pub(crate) path: String,
        /// Whether the outermost layer is trusted.
        pub(crate) trusted: bool,
        pub(crate) layers: Vec<Layer>,
        /// Entries of the key files that were left out.
        pub(crate) skipped: Vec<String>,
        /// Why layers inside could not be looked at.
        pub(crate) error: Option<json::ErrorReport>,
    }

    /// One layer.
    #[derive(Debug, Serialize)]
    pub(crate) struct Layer {
        pub(crate) depth: u32,
        pub(crate) format: &'static str,
        /// The trusted layer around it that covers it.
        pub(crate) covered_by: Option<u32>,
        #[serde(flatten)]
        pub(crate) report: Report,
    }

    impl Verify {
        pub(crate) fn run(&self, terminal: &mut Terminal) -> Result<()> {
            let verified = match self.verify(terminal) {
                Ok(verified) => verified,
                Err(failure) if self.json => return Err(json::print_failure(terminal, failure)),
                Err(failure) => return Err(failure),
            };
            if self.json {
                json::print(terminal, &verified)?;
            } else {
                terminal.result(draw::verified(&verified).draw().as_bytes())?;
            }
            let first = verified.layers.first();
            match first.and_then(|layer| layer.report.refused()) {
                Some(reason) => Err(Failure::refused(reason.to_string()).of(&self.image)),
                None => Ok(()),
            }
        }

        fn verify(&self, terminal: &mut Terminal) -> Result<Verified> {
            let store = self.store()?;
            let policy = self.policy()?;
            let (layers, error) = if self.outer {
                (vec![self.outermost(&store, &policy, terminal)?], None)
            } else {
                self.layers(&store, &policy, terminal)?
            };
            Ok(Verified {
                trusted: layers
                    .first()
                    .is_some_and(|layer| layer.report.is_trusted()),
                error,
                path: self.image.display().to_string(),
                layers,
                skipped: skipped(&store),
            })
        }

        /// The outermost layer, without opening it.
        fn outermost(
            &self,
            store: &Store,
            policy: &Policy,
            terminal: &mut Terminal,
        ) -> Result<Layer> {
            let blamed = |error| trust_failure(&error).of(&self.image);
            // Most signatures and lists need this digest only; where it was not enough, all are made.
            for hashes in [&[Hash::Sha256][..], &Hash::ALL] {
                let Some(outline) = input::pass_to_verify(&self.image, hashes, terminal)? else {
                    break;
                };
                let report = kpeel_trust::verify_outline(&outline, store, policy);
                if let Some(report) = report.map_err(blamed)? {
                    let format = outline.with_pe(sections::format).map_err(blamed)?;
                    return Ok(self.layer(1, format, None, report, || outline.sha256()));
                }
            }
            let image = input::image(&self.image, terminal)?;
            let pe = Pe::parse(image.as_ref()).map_err(|error| blamed(error.into()))?;
            let report = kpeel_trust::verify_pe(&pe, store, policy);
            let format = sections::format(&pe);
            Ok(self.layer(1, format, None, report, || Some(Hash::Sha256.of_image(&pe))))
        }

        /// All layers, and why those inside could not be looked at.
        fn layers(
            &self,
            store: &Store,
            policy: &Policy,
            terminal: &mut Terminal,
        ) -> Result<(Vec<Layer>, Option<json::ErrorReport>)> {
            let offers = self.parsers.offers()?;
            let parsers: Vec<_> = offers.iter().map(Offer::parser).collect();
            let session = Session::new(false);
            let (image, reading) = session.read_hashed(&self.image, Hash::Sha256, terminal)?;
            let path = self.image.display().to_string();
            terminal.progress().begin(format!("verifying {path}"), None);
            let mut layers: Vec<Layer> = Vec::new();
            let request = Request {
                image,
                initrd: None,
                cmdline: None,
                crash: false,
                enforced: false,
                embedded: self.parsers.embedded(),
                parsers: &parsers,
            };
            let mut sandbox = session.into_sandbox().on_verdict(|envelope| {
                let trusted = |layer: &&Layer| layer.report.is_trusted();
                let covered_by = layers.iter().find(trusted).map(|layer| layer.depth);
                // The first is the image as it was read.
                let report = if layers.is_empty() {
                    kpeel_trust::verify_read(envelope.pe, &reading, store, policy)
                } else {
                    kpeel_trust::verify_pe(envelope.pe, store, policy)
                };
                let format = sections::format(envelope.pe);
                let digest = || Some(Hash::Sha256.of_image(envelope.pe));
                layers.push(self.layer(envelope.depth, format, covered_by, report, digest));
                Ok(Seen::Unchecked)
            });
            let unfolded = pipeline::unfold(&mut sandbox, request);
            drop(sandbox);
            let failure = unfolded.err().map(|error| Failure::envelope(&path, error));
            // That what is left is no kernel is no matter here.
            if layers.is_empty() {
                return Err(failure.unwrap_or_else(|| {
                    let message = "found no PE image, needed one: nothing else bears a signature";
                    Failure::told(crate::exit::Exit::Image, message).of(&self.image)
                }));
            }
            Ok((layers, failure.as_ref().map(json::ErrorReport::new)))
        }

        /// One layer; a document has its digest, whether or not the verdict needed it.
        fn layer(
            &self,
            depth: u32,
            format: &'static str,
            covered_by: Option<u32>,
            mut report: Report,
            digest: impl FnOnce() -> Option<Vec<u8>>,
        ) -> Layer {
            if self.json && report.sha256.is_none() {
                report.sha256 = digest().map(|digest| text::hex(&digest));
            }
            Layer {
                depth,
                format,
                covered_by,
                report,
            }
        }

        fn store(&self) -> Result<Store> {
            let trust = Trust::parse(&self.trust)?.unwrap_or(Trust::System);
            if trust == Trust::None {
                let message = "--trust: found none, needed keys to verify with";
                return Err(Failure::usage(message));
            }
            let keys = trust.keys(&self.revoke, Path::new("/"))?;
            let mut store = Store::new();
            add_keys(&mut store, &keys.unwrap_or_default())?;
            Ok(store)
        }

        fn policy(&self) -> Result<Policy> {
            let validity = match &self.valid_at {
                None => Validity::Ignored,
                Some(time) => Validity::parse(time).map_err(|error| trust_failure(&error))?,
            };
            let usage = if self.any_usage {
                Usage::Any
            } else {
                Usage::CodeSigning
            };
            Ok(Policy { usage, validity })
        }
    }
}

#[cfg(feature = "trust")]
pub(crate) use present::Verified;
