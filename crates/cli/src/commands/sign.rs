//! `kpeel sign`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::failure::Result;
use crate::terminal::Terminal;

/// Sign a PE image
///
/// The signature (Authenticode) covers every byte of the image; an image laid out so that one could
/// not be covered is refused. An image that is signed already needs --append or --replace. Several
/// keys, each with its certificate, make several signatures; firmware looks at each in turn.
///
/// UEFI firmware takes RSA keys of 2048 bits and more with SHA-256; some takes nothing else. Linux
/// takes ECDSA too.
#[derive(Args, Debug)]
pub(crate) struct Sign {
    /// The image; - is standard input
    #[arg(value_name = "IMAGE")]
    pub(crate) image: PathBuf,

    /// The private key: PKCS #8 (also encrypted), PKCS #1 or SEC 1, in PEM or DER; or the pkcs11:
    /// address of one in a token (may be repeated)
    #[arg(long, value_name = "FILE|pkcs11:...", required = true)]
    pub(crate) key: Vec<PathBuf>,

    /// The key's certificate, in PEM or DER; issuers that follow it in the file go along (once for
    /// each --key, in the same order)
    #[arg(long, value_name = "FILE", required = true)]
    pub(crate) cert: Vec<PathBuf>,

    /// The hash function; without it the one that goes with the key (SHA-256 for RSA)
    #[arg(long, value_name = "HASH")]
    pub(crate) digest: Option<Digest>,

    /// Keeps the signatures that the image has
    #[arg(long, conflicts_with = "replace")]
    pub(crate) append: bool,

    /// Drops the signatures that the image has
    #[arg(long)]
    pub(crate) replace: bool,

    /// Reads the passphrase of encrypted keys, or a token's PIN, from the first line of FILE instead
    /// of asking for it
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,

    /// Where the signed image goes; it appears complete or not at all
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: PathBuf,
}

/// A hash function.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
#[allow(clippy::enum_variant_names, reason = "they are called so")]
pub(crate) enum Digest {
    Sha256,
    Sha384,
    Sha512,
}

#[cfg(feature = "trust")]
pub(crate) use present::Identities;

/// Nothing signs in a kpeel without signatures.
#[cfg(not(feature = "trust"))]
#[derive(Debug)]
pub(crate) enum Identities {}

#[cfg(not(feature = "trust"))]
impl Sign {
    pub(crate) fn run(&self, terminal: &mut Terminal) -> Result<()> {
        self.identities(terminal).map(|_| ())
    }

    /// Says that this cannot be done.
    pub(crate) fn identities(&self, _: &mut Terminal) -> Result<Identities> {
        Err(crate::trust::Verifier::new(&[]).err().unwrap_or_else(|| {
            crate::failure::Failure::refused("this kpeel is built without signatures")
        }))
    }

    pub(crate) fn signed(
        &self,
        _: &std::path::Path,
        _: &[u8],
        identities: &Identities,
    ) -> Result<Vec<u8>> {
        match *identities {}
    }
}

#[cfg(feature = "trust")]
mod present {
    use std::path::Path;

    use kpeel_trust::{Certificate, Existing, Hash, Identity, Key, SignOptions};
    use zeroize::Zeroizing;

    use super::{Digest, Result, Sign, Terminal};
    use crate::atomic::{self, Draft};
    use crate::failure::Failure;
    use crate::input;
    use crate::trust::{self, trust_failure};

    /// Who signs.
    pub(crate) struct Identities(Vec<Identity>);

    impl Sign {
        pub(crate) fn run(&self, terminal: &mut Terminal) -> Result<()> {
            let identities = self.identities(terminal)?;
            if let Some(signed) = self.sign_passing(&identities, terminal)? {
                return signed.commit();
            }
            let image = input::image(&self.image, terminal)?;
            let signed = self.signed(&self.image, image.as_ref(), &identities)?;
            atomic::write(&self.output, &signed)
        }

