//! Puts a picture of layers to paper: SVG 1.1, readable on light and on dark pages.
//!
//! All bars have one scale. `data-bytes` and `data-offset` repeat what a length stands for.

use std::fmt::Display;

use crate::picture::{Block, Picture, Role, Row};
use crate::text::size;
use crate::xml::Xml;

/// Lengths are in SVG's user units, pixels at natural size.
const WIDTH: f64 = 960.0;
const MARGIN: f64 = 28.0;
/// Bars stand to the right of their names.
const BARS: f64 = 132.0;
const BARS_WIDTH: f64 = WIDTH - BARS - MARGIN;
const BAR: f64 = 40.0;
/// Between bars: room for a parser's mark and a line of text.
const GAP: f64 = 58.0;
/// Before a bar that comes from no single place above: room for the mark.
const NARROW_GAP: f64 = 26.0;
/// A block inside another is less high by this, above and below.
const INSET: f64 = 6.0;
const TOP: f64 = 108.0;
const LINE: f64 = 19.0;
const COLUMNS: usize = 4;
const COLUMN: f64 = (WIDTH - 2.0 * MARGIN) / COLUMNS as f64;
/// Longest names and lines of text, in characters.
const NAME_MAX: usize = 16;
const NOTE_MAX: usize = 104;
/// A parser narrower than this gets a mark below its bar.
const MARKED: f64 = 40.0;

