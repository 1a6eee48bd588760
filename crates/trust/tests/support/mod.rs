//! Keys and certificates made by openssl, a small image, and other verifiers.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use der::asn1::{Any, BitString, Uint};
use der::{Decode, Encode};
use kpeel_images::make::Scratch;
use kpeel_trust::{Certificate, Identity, Key, Policy, Report, SignOptions, Store};

/// Keys and certificates in a directory of their own.
pub struct Pki {
    pub scratch: Scratch,
}

/// How a certificate is made.
#[derive(Clone, Copy)]
pub struct Make<'m> {
    pub name: &'m str,
    /// As `openssl genpkey` takes it.
    pub key: &'m [&'m str],
    /// The CA that signs it; itself without one.
    pub by: Option<&'m str>,
    /// Lines of its extensions section.
    pub extensions: &'m str,
    pub days: &'m str,
    /// What it is signed with, as `openssl x509` takes it.
    pub hash: &'m str,
}

pub const RSA: &[&str] = &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
pub const P256: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
pub const P384: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"];
pub const P521: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"];

pub const CA: &str = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign";
pub const LEAF: &str = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=codeSigning";

impl Pki {
    pub fn new() -> Self {
        let scratch = Scratch::new().unwrap();
        Self { scratch }
    }

    /// A CA and a signer below it.
    pub fn with_signer(key: &[&str]) -> Self {
        let pki = Self::new();
        pki.make(&Make::ca("ca", None));
        pki.make(&Make::leaf("signer", "ca", key));
        pki
    }

    pub fn key(&self, name: &str) -> PathBuf {
        self.scratch.join(&format!("{name}.key"))
    }

    pub fn pem(&self, name: &str) -> PathBuf {
        self.scratch.join(&format!("{name}.pem"))
    }

    pub fn certificate(&self, name: &str) -> Certificate {
        let pem = fs::read(self.pem(name)).unwrap();
        Certificate::all_from_pem(&pem).unwrap().remove(0)
    }

    /// Another certificate of this CA, by its own key: the same name and the same key, valid from now on.
    pub fn renewed(&self, ca: &str) -> Certificate {
        let [request, config] = ["csr", "cnf"].map(|end| self.scratch.join(&format!("{ca}.{end}")));
        let key = self.key(ca);
        let sign = [
            "x509",
            "-req",
            "-in",
            text(&request),
            "-signkey",
            text(&key),
        ];
        let with = [
            "-days",
            "9",
            "-extfile",
            text(&config),
            "-extensions",
            "ext",
        ];
        let pem = openssl(&[sign, with].concat());
        Certificate::all_from_pem(&pem).unwrap().remove(0)
    }

    pub fn identity(&self, name: &str) -> Identity {
        self.identity_with(name, &[])
    }

    /// With certificates of issuers.
    pub fn identity_with(&self, name: &str, issuers: &[&str]) -> Identity {
        let key = fs::read(self.key(name)).unwrap();
        let key = Key::read(&key, &mut || unreachable!("is not encrypted")).unwrap();
        let mut certificates = vec![self.certificate(name)];
        certificates.extend(issuers.iter().map(|issuer| self.certificate(issuer)));
        Identity::new(key, certificates).unwrap()
    }

    /// A store that trusts this certificate.
    pub fn store(&self, name: &str) -> Store {
        let mut store = Store::new();
        store.trust_certificate(self.certificate(name), name);
        store
    }

    /// Signs by name, with default options.
    pub fn sign(&self, image: &[u8], name: &str) -> Vec<u8> {
        kpeel_trust::sign(image, &[self.identity(name)], &SignOptions::default()).unwrap()
    }

