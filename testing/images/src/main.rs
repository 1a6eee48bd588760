//! `kpeel-images`: fetches real boot images for tests.

use std::process::ExitCode;

use kpeel_images::{Item, Result, fetch, refresh_lock};

const USAGE: &str = "\
usage: kpeel-images fetch ITEM...   print each item's path, fetching what the cache lacks
       kpeel-images list            name the items
       kpeel-images lock [ITEM...]  write the newest versions into images.lock (default: of all items)";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["fetch", names @ ..] if !names.is_empty() => print_paths(names),
        ["list"] => {
            Item::ALL
                .iter()
                .for_each(|item| println!("{}", item.name()));
            Ok(())
        }
        ["lock", names @ ..] => refresh(names),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kpeel-images: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print_paths(names: &[&str]) -> Result<()> {
    for name in names {
        println!("{}", fetch(Item::by_name(name)?)?.display());
    }
    Ok(())
}

fn refresh(names: &[&str]) -> Result<()> {
    let items: Vec<Item> = if names.is_empty() {
        Item::ALL.to_vec()
    } else {
        names
            .iter()
            .map(|name| Item::by_name(name))
            .collect::<Result<_>>()?
    };
    for item in items {
        refresh_lock(item)?
            .iter()
            .for_each(|line| println!("{line}"));
    }
    Ok(())
}
