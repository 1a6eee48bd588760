//! Fragments of kernel configurations.
//!
//! The kernel's configuration drops, without a word, a line whose dependencies are not met; here that is an error.

use std::path::Path;

use crate::kernel::Fragment;
use crate::{Error, Result};

/// Adds the fragment's lines to the configuration in `file`, where the last line about an option holds.
pub(crate) fn append(file: &Path, fragment: &str) -> Result<()> {
    let mut text = std::fs::read_to_string(file).map_err(Error::io("reading", file))?;
    text.push('\n');
    text.push_str(fragment);
    std::fs::write(file, text).map_err(Error::io("writing", file))
}

/// Demands that the configuration in `file` has every line of the fragment.
pub(crate) fn demand(file: &Path, fragment: Fragment) -> Result<()> {
    let config = std::fs::read_to_string(file).map_err(Error::io("reading", file))?;
    let lost = lost(&config, fragment.text);
    if lost.is_empty() {
        return Ok(());
    }
    Err(Error::Config {
        fragment: fragment.name,
        lost: lost.join(", "),
    })
}

/// The fragment's lines that the configuration lacks.
fn lost<'a>(config: &str, fragment: &'a str) -> Vec<&'a str> {
    let off = |line: &str| line.strip_suffix("=n").map(str::to_owned);
    fragment
        .lines()
        .filter(|line| line.starts_with("CONFIG_"))
        .filter(|line| match off(line) {
            // An option that is off is written as a comment, or not at all.
            Some(name) => config
                .lines()
                .any(|found| found.starts_with(&format!("{name}="))),
            None => !config.lines().any(|found| found == *line),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=\"x\"\n";

    #[test]
    fn accepts_lines_that_came_true() {
        let fragment = "# why\nCONFIG_A=y\nCONFIG_B=n\nCONFIG_C=\"x\"\nCONFIG_D=n\n";
        assert_eq!(lost(CONFIG, fragment), [""; 0]);
    }

    #[test]
    fn names_lines_that_did_not() {
        let fragment = "CONFIG_A=n\nCONFIG_B=y\nCONFIG_C=\"y\"\nCONFIG_AA=y\n";
        let all: Vec<&str> = fragment.lines().collect();
        assert_eq!(lost(CONFIG, fragment), all);
    }
}