    pub fn make(&self, make: &Make<'_>) {
        let Make {
            name,
            key,
            by,
            extensions,
            days,
            hash,
        } = *make;
        let config = format!(
            "[req]\nprompt=no\ndistinguished_name=dn\n[dn]\nO=kpeel tests\nCN={name}\n[ext]\n{extensions}\n"
        );
        let config = self
            .scratch
            .write(&format!("{name}.cnf"), config.as_bytes())
            .unwrap();
        openssl(&[&["genpkey", "-out", text(&self.key(name))][..], key].concat());
        let request = self.scratch.join(&format!("{name}.csr"));
        let (request, key, out) = (text(&request), self.key(name), self.pem(name));
        let (key, out, config) = (text(&key), text(&out), text(&config));
        openssl(&[
            "req", "-new", "-key", key, "-config", config, "-out", request,
        ]);
        let sign = [
            "x509", "-req", "-in", request, "-out", out, "-extfile", config,
        ];
        let more = ["-extensions", "ext", "-days", days, hash];
        match by {
            None => openssl(&[&sign[..], &more, &["-signkey", key]].concat()),
            Some(ca) => {
                let (ca_key, ca) = (self.key(ca), self.pem(ca));
                let by = ["-CA", text(&ca), "-CAkey", text(&ca_key), "-CAcreateserial"];
                openssl(&[&sign[..], &more, &by].concat())
            }
        };
    }
}

impl<'m> Make<'m> {
    pub fn ca(name: &'m str, by: Option<&'m str>) -> Self {
        Self {
            name,
            key: RSA,
            by,
            extensions: CA,
            days: "3650",
            hash: "-sha256",
        }
    }

    pub fn leaf(name: &'m str, by: &'m str, key: &'m [&'m str]) -> Self {
        Self {
            name,
            key,
            by: Some(by),
            extensions: LEAF,
            days: "365",
            hash: "-sha256",
        }
    }
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub fn openssl(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("openssl").args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments:?}: {said}");
    output.stdout
}

/// Whether sbverify says that the image is signed by `pem`.
pub fn sbverify(image: &Path, pem: &Path) -> bool {
    let output = run("sbverify", &["--cert", text(pem), text(image)]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success() && said.contains("Signature verification OK")
}

/// Whether osslsigncode says that the image is signed below `pem`.
pub fn osslsigncode(image: &Path, pem: &Path) -> bool {
    let output = run(
        "osslsigncode",
        &["verify", "-CAfile", text(pem), "-in", text(image)],
    );
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success() && said.contains("Signature verification: ok")
}

fn run(tool: &str, arguments: &[&str]) -> Output {
    let output = Command::new(tool).args(arguments).output();
    output.unwrap_or_else(|error| panic!("{tool}: {error}"))
}

pub fn judge(image: &[u8], store: &Store) -> Report {
    kpeel_trust::verify(image, store, &Policy::default()).unwrap()
}

pub const FILE_ALIGNMENT: usize = 0x200;
pub const LFANEW: usize = 0x40;
pub const OPTIONAL: usize = LFANEW + 24;
pub const CHECK_SUM: usize = OPTIONAL + 64;
pub const CERTIFICATE_ENTRY: usize = OPTIONAL + 112 + 4 * 8;

pub fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
    image[at..at + bytes.len()].copy_from_slice(bytes);
}

