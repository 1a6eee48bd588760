//! Draws a tree.

/// A line and what hangs below it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Node {
    line: String,
    children: Vec<Node>,
}

impl Node {
    pub(crate) fn new(line: impl Into<String>) -> Self {
        Self {
            line: line.into(),
            children: Vec::new(),
        }
    }

    /// Hangs a subtree below.
    pub(crate) fn push(&mut self, child: Self) {
        self.children.push(child);
    }

    /// Hangs a line below.
    pub(crate) fn line(&mut self, line: impl Into<String>) {
        self.push(Self::new(line));
    }

    /// The tree as text, each line ended.
    pub(crate) fn draw(&self) -> String {
        let mut text = format!("{}\n", self.line);
        self.draw_children("", &mut text);
        text
    }

    fn draw_children(&self, indent: &str, text: &mut String) {
        let last = self.children.len().saturating_sub(1);
        for (at, child) in self.children.iter().enumerate() {
            let (branch, below) = if at == last {
                ("└─ ", "   ")
            } else {
                ("├─ ", "│  ")
            };
            text.push_str(indent);
            text.push_str(branch);
            text.push_str(&child.line);
            text.push('\n');
            child.draw_children(&format!("{indent}{below}"), text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_branches_and_ends() {
        let mut inner = Node::new("b");
        inner.line("c");
        let mut root = Node::new("a");
        root.push(inner);
        root.line("d");
        assert_eq!(root.draw(), "a\n├─ b\n│  └─ c\n└─ d\n");
    }
}
