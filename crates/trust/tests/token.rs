//! Keys in a token: SoftHSM's.
#![cfg(feature = "pkcs11")]

mod support;

use std::process::Command;

use kpeel_trust::{Identity, Key, SignOptions, sign};
use support::{P256, P384, Pki, RSA, image, judge, openssl, osslsigncode, text};
use zeroize::Zeroizing;

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const PIN: &str = "1234";

fn softhsm(pki: &Pki, arguments: &[&str]) {
    let config = pki.scratch.join("softhsm.conf");
    let mut command = Command::new("softhsm2-util");
    command.env("SOFTHSM2_CONF", config).args(arguments);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

/// One test, since the library takes its configuration from the environment of the process: the
/// test runs itself again with that set.
#[test]
fn a_token_signs_as_a_file_does() {
    const INSIDE: &str = "KPEEL_TEST_TOKEN";
    if std::env::var_os(INSIDE).is_some() {
        return;
    }
    for (number, key) in [RSA, P256, P384].into_iter().enumerate() {
        let pki = Pki::with_signer(key);
        let tokens = pki.scratch.join("tokens");
        std::fs::create_dir(&tokens).unwrap();
        let config = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\n",
            text(&tokens)
        );
        let config = pki
            .scratch
            .write("softhsm.conf", config.as_bytes())
            .unwrap();
        softhsm(
            &pki,
            &[
                "--init-token",
                "--free",
                "--label",
                "boot",
                "--pin",
                PIN,
                "--so-pin",
                "5678",
            ],
        );
        let (pem, plain) = (pki.key("signer"), pki.scratch.join("plain.key"));
        openssl(&[
            "pkcs8",
            "-topk8",
            "-nocrypt",
            "-in",
            text(&pem),
            "-out",
            text(&plain),
        ]);
        softhsm(
            &pki,
            &[
                "--import",
                text(&plain),
                "--token",
                "boot",
                "--label",
                "signer",
                "--id",
                "a1",
                "--pin",
                PIN,
            ],
        );
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "inside::signs", "--ignored"])
            .env("SOFTHSM2_CONF", config)
            .env(INSIDE, pki.scratch.path())
            .status()
            .unwrap();
        assert!(status.success(), "key {number}");
        let signed = std::fs::read(pki.scratch.join("signed.efi")).unwrap();
        assert!(judge(&signed, &pki.store("ca")).is_trusted());
        assert!(osslsigncode(
            &pki.scratch.join("signed.efi"),
            &pki.pem("ca")
        ));
        if key == RSA {
            assert!(signed == pki.sign(&image(&[1; 40]), "signer"));
        }
    }
}

mod inside {
    use super::*;

    /// Run by the test above.
    #[test]
    #[ignore = "runs inside the other test"]
    fn signs() {
        let directory = std::path::PathBuf::from(std::env::var_os("KPEEL_TEST_TOKEN").unwrap());
        let pem = std::fs::read(directory.join("signer.pem")).unwrap();
        let certificates = kpeel_trust::Certificate::all_from_pem(&pem).unwrap();
        let address = |what: &str| format!("pkcs11:token=boot;{what}?module-path={MODULE}");
        let open = |what: &str, pin: &str| {
            Key::token(&address(what), &mut || Ok(Zeroizing::new(pin.to_owned())))
        };
        assert!(
            open("object=nobody", PIN)
                .unwrap_err()
                .to_string()
                .contains("found 0")
        );
        let key = open("object=signer;id=%a1", PIN).unwrap();
        let identity = Identity::new(key, certificates).unwrap();
        let signed = sign(&image(&[1; 40]), &[identity], &SignOptions::default()).unwrap();
        std::fs::write(directory.join("signed.efi"), signed).unwrap();
        assert!(
            open("object=signer", "wrong")
                .unwrap_err()
                .to_string()
                .contains("PIN")
        );
    }
}