const STYLE: &str = "
text{font:12px system-ui,'Segoe UI','DejaVu Sans',sans-serif;fill:#1f2328}
.title{font-size:18px;font-weight:600}
.name{font-size:13px;font-weight:600}
.dim{fill:#59636e}
.code{font-family:ui-monospace,'DejaVu Sans Mono',monospace;font-size:11px}
.on{fill:#fff;font-weight:600}
.end{text-anchor:end}
.mid{text-anchor:middle}
.card{fill:#fff;stroke:#d0d7de}
.grid{stroke:#e4e8ec}
.bar{fill:#eef1f4;stroke:#8c959f}
.flow{fill:#2a62c9;fill-opacity:.13}
.edge{stroke:#fff;stroke-opacity:.55;stroke-width:.6}
.headers{fill:#4d5661}
.program{fill:#7b8794}
.kernel{fill:#2a62c9}
.initrd{fill:#1a7f4b}
.text{fill:#946200}
.firmware{fill:#6f48c4}
.parser{fill:#c02a86}
.signature{fill:#bf3a2b}
@media(prefers-color-scheme:dark){
text{fill:#e6edf3}
.dim{fill:#9aa4af}
.on{fill:#fff}
.card{fill:#151b23;stroke:#3d444d}
.grid{stroke:#262d36}
.bar{fill:#232a33;stroke:#6b7480}
.flow{fill:#6c9bf5;fill-opacity:.22}
.kernel{fill:#3d74d9}
.parser{fill:#d8489e}
.headers{fill:#69737f}
.program{fill:#8a95a1}
}
";

/// The picture as a document.
pub(crate) fn draw(picture: &Picture) -> String {
    let most = picture.rows.iter().map(|row| row.size).max().unwrap_or(0);
    let paper = Paper {
        scale: BARS_WIDTH / (most.max(1) as f64),
    };
    let mut body = Xml::default();
    let places = places(&picture.rows);
    let bars_end = places.last().copied().unwrap_or(TOP) + BAR;
    axis(&mut body, &paper, most, bars_end);
    let mut above: Option<&Row> = None;
    for (row, y) in picture.rows.iter().zip(places) {
        if let Some(above) = above {
            paper.flow(&mut body, above, row, y);
        }
        paper.row(&mut body, row, y);
        above = Some(row);
    }
    let mut y = bars_end + 44.0;
    for (name, line) in &picture.notes {
        y = note(&mut body, name, line, y);
    }
    y += 12.0;
    for row in picture.rows.iter().filter(|row| row.depth.is_some()) {
        y = list(&mut body, row, y);
    }
    document(picture, y, &body)
}

/// The height at which each bar starts.
fn places(rows: &[Row]) -> Vec<f64> {
    let mut y = TOP;
    let mut places = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        if index > 0 {
            y += BAR + if row.from.is_some() { GAP } else { NARROW_GAP };
        }
        places.push(y);
    }
    places
}

fn document(picture: &Picture, height: f64, body: &Xml) -> String {
    let height = number(height);
    let mut xml = Xml::default();
    let view = format!("0 0 {WIDTH} {height}");
    xml.element(
        "svg",
        &[
            ("xmlns", &"http://www.w3.org/2000/svg"),
            ("viewBox", &view),
            ("width", &WIDTH),
            ("height", &height),
            ("role", &"img"),
        ],
        |xml| {
            xml.text("title", &[], &format!("Layers of {}", picture.title));
            xml.style(STYLE);
            xml.empty(
                "rect",
                &[
                    ("class", &"card"),
                    ("width", &"100%"),
                    ("height", &"100%"),
                    ("rx", &10),
                ],
            );
            let title = clip(&picture.title, 64);
            text(xml, "title", MARGIN, 40.0, &title);
            text(xml, "dim", MARGIN, 61.0, &picture.summary);
            xml.append(body);
        },
    );
    xml.finish()
}

/// Bytes to lengths.
struct Paper {
    scale: f64,
}

impl Paper {
    fn at(&self, offset: u64) -> f64 {
        BARS + self.length(offset)
    }

    fn length(&self, bytes: u64) -> f64 {
        bytes as f64 * self.scale
    }

    /// One bar with its name.
    fn row(&self, xml: &mut Xml, row: &Row, y: f64) {
        let depth: &dyn Display = match &row.depth {
            Some(depth) => depth,
            None => &"",
        };
        xml.element(
            "g",
            &[("data-depth", depth), ("data-name", &row.name)],
            |xml| {
                text(xml, "name", MARGIN, y + 17.0, &named(row));
                text(xml, "dim", MARGIN, y + 34.0, &size(row.size));
                let (x, width) = (number(BARS), number(self.length(row.size)));
                xml.empty(
                    "rect",
                    &[
                        ("class", &"bar"),
                        ("x", &x),
                        ("y", &number(y)),
                        ("width", &width),
                        ("height", &BAR),
                        ("data-bytes", &row.size),
                    ],
                );
                for (index, block) in row.blocks.iter().enumerate() {
                    let (before, after) = row.blocks.split_at(index);
                    let inside = before.iter().any(|outer| holds(outer, block));
                    let covered = after.iter().skip(1).any(|later| meets(later, block));
                    self.block(xml, block, y, inside);
                    if !covered {
                        self.label(xml, block, y);
                    }
                }
                self.mark(xml, row, y);
            },
        );
    }

    fn block(&self, xml: &mut Xml, block: &Block, y: f64, inside: bool) {
        let inset = if inside { INSET } else { 0.0 };
        let said = format!(
            "{}: {} at {:#x}",
            block.name,
            size(block.size),
            block.offset
        );
        let width = self.length(block.size);
        let class = match width > 4.0 {
            true => format!("{} edge", class(block.role)),
            false => class(block.role).to_owned(),
        };
        xml.element(
            "rect",
            &[
                ("class", &class),
                ("x", &number(self.at(block.offset))),
                ("y", &number(y + inset)),
                ("width", &number(width)),
                ("height", &number(BAR - 2.0 * inset)),
                ("data-offset", &block.offset),
                ("data-bytes", &block.size),
            ],
            |xml| xml.text("title", &[], &said),
        );
    }

    /// The block's name in it, if it has the room, and its size if there is still more.
    fn label(&self, xml: &mut Xml, block: &Block, y: f64) {
        let room = self.length(block.size) - 14.0;
        let name = clip(&block.name, NAME_MAX);
        let long = format!("{name}  {}", size(block.size));
        let Some(label) = [long, name].into_iter().find(|it| wide(it, 12.0) < room) else {
            return;
        };
        let x = self.at(block.offset) + self.length(block.size) / 2.0;
        text(xml, "on mid", x, y + BAR / 2.0 + 4.0, &label);
    }

    /// Points at a parser that is too small to be seen.
    fn mark(&self, xml: &mut Xml, row: &Row, y: f64) {
        let parser = row.blocks.iter().find(|block| block.role == Role::Parser);
        let parser = parser.filter(|block| self.length(block.size) < MARKED);
        let Some(block) = parser else { return };
        let x = self.at(block.offset) + self.length(block.size) / 2.0;
        let y = y + BAR;
        let triangle = format!("M{} {}l5 8h-10z", number(x), number(y + 2.0));
        xml.empty("path", &[("class", &"parser"), ("d", &triangle)]);
        let label = format!("{} {}", block.name, size(block.size));
        let fits = x + 9.0 + wide(&label, 12.0) < WIDTH - MARGIN;
        let (class, x) = match fits {
            true => ("parser", x + 9.0),
            false => ("parser end", x - 9.0),
        };
        text(xml, class, x, y + 12.0, &label);
    }

    /// From a stretch of the row above to this row.
    fn flow(&self, xml: &mut Xml, above: &Row, row: &Row, y: f64) {
        let Some(from) = &row.from else { return };
        let top = y - GAP;
        let (left, right) = (
            self.at(from.offset),
            self.at(from.offset.saturating_add(from.size)),
        );
        let path = format!(
            "M{} {}L{} {}L{} {}L{} {}z",
            number(left),
            number(top + 1.0),
            number(right),
            number(top + 1.0),
            number(BARS + self.length(row.size)),
            number(y),
            number(BARS),
            number(y),
        );
        xml.empty("path", &[("class", &"flow"), ("d", &path)]);
        let mut label = above.opened.clone().unwrap_or_default();
        if let Some(codec) = &from.codec {
            let times = row.size as f64 / from.size.max(1) as f64;
            label = format!(
                "{label}; {} unpacks to {times:.1} times the size",
                clip(codec, NAME_MAX)
            );
        }
        let middle = BARS + self.length(row.size) / 2.0;
        let half = wide(&label, 12.0) / 2.0;
        let middle = middle.min(WIDTH - MARGIN - half).max(BARS + half);
        text(xml, "dim mid", middle, y - 14.0, &label);
    }
}

/// Lines across the bars at round sizes.
fn axis(xml: &mut Xml, paper: &Paper, most: u64, bottom: f64) {
    const STEPS: [u64; 10] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];
    let unit = 1_u64
        << [30, 20, 10, 0]
            .into_iter()
            .find(|it| most >> it != 0)
            .unwrap_or(0);
    let step = STEPS
        .into_iter()
        .find(|step| most / unit / step < 8)
        .unwrap_or(1000);
    let name = match unit.ilog2() {
        30 => "GiB",
        20 => "MiB",
        10 => "KiB",
        _ => "bytes",
    };
    for tick in (0..=most / unit).step_by(usize::try_from(step).unwrap_or(1)) {
        let x = paper.at(tick.saturating_mul(unit));
        let path = format!(
            "M{} {}V{}",
            number(x),
            number(TOP - 12.0),
            number(bottom + 8.0)
        );
        xml.empty("path", &[("class", &"grid"), ("d", &path)]);
        let label = match tick {
            0 => "0".to_owned(),
            _ => format!("{tick} {name}"),
        };
        let class = if x > WIDTH - MARGIN - 20.0 {
            "dim end"
        } else {
            "dim mid"
        };
        text(xml, class, x, TOP - 18.0, &label);
    }
}

/// A line of text below the bars; gives the place of the next.
fn note(xml: &mut Xml, name: &str, line: &str, y: f64) -> f64 {
    text(xml, "name", MARGIN, y, name);
    let characters: Vec<char> = line.chars().collect();
    let mut y = y;
    for part in characters.chunks(NOTE_MAX) {
        text(xml, "code", BARS, y, &part.iter().collect::<String>());
        y += LINE;
    }
    y + 4.0
}

/// What is in a row, by name; gives the place of the next list.
fn list(xml: &mut Xml, row: &Row, y: f64) -> f64 {
    let heading = format!("{}: {}", named(row), size(row.size));
    text(xml, "name", MARGIN, y, &heading);
    let entries = entries(row);
    for (index, entry) in entries.iter().enumerate() {
        let x = MARGIN + (index % COLUMNS) as f64 * COLUMN;
        let y = y + LINE * (index / COLUMNS) as f64 + LINE + 4.0;
        xml.empty(
            "rect",
            &[
                ("class", &class(entry.role)),
                ("x", &number(x)),
                ("y", &number(y - 9.0)),
                ("width", &10),
                ("height", &10),
                ("rx", &2),
            ],
        );
        text(xml, "", x + 16.0, y, &entry.name);
        text(xml, "dim end", x + COLUMN - 20.0, y, &size(entry.size));
    }
    y + LINE * entries.len().div_ceil(COLUMNS) as f64 + 2.0 * LINE + 2.0
}

/// The blocks in order, those of one name as one.
fn entries(row: &Row) -> Vec<Block> {
    let mut entries: Vec<(Block, usize)> = Vec::new();
    for block in &row.blocks {
        match entries.iter_mut().find(|(it, _)| it.name == block.name) {
            Some((entry, count)) => {
                entry.size = entry.size.saturating_add(block.size);
                *count = count.saturating_add(1);
            }
            None => entries.push((block.clone(), 1)),
        }
    }
    let named = |(mut entry, count): (Block, usize)| {
        entry.name = match count {
            1 => clip(&entry.name, NAME_MAX),
            _ => format!("{} \u{d7}{count}", clip(&entry.name, NAME_MAX - 4)),
        };
        entry
    };
    entries.into_iter().map(named).collect()
}

fn named(row: &Row) -> String {
    match row.depth {
        Some(depth) => format!("{depth} \u{b7} {}", row.name),
        None => row.name.clone(),
    }
}

fn holds(outer: &Block, block: &Block) -> bool {
    outer.offset <= block.offset
        && block.offset.saturating_add(block.size) <= outer.offset.saturating_add(outer.size)
}

fn meets(one: &Block, other: &Block) -> bool {
    one.offset < other.offset.saturating_add(other.size)
        && other.offset < one.offset.saturating_add(one.size)
}

const fn class(role: Role) -> &'static str {
    match role {
        Role::Headers => "headers",
        Role::Program => "program",
        Role::Kernel => "kernel",
        Role::Initrd => "initrd",
        Role::Text => "text",
        Role::Firmware => "firmware",
        Role::Parser => "parser",
        Role::Signature => "signature",
    }
}

fn text(xml: &mut Xml, class: &str, x: f64, y: f64, content: &str) {
    let place: [(&'static str, &dyn Display); 2] = [("x", &number(x)), ("y", &number(y))];
    let classed: [(&'static str, &dyn Display); 1] = [("class", &class)];
    match class {
        "" => xml.text("text", &place, content),
        _ => xml.text("text", &[&classed[..], &place[..]].concat(), content),
    }
}

/// How wide text is at most in the fonts that are likely: DejaVu Sans is the widest of them.
fn wide(text: &str, size: f64) -> f64 {
    let width = |character: char| if character.is_ascii() { 0.66 } else { 1.0 };
    text.chars().map(width).sum::<f64>() * size
}

/// The first `most` characters.
fn clip(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}\u{2026}", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// A length in no more digits than it needs.
fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
