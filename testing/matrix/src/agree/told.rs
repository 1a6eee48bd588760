//! What the guest printed of a load: the words of `kernel/kexec_pe/debug.rs`.

use super::{End, Resource};
use crate::Outcome;

const PREFIX: &str = "kpeel-loads: ";

/// Linux's end, and the errno that the system call gave: its other loaders' or the architecture's, where Linux's end is
/// not a refusal.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) end: End,
    pub(super) errno: i32,
    /// How many loads there were.
    pub(super) load: u64,
}

/// What was printed of this file.
pub(super) fn find(file: &str, lines: &[String]) -> Outcome<Told> {
    let begins = format!("{PREFIX}{file} ");
    let mut found = lines.iter().filter_map(|line| line.strip_prefix(&begins));
    match (found.next(), found.next()) {
        (Some(line), None) => {
            parse(line).ok_or_else(|| format!("{file}: cannot read {line:?}").into())
        }
        (None, _) => Err(format!("{file}: the guest says nothing of it").into()),
        _ => Err(format!("{file}: the guest says it twice").into()),
    }
}

fn parse(line: &str) -> Option<Told> {
    let mut parts = line.split(" | ");
    let errno = parts.next()?.strip_prefix("errno=")?.parse().ok()?;
    let fields: Vec<(&str, &str)> = parts
        .map(|part| part.split_once(' '))
        .collect::<Option<_>>()?;
    let value = |name: &str| {
        let mut named = fields.iter().filter(|field| field.0 == name);
        named.next().map(|field| field.1)
    };
    let resource = |name: &str| match value(name)? {
        "none" => Some(None),
        text => {
            let (len, sha256) = text.split_once(' ')?;
            Some(Some(Resource {
                len: len.parse().ok()?,
                sha256: sha256.to_owned(),
            }))
        }
    };
    let end = match value("class")? {
        "loaded" => End::Loaded([
            resource("kernel")?,
            resource("initrd")?,
            resource("cmdline")?,
        ]),
        "left to other loaders" => End::Left,
        class => End::Refused {
            class: class.to_owned(),
            errno: value("errno")?.parse().ok()?,
            said: value("said")?.to_owned(),
        },
    };
    Some(Told {
        end,
        errno,
        load: value("load")?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Told {
        find("images/7", &[text.to_owned()]).unwrap()
    }

    #[test]
    fn reads_every_kind_of_end() {
        let loaded = told(
            "kpeel-loads: images/7 errno=0 | load 3 | class loaded | errno 0 | kernel 9 ab | \
             initrd none | cmdline 4 cd",
        );
        let resource = |len, sha256: &str| {
            Some(Resource {
                len,
                sha256: sha256.to_owned(),
            })
        };
        let parts = [resource(9, "ab"), None, resource(4, "cd")];
        assert_eq!((loaded.end, loaded.load), (End::Loaded(parts), 3));
        let refused = told(
            "kpeel-loads: images/7 errno=95 | load 4 | class unsupported | errno 95 | said unsupported: x",
        );
        let end = End::Refused {
            class: "unsupported".to_owned(),
            errno: 95,
            said: "unsupported: x".to_owned(),
        };
        assert_eq!((refused.end, refused.errno), (end, 95));
        let left = told("kpeel-loads: images/7 errno=8 | load 5 | class left to other loaders");
        assert_eq!((left.end, left.errno), (End::Left, 8));
    }

    #[test]
    fn takes_no_line_for_another() {
        let lines = |text: &[&str]| text.iter().map(|&line| line.to_owned()).collect::<Vec<_>>();
        let other = "kpeel-loads: images/77 errno=8 | load 5 | class left to other loaders";
        assert!(find("images/7", &lines(&[other])).is_err());
        let own = other.replace("77", "7");
        assert!(find("images/7", &lines(&[&own])).is_ok());
        assert!(find("images/7", &lines(&[&own, &own])).is_err());
        let cut = "kpeel-loads: images/7 errno=8 | load 5 | class malformed";
        assert!(find("images/7", &lines(&[cut])).is_err());
    }
}
