//! Signatures that are made while an image is built.

use std::path::{Path, PathBuf};

use clap::Args;
use kpeel_envelope::pe::Pe;

use crate::commands::sign::{Digest, Identities, Sign};
use crate::failure::{Failure, Result};
use crate::terminal::Terminal;

/// What is signed, and with which key.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Signing {
    /// Signs the image
    #[arg(long)]
    pub(super) sign: bool,

    /// Signs the kernel inside, in the place of signatures it has: a kernel under lockdown takes it
    /// once it is unpacked
    #[arg(long)]
    pub(super) sign_inner: bool,

    /// The private key, as for kpeel sign
    #[arg(long, value_name = "FILE|pkcs11:...")]
    pub(super) key: Option<PathBuf>,

    /// The key's certificate, and issuers that go along
    #[arg(long, value_name = "FILE")]
    pub(super) cert: Option<PathBuf>,

    /// The hash function [default: the one that goes with the key]
    #[arg(long, value_name = "HASH", requires = "key")]
    digest: Option<Digest>,

    /// Reads the passphrase or PIN of the key from the first line of FILE
    #[arg(long, value_name = "FILE", requires = "key")]
    passphrase_file: Option<PathBuf>,
}

/// The keys at hand, and what they are for.
pub(super) struct Signer {
    /// None when nothing is to be signed.
    keys: Option<(Sign, Identities)>,
    sign: bool,
    sign_inner: bool,
}

impl Signing {
    /// Reads the keys, before any other work, and once.
    ///
    /// # Errors
    /// Usage for a key without use and a signature without key; what reading them says.
    pub(super) fn signer(&self, terminal: &mut Terminal) -> Result<Signer> {
        let wanted = self.sign || self.sign_inner;
        let keys = match (wanted, &self.key, &self.cert) {
            (true, Some(key), Some(cert)) => {
                let command = self.command(key, cert);
                let identities = command.identities(terminal)?;
                Some((command, identities))
            }
            (false, None, None) => None,
            (true, ..) => {
                return Err(Failure::usage(
                    "--sign, --sign-inner: need --key and --cert",
                ));
            }
            (false, ..) => {
                return Err(Failure::usage(
                    "--key, --cert: found them without --sign or --sign-inner",
                ));
            }
        };
        Ok(Signer {
            keys,
            sign: self.sign,
            sign_inner: self.sign_inner,
        })
    }

    /// The command that signs with this key.
    fn command(&self, key: &Path, cert: &Path) -> Sign {
        Sign {
            image: PathBuf::new(),
            key: vec![key.to_owned()],
            cert: vec![cert.to_owned()],
            digest: self.digest,
            append: false,
            replace: true,
            passphrase_file: self.passphrase_file.clone(),
            output: PathBuf::new(),
        }
    }
}

impl Signer {
    /// The kernel, read from `path`, signed if that is wanted.
    pub(super) fn inner(
        &self,
        path: &Path,
        kernel: Vec<u8>,
        terminal: &mut Terminal,
    ) -> Result<Vec<u8>> {
        let signed = || Pe::parse(&kernel).is_ok_and(|pe| pe.certificate_table().is_some());
        if self.sign_inner && signed() {
            // Linux reads one signature, and gives up on two.
            let path = path.display();
            terminal.note(&format!(
                "{path}: the signature takes the place of those it has"
            ));
        }
        self.signed(self.sign_inner, path, kernel)
    }

    /// The image for `path`, signed if that is wanted.
    pub(super) fn outer(&self, path: &Path, image: Vec<u8>) -> Result<Vec<u8>> {
        self.signed(self.sign, path, image)
    }

    fn signed(&self, wanted: bool, path: &Path, image: Vec<u8>) -> Result<Vec<u8>> {
        match &self.keys {
            Some((command, identities)) if wanted => command.signed(path, &image, identities),
            _ => Ok(image),
        }
    }
}
