//! kexec-tools' flags, read as getopt_long(3) reads them.
//!
//! Flags and operands mix, short flags combine (`-lfd`), values follow `=`, a short flag's letter or
//! the flag, long flags may be cut where that is unambiguous, and `--` ends them.

/// A flag of kexec-tools.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Flag {
    pub(super) long: &'static str,
    pub(super) short: Option<char>,
    pub(super) value: bool,
    pub(super) meaning: Meaning,
}

/// What is done about it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Meaning {
    /// It means what it means there.
    Known,
    /// It changes nothing that kpeel does.
    Harmless,
    /// kpeel has no such thing.
    Refused,
}

/// A flag that was given.
pub(super) type Given<'a> = (Flag, Option<&'a str>);

const fn flag(long: &'static str, short: Option<char>, value: bool, meaning: Meaning) -> Flag {
    Flag {
        long,
        short,
        value,
        meaning,
    }
}

use Meaning::{Harmless, Known, Refused};

/// Every flag of kexec-tools on x86_64 and aarch64 (its man page, `kexec/kexec.h`, and the loaders'
/// own of `kexec/arch`).
pub(super) const FLAGS: &[Flag] = &[
    flag("help", Some('h'), false, Known),
    flag("version", Some('v'), false, Known),
    flag("debug", Some('d'), false, Known),
    flag("force", Some('f'), false, Known),
    flag("load", Some('l'), false, Known),
    flag("load-panic", Some('p'), false, Known),
    flag("unload", Some('u'), false, Known),
    flag("exec", Some('e'), false, Known),
    flag("status", Some('S'), false, Known),
    flag("type", Some('t'), true, Known),
    flag("no-sync", Some('y'), false, Known),
    flag("kexec-file-syscall", Some('s'), false, Known),
    flag("kexec-syscall", Some('c'), false, Known),
    flag("kexec-syscall-auto", Some('a'), false, Known),
    flag("append", None, true, Known),
    flag("command-line", None, true, Known),
    flag("reuse-cmdline", None, false, Known),
    flag("initrd", None, true, Known),
    flag("ramdisk", None, true, Known),
    flag("dtb", None, true, Known),
    flag("print-ckr-size", None, false, Known),
    // Interfaces are not touched: the running kernel stops its devices itself.
    flag("no-ifdown", Some('x'), false, Harmless),
    // Those are checks of a purgatory that kpeel does not have.
    flag("no-checks", Some('i'), false, Harmless),
    // How ELF kernels get a command line, which is how all kernels here get it.
    flag("args-linux", None, false, Harmless),
    // 64-bit headers are what both system calls make.
    flag("elf64-core-headers", None, false, Harmless),
    flag("elf32-core-headers", None, false, Refused),
    flag("args-elf", None, false, Refused),
    flag("args-none", None, false, Refused),
    flag("console-serial", None, false, Refused),
    flag("console-vga", None, false, Refused),
    flag("entry", None, true, Refused),
    flag("entry-32bit", None, false, Refused),
    flag("force-dtb", None, false, Refused),
    flag("hotplug", None, false, Refused),
    flag("load-jump-back-helper", None, false, Refused),
    flag("load-live-update", None, false, Refused),
    flag("load-preserve-context", None, false, Refused),
    flag("mem-max", None, true, Refused),
    flag("mem-min", None, true, Refused),
    flag("module", None, true, Refused),
    flag("no-cma", None, false, Refused),
    flag("noefi", None, false, Refused),
    flag("pass-memmap-cmdline", None, false, Refused),
    flag("port", None, true, Refused),
    flag("port-lsr", None, true, Refused),
    flag("real-mode", None, false, Refused),
    flag("reset-vga", None, false, Refused),
    flag("reuse-video-type", None, false, Refused),
    flag("reuseinitrd", None, false, Refused),
    flag("serial", None, true, Refused),
    flag("serial-baud", None, true, Refused),
];

/// Splits arguments into flags and operands.
///
/// # Errors
/// Names the flag that there is not, that lacks a value or has one too many.
pub(super) fn parse(arguments: &[String]) -> Result<(Vec<Given<'_>>, Vec<&str>), String> {
    let (mut flags, mut operands) = (Vec::new(), Vec::new());
    let mut rest = arguments.iter().map(String::as_str);
    while let Some(argument) = rest.next() {
        if argument == "--" {
            operands.extend(rest);
            break;
        }
        if let Some(long) = argument.strip_prefix("--") {
            flags.push(parse_long(long, &mut rest)?);
        } else if let Some(letters) = argument.strip_prefix('-').filter(|rest| !rest.is_empty()) {
            parse_short(letters, &mut rest, &mut flags)?;
        } else {
            operands.push(argument);
        }
    }
    Ok((flags, operands))
}

