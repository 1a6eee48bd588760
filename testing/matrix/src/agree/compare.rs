//! The rule by which ends agree.

use kpeel_envelope::pe::{Pe, looks_like_pe};
use kpeel_envelope::pipeline::SECTION_BPF;

use super::told::Told;
use super::{Case, End};

/// ENOEXEC: none of Linux's other loaders takes the image.
const ENOEXEC: i32 = 8;

/// What the sandbox says of an image without a parser: that it is no kernel, or before that, that its signature does not
/// cover it.
const WITHOUT_PARSER: [&str; 2] = ["unsupported", "refused (signature)"];

/// What may differ.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Difference {
    /// Linux leaves images without a parser to its other loaders; the sandbox has none to ask.
    NoParser,
    /// Linux's decompressor does not look at what lzop has for checking.
    LzopChecks,
    /// The largest dictionary there can be, which Linux does not know.
    XzDictionary,
    /// A stream says that it unpacks to more than is allowed, and does not: the sandbox reads that first, Linux counts
    /// what comes out.
    ClaimedSize,
}

/// What the sandbox calls the parts of a lzop file that Linux passes over.
const LZOP_CHECKS: [&str; 5] = ["adler32", "checksum", "crc32", "flag", "method"];

impl Difference {
    /// Every one.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 4] = [
        Self::NoParser,
        Self::LzopChecks,
        Self::XzDictionary,
        Self::ClaimedSize,
    ];

    /// What the table in `ARCHITECTURE.md` calls it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::NoParser => "images without `.bpf`",
            Self::LzopChecks => "checksums of lzop, the method and flags of its header",
            Self::XzDictionary => "a xz dictionary of 4 GiB - 1",
            Self::ClaimedSize => "a size beyond the bound that a stream only claims",
        }
    }
}

/// In which way both agree, or how they do not.
pub(super) fn compare(case: &Case, here: &End, there: &Told) -> Result<String, String> {
    let differ = || Err(format!("the sandbox: {here:?}, Linux: {there:?}"));
    match (here, &there.end) {
        // What the architecture's loader makes of the kernel is not this host's affair.
        (End::Loaded(ours), End::Loaded(theirs)) if ours == theirs => Ok("loaded".to_owned()),
        _ if case.sound => differ(),
        (
            End::Refused { class, errno, .. },
            End::Refused {
                class: other_class,
                errno: other_errno,
                ..
            },
        ) if class == other_class && errno == other_errno && *errno == there.errno => {
            Ok(class.clone())
        }
        // Headers that cannot be read are not claimed; the error is the same.
        (End::Refused { class, errno, .. }, End::Left)
            if *errno == there.errno && Pe::parse(&case.bytes).is_err() =>
        {
            Ok(class.clone())
        }
        (End::Refused { class, .. }, End::Left)
            if WITHOUT_PARSER.contains(&class.as_str())
                && there.errno == ENOEXEC
                && !has_parser(&case.bytes) =>
        {
            Ok(Difference::NoParser.name().to_owned())
        }
        (End::Refused { class, said, .. }, end) => match codecs(case, class, said, end) {
            Some(difference) => Ok(difference.name().to_owned()),
            None => differ(),
        },
        _ => differ(),
    }
}

/// What Linux's decompressors may do otherwise where the sandbox refuses.
fn codecs(case: &Case, class: &str, said: &str, there: &End) -> Option<Difference> {
    let is = |codec: &str| case.name.contains(codec);
    let check = LZOP_CHECKS.iter().any(|field| said.contains(field));
    match there {
        End::Loaded(_) if is("-lzo+") && check => Some(Difference::LzopChecks),
        End::Refused { class, .. } if is("-lzo+") && check && class == "malformed" => {
            Some(Difference::LzopChecks)
        }
        End::Refused { class: other, .. }
            if is("-xzkern+") && class == "refused (bound)" && other == "unsupported" =>
        {
            Some(Difference::XzDictionary)
        }
        End::Refused { class: other, .. }
            if class == "refused (bound)"
                && said.contains(": decompressed size: ")
                && other == "malformed" =>
        {
            Some(Difference::ClaimedSize)
        }
        _ => None,
    }
}

