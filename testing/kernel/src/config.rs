//! Fragments of kernel configurations.
//!
//! The kernel's configuration drops, without a word, a line whose dependencies are not met; here that is an error.

use std::path::Path;

use crate::{Error, Result};

/// Adds the fragment's lines to the configuration in `file`, where the last line about an option holds.
pub(crate) fn append(file: &Path, fragment: &str) -> Result<()> {
    let mut text = std::fs::read_to_string(file).map_err(Error::io("reading", file))?;
    text.push('\n');
    text.push_str(fragment);
    std::fs::write(file, text).map_err(Error::io("writing", file))
}

/// Demands that the configuration in `file` has every line of the text, which `name` has; of several lines about one
/// option, the last.
pub(crate) fn demand(file: &Path, name: &str, text: &str) -> Result<()> {
    let config = std::fs::read_to_string(file).map_err(Error::io("reading", file))?;
    let lost = lost(&config, text);
    if lost.is_empty() {
        return Ok(());
    }
    Err(Error::Config {
        fragment: name.to_owned(),
        lost: lost.join(", "),
    })
}

/// The fragment's lines that the configuration lacks.
fn lost<'a>(config: &str, fragment: &'a str) -> Vec<&'a str> {
    let option = |line: &'a str| line.split_once('=').map_or(line, |pair| pair.0);
    let lines: Vec<&str> = fragment
        .lines()
        .filter(|line| line.starts_with("CONFIG_"))
        .collect();
    let overridden = |at: usize, line: &'a str| {
        let mut later = lines.iter().skip(at + 1);
        later.any(|other| option(other) == option(line))
    };
    let wanted = lines.iter().copied().enumerate();
    let wanted = wanted.filter(|(at, line)| !overridden(*at, line));
    wanted
        .map(|(_, line)| line)
        .filter(|line| match line.strip_suffix("=n") {
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
    fn the_last_line_about_an_option_counts() {
        assert_eq!(lost(CONFIG, "CONFIG_C=\"y\"\nCONFIG_C=\"x\"\n"), [""; 0]);
        assert_eq!(lost(CONFIG, "CONFIG_C=\"x\"\nCONFIG_C=n\n"), ["CONFIG_C=n"]);
    }

    #[test]
    fn names_lines_that_did_not() {
        let fragment = "CONFIG_A=n\nCONFIG_B=y\nCONFIG_C=\"y\"\nCONFIG_AA=y\n";
        let all: Vec<&str> = fragment.lines().collect();
        assert_eq!(lost(CONFIG, fragment), all);
    }
}