/// A small EFI application with one section of `data` (Microsoft PE Format).
pub fn image(data: &[u8]) -> Vec<u8> {
    const HEADERS: usize = FILE_ALIGNMENT;
    const SECTION: usize = OPTIONAL + 240;
    let mut image = vec![0; HEADERS];
    let raw = data.len().next_multiple_of(FILE_ALIGNMENT);
    put(&mut image, 0, b"MZ");
    put(&mut image, 0x3c, &(LFANEW as u32).to_le_bytes());
    put(&mut image, LFANEW, b"PE\0\0\x64\x86\x01\0");
    // SizeOfOptionalHeader; an executable without line numbers.
    put(&mut image, LFANEW + 20, &[240, 0, 0x06, 0x02]);
    put(&mut image, OPTIONAL, &[0x0b, 0x02]);
    put(&mut image, OPTIONAL + 16, &0x1000_u32.to_le_bytes());
    put(&mut image, OPTIONAL + 20, &0x1000_u32.to_le_bytes());
    put(&mut image, OPTIONAL + 32, &0x1000_u32.to_le_bytes());
    put(
        &mut image,
        OPTIONAL + 36,
        &(FILE_ALIGNMENT as u32).to_le_bytes(),
    );
    let end = 0x1000 + data.len().next_multiple_of(0x1000) as u32;
    put(&mut image, OPTIONAL + 56, &end.to_le_bytes());
    put(&mut image, OPTIONAL + 60, &(HEADERS as u32).to_le_bytes());
    put(&mut image, CHECK_SUM, &1_u32.to_le_bytes());
    put(&mut image, OPTIONAL + 68, &[10]);
    put(&mut image, OPTIONAL + 108, &[16]);
    put(&mut image, SECTION, b".text");
    put(&mut image, SECTION + 8, &(data.len() as u32).to_le_bytes());
    put(&mut image, SECTION + 12, &0x1000_u32.to_le_bytes());
    put(&mut image, SECTION + 16, &(raw as u32).to_le_bytes());
    put(&mut image, SECTION + 20, &(HEADERS as u32).to_le_bytes());
    put(&mut image, SECTION + 36, &0x6000_0020_u32.to_le_bytes());
    image.extend_from_slice(data);
    image.resize(HEADERS + raw, 0);
    image
}

/// The order of P-256 (SEC 2, section 2.4.2).
const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// A certificate signed with P-256, its signature `(r, s)` as `(r, n - s)`: nobody needs the key for it.
pub fn other_form(der: &[u8]) -> Vec<u8> {
    let mut parts = Vec::<Any>::from_der(der).unwrap();
    let signature: BitString = parts[2].decode_as().unwrap();
    let numbers = Vec::<Uint>::from_der(signature.raw_bytes()).unwrap();
    let other = Uint::new(&order_less(numbers[1].as_bytes())).unwrap();
    let signature = vec![numbers[0].clone(), other].to_der().unwrap();
    parts[2] = Any::encode_from(&BitString::from_bytes(&signature).unwrap()).unwrap();
    parts.to_der().unwrap()
}

fn order_less(number: &[u8]) -> [u8; 32] {
    let mut result = P256_ORDER;
    let mut borrowed = false;
    let digits = number.iter().rev().copied().chain(std::iter::repeat(0));
    for (digit, less) in result.iter_mut().rev().zip(digits) {
        let (once, below) = digit.overflowing_sub(less);
        let (twice, again) = once.overflowing_sub(borrowed.into());
        *digit = twice;
        borrowed = below || again;
    }
    result
}

fn hex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}

/// `EFI_CERT_SHA256_GUID` and `EFI_CERT_X509_GUID` (UEFI specification, "Signature Database").
pub const SHA_256: [u8; 16] = [
    0x26, 0x16, 0xc4, 0xc1, 0x4c, 0x50, 0x92, 0x40, 0xac, 0xa9, 0x41, 0xf9, 0x36, 0x93, 0x43, 0x28,
];
pub const X_509: [u8; 16] = [
    0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72,
];
/// `EFI_CERT_X509_SHA256_GUID`.
pub const X_509_SHA_256: [u8; 16] = [
    0x92, 0xa4, 0xd2, 0x3b, 0xc0, 0x96, 0x79, 0x40, 0xb4, 0x20, 0xfc, 0xf9, 0x8e, 0xf1, 0x03, 0xed,
];

/// An EFI signature list with one entry.
pub fn list(kind: &[u8; 16], data: &[u8]) -> Vec<u8> {
    let entry = 16 + data.len() as u32;
    let mut list = kind.to_vec();
    for number in [28 + entry, 0, entry] {
        list.extend_from_slice(&number.to_le_bytes());
    }
    list.extend_from_slice(&[0x11; 16]);
    list.extend_from_slice(data);
    list
}

/// A list with one image's digest, given in hexadecimal.
pub fn digest_list(digest: &str) -> Vec<u8> {
    list(&SHA_256, &hex(digest))
}
