//! Called as `kexec`: kexec-tools' everyday flags, with kexec-tools' meanings.
//!
//! Where kexec-tools' own meaning is to leave the decision to the running kernel (signatures, the
//! kind of image), so is it here: nothing is refused for its signature before the kernel is asked.

mod flags;

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use kpeel_kexec::{Call, Status};

use self::flags::{FLAGS, Given, Meaning};
use crate::commands::{Exec, Unload, bundled};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::load::{Target, Wish};
use crate::terminal::Terminal;
use crate::trust::Trust;

/// The name it is called by.
pub(crate) const NAME: &str = "kexec";

/// What was loaded is there: the exit code of `-S`.
const LOADED: u8 = 1;

/// Kinds of kexec-tools' `--type` that kpeel opens, whatever the flag says.
const TYPES: &[&str] = &[
    "bzImage",
    "bzImage64",
    "Image",
    "image",
    "pei",
    "pez",
    "uki",
    "vmlinuz",
    "zboot",
];

/// What the flags ask for, in kexec-tools' terms.
#[derive(Debug, Default)]
struct Asked<'a> {
    actions: Actions,
    crash: bool,
    call: Option<Call>,
    /// The line, and whether it must be all of it.
    line: Option<(&'a str, bool)>,
    reuse_cmdline: bool,
    initrd: Option<&'a str>,
    dtb: Option<&'a str>,
    status: bool,
    status_of_load: bool,
    crash_size: bool,
    help: bool,
    version: bool,
    debug: bool,
    no_sync: bool,
}

/// Without a flag, a kernel is loaded and the system shut down into it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Actions {
    load: bool,
    unload: bool,
    exec: bool,
    shutdown: bool,
}

impl Default for Actions {
    fn default() -> Self {
        Self {
            load: true,
            unload: false,
            exec: false,
            shutdown: true,
        }
    }
}

/// Runs it; gives the exit code of a success, which `-S` uses for its answer.
pub(crate) fn run(
    arguments: impl Iterator<Item = OsString>,
    terminal: &mut Terminal,
) -> Result<u8> {
    let arguments = arguments
        .map(|argument| {
            argument
                .into_string()
                .map_err(|argument| Failure::usage(format!("{}: needed UTF-8", argument.display())))
        })
        .collect::<Result<Vec<_>>>()?;
    let (flags, operands) = flags::parse(&arguments).map_err(Failure::usage)?;
    let asked = Asked::new(&flags)?;
    let done = |()| Exit::Done.code();
    if asked.help {
        return terminal.result(help().as_bytes()).map(done);
    }
    if asked.version {
        let version = concat!("kexec of kpeel ", env!("CARGO_PKG_VERSION"), "\n");
        return terminal.result(version.as_bytes()).map(done);
    }
    if asked.crash_size {
        let size = system()?.crash_size.unwrap_or(0);
        return terminal.result(format!("{size}\n").as_bytes()).map(done);
    }
    if asked.status {
        return asked.status();
    }
    asked.act(&operands, terminal).map(done)
}

