//! Locks between processes, and places that can't be written to. The other process is
//! this test binary again.

use crate::fixture::{check, compile, create, listing};
use crate::run::run_dir::RunDir;
use crate::{Access, BundleError, ConvertOptions, Limits, NewSlices, Shape, SliceStore, convert};
use dsperse_documents::RunResults;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const ACTION: &str = "DSPERSE_LOCK_ACTION";
const DIR: &str = "DSPERSE_LOCK_DIR";

/// The entry of the other process; does nothing in an ordinary test run.
#[test]
fn child() {
    let Ok(action) = std::env::var(ACTION) else {
        return;
    };
    let at = PathBuf::from(std::env::var(DIR).unwrap());
    match action.as_str() {
        "edit" | "read" => {
            let access = if action == "edit" {
                Access::Edit
            } else {
                Access::Read
            };
            let _store = SliceStore::open(&at, access).unwrap();
            println!("ready");
            std::io::stdout().flush().unwrap();
            std::thread::sleep(std::time::Duration::from_secs(600));
        }
        "read-only" => {
            check(&at, [0, 0, 0]);
            let e = SliceStore::open(&at, Access::Edit).unwrap_err().to_string();
            assert!(e.contains("can't create the lock"), "{e}");
            assert!(e.contains("choose a place that can be written to"), "{e}");
            let options = ConvertOptions {
                to: Some(Shape::Dslice),
                cleanup: Some(false),
                ..ConvertOptions::default()
            };
            assert!(convert(&at, &options, Limits::default()).is_err());
            assert!(NewSlices::create(&at, Shape::Dsperse).is_err());
            let runs = at.with_file_name("run");
            assert!(RunDir::create(&runs, "1", &RunResults::default()).is_err());
        }
        other => panic!("{other}"),
    }
}

fn spawn(action: &str, at: &Path) -> Command {
    let mut c = Command::new(std::env::current_exe().unwrap());
    c.args([
        "--exact",
        "lock_tests::child",
        "--nocapture",
        "--test-threads=1",
    ])
    .env(ACTION, action)
    .env(DIR, at);
    c
}

/// Starts a process that holds a lock and waits until it has it.
fn holder(action: &str, at: &Path) -> Child {
    let mut child = spawn(action, at).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // The test harness may have begun the line.
    let ready = lines.map_while(Result::ok).any(|l| l.ends_with("ready"));
    if !ready {
        panic!("the other process has no lock: {:?}", child.wait());
    }
    child
}

#[test]
fn two_commands_exclude_each_other_and_a_dead_one_does_not() {
    let dir = tempfile::tempdir().unwrap();
    for shape in [Shape::Dirs, Shape::Dsperse] {
        let at = crate::output_path(&dir.path().join("slices"), shape);
        create(&at, shape);
        let mut other = holder("edit", &at);
        for access in [Access::Read, Access::Edit] {
            let e = SliceStore::open(&at, access).unwrap_err();
            let BundleError::Locked { holder, .. } = &e else {
                panic!("{e}");
            };
            assert!(holder.contains(&format!("process {}", other.id())), "{e}");
            assert!(e.to_string().contains("wait for it to end"), "{e}");
        }
        assert!(matches!(
            NewSlices::create(&at, shape),
            Err(BundleError::Locked { .. })
        ));
        // Killed, not asked to end: the lock is gone with it.
        other.kill().unwrap();
        other.wait().unwrap();
        check(&at, [0, 0, 0]);
    }
}

#[test]
fn readers_read_together_and_keep_writers_out() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("slices");
    create(&at, Shape::Dslice);
    let mut other = holder("read", &at);
    check(&at, [0, 0, 0]);
    assert!(matches!(
        SliceStore::open(&at, Access::Edit),
        Err(BundleError::Locked { .. })
    ));
    other.kill().unwrap();
    other.wait().unwrap();
    let store = SliceStore::open(&at, Access::Edit).unwrap();
    compile(&store, 0, 1);
    store.commit().unwrap();
    check(&at, [1, 0, 0]);
}

#[test]
fn one_slice_has_the_lock_of_its_model() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("slices");
    create(&at, Shape::Dirs);
    let _whole = SliceStore::open(&at, Access::Edit).unwrap();
    let e = SliceStore::open(&at.join("slice_1"), Access::Edit).unwrap_err();
    assert!(matches!(e, BundleError::Locked { .. }), "{e}");
}

#[test]
fn lock_files_hold_no_paths() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("slices");
    create(&at, Shape::Dirs);
    let _held = SliceStore::open(&at, Access::Edit).unwrap();
    let text = fs::read_to_string(dir.path().join(".slices.lock")).unwrap();
    assert!(text.contains(&std::process::id().to_string()), "{text}");
    assert!(!text.contains('/'), "{text}");
}

#[cfg(unix)]
#[test]
fn a_read_only_place_can_be_read() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    for shape in [Shape::Dirs, Shape::Dsperse] {
        let dir = tempfile::tempdir().unwrap();
        // Permissions don't bind root, so the reader becomes somebody else.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let place = dir.path().join("shared");
        fs::create_dir(&place).unwrap();
        let at = crate::output_path(&place.join("slices"), shape);
        create(&at, shape);
        fs::remove_file(crate::files::lock::lock_path(&at)).unwrap();
        let before = listing(&place);
        fs::set_permissions(&place, fs::Permissions::from_mode(0o555)).unwrap();
        let mut command = spawn("read-only", &at);
        if rustix::process::geteuid().is_root() {
            command.uid(65_534).gid(65_534);
        }
        let output = command.output();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).unwrap();
        let output = output.unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert_eq!(listing(&place), before);
    }
}
