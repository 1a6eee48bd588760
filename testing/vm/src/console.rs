//! The guest's serial console: kept as a file, and as lines.

use std::fs::File;
use std::io::{self, Read, Write};

/// Copies everything the guest prints into `log`, and returns it as lines once the guest is gone.
pub(crate) fn collect(mut serial: impl Read, mut log: File) -> io::Result<Vec<String>> {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = serial.read(&mut buffer)?;
        if count == 0 {
            return Ok(lines(&text));
        }
        let (new, _) = buffer.split_at(count);
        log.write_all(new)?;
        text.extend_from_slice(new);
    }
}

/// Lines as a terminal would show them: the line discipline ends each with CR LF.
fn lines(text: &[u8]) -> Vec<String> {
    text.split(|&byte| byte == b'\n')
        .map(|line| {
            String::from_utf8_lossy(line)
                .trim_end_matches('\r')
                .to_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_line_ends_but_nothing_else() {
        assert_eq!(lines(b"a \r\n b\nc\xff"), ["a ", " b", "c\u{fffd}"]);
    }
}
