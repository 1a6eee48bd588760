use super::*;

/// A fresh directory.
fn scratch(name: &str) -> PathBuf {
    let name = format!("kpeel-atomic-{name}-{}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    fs::create_dir(&directory).unwrap();
    directory
}

fn count(directory: &Path) -> usize {
    fs::read_dir(directory).unwrap().count()
}

/// As where files have a name from the start.
fn named(target: &Path) -> Result<Draft> {
    let (file, place) = hidden(target).unwrap();
    let pending = Pending {
        file,
        place,
        target: target.to_owned(),
    };
    Ok(Draft { pending })
}

#[test]
fn files_get_their_names_and_the_mode_of_any_new_file() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    let directory = scratch("mode");
    let (plain, target) = (directory.join("plain"), directory.join("target"));
    fs::write(&plain, b"plain").unwrap();
    for create in [Draft::create, named] {
        for bytes in [&b"new"[..], b"in its place"] {
            let mut draft = create(&target).unwrap();
            draft.write(bytes).unwrap();
            draft.finish().commit().unwrap();
            assert_eq!(fs::read(&target).unwrap(), bytes);
            assert_eq!(mode(&target), mode(&plain));
            assert_eq!(count(&directory), 2);
        }
        fs::remove_file(&target).unwrap();
    }
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn the_umask_is_what_new_files_lack() {
    use std::os::unix::fs::PermissionsExt;
    let directory = scratch("umask");
    let path = directory.join("file");
    fs::write(&path, b"").unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o666 & !umask().unwrap());
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn nothing_is_left_of_a_file_that_is_given_up() {
    let directory = scratch("left");
    let target = directory.join("target");
    for create in [Draft::create, named] {
        let mut draft = create(&target).unwrap();
        draft.write(b"bytes").unwrap();
        drop(draft.finish());
        assert_eq!(count(&directory), 0);
    }
    fs::remove_dir(&directory).unwrap();
}

/// A directory with files of earlier, and what is to replace `one` and make `new`.
fn prepared(name: &str) -> (PathBuf, Vec<Pending>) {
    let directory = scratch(name);
    for name in ["one", "two", "stale"] {
        fs::write(directory.join(name), name).unwrap();
    }
    let pending = ["one", "new"].map(|name| Pending::write(&directory.join(name), b"changed"));
    (directory, pending.map(Result::unwrap).into())
}

fn contents(directory: &Path) -> Vec<(String, String)> {
    let entries = fs::read_dir(directory).unwrap();
    let mut contents: Vec<_> = entries
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read_to_string(entry.path()).unwrap())
        })
        .collect();
    contents.sort();
    contents
}

#[test]
fn files_are_replaced_and_removed_together() {
    let (directory, pending) = prepared("together");
    let stale = ["stale", "absent"].map(|name| directory.join(name));
    replace(pending, &stale).unwrap();
    let expected = [("new", "changed"), ("one", "changed"), ("two", "two")];
    let expected = expected.map(|(name, text)| (name.to_owned(), text.to_owned()));
    assert_eq!(contents(&directory), expected);
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_step_that_fails_undoes_those_before() {
    let (directory, mut pending) = prepared("undone");
    let last = named(&directory.join("two")).unwrap().finish();
    let Place::Hidden(name) = &last.place else {
        unreachable!()
    };
    // Its turn is the last.
    fs::remove_file(name).unwrap();
    pending.push(last);
    let before = contents(&directory);
    let failure = replace(pending, &[directory.join("stale")]).unwrap_err();
    let told = failure.to_string();
    assert!(told.contains("two: cannot put in place: No such"), "{told}");
    assert_eq!(contents(&directory), before);
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn copies_files_of_any_length_and_tells_of_shorter_ones() {
    let path = |name: &str| {
        let name = format!("kpeel-atomic-{name}-{}", std::process::id());
        std::env::temp_dir().join(name)
    };
    let (from, target) = (path("from"), path("target"));
    for len in [0, 1, CHUNK, CHUNK + 1, 5 * CHUNK + 7] {
        let bytes: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
        fs::write(&from, &bytes).unwrap();
        let copied = |len: u64| {
            let mut draft = Draft::create(&target)?;
            draft.write(b"head")?;
            draft.copy(&from, &File::open(&from).unwrap(), len)?;
            draft.finish().commit()
        };
        copied(len as u64).unwrap();
        let written = fs::read(&target).unwrap();
        assert!(written == [b"head", &bytes[..]].concat(), "{len}");
        fs::remove_file(&target).unwrap();
        assert!(copied(len as u64 + 1).is_err());
        assert!(!target.exists());
    }
    fs::remove_file(&from).unwrap();
}
