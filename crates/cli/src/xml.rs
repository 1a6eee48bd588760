//! Writes XML: every text and every value of an attribute goes through one escape.

use std::fmt::{Display, Write as _};

/// A document while it grows.
#[derive(Debug, Default)]
pub(crate) struct Xml {
    text: String,
}

/// Attributes by name.
pub(crate) type Attributes<'a> = &'a [(&'static str, &'a dyn Display)];

impl Xml {
    /// An element with only attributes.
    pub(crate) fn empty(&mut self, name: &'static str, attributes: Attributes<'_>) {
        self.start(name, attributes);
        self.text.push_str("/>\n");
    }

    /// An element that holds text.
    pub(crate) fn text(&mut self, name: &'static str, attributes: Attributes<'_>, content: &str) {
        self.start(name, attributes);
        let content = escape(content);
        let _ = writeln!(self.text, ">{content}</{name}>");
    }

    /// An element that holds what `inside` writes.
    pub(crate) fn element(
        &mut self,
        name: &'static str,
        attributes: Attributes<'_>,
        inside: impl FnOnce(&mut Self),
    ) {
        self.start(name, attributes);
        self.text.push_str(">\n");
        inside(self);
        let _ = writeln!(self.text, "</{name}>");
    }

    /// A style sheet, which is ours and needs no escape.
    pub(crate) fn style(&mut self, sheet: &'static str) {
        let _ = writeln!(self.text, "<style>{sheet}</style>");
    }

    /// What another one of these has written.
    pub(crate) fn append(&mut self, other: &Self) {
        self.text.push_str(&other.text);
    }

    /// The document.
    pub(crate) fn finish(self) -> String {
        self.text
    }

    fn start(&mut self, name: &'static str, attributes: Attributes<'_>) {
        let _ = write!(self.text, "<{name}");
        for (name, value) in attributes {
            let _ = write!(self.text, " {name}=\"{}\"", escape(&value.to_string()));
        }
    }
}

/// Text as it may stand in content and in quoted values (XML 1.0, sections 2.2 and 2.4). Characters that XML cannot
/// hold at all become U+FFFD.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' => {
                escaped.push(character);
            }
            '\u{1_0000}'.. => escaped.push(character),
            _ => escaped.push('\u{fffd}'),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_text_or_values_ends_them() {
        let mut xml = Xml::default();
        let hostile = "</a>\"'<b>&\0\u{ffff}";
        xml.element("a", &[("x", &hostile)], |xml| xml.text("b", &[], hostile));
        let escaped = "&lt;/a&gt;&quot;&apos;&lt;b&gt;&amp;\u{fffd}\u{fffd}";
        assert_eq!(
            xml.finish(),
            format!("<a x=\"{escaped}\">\n<b>{escaped}</b>\n</a>\n")
        );
    }
}
