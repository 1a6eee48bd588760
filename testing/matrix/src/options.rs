//! The command line.

use kpeel_matrix::row::Row;
use kpeel_vm::Arch;

pub(crate) const USAGE: &str = "\
usage: kpeel-matrix [--full] [--arch aarch64|x86_64] [--jobs N] [ROW...]
       kpeel-matrix --list";

/// What is asked for.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Request {
    List,
    Run(Options),
}

/// Which rows, and how many at a time.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Options {
    names: Vec<String>,
    arch: Option<Arch>,
    full: bool,
    pub(crate) jobs: usize,
}

impl Options {
    /// Reads the arguments; every name must be that of a row.
    pub(crate) fn parse(arguments: &[String], rows: &[Row]) -> Result<Request, String> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut options = Self {
            names: Vec::new(),
            arch: None,
            full: false,
            jobs: cores,
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || {
                let value = arguments.next();
                value.ok_or_else(|| format!("{argument} needs a value"))
            };
            match argument.as_str() {
                "--list" => return Ok(Request::List),
                "--full" => options.full = true,
                "--arch" => {
                    let name = value()?;
                    let arch = Arch::from_name(name);
                    options.arch = Some(arch.ok_or_else(|| format!("--arch {name}: unknown"))?);
                }
                "--jobs" => {
                    let number = value()?;
                    let jobs = number.parse().ok().filter(|jobs| *jobs > 0);
                    options.jobs = jobs.ok_or_else(|| format!("--jobs {number}: needed 1.."))?;
                }
                name if rows.iter().any(|row| row.name == name) => {
                    options.names.push(name.to_owned());
                }
                other => return Err(format!("no row or option is called {other}")),
            }
        }
        Ok(Request::Run(options))
    }

    /// Whether the row is to run. One that is named always is.
    pub(crate) fn takes(&self, row: &Row) -> bool {
        let arch = self.arch.is_none_or(|arch| arch == row.arch);
        if self.names.is_empty() {
            return arch && (self.full || !row.full);
        }
        arch && self.names.iter().any(|name| name == row.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(line: &str) -> Result<Vec<&'static str>, String> {
        let rows = kpeel_matrix::all();
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        match Options::parse(&arguments, &rows)? {
            Request::List => Ok(Vec::new()),
            Request::Run(options) => Ok(rows
                .iter()
                .filter(|row| options.takes(row))
                .map(|row| row.name)
                .collect()),
        }
    }

    #[test]
    fn full_adds_rows_and_a_name_picks_one() {
        let ordinary = chosen("").unwrap();
        assert!(!ordinary.contains(&"aarch64-hops-100"));
        assert!(chosen("--full").unwrap().len() > ordinary.len());
        assert_eq!(chosen("aarch64-hops-100").unwrap(), ["aarch64-hops-100"]);
        let arm = chosen("--arch aarch64").unwrap();
        assert!(arm.iter().all(|name| name.starts_with("aarch64")));
        assert!(!arm.is_empty());
    }

    #[test]
    fn rejects_unknown_rows_and_bad_values() {
        for line in ["x86_64-nothing", "--arch", "--arch vax", "--jobs 0", "-v"] {
            assert!(chosen(line).is_err(), "{line}");
        }
    }
}
