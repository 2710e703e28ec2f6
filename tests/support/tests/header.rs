//! The C header is part of the product: it compiles as strict C99 and as C++, and says the
//! same as the Rust types.

use dsperse_plugin_api::abi::{
    ABI_MAJOR, ABI_MINOR, BackendV1, ByteView, EventKind, HostV1, OwnedBuffer, status,
};
use dsperse_test_support::repository;
use std::fmt::Write;
use std::mem::offset_of;
use std::path::Path;
use std::process::Command;

/// Compiles a source with the header; returns the program's path.
fn compile(dir: &Path, language: &str, source: &str) -> std::path::PathBuf {
    let (file, program) = (dir.join("source"), dir.join("program"));
    std::fs::write(&file, source).expect("the source can be written");
    let (compiler, standard) = match language {
        "c" => ("cc", "-std=c99"),
        _ => ("c++", "-std=c++11"),
    };
    let output = Command::new(compiler)
        .args([
            standard,
            "-x",
            language,
            "-Wall",
            "-Wextra",
            "-Wpedantic",
            "-Werror",
            "-I",
        ])
        .arg(repository().join("plugin-api/include"))
        .args([file.as_os_str(), "-o".as_ref(), program.as_os_str()])
        .output()
        .unwrap_or_else(|e| panic!("{compiler} is installed: {e}"));
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    program
}

#[test]
fn sizes_offsets_and_numbers_are_those_of_the_rust_types() {
    let mut rows: Vec<(String, usize)> = Vec::new();
    macro_rules! same {
        ($rust:ident, $c:literal, $($field:ident),+) => {
            rows.push((format!("sizeof(struct {})", $c), size_of::<$rust>()));
            $(rows.push((
                format!("offsetof(struct {}, {})", $c, stringify!($field)),
                offset_of!($rust, $field),
            ));)+
        };
    }
    same!(ByteView, "dsperse_bytes", data, len);
    same!(OwnedBuffer, "dsperse_buffer", data, len, owner, release);
    same!(
        HostV1,
        "dsperse_host",
        struct_size,
        context,
        event,
        cancelled
    );
    same!(
        BackendV1,
        "dsperse_backend",
        struct_size,
        abi_major,
        abi_minor,
        describe,
        call
    );
    for (name, value) in [
        ("DSPERSE_ABI_MAJOR", i64::from(ABI_MAJOR)),
        ("DSPERSE_ABI_MINOR", i64::from(ABI_MINOR)),
        ("DSPERSE_OK", i64::from(status::OK)),
        ("DSPERSE_ERROR", i64::from(status::ERROR)),
        ("DSPERSE_FAULT", i64::from(status::FAULT)),
        ("DSPERSE_EVENT_LOG", EventKind::Log as i64),
        ("DSPERSE_EVENT_PROGRESS", EventKind::Progress as i64),
        ("DSPERSE_EVENT_PANIC", EventKind::Panic as i64),
    ] {
        rows.push((name.into(), usize::try_from(value).expect("not negative")));
    }
    let mut source =
        String::from("#include \"dsperse_backend.h\"\n#include <stdio.h>\nint main(void) {\n");
    let mut expected = String::new();
    for (expression, value) in &rows {
        writeln!(
            source,
            "printf(\"{expression} %u\\n\", (unsigned)({expression}));"
        )
        .expect("text");
        writeln!(expected, "{expression} {value}").expect("text");
    }
    source.push_str("return 0;\n}\n");
    for language in ["c", "c++"] {
        let dir = tempfile::tempdir().expect("a directory");
        let output = Command::new(compile(dir.path(), language, &source))
            .output()
            .expect("the program runs");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            expected,
            "{language}"
        );
    }
}
