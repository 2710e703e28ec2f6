//! What must stay true of the sources.

use std::path::{Path, PathBuf};

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        if path.is_dir() {
            sources(&path, found);
        } else if name.ends_with(".rs") && !name.contains("tests") {
            found.push(path);
        }
    }
}

/// A library says which setting would help (`dsperse_documents::setting`); how that is typed
/// is the command line's to know.
#[test]
fn no_library_names_a_flag() {
    /// Words of other command lines, and names in a style sheet.
    const OTHERS: [&str; 5] = [
        "engines/src/engine.rs",
        "engines/src/process.rs",
        "engines/src/ray.rs",
        "engines/src/slurm.rs",
        "report/src/plots.rs",
    ];
    let host = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../host");
    let (mut looked, mut wrong) = (0, Vec::new());
    for krate in std::fs::read_dir(&host).unwrap() {
        let krate = krate.unwrap().path();
        if krate.ends_with("cli") {
            continue;
        }
        let mut files = Vec::new();
        sources(&krate.join("src"), &mut files);
        for file in files {
            looked += 1;
            let name = file.strip_prefix(&host).unwrap();
            if OTHERS.iter().any(|o| Path::new(o) == name) {
                continue;
            }
            let text = std::fs::read_to_string(&file).unwrap();
            let product = text.split("#[cfg(test)]\nmod ").next().unwrap();
            for (at, line) in product.lines().enumerate() {
                let code = line.trim_start();
                let mut after = code.split("--").skip(1);
                let flag = after.any(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()));
                if flag && !code.starts_with("//") {
                    wrong.push(format!("{}:{}: {code}", name.display(), at + 1));
                }
            }
        }
    }
    assert!(looked > 150, "{looked}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The store's folders know each other one way: `run` knows `slices`, both know `files`.
#[test]
fn the_stores_folders_point_one_way() {
    let store = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../host/store/src");
    for (folder, unknown) in [
        ("files", ["crate::slices", "crate::run"].as_slice()),
        ("slices", &["crate::run"]),
    ] {
        let mut files = Vec::new();
        sources(&store.join(folder), &mut files);
        assert!(files.len() > 5, "{folder}: {files:?}");
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            let found = unknown.iter().find(|name| text.contains(*name));
            assert_eq!(found, None, "{}", file.display());
        }
    }
}
