//! Support for tests that need plugins, good and broken.
//!
//! - [`build_cident`] and [`Fault::build`] compile the C fixtures with the system's `cc`;
//! - [`cdylib`] finds the shared library of a workspace crate that cargo has built;
//! - [`junk`], [`truncated`] and [`wrong_architecture`] make files that are no plugins;
//! - [`program`] makes a script that stands for a tool;
//! - [`operators`] are small slices with results computed by definition;
//! - [`stages`] calls a backend's stages directly, without a host;
//! - [`load::open`] opens a library in this very process (good ones only).
//!
//! All of them panic with a reason when something is missing: they serve tests only.

pub mod load;
pub mod operators;
pub mod stages;

use std::path::{Path, PathBuf};
use std::process::Command;

/// File name of a backend's library on this system.
#[must_use]
pub fn library_name(backend: &str) -> String {
    format!(
        "{}dsperse_backend_{backend}{}",
        std::env::consts::DLL_PREFIX,
        std::env::consts::DLL_SUFFIX
    )
}

/// The root of the repository.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Makes a shell script that can be started at once.
///
/// Another process writes it: while this one has a file open for writing, a child that another
/// thread forks inherits the descriptor, and until that child starts its own program, the
/// system refuses to start the file ("Text file busy").
///
/// # Panics
/// When it can't be written.
#[cfg(unix)]
pub fn program(path: &Path, text: &str) {
    let mut writer = Command::new("sh")
        .args(["-c", "cat > \"$0\" && chmod 755 \"$0\""])
        .arg(path)
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("sh starts");
    let mut stdin = writer.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut stdin, format!("#!/bin/sh\n{text}\n").as_bytes())
        .expect("sh reads");
    drop(stdin);
    assert!(
        writer.wait().expect("sh ends").success(),
        "{}",
        path.display()
    );
}

/// The shared library of a workspace crate, such as `faulty` or `onnx`.
///
/// # Panics
/// When cargo has not built it: the test's crate must depend on it, or on this crate for
/// `faulty`.
#[must_use]
pub fn cdylib(backend: &str) -> PathBuf {
    let mut name = library_name(backend);
    if backend == "faulty" {
        name = name.replace("_backend_", "_fixture_");
    }
    let test = std::env::current_exe().expect("a test knows its own path");
    // Tests live in target/<profile>/deps, binaries one level higher.
    test.ancestors()
        .skip(1)
        .take(2)
        .flat_map(|dir| [dir.join(&name), dir.join("deps").join(&name)])
        .find(|path| path.is_file())
        .unwrap_or_else(|| {
            panic!(
                "{name} is not beside {}: run \"cargo build --workspace\"",
                test.display()
            )
        })
}

/// Copies the library of a backend into a directory of plugins and returns its path there.
///
/// # Panics
/// When it can't be found or copied.
pub fn install(backend: &str, dir: &Path) -> PathBuf {
    let target = dir.join(library_name(backend));
    std::fs::copy(cdylib(backend), &target).expect("the library can be copied");
    target
}

/// The backend in plain C, under a name of one's own and with a minor version of the API
/// that is older or newer than this crate's. A newer one also sends fields that nobody
/// here knows.
///
/// # Panics
/// When `cc` is missing or refuses.
pub fn build_cident(dir: &Path, name: &str, api_minor: u32) -> PathBuf {
    build_cident_version(dir, name, "0.1.0", api_minor)
}

/// The same in a version of its own.
///
/// # Panics
/// As [`build_cident`].
pub fn build_cident_version(dir: &Path, name: &str, version: &str, api_minor: u32) -> PathBuf {
    compile(
        dir,
        name,
        "c-identity/cident.c",
        &[
            format!("-DCIDENT_NAME=\"{name}\""),
            format!("-DCIDENT_VERSION=\"{version}\""),
            format!("-DCIDENT_MINOR={api_minor}"),
            "-DCIDENT_EXTRA=\"\\\"field_of_the_future\\\":{\\\"x\\\":[1]},\"".to_owned(),
        ],
    )
}