fn has_parser(image: &[u8]) -> bool {
    looks_like_pe(image) && Pe::parse(image).is_ok_and(|pe| pe.find(SECTION_BPF).next().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agree::Resource;

    fn case() -> Case {
        Case {
            name: "x".to_owned(),
            file: "x".to_owned(),
            bytes: b"no PE image".to_vec(),
            cmdline: String::new(),
            sound: false,
        }
    }

    fn loaded(sha256: &str) -> End {
        let kernel = Resource {
            len: 3,
            sha256: sha256.to_owned(),
        };
        End::Loaded([Some(kernel), None, None])
    }

    fn refused(class: &str, errno: i32) -> End {
        End::Refused {
            class: class.to_owned(),
            errno,
            said: String::new(),
        }
    }

    fn told(end: End, errno: i32) -> Told {
        Told {
            end,
            errno,
            load: 1,
        }
    }

    #[test]
    fn equal_ends_agree_and_others_do_not() {
        let agree = |here: &End, there: End, errno| compare(&case(), here, &told(there, errno));
        assert!(agree(&loaded("ab"), loaded("ab"), 0).is_ok());
        assert!(agree(&loaded("ab"), loaded("ab"), 22).is_ok());
        assert!(agree(&loaded("ab"), loaded("cd"), 0).is_err());
        let malformed = refused("malformed", 8);
        assert!(agree(&malformed, malformed.clone(), 8).is_ok());
        assert!(agree(&malformed, malformed.clone(), 0).is_err());
        assert!(agree(&malformed, refused("refused (bound)", 7), 7).is_err());
        assert!(agree(&malformed, loaded("ab"), 0).is_err());
        assert!(agree(&loaded("ab"), End::Left, 8).is_err());
        assert!(agree(&refused("unsupported", 95), End::Left, 8).is_ok());
        assert!(agree(&refused("unsupported", 95), End::Left, 0).is_err());
        assert!(agree(&refused("refused (bound)", 7), End::Left, 8).is_err());
    }

    #[test]
    fn a_sound_image_must_be_opened() {
        let sound = Case {
            sound: true,
            ..case()
        };
        let malformed = refused("malformed", 8);
        assert!(compare(&sound, &malformed, &told(malformed.clone(), 8)).is_err());
        assert!(compare(&sound, &loaded("ab"), &told(loaded("ab"), 0)).is_ok());
    }

    #[test]
    fn only_lzop_may_go_without_checksums() {
        let here = End::Refused {
            class: "malformed".to_owned(),
            errno: 8,
            said: "malformed: envelope 1: adler32 of the unpacked block: found 1, needed 2"
                .to_owned(),
        };
        let of = |name: &str| Case {
            name: name.to_owned(),
            ..case()
        };
        let loaded = || told(loaded("ab"), 0);
        assert!(compare(&of("zboot-amd64-lzo+bpf payload 3"), &here, &loaded()).is_ok());
        assert!(compare(&of("zboot-amd64-lz4+bpf payload 3"), &here, &loaded()).is_err());
        let other = End::Refused {
            class: "malformed".to_owned(),
            errno: 8,
            said: "malformed: envelope 1: block: found corrupt data, needed an intact stream"
                .to_owned(),
        };
        assert!(compare(&of("zboot-amd64-lzo+bpf payload 3"), &other, &loaded()).is_err());
    }

    #[test]
    fn only_a_claimed_size_may_be_a_bound_here_and_malformed_there() {
        let here = |field: &str| End::Refused {
            class: "refused (bound)".to_owned(),
            errno: 7,
            said: format!("refused (bound): envelope 1: {field}: found 9, needed at most 8"),
        };
        let there = || told(refused("malformed", 8), 8);
        assert!(compare(&case(), &here("decompressed size"), &there()).is_ok());
        assert!(compare(&case(), &here("depth"), &there()).is_err());
    }

    #[test]
    fn what_may_differ_stands_in_the_table() {
        let table = include_str!("../../../../ARCHITECTURE.md");
        for difference in Difference::ALL {
            let row = format!("\n| {} |", difference.name());
            assert!(table.contains(&row), "{difference:?}");
        }
    }
}
