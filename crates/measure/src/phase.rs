//! Boot phases: words that user space extends PCR 11 with as the system starts.
//!
//! Source: systemd-pcrphase.service(8), systemd-measure(1).

use kpeel_envelope::error::{Class, Error, Result};

use crate::{Digest, Pcr};

/// The phase paths that systemd-measure looks at when it is given none.
pub const DEFAULT: [&str; 4] = [
    "enter-initrd",
    "enter-initrd:leave-initrd",
    "enter-initrd:leave-initrd:sysinit",
    "enter-initrd:leave-initrd:sysinit:ready",
];

/// The path without a phase: PCR 11 as sd-stub leaves it.
pub const NONE: &str = ":";

/// The words of a phase path, which is them joined by `:`; of [`NONE`] there are none.
///
/// # Errors
/// `Misuse` for a path with an empty word.
pub fn words(path: &str) -> Result<Vec<&str>> {
    if path == NONE {
        return Ok(Vec::new());
    }
    let words: Vec<_> = path.split(':').collect();
    if words.iter().any(|word| word.is_empty()) {
        let why = "found an empty word, needed words joined by ':', or ':' alone for none";
        return Err(Error::reason(Class::Misuse, "phase", why));
    }
    Ok(words)
}

/// The register's value once these phases are reached.
#[must_use]
pub fn reached(mut pcr: Pcr, words: &[&str]) -> Digest {
    for word in words {
        // A word is hashed without NUL, unlike a section's name.
        let digest = pcr.bank().digest(word.as_bytes());
        pcr.extend(&digest);
    }
    pcr.value()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bank;

    #[test]
    fn paths_are_words_joined_by_colons() {
        assert_eq!(words("a:b").unwrap(), ["a", "b"]);
        assert!(words(NONE).unwrap().is_empty());
        for path in ["", "::", "a:", ":a", "a::b"] {
            assert_eq!(words(path).unwrap_err().class, Class::Misuse, "{path}");
        }
    }

    #[test]
    fn each_word_extends() {
        let pcr = Pcr::new(Bank::Sha1);
        assert_eq!(reached(pcr, &[]), pcr.value());
        let mut other = pcr;
        other.extend(&Bank::Sha1.digest(b"a"));
        assert_eq!(reached(pcr, &["a"]), other.value());
        assert_ne!(reached(pcr, &["a", "b"]), reached(pcr, &["b", "a"]));
    }
}
