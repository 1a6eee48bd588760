//! Keys and certificates: the test key that firmware trusts, and certificates issued by it.

use std::path::{Path, PathBuf};
use std::process::Command;

use kpeel_images::make::Scratch;

use crate::digest::Hash;
use crate::{Outcome, der, tool};

const KEY: &str = "/usr/share/ovmf/PkKek-1-snakeoil.key";
const CERTIFICATE: &str = "/usr/share/ovmf/PkKek-1-snakeoil.pem";
/// The key's pass phrase, as the package's README.Debian tells it.
const PASS_PHRASE: &str = "pass:snakeoil";
/// The root's name, taken by a stranger.
const ROOT_NAME: &str = "/C=US/ST=Colorado/L=Fort Collins/O=SnakeOil";

/// `openssl ca` wants its rules in a file.
const RULES: &str = "[ca]\ndefault_ca = rules\n[rules]\ndatabase = DIR/issued\nrand_serial = yes\n\
    default_md = sha256\nunique_subject = no\npolicy = names\n[names]\ncommonName = supplied\n";
/// From before any test to after it.
const VALID: (&str, &str) = ("20200101000000Z", "20491231235959Z");
const CODE_SIGNING: &str = "basicConstraints=critical,CA:FALSE\nextendedKeyUsage=codeSigning\n";

/// The keys of one run, in a directory that disappears with the value.
pub struct Authority {
    scratch: Scratch,
    /// Trusted, and a CA.
    pub(crate) root: Signer,
}

/// A key and the certificate that tells whose it is.
#[derive(Clone)]
pub(crate) struct Signer {
    pub(crate) key: PathBuf,
    /// DER.
    pub(crate) certificate: Vec<u8>,
}

/// What a certificate says.
pub(crate) struct Request<'a> {
    pub(crate) name: &'a str,
    pub(crate) extensions: &'a str,
    pub(crate) valid: (&'a str, &'a str),
    pub(crate) hash: Hash,
}

impl Default for Request<'_> {
    fn default() -> Self {
        Self {
            name: "leaf",
            extensions: CODE_SIGNING,
            valid: VALID,
            hash: Hash::Sha256,
        }
    }
}

impl Authority {
    /// Takes the published key out of its pass phrase.
    ///
    /// # Errors
    /// When the package `ovmf` or openssl is missing.
    pub fn new() -> Outcome<Self> {
        if !Path::new(KEY).is_file() {
            return Err(format!("{KEY} is not there (Debian package ovmf)").into());
        }
        let scratch = Scratch::new()?;
        let key = scratch.join("root.key");
        let mut openssl = Command::new("openssl");
        openssl.args(["pkey", "-in", KEY, "-passin", PASS_PHRASE, "-out"]);
        tool::run(openssl.arg(&key), &[])?;
        scratch.write("issued", &[])?;
        let dir = scratch.path().display().to_string();
        scratch.write("rules", RULES.replace("DIR", &dir).as_bytes())?;
        let root = Signer {
            key,
            certificate: to_der(Path::new(CERTIFICATE))?,
        };
        Ok(Self { scratch, root })
    }

    /// The certificate that everything trusted leads to, in DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.root.certificate
    }

    /// The image with a signature by the trusted key, made by sbsign.
    ///
    /// # Errors
    /// What sbsign says.
    pub fn sbsign(&self, image: &[u8]) -> Outcome<Vec<u8>> {
        let before = self.scratch.write("before.efi", image)?;
        let after = self.scratch.join("after.efi");
        let mut sbsign = Command::new("sbsign");
        sbsign.arg("--key").arg(&self.root.key);
        sbsign.args(["--cert", CERTIFICATE, "--output"]).arg(&after);
        tool::run(sbsign.arg(&before), &[])?;
        Ok(std::fs::read(&after)?)
    }

    /// A new RSA key of this many bits, or on curve P-256 with none.
    pub(crate) fn key(&self, name: &str, rsa: Option<u32>) -> Outcome<PathBuf> {
        let path = self.scratch.join(&format!("{name}.key"));
        let mut openssl = Command::new("openssl");
        openssl.args(["genpkey", "-out"]).arg(&path);
        match rsa {
            Some(bits) => openssl
                .args(["-algorithm", "RSA", "-pkeyopt"])
                .arg(format!("rsa_keygen_bits:{bits}")),
            None => openssl.args(["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
        };
        tool::run(&mut openssl, &[])?;
        Ok(path)
    }

    /// A certificate for the key, issued by `issuer`.
    pub(crate) fn issue(&self, key: &Path, issuer: &Signer, what: &Request) -> Outcome<Signer> {
        let csr = self.scratch.join("request");
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-new", "-subj"]);
        openssl.arg(format!("/CN=kpeel test {}", what.name));
        tool::run(openssl.arg("-key").arg(key).arg("-out").arg(&csr), &[])?;
        let issuer_file = self.scratch.write("issuer.der", &issuer.certificate)?;
        let extensions = self
            .scratch
            .write("extensions", what.extensions.as_bytes())?;
        let out = self.scratch.join("issued.pem");
        let mut openssl = Command::new("openssl");
        openssl.args(["ca", "-batch", "-notext", "-config"]);
        openssl.arg(self.scratch.join("rules"));
        openssl.arg("-cert").arg(issuer_file);
        openssl
            .arg("-keyfile")
            .arg(&issuer.key)
            .arg("-in")
            .arg(&csr);
        openssl.args(["-startdate", what.valid.0, "-enddate", what.valid.1]);
        openssl.args(["-md", what.hash.name(), "-extfile"]);
        openssl
            .arg(extensions)
            .arg("-outdir")
            .arg(self.scratch.path());
        tool::run(openssl.arg("-out").arg(&out), &[])?;
        Ok(Signer {
            key: key.to_owned(),
            certificate: to_der(&out)?,
        })
    }

    /// Somebody who gave a certificate to himself: with the root's name, but his own key.
    pub(crate) fn impostor(&self, key: &Path) -> Outcome<Signer> {
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-days", "3650", "-outform", "DER"]);
        openssl.args(["-subj", ROOT_NAME, "-key"]);
        Ok(Signer {
            key: key.to_owned(),
            certificate: tool::run(openssl.arg(key), &[])?,
        })
    }
}

impl Signer {
    /// The signature of these bytes.
    pub(crate) fn sign(&self, hash: Hash, bytes: &[u8]) -> Outcome<Vec<u8>> {
        let mut openssl = Command::new("openssl");
        openssl.args(["dgst", "-binary"]);
        openssl.arg(format!("-{}", hash.name()));
        tool::run(openssl.arg("-sign").arg(&self.key), bytes)
    }

    /// The certificate's issuer and serial number, each encoded (RFC 5280, 4.1).
    pub(crate) fn issuer_and_serial(&self) -> (Vec<u8>, Vec<u8>) {
        let (_, certificate, _) = der::split(&self.certificate);
        let (_, tbs, _) = der::split(certificate);
        let (_, _, rest) = der::split(tbs); // version
        let (serial, _, rest) = der::split(rest);
        let (_, _, rest) = der::split(rest); // signature algorithm
        let (issuer, _, _) = der::split(rest);
        (issuer.to_vec(), serial.to_vec())
    }
}

fn to_der(certificate: &Path) -> Outcome<Vec<u8>> {
    let mut openssl = Command::new("openssl");
    openssl.args(["x509", "-outform", "DER", "-in"]);
    tool::run(openssl.arg(certificate), &[])
}