        /// Copies the image while its digest is made, and then puts the signature in; what is
        /// written is what was hashed. `None` when it has to be read whole.
        fn sign_passing(
            &self,
            identities: &Identities,
            terminal: &mut Terminal,
        ) -> Result<Option<atomic::Pending>> {
            let mut draft = Draft::create(&self.output)?;
            if !draft.is_hidden() {
                return Ok(None);
            }
            let hashes = self.hashes(identities);
            let mut copy = |part: &[u8]| draft.write(part);
            let Some(outline) = input::pass_to_sign(&self.image, &hashes, terminal, &mut copy)?
            else {
                return Ok(None);
            };
            let ends = kpeel_trust::sign_outline(&outline, &identities.0, &self.options())
                .map_err(|error| trust_failure(&error).of(&self.image))?;
            draft.put_ends(&ends.head, ends.len as u64, &ends.tail)?;
            Ok(Some(draft.finish()))
        }

        /// The keys with their certificates; passphrases are asked for.
        pub(crate) fn identities(&self, terminal: &mut Terminal) -> Result<Identities> {
            if self.key.len() != self.cert.len() {
                let (keys, certificates) = (self.key.len(), self.cert.len());
                return Err(Failure::usage(format!(
                    "--cert: found {certificates}, needed one for each --key, of which there are {keys}"
                )));
            }
            // Nothing may be drawn over the prompt.
            terminal.progress().finish();
            let pairs = self.key.iter().zip(&self.cert);
            let identities = pairs.map(|(key, cert)| self.identity(key, cert));
            Ok(Identities(identities.collect::<Result<_>>()?))
        }

        /// The bytes of `image`, which messages call `path`, with the signatures asked for.
        pub(crate) fn signed(
            &self,
            path: &Path,
            image: &[u8],
            identities: &Identities,
        ) -> Result<Vec<u8>> {
            kpeel_trust::sign(image, &identities.0, &self.options())
                .map_err(|error| trust_failure(&error).of(path))
        }

        fn options(&self) -> SignOptions {
            SignOptions {
                hash: self.digest.map(Hash::from),
                existing: self.existing(),
            }
        }

        /// The hashes that signatures are made over.
        fn hashes(&self, identities: &Identities) -> Vec<Hash> {
            let one = |identity: &Identity| self.digest.map_or(identity.usual_hash(), Hash::from);
            let mut hashes: Vec<_> = identities.0.iter().map(one).collect();
            hashes.sort_unstable();
            hashes.dedup();
            hashes
        }

        fn existing(&self) -> Existing {
            match (self.append, self.replace) {
                (true, _) => Existing::Append,
                (_, true) => Existing::Replace,
                _ => Existing::Refuse,
            }
        }

        fn identity(&self, key: &Path, cert: &Path) -> Result<Identity> {
            let certificates = Certificate::all_from_file(&trust::read(cert)?)
                .map_err(|error| trust_failure(&error).of(cert))?;
            let key_of = match key
                .to_str()
                .filter(|address| address.starts_with("pkcs11:"))
            {
                Some(address) => Key::token(address, &mut || self.passphrase(key)),
                None => {
                    let bytes = Zeroizing::new(trust::read(key)?);
                    Key::read(&bytes, &mut || self.passphrase(key))
                }
            };
            let private = key_of.map_err(|error| trust_failure(&error).of(key))?;
            Identity::new(private, certificates).map_err(|error| trust_failure(&error).of(cert))
        }

        /// From the file, else from the terminal.
        fn passphrase(&self, key: &Path) -> kpeel_trust::Result<Zeroizing<String>> {
            let failed = |error: std::io::Error| kpeel_trust::Error::passphrase(&error.to_string());
            if let Some(path) = &self.passphrase_file {
                let text = Zeroizing::new(std::fs::read_to_string(path).map_err(failed)?);
                let line = text.lines().next().unwrap_or_default();
                return Ok(Zeroizing::new(line.to_owned()));
            }
            let prompt = format!("Passphrase of {}: ", key.display());
            let typed = rpassword::prompt_password(crate::text::printable(&prompt));
            typed.map(Zeroizing::new).map_err(failed)
        }
    }

    impl From<Digest> for Hash {
        fn from(digest: Digest) -> Self {
            match digest {
                Digest::Sha256 => Self::Sha256,
                Digest::Sha384 => Self::Sha384,
                Digest::Sha512 => Self::Sha512,
            }
        }
    }
}
