//! `kpeel inspect --svg`, read by an XML crate that is not ours.

use std::fs;
use std::path::Path;

use roxmltree::{Document, Node};

use crate::support::{Bench, document, fails, kernel, kpeel, succeeds};

fn draw(image: &Path) -> String {
    succeeds(kpeel(["inspect", "--svg", "-"]).arg(image))
}

/// A zboot image with a parser of its own, its kernel compressed, in a UKI with some sections more.
fn nested(bench: &Bench) -> std::path::PathBuf {
    let mut kernel = kernel();
    kernel.resize(600_000, 7);
    let inner = bench.zboot("zboot", &kernel);
    let attached = bench.path("attached");
    succeeds(
        kpeel(["attach", "--parser", "zboot", "-o"])
            .arg(&attached)
            .arg(&inner),
    );
    let sections: [(&str, &[u8]); 3] = [
        (".linux", &fs::read(attached).unwrap()),
        (".initrd", &[1; 9000]),
        (".cmdline", b"quiet & <splash>"),
    ];
    bench.uki("uki", &sections)
}

fn number(node: Node<'_, '_>, name: &str) -> f64 {
    let value = node
        .attribute(name)
        .unwrap_or_else(|| panic!("{node:?} has no {name}"));
    value.parse().unwrap()
}

/// Bars with the blocks in them, by the depth of their envelope.
fn bars<'a, 'i>(drawn: &'a Document<'i>, depth: &str) -> (Node<'a, 'i>, Vec<Node<'a, 'i>>) {
    let row = drawn
        .descendants()
        .find(|node| node.attribute("data-depth") == Some(depth))
        .unwrap();
    let rects = row.children().filter(|node| node.has_tag_name("rect"));
    let (bars, blocks) =
        rects.partition::<Vec<_>, _>(|node| node.attribute("class") == Some("bar"));
    (bars[0], blocks)
}

#[test]
fn lengths_are_to_scale() {
    let bench = Bench::new();
    let image = nested(&bench);
    let text = draw(&image);
    let drawn = Document::parse(&text).unwrap();
    let told = document(&succeeds(kpeel(["inspect", "--json"]).arg(&image)));
    let layers = told["layers"].as_array().unwrap();
    let result = told["result"]["kernel"]["size"].as_f64().unwrap();
    let most = layers
        .iter()
        .map(|layer| layer["size"].as_f64().unwrap())
        .fold(result, f64::max);
    let widest = drawn
        .descendants()
        .filter(|node| node.attribute("class") == Some("bar"))
        .map(|node| number(node, "width"))
        .fold(0.0, f64::max);
    let mut found = 0;
    for layer in layers {
        let (bar, blocks) = bars(&drawn, &layer["depth"].to_string());
        let size = layer["size"].as_f64().unwrap();
        assert!((number(bar, "width") / widest - size / most).abs() < 1e-4);
        for section in layer["sections"].as_array().unwrap() {
            let [offset, size] = ["pointer_to_raw_data", "size_of_raw_data"]
                .map(|field| section[field].as_f64().unwrap());
            let block = blocks
                .iter()
                .find(|block| {
                    number(**block, "data-offset") == offset
                        && number(**block, "data-bytes") == size
                })
                .unwrap_or_else(|| panic!("{section} is not drawn"));
            let from = number(*block, "x") - number(bar, "x");
            assert!((from / widest - offset / most).abs() < 1e-4, "{section}");
            assert!(
                (number(*block, "width") / widest - size / most).abs() < 1e-4,
                "{section}"
            );
            found += 1;
        }
    }
    assert!(found > 10, "{found} sections");
    // The payload of the zboot image, as its header tells it, in the bar of the second envelope.
    let zboot = &layers[1]["zboot"];
    let (_, blocks) = bars(&drawn, "2");
    let payload = |block: &&Node<'_, '_>| {
        number(**block, "data-bytes") == zboot["payload_size"].as_f64().unwrap()
            && number(**block, "data-offset") == zboot["payload_offset"].as_f64().unwrap()
    };
    assert!(blocks.iter().any(|block| payload(&block)));
    // After unpacking: a bar of the kernel's size.
    assert!(
        drawn
            .descendants()
            .any(|node| node.attribute("class") == Some("bar")
                && number(node, "data-bytes") == result)
    );
}