impl<'a> Asked<'a> {
    /// Reads flags in order: a later action replaces an earlier one.
    fn new(flags: &[Given<'a>]) -> Result<Self> {
        let mut asked = Self::default();
        for (flag, value) in flags {
            match flag.meaning {
                Meaning::Known => asked.take(flag.long, *value)?,
                Meaning::Harmless => {}
                Meaning::Refused => {
                    return Err(Failure::usage(format!(
                        "--{}: kpeel has nothing of this kind, which kexec-tools has",
                        flag.long
                    )));
                }
            }
        }
        Ok(asked)
    }

    fn take(&mut self, flag: &str, value: Option<&'a str>) -> Result<()> {
        let action = |load, unload, exec| Actions {
            load,
            unload,
            exec,
            shutdown: false,
        };
        match flag {
            "help" => self.help = true,
            "version" => self.version = true,
            "debug" => self.debug = true,
            "force" => self.actions = action(true, self.actions.unload, true),
            "load" => {
                self.actions = action(true, self.actions.unload, false);
                self.status_of_load = true;
            }
            "load-panic" => {
                self.crash = true;
                // With -u, whichever comes first, it says what is unloaded.
                let unload = self.actions.unload;
                self.actions = action(!unload, unload, false);
            }
            "unload" => self.actions = action(false, true, self.actions.exec),
            "exec" => self.actions = action(false, self.actions.unload, true),
            "status" => self.status = true,
            "no-sync" => self.no_sync = true,
            "kexec-file-syscall" => self.call = Some(Call::File),
            "kexec-syscall" => self.call = Some(Call::Segments),
            "kexec-syscall-auto" => self.call = None,
            "append" | "command-line" => {
                self.line = value.map(|text| (text, flag == "command-line"));
            }
            "reuse-cmdline" => self.reuse_cmdline = true,
            "initrd" | "ramdisk" => self.initrd = value,
            "dtb" => self.dtb = value,
            "print-ckr-size" => self.crash_size = true,
            "type" => return kind(value.unwrap_or_default()),
            other => return Err(Failure::usage(format!("--{other}: is not known here"))),
        }
        Ok(())
    }

    /// 1 if a kernel of the kind asked about is loaded, 0 if not; the crash kernel unless `-l`
    /// stands beside.
    fn status(&self) -> Result<u8> {
        let status = system()?;
        let loaded = if self.status_of_load && !self.crash {
            status.loaded
        } else {
            status.crash_loaded
        };
        match loaded {
            Some(true) => Ok(LOADED),
            Some(false) => Ok(0),
            None => Err(Failure::system(
                "the running kernel does not tell what is loaded: is it built with CONFIG_KEXEC or \
                 CONFIG_KEXEC_FILE, and /sys mounted?",
            )),
        }
    }

    fn act(&self, operands: &[&str], terminal: &mut Terminal) -> Result<()> {
        if self.actions.unload {
            Unload { crash: self.crash }.run()?;
        }
        if self.actions.load {
            let prepared = self.wish(operands)?.prepare(terminal)?;
            prepared.warn(terminal);
            prepared.load(terminal)?;
        }
        if self.actions.shutdown {
            return shut_down();
        }
        if self.actions.exec {
            let exec = Exec { now: true };
            return exec.start(!self.no_sync);
        }
        Ok(())
    }

    fn wish(&self, operands: &[&str]) -> Result<Wish> {
        let [image] = operands else {
            return Err(Failure::usage(match operands {
                [] => "No kernel specified".to_owned(),
                several => format!("found {} kernels, needed one", several.len()),
            }));
        };
        // Either is the whole line of a kernel without one, or follows the running kernel's. An
        // image's own line, which kexec-tools knows nothing of, --append follows too; what asks for
        // all of the line is refused there.
        let (append, whole) = match self.line {
            Some((text, true)) if !self.reuse_cmdline => (None, Some(text)),
            Some((text, _)) => (Some(text), None),
            None => (None, None),
        };
        Ok(Wish {
            root: "/".into(),
            image: Target::Path(image.into()),
            initrds: self.initrd.iter().map(Into::into).collect(),
            append: append.map(str::to_owned).into_iter().collect(),
            command_line: whole.map(str::to_owned),
            reuse_cmdline: self.reuse_cmdline,
            profile: None,
            crash: self.crash,
            call: self.call,
            dtb: self.dtb.map(Into::into),
            trust: Some(Trust::None),
            revoke: Vec::new(),
            embedded: true,
            parsers: bundled(),
            debug: self.debug,
        })
    }
}

/// Refuses kinds of images that are none of ours; which of ours it is, the image says.
fn kind(name: &str) -> Result<()> {
    if TYPES.contains(&name) {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "--type={name}: kpeel opens no such images; it opens {}",
        TYPES.join(", ")
    )))
}

fn system() -> Result<Status> {
    Status::read(Path::new("/")).map_err(|error| Failure::system(error.to_string()))
}

/// The clean reboot into what is loaded; what is not systemd is asked by shutdown(8), whose scripts
/// call `kexec -e`.
fn shut_down() -> Result<()> {
    if crate::commands::systemd() {
        return Exec { now: false }.run();
    }
    let status = Command::new("shutdown")
        .args(["-r", "now"])
        .status()
        .map_err(|error| Failure::system(format!("cannot run shutdown: {error}")))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::system(format!("shutdown -r now: {status}")))
}