fn parse_long<'a>(
    text: &'a str,
    rest: &mut impl Iterator<Item = &'a str>,
) -> Result<Given<'a>, String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    let flag = find(name)?;
    match (flag.value, value) {
        (false, Some(_)) => Err(format!("--{}: found a value, needed none", flag.long)),
        (false, None) => Ok((flag, None)),
        (true, value) => match value.or_else(|| rest.next()) {
            Some(value) => Ok((flag, Some(value))),
            None => Err(format!("--{}: found no value, needed one", flag.long)),
        },
    }
}

/// The flag of this name, or the only one that starts so.
fn find(name: &str) -> Result<Flag, String> {
    if let Some(flag) = FLAGS.iter().find(|flag| flag.long == name) {
        return Ok(*flag);
    }
    let starts: Vec<_> = FLAGS
        .iter()
        .filter(|flag| !name.is_empty() && flag.long.starts_with(name))
        .collect();
    match starts.as_slice() {
        [flag] => Ok(**flag),
        [] => Err(format!("--{name}: kexec-tools has no such flag")),
        several => {
            let names: Vec<_> = several.iter().map(|flag| flag.long).collect();
            Err(format!("--{name}: could be --{}", names.join(" or --")))
        }
    }
}

fn parse_short<'a>(
    letters: &'a str,
    rest: &mut impl Iterator<Item = &'a str>,
    flags: &mut Vec<Given<'a>>,
) -> Result<(), String> {
    for (at, letter) in letters.char_indices() {
        let flag = FLAGS.iter().find(|flag| flag.short == Some(letter));
        let flag = flag.ok_or_else(|| format!("-{letter}: kexec-tools has no such flag"))?;
        if !flag.value {
            flags.push((*flag, None));
            continue;
        }
        let after = letters.get(at.saturating_add(letter.len_utf8())..);
        let value = after.filter(|value| !value.is_empty());
        let value = value.or_else(|| rest.next());
        let value = value.ok_or_else(|| format!("-{letter}: found no value, needed one"))?;
        flags.push((*flag, Some(value)));
        break;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(arguments: &[&str]) -> Result<(Vec<String>, Vec<String>), String> {
        let arguments: Vec<_> = arguments.iter().map(|word| (*word).to_owned()).collect();
        let (flags, operands) = parse(&arguments)?;
        let shown = |(flag, value): &Given<'_>| match value {
            Some(value) => format!("{}={value}", flag.long),
            None => flag.long.to_owned(),
        };
        Ok((
            flags.iter().map(shown).collect(),
            operands.iter().map(|word| (*word).to_owned()).collect(),
        ))
    }

    fn reads(arguments: &[&str], flags: &[&str], operands: &[&str]) {
        let (found, rest) = names(arguments).unwrap();
        assert_eq!(found, flags, "{arguments:?}");
        assert_eq!(rest, operands, "{arguments:?}");
    }

    #[test]
    fn short_flags_combine() {
        reads(&["-lfd", "k"], &["load", "force", "debug"], &["k"]);
        reads(
            &["-ltbzImage", "-t", "x"],
            &["load", "type=bzImage", "type=x"],
            &[],
        );
    }

    #[test]
    fn flags_and_operands_mix_until_two_dashes() {
        reads(&["k", "-l", "--", "-x"], &["load"], &["k", "-x"]);
        reads(&["-"], &[], &["-"]);
    }

    #[test]
    fn values_follow_an_equals_sign_or_stand_alone() {
        reads(
            &["--append=a=b c", "--initrd", "i"],
            &["append=a=b c", "initrd=i"],
            &[],
        );
        reads(&["--command-line="], &["command-line="], &[]);
    }

    #[test]
    fn long_flags_may_be_cut_where_they_stay_clear() {
        reads(
            &["--reuse-c", "--unl", "--load"],
            &["reuse-cmdline", "unload", "load"],
            &[],
        );
        let ambiguous = names(&["--kexec"]).unwrap_err();
        assert!(ambiguous.contains("--kexec-syscall"), "{ambiguous}");
    }

    #[test]
    fn names_what_it_cannot_read() {
        for (argument, message) in [
            ("--nonsense", "--nonsense: kexec-tools has no such flag"),
            ("-Z", "-Z: kexec-tools has no such flag"),
            ("--append", "--append: found no value, needed one"),
            ("-t", "-t: found no value, needed one"),
            ("--load=x", "--load: found a value, needed none"),
        ] {
            assert_eq!(names(&[argument]).unwrap_err(), message);
        }
    }

    #[test]
    fn every_flag_has_one_name() {
        for (at, flag) in FLAGS.iter().enumerate() {
            let others = FLAGS.iter().skip(at + 1);
            for other in others {
                assert_ne!(flag.long, other.long);
                assert!(flag.short.is_none() || flag.short != other.short);
            }
        }
    }
}