/// A library that is broken before its first call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    /// Aborts when it is loaded.
    AbortInConstructor = 1,
    /// Ends the process with status 0 when it is loaded.
    ExitInConstructor,
    /// Never finishes loading.
    LoopInConstructor,
    /// A library that is no plugin.
    NoSymbol,
    /// Speaks ABI major 2.
    AbiMajor2,
    /// Needs a function that no library has.
    UndefinedSymbol,
    /// Its door returns a null pointer.
    NullTable,
    /// Its table has no functions.
    NoFunctions,
    /// Aborts in `describe`.
    DescribeAborts,
    /// Its descriptor is cut off.
    DescribeBadJson,
    /// Its descriptor is another one at every call.
    DescribeChanges,
    /// `describe` never returns.
    DescribeLoops,
    /// Its name is not a name.
    DescribeBadName,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::AbortInConstructor,
        Self::ExitInConstructor,
        Self::LoopInConstructor,
        Self::NoSymbol,
        Self::AbiMajor2,
        Self::UndefinedSymbol,
        Self::NullTable,
        Self::NoFunctions,
        Self::DescribeAborts,
        Self::DescribeBadJson,
        Self::DescribeChanges,
        Self::DescribeLoops,
        Self::DescribeBadName,
    ];

    /// Builds `libdsperse_backend_<name>.so` with this fault in a directory.
    ///
    /// # Panics
    /// When `cc` is missing or refuses.
    pub fn build(self, dir: &Path, name: &str) -> PathBuf {
        // Lazy binding on purpose: the host must not rely on how a plugin was linked.
        let flags = [format!("-DFAULT={}", self as u8), "-Wl,-z,lazy".to_owned()];
        let flags = if cfg!(target_os = "linux") {
            &flags[..]
        } else {
            &flags[..1]
        };
        compile(dir, name, "c-faults/fault.c", flags)
    }
}

/// Compiles one C file into a plugin.
fn compile(dir: &Path, name: &str, source: &str, flags: &[String]) -> PathBuf {
    let library = dir.join(library_name(name));
    let output = Command::new("cc")
        .args(["-std=c99", "-O1", "-fPIC", "-shared", "-fvisibility=hidden"])
        .args(["-Wall", "-Wextra", "-Werror"])
        .arg("-I")
        .arg(repository().join("plugin-api/include"))
        .args(flags)
        .arg(repository().join("tests/plugins").join(source))
        .arg("-o")
        .arg(&library)
        .output()
        .expect("the C compiler \"cc\" is installed");
    assert!(
        output.status.success(),
        "cc refuses {source}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    library
}

/// A file of junk under a plugin's name.
///
/// # Panics
/// When it can't be written.
pub fn junk(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(library_name(name));
    std::fs::write(&path, b"this is not a library\n".repeat(64)).expect("the file can be written");
    path
}

/// The first half of a good library. The system's loader dies of it (`SIGBUS`: the file ends
/// where its header promises more), so only a child process may open it.
///
/// # Panics
/// When files can't be read or written.
pub fn truncated(dir: &Path, name: &str, good: &Path) -> PathBuf {
    let path = dir.join(library_name(name));
    let bytes = std::fs::read(good).expect("the good library can be read");
    std::fs::write(&path, &bytes[..bytes.len() / 2]).expect("the file can be written");
    path
}

/// A good ELF library whose header says that it is for another machine.
///
/// # Panics
/// When files can't be read or written.
pub fn wrong_architecture(dir: &Path, name: &str, good: &Path) -> PathBuf {
    let path = dir.join(library_name(name));
    let mut bytes = std::fs::read(good).expect("the good library can be read");
    assert_eq!(bytes[..4], *b"\x7fELF", "only ELF is made here");
    // e_machine, at offset 18: 243 is RISC-V, 62 x86-64.
    let machine: u16 = if cfg!(target_arch = "riscv64") {
        62
    } else {
        243
    };
    bytes[18..20].copy_from_slice(&machine.to_le_bytes());
    std::fs::write(&path, bytes).expect("the file can be written");
    path
}
