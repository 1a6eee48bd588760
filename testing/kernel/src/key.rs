//! The key that a patched kernel trusts: made by each build, so that no key lies in the checkout.

use std::path::Path;
use std::process::Command;

use crate::Result;
use crate::make::Log;

/// The private key's file in the kernel's directory, PEM.
pub(crate) const KEY: &str = "kpeel.key";

/// The certificate's file, PEM; the fragments' `CONFIG_SYSTEM_TRUSTED_KEYS` names it.
pub(crate) const CERTIFICATE: &str = "kpeel.crt";

/// Makes both in `dir`, where the kernel is built.
pub(crate) fn make(dir: &Path, log: &Log) -> Result<()> {
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-new", "-x509", "-newkey", "rsa:2048", "-sha256"]);
    openssl.args(["-nodes", "-batch", "-days", "36500"]);
    openssl.args(["-subj", "/CN=kpeel test kernel/"]);
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    openssl.args(["-addext", "keyUsage=digitalSignature"]);
    openssl.arg("-keyout").arg(dir.join(KEY));
    openssl.arg("-out").arg(dir.join(CERTIFICATE));
    log.run(&mut openssl, "making the kernel's key", |_| ())
}
