//! Signatures that are made while an image is built.

use std::path::{Path, PathBuf};

use clap::Args;
use kpeel_envelope::pe::Pe;

use crate::commands::sign::{Digest, Sign};
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

impl Signing {
    /// Refuses a key without use and a signature without key.
    pub(super) fn check(&self) -> Result<()> {
        let wanted = self.sign || self.sign_inner;
        match (wanted, &self.key, &self.cert) {
            (true, Some(_), Some(_)) | (false, None, None) => Ok(()),
            (true, ..) => Err(Failure::usage(
                "--sign, --sign-inner: need --key and --cert",
            )),
            (false, ..) => Err(Failure::usage(
                "--key, --cert: found them without --sign or --sign-inner",
            )),
        }
    }

    /// The kernel, read from `path`, signed if that is wanted.
    pub(super) fn inner(
        &self,
        path: &Path,
        kernel: Vec<u8>,
        terminal: &mut Terminal,
    ) -> Result<Vec<u8>> {
        if !self.sign_inner {
            return Ok(kernel);
        }
        let signed = Pe::parse(&kernel).is_ok_and(|pe| pe.certificate_table().is_some());
        if signed {
            // Linux reads one signature, and gives up on two.
            let path = path.display();
            terminal.note(&format!(
                "{path}: the signature takes the place of those it has"
            ));
        }
        self.signer(path)?.signed(path, &kernel, terminal)
    }

    /// The image for `path`, signed if that is wanted.
    pub(super) fn outer(
        &self,
        path: &Path,
        image: Vec<u8>,
        terminal: &mut Terminal,
    ) -> Result<Vec<u8>> {
        if !self.sign {
            return Ok(image);
        }
        self.signer(path)?.signed(path, &image, terminal)
    }

    /// The command that signs, for an image of this name.
    fn signer(&self, path: &Path) -> Result<Sign> {
        self.check()?;
        Ok(Sign {
            image: path.to_owned(),
            key: self.key.iter().cloned().collect(),
            cert: self.cert.iter().cloned().collect(),
            digest: self.digest,
            append: false,
            replace: true,
            passphrase_file: self.passphrase_file.clone(),
            output: path.to_owned(),
        })
    }
}