#[test]
fn hostile_names_stay_text() {
    let bench = Bench::new();
    for hostile in [
        *b"<b>&\"'/>",
        *b"]]><!--x",
        *b"n<a/>\x1b\xff\x01",
        *b"\xe2\x80\xae\xff\xfe<&;",
    ] {
        let image = bench.uki("uki", &[(".linux", &kernel()), (".hostil", b"x")]);
        let mut bytes = fs::read(&image).unwrap();
        let at = bytes
            .windows(8)
            .position(|name| name == b".hostil\0")
            .unwrap();
        bytes[at..at + 8].copy_from_slice(&hostile);
        let text = draw(&bench.write("hostile", &bytes));
        let drawn = Document::parse(&text).unwrap();
        let known = ["svg", "title", "style", "rect", "text", "path", "g"];
        for node in drawn.descendants().filter(Node::is_element) {
            assert!(known.contains(&node.tag_name().name()), "{node:?}");
        }
        assert!(!text.contains(['\x1b', '\u{202e}', '\x01']), "{text}");
    }
    let image = bench.uki("uki", &[(".linux", &kernel()), ("<b>&\"'/>", b"x")]);
    let text = draw(&image);
    let drawn = Document::parse(&text).unwrap();
    let named = |node: Node<'_, '_>| node.text() == Some("<b>&\"'/>");
    assert!(drawn.descendants().any(named), "{text}");
}

#[test]
fn sixty_sections_fit() {
    let bench = Bench::new();
    let names: Vec<String> = (0..54).map(|index| format!(".s{index}")).collect();
    let content = [5; 700];
    let mut sections: Vec<(&str, &[u8])> = names
        .iter()
        .map(|name| (name.as_str(), &content[..]))
        .collect();
    let kernel = kernel();
    sections.insert(0, (".linux", &kernel));
    let text = draw(&bench.uki("uki", &sections));
    assert!(text.len() < 40_000, "{} bytes", text.len());
    let drawn = Document::parse(&text).unwrap();
    let root = drawn.root_element();
    let (width, height) = (number(root, "width"), number(root, "height"));
    let said: Vec<Node<'_, '_>> = drawn
        .descendants()
        .filter(|node| node.has_tag_name("text"))
        .collect();
    for name in &names {
        let times = said.iter().filter(|node| node.text() == Some(name)).count();
        assert_eq!(times, 1, "{name}");
    }
    let mut places = Vec::new();
    for node in &said {
        let (x, y) = (number(*node, "x"), number(*node, "y"));
        assert!(
            (0.0..width).contains(&x) && (0.0..height).contains(&y),
            "{node:?}"
        );
        assert!(
            !places.contains(&(x.to_bits(), y.to_bits())),
            "two texts at {x}, {y}"
        );
        places.push((x.to_bits(), y.to_bits()));
    }
}

#[test]
fn what_cannot_be_opened_is_drawn_as_far_as_it_is_known() {
    let bench = Bench::new();
    let mut inner = fs::read(bench.zboot("zboot", &kernel())).unwrap();
    inner[0x18..0x1c].copy_from_slice(b"nope");
    let image = bench.uki("uki", &[(".linux", &inner)]);
    let file = bench.path("picture.svg");
    fails(kpeel(["inspect", "--svg"]).arg(&file).arg(&image), 1);
    let text = fs::read_to_string(&file).unwrap();
    let drawn = Document::parse(&text).unwrap();
    bars(&drawn, "2");
    assert!(text.contains("comp_type"), "{text}");
    // Nothing at all is a picture too: of the file.
    let plain = bench.path("plain.svg");
    fails(
        kpeel(["inspect", "--svg"])
            .arg(&plain)
            .arg(bench.write("other", &[9; 5000])),
        1,
    );
    Document::parse(&fs::read_to_string(&plain).unwrap()).unwrap();
}

#[test]
fn the_picture_in_the_documents_is_small_and_sound() {
    let text = fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/layers.svg"
    ))
    .unwrap();
    assert!(text.len() < 30_000, "{} bytes", text.len());
    let drawn = Document::parse(&text).unwrap();
    let (one, two) = (bars(&drawn, "1"), bars(&drawn, "2"));
    for blocks in [one.1, two.1] {
        assert!(blocks.iter().any(|block| {
            block
                .attribute("class")
                .is_some_and(|it| it.contains("parser"))
        }));
    }
}
