//! Everything that decides what a kernel's bytes are, and the key made of it.

use kpeel_images::{Origin, origins};

use crate::kernel::Kernel;
use crate::{Result, build, linux, source, tools};

/// Changes when the recipe in this crate gives other files for the same inputs.
const RECIPE: u32 = 2;

/// Hexadecimal digits of a key.
const KEY_DIGITS: usize = 16;

/// The inputs of one kernel, as text that is kept beside the result.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Inputs {
    kernel: Kernel,
    text: String,
}

impl Inputs {
    /// What the kernel would be built of now.
    ///
    /// # Errors
    /// [`crate::Error::Missing`] when a tool whose version counts is not there.
    pub(crate) fn now(kernel: Kernel) -> Result<Self> {
        let origins = origins(kernel.source())?;
        let mut ours = tools::versions(kernel)?;
        if kernel.is_patched() {
            ours.extend(linux::Added::read()?.lines()?);
        }
        Ok(Self::new(kernel, &origins, &ours))
    }

    /// `lines` are the tools whose versions count, and our files.
    pub(crate) fn new(kernel: Kernel, origins: &[Origin], lines: &[String]) -> Self {
        let mut text = format!("kernel {}\nrecipe {RECIPE}\n", kernel.name());
        for origin in origins {
            text += &format!(
                "source {} {} {}\n",
                origin.package, origin.version, origin.sha256
            );
        }
        for left in source::LEFT_OUT {
            text += &format!("without {left}\n");
        }
        for line in lines {
            text += line;
            text += "\n";
        }
        for (name, value) in build::STAMPS {
            text += &format!("stamp {name}={value}\n");
        }
        for fragment in kernel.fragments() {
            text += &format!("config {}\n{}", fragment.name, fragment.text);
        }
        for relink in kernel.relinks() {
            let fragment = relink.fragment();
            text += &format!("relink {}\n{}", fragment.name, fragment.text);
        }
        Self { kernel, text }
    }

    /// A name for what is built of these inputs.
    pub(crate) fn key(&self) -> String {
        let digest = linux::sha256(self.text.as_bytes());
        let digits = digest.get(..KEY_DIGITS).unwrap_or_default();
        format!("{}-{digits}", self.kernel.name())
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(version: &str, sha256: &str) -> Origin {
        Origin {
            package: "linux-source".to_owned(),
            version: version.to_owned(),
            sha256: sha256.to_owned(),
        }
    }

    fn key(version: &str, sha256: &str, tool: &str) -> String {
        let tools = [tool.to_owned()];
        Inputs::new(Kernel::STOCK_ARM64, &[origin(version, sha256)], &tools).key()
    }

    #[test]
    fn every_input_changes_the_key_and_nothing_else_does() {
        let first = key("1", "aa", "clang 1");
        assert_eq!(key("1", "aa", "clang 1"), first);
        assert_ne!(key("2", "aa", "clang 1"), first);
        assert_ne!(key("1", "ab", "clang 1"), first);
        assert_ne!(key("1", "aa", "clang 2"), first);
    }

    #[test]
    fn the_key_says_which_kernel_it_is() {
        let key = key("1", "aa", "clang 1");
        let digits = key.strip_prefix("arm64-stock-").unwrap();
        assert_eq!(digits.len(), KEY_DIGITS);
    }
}