fn help() -> String {
    let mut text = String::from(
        "Usage: kexec [FLAG]... [KERNEL]\n\
         kpeel, called as kexec: takes these flags of kexec-tools, with their meanings there\n\n",
    );
    let known = FLAGS.iter().filter(|flag| flag.meaning != Meaning::Refused);
    for flag in known {
        let short = flag
            .short
            .map_or("    ".to_owned(), |short| format!("-{short}, "));
        let value = if flag.value { "=VALUE" } else { "" };
        text.push_str(&format!("  {short}--{}{value}\n", flag.long));
    }
    text.push_str(
        "\nWithout -l, -p, -u, -e, -f or -S, KERNEL is loaded and the system restarted into it.\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<T>(arguments: &str, look: impl FnOnce(Result<Asked<'_>>) -> T) -> T {
        let arguments: Vec<_> = arguments.split(' ').map(str::to_owned).collect();
        let (flags, _) = flags::parse(&arguments).unwrap();
        look(Asked::new(&flags))
    }

    fn actions(arguments: &str) -> Actions {
        with(arguments, |asked| asked.unwrap().actions)
    }

    fn wish(arguments: &str) -> Wish {
        let arguments: Vec<_> = arguments.split(' ').map(str::to_owned).collect();
        let (flags, operands) = flags::parse(&arguments).unwrap();
        Asked::new(&flags).unwrap().wish(&operands).unwrap()
    }

    const NOTHING: Actions = Actions {
        load: false,
        unload: false,
        exec: false,
        shutdown: false,
    };

    #[test]
    fn a_kernel_alone_is_loaded_and_restarted_into() {
        assert_eq!(actions("vmlinuz"), Actions::default());
    }

    #[test]
    fn actions_are_kexec_tools_actions() {
        let load = Actions {
            load: true,
            ..NOTHING
        };
        let exec = Actions {
            exec: true,
            ..NOTHING
        };
        let force = Actions { load: true, ..exec };
        let unload = Actions {
            unload: true,
            ..NOTHING
        };
        assert_eq!(actions("-l k"), load);
        assert_eq!(actions("-p k"), load);
        assert_eq!(actions("-e"), exec);
        assert_eq!(actions("-f k"), force);
        assert_eq!(actions("-fl k"), load);
        assert_eq!(actions("-lf k"), force);
        assert_eq!(actions("-u"), unload);
        for both in ["-p -u", "-u -p", "-s -p -u"] {
            assert_eq!(actions(both), unload);
            assert!(with(both, |asked| asked.unwrap().crash));
        }
    }

    #[test]
    fn append_and_command_line_are_the_line() {
        let set = wish("-l k --command-line=quiet");
        assert_eq!(set.command_line.as_deref(), Some("quiet"));
        assert!(set.append.is_empty());
        let appended = wish("-l k --append=quiet");
        assert_eq!(appended.command_line, None);
        assert_eq!(appended.append, ["quiet"]);
        for flag in ["--append", "--command-line"] {
            let reused = wish(&format!("-l k --reuse-cmdline {flag}=quiet"));
            assert_eq!(reused.command_line, None);
            assert_eq!(reused.append, ["quiet"]);
            assert!(reused.reuse_cmdline);
        }
    }

    #[test]
    fn the_last_flag_of_a_kind_counts() {
        let wish = wish("-l -c -s k --initrd=a --ramdisk=b --append=x --append=y");
        assert_eq!(wish.initrds, [std::path::PathBuf::from("b")]);
        assert_eq!(wish.append, ["y"]);
        assert_eq!(wish.call, Some(Call::File));
        assert_eq!(super::tests::wish("-l -s -a k").call, None);
        assert_eq!(super::tests::wish("-lc k").call, Some(Call::Segments));
    }

    #[test]
    fn what_debian_s_kdump_tools_pass_is_understood() {
        let wish = wish("-p -s --args-linux --command-line=reset_devices --initrd=/i /vmlinuz");
        assert!(wish.crash);
        assert_eq!(wish.command_line.as_deref(), Some("reset_devices"));
        assert_eq!(wish.call, Some(Call::File));
        assert_eq!(wish.trust, Some(Trust::None));
    }

    #[test]
    fn the_rest_is_refused_by_name() {
        for flag in FLAGS {
            let value = if flag.value { "=bzImage" } else { "" };
            let found = with(&format!("--{}{value}", flag.long), |asked| {
                asked.map(|_| ()).map_err(|failure| failure.to_string())
            });
            match (flag.meaning, found) {
                (Meaning::Refused, Err(message)) => {
                    assert!(
                        message.starts_with(&format!("--{}: ", flag.long)),
                        "{message}"
                    );
                }
                (Meaning::Refused, Ok(())) => panic!("--{} is taken", flag.long),
                (_, found) => found.unwrap(),
            }
        }
        let refused = with("--type=multiboot-x86", |asked| asked.unwrap_err());
        assert!(refused.to_string().starts_with("--type=multiboot-x86: "));
    }

    #[test]
    fn a_load_needs_one_kernel() {
        let refuse = |operands: &[&str]| Asked::default().wish(operands).unwrap_err().to_string();
        assert_eq!(refuse(&[]), "No kernel specified");
        assert_eq!(refuse(&["a", "b"]), "found 2 kernels, needed one");
    }
}
