//! What the cache holds after builds that end well, badly, or not at all.

use std::process::Command;

use kpeel_images::make::Scratch;

use super::*;

fn inputs() -> Inputs {
    Inputs::new(Kernel::STOCK_ARM64, &[], &[])
}

/// A build of one file.
fn build_file(work: &Path, _log: &Log) -> Result<PathBuf> {
    let result = work.join("result");
    fs::create_dir(&result).unwrap();
    fs::write(result.join("Image"), "content").unwrap();
    Ok(result)
}

#[test]
fn a_build_that_ends_well_leaves_its_files_inputs_and_log_and_nothing_else() {
    let scratch = Scratch::new().unwrap();
    let (root, inputs) = (scratch.path(), inputs());
    assert_eq!(ready(root, &inputs), None);
    let dir = install_kernel(root, &inputs, build_file).unwrap();
    assert_eq!(ready(root, &inputs), Some(dir.clone()));
    assert_eq!(fs::read_to_string(dir.join("Image")).unwrap(), "content");
    assert_eq!(
        fs::read_to_string(dir.join("inputs")).unwrap(),
        inputs.text()
    );
    assert!(dir.join("log").is_file());
    assert_eq!(fs::read_dir(root).unwrap().count(), 1);
}

#[test]
fn a_build_that_fails_leaves_its_log_and_no_kernel() {
    let scratch = Scratch::new().unwrap();
    let (root, inputs) = (scratch.path(), inputs());
    let error = install_kernel(root, &inputs, |work, log| {
        build_file(work, log)?;
        let mut failing = Command::new("sh");
        failing.args(["-c", "echo the cause; exit 2"]);
        log.run(&mut failing, "making", |_| ())?;
        Ok(work.join("result"))
    });
    assert!(error.unwrap_err().to_string().ends_with("  | the cause\n"));
    assert_eq!(ready(root, &inputs), None);
    let log = root.join(format!("{}.log", inputs.key()));
    assert!(fs::read_to_string(log).unwrap().contains("the cause"));
}

#[test]
fn what_a_killed_build_left_does_not_get_into_the_next_one() {
    let scratch = Scratch::new().unwrap();
    let (root, inputs) = (scratch.path(), inputs());
    fs::create_dir_all(root.join("work/result")).unwrap();
    fs::write(root.join("work/result/stale"), "").unwrap();
    let dir = install_kernel(root, &inputs, build_file).unwrap();
    assert!(!dir.join("stale").exists());
}

#[test]
fn a_second_builder_waits_for_the_first() {
    let scratch = Scratch::new().unwrap();
    let path = scratch.join("lock");
    let held = lock(&path).unwrap();
    let other = File::options().write(true).open(&path).unwrap();
    assert!(flock(&other, FlockOperation::NonBlockingLockExclusive).is_err());
    drop(held);
    flock(&other, FlockOperation::NonBlockingLockExclusive).unwrap();
}
