//! What kpeel's side adds to a kernel's size.

use std::path::Path;
use std::process::Command;

use crate::make::Log;
use crate::{Error, Result};

/// The file in the kernel's directory.
pub(crate) const FILE: &str = "sizes.json";

/// LLVM's size(1).
pub(crate) const PROGRAM: &str = "llvm-size-22";

/// Bytes of the sections of an object, or of all of an archive.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Part {
    /// Code and everything else that is not written to.
    text: u64,
    data: u64,
    bss: u64,
    /// Sections whose names begin with `.text`: code alone.
    code: u64,
}

/// What is told of one kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) with: Part,
    pub(crate) without: Part,
    pub(crate) kexec_pe: Part,
}

impl Part {
    /// Asks size(1).
    pub(crate) fn of(file: &Path, log: &Log) -> Result<Self> {
        let ask = |format: &str| {
            let mut lines = Vec::new();
            let mut program = Command::new(PROGRAM);
            program.arg(format!("--format={format}")).arg(file);
            log.run(&mut program, PROGRAM, |line| lines.push(line.to_owned()))?;
            Ok::<_, Error>(lines)
        };
        let part = Self::sum(&ask("berkeley")?, &ask("sysv")?);
        match part {
            Self { text: 0, .. } | Self { code: 0, .. } => Err(Error::unexpected(
                file,
                "text",
                "nothing",
                "what size(1) tells of an object",
            )),
            part => Ok(part),
        }
    }

    /// `berkeley` has a line of text, data and bss for each object, `sysv` one for each section.
    fn sum(berkeley: &[String], sysv: &[String]) -> Self {
        let mut part = Self::default();
        for line in berkeley {
            let numbers = line.split_whitespace().take(3);
            let numbers: Vec<u64> = numbers.map_while(|word| word.parse().ok()).collect();
            if let [text, data, bss] = numbers.as_slice() {
                part.text += text;
                part.data += data;
                part.bss += bss;
            }
        }
        for line in sysv {
            let mut words = line.split_whitespace();
            let code = words
                .next()
                .is_some_and(|name| name == ".text" || name.starts_with(".text."));
            let size = words.next().and_then(|size| size.parse::<u64>().ok());
            part.code += size.filter(|_| code).unwrap_or_default();
        }
        part
    }

    fn to_json(self) -> String {
        let Self {
            text,
            data,
            bss,
            code,
        } = self;
        format!("{{\"text\": {text}, \"data\": {data}, \"bss\": {bss}, \"code\": {code}}}")
    }
}

impl Sizes {
    /// The kernel's name is a plain word, so nothing needs quoting.
    pub(crate) fn to_json(self, kernel: &str) -> String {
        format!(
            "{{\"schema\": 1, \"kernel\": \"{kernel}\",\n \"with\": {},\n \"without\": {},\n \"kexec_pe\": {}}}\n",
            self.with.to_json(),
            self.without.to_json(),
            self.kexec_pe.to_json()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn adds_up_the_objects_of_an_archive() {
        let berkeley = lines(
            "   text\t   data\t    bss\t    dec\t    hex\tfilename\n\
             \x20  100\t     20\t      3\t    123\t     7b\ta.o (ex built-in.a)\n\
             \x20   10\t      2\t      0\t     12\t      c\tb.o (ex built-in.a)\n",
        );
        let sysv = lines(
            "a.o (ex built-in.a) :\nsection size addr\n.text 60 0\n.text.unlikely 5 0\n.textual 9 0\n\
             .rodata 35 0\nTotal 100\n\nb.o (ex built-in.a) :\nsection size addr\n.text 7 0\nTotal 7\n",
        );
        let part = Part::sum(&berkeley, &sysv);
        let expected = Part {
            text: 110,
            data: 22,
            bss: 3,
            code: 72,
        };
        assert_eq!(part, expected);
        assert_eq!(
            part.to_json(),
            "{\"text\": 110, \"data\": 22, \"bss\": 3, \"code\": 72}"
        );
    }

    #[test]
    fn measures_an_object_and_refuses_what_is_none() {
        let scratch = kpeel_images::make::Scratch::new().unwrap();
        let log = Log::create(&scratch.join("log")).unwrap();
        let own = std::env::current_exe().unwrap();
        let part = Part::of(&own, &log).unwrap();
        assert!(part.code > 0 && part.text > part.code, "{part:?}");
        let none = scratch.write("none", b"no object").unwrap();
        assert!(Part::of(&none, &log).is_err());
    }
}
