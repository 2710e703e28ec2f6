//! Round trips of all shapes, edits and conversions.

use crate::fixture::{check, compile, compile_at, content, create, listing, model, payload};
use crate::{
    Access, BundleError, ConvertOptions, Kind, Limits, NewSlices, Shape, SliceStore, convert,
    output_path, resolve,
};
use dsperse_documents::SliceMetadata;
use dsperse_plugin_api::Role;
use std::fs;
use std::path::{Path, PathBuf};

const SHAPES: [Shape; 3] = [Shape::Dirs, Shape::Dslice, Shape::Dsperse];

fn place(dir: &Path, shape: Shape) -> PathBuf {
    output_path(&dir.join("slices"), shape)
}

#[test]
fn each_shape_is_written_read_and_edited_in_place() {
    for shape in SHAPES {
        let dir = tempfile::tempdir().unwrap();
        let at = place(dir.path(), shape);
        assert!(!create(&at, shape));
        check(&at, [0, 0, 0]);
        compile_at(&at, &[0, 2], 1);
        check(&at, [1, 0, 1]);
        compile_at(&at, &[2, 1], 2);
        check(&at, [1, 2, 2]);
        assert_eq!(SliceStore::open(&at, Access::Read).unwrap().shape(), shape);
        let name = at.file_name().unwrap().to_str().unwrap();
        assert_eq!(
            listing(dir.path()),
            [name],
            "nothing is left beside {shape}"
        );
        // The same slices again leave the compilations alone.
        assert!(create(&at, shape));
        check(&at, [1, 2, 2]);
    }
}

#[test]
fn layouts_are_those_of_the_format() {
    let dir = tempfile::tempdir().unwrap();
    for shape in SHAPES {
        let at = output_path(&dir.path().join(shape.as_str()), shape);
        create(&at, shape);
        compile_at(&at, &[0], 1);
    }
    let dirs = dir.path().join("dirs");
    assert_eq!(
        listing(&dirs),
        ["metadata.json", "slice_0", "slice_1", "slice_2"]
    );
    assert_eq!(
        listing(&dirs.join("slice_0")),
        ["demo", "metadata.json", "payload"]
    );
    assert_eq!(listing(&dirs.join("slice_0/payload")), ["slice_0.onnx"]);
    assert_eq!(
        listing(&dirs.join("slice_0/demo")),
        ["circuit.bin", "keys", "secret.bin", "settings.json"]
    );
    let dslice = dir.path().join("dslice");
    assert_eq!(
        listing(&dslice),
        [
            "metadata.json",
            "slice_0.dslice",
            "slice_1.dslice",
            "slice_2.dslice"
        ]
    );
    assert_eq!(
        entries(&fs::read(dslice.join("slice_0.dslice")).unwrap()),
        [
            "demo/circuit.bin",
            "demo/keys/vk.bin",
            "demo/secret.bin",
            "demo/settings.json",
            "metadata.json",
            "payload/model.onnx"
        ]
    );
    assert_eq!(
        entries(&fs::read(dir.path().join("dsperse.dsperse")).unwrap()),
        [
            "metadata.json",
            "slice_0.dslice",
            "slice_1.dslice",
            "slice_2.dslice"
        ]
    );
}

fn entries(zip: &[u8]) -> Vec<String> {
    let zip = zip::ZipArchive::new(std::io::Cursor::new(zip)).unwrap();
    zip.file_names().map(|n| n.unwrap().into_owned()).collect()
}

#[test]
fn every_conversion_keeps_every_value() {
    for from in SHAPES {
        for to in SHAPES {
            let dir = tempfile::tempdir().unwrap();
            let source = place(dir.path(), from);
            create(&source, from);
            compile_at(&source, &[0, 1, 2], 3);
            let options = ConvertOptions {
                to: Some(to),
                output: Some(output_path(&dir.path().join("out"), to)),
                cleanup: Some(false),
                ..ConvertOptions::default()
            };
            let done = convert(&source, &options, Limits::default()).unwrap();
            // A bundle is unpacked once; its slices stay packed.
            let unpacked = |from, to| match (from, to) {
                (Shape::Dsperse, Shape::Dirs) => Shape::Dslice,
                _ => to,
            };
            assert_eq!(done.shape, unpacked(from, to));
            assert!(done.removed.is_none());
            check(&source, [3, 3, 3]);
            check(&done.path, [3, 3, 3]);
            // Back again is byte for byte the source.
            let options = ConvertOptions {
                to: Some(from),
                output: Some(output_path(&dir.path().join("back"), from)),
                cleanup: Some(true),
                ..ConvertOptions::default()
            };
            let mut back = convert(&done.path, &options, Limits::default()).unwrap();
            assert!(back.removed.is_some() && !done.path.exists());
            assert_eq!(back.shape, unpacked(to, from));
            if back.shape != from {
                back = convert(&back.path, &options, Limits::default()).unwrap();
            }
            assert_eq!(tree(&back.path), tree(&source), "{from} by way of {to}");
        }
    }
}

/// All files below a path with their bytes.
fn tree(path: &Path) -> Vec<(String, Vec<u8>)> {
    if path.is_file() {
        return vec![(String::new(), fs::read(path).unwrap())];
    }
    crate::files::paths::files_below(path)
        .unwrap()
        .into_iter()
        .map(|n| {
            let bytes = fs::read(path.join(&n)).unwrap();
            (n, bytes)
        })
        .collect()
}

#[test]
fn packing_is_deterministic() {
    let dir = tempfile::tempdir().unwrap();
    let a = dir.path().join("a.dsperse");
    let b = dir.path().join("b.dsperse");
    for at in [&a, &b] {
        create(at, Shape::Dsperse);
        compile_at(at, &[0, 1, 2], 1);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(fs::read(&a).unwrap(), fs::read(&b).unwrap());
    // Compiling slice by slice gives what compiling at once gives.
    compile_at(&a, &[0], 1);
    assert_eq!(fs::read(&a).unwrap(), fs::read(&b).unwrap());
}

#[test]
fn conversion_defaults_follow_the_source() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("net.dsperse");
    create(&file, Shape::Dsperse);
    let to = |to, cleanup| ConvertOptions {
        to: Some(to),
        cleanup,
        ..ConvertOptions::default()
    };
    // A .dsperse is removed by default.
    let d = convert(&file, &to(Shape::Dslice, None), Limits::default()).unwrap();
    assert_eq!(d.path, dir.path().canonicalize().unwrap().join("net"));
    assert!(d.removed.is_some() && !file.exists());
    check(&d.path, [0, 0, 0]);
    // A directory is not; the other shape goes beside it.
    let d2 = convert(&d.path, &to(Shape::Dirs, None), Limits::default()).unwrap();
    assert_eq!(d2.path, d.path.with_file_name("net-dirs"));
    check(&d.path, [0, 0, 0]);
    // In place, when that is allowed.
    let d3 = convert(&d.path, &to(Shape::Dirs, Some(true)), Limits::default()).unwrap();
    assert_eq!(
        (d3.path.as_path(), d3.shape),
        (d.path.as_path(), Shape::Dirs)
    );
    check(&d3.path, [0, 0, 0]);
    let options = ConvertOptions {
        output: Some(d3.path.clone()),
        ..to(Shape::Dslice, None)
    };
    let e = convert(&d3.path, &options, Limits::default()).unwrap_err();
    assert!(e.to_string().contains("would replace its source"), "{e}");
    // Back to one file.
    let d4 = convert(&d3.path, &to(Shape::Dsperse, Some(true)), Limits::default()).unwrap();
    assert_eq!(d4.path, file.canonicalize().unwrap());
    assert!(!d3.path.exists());
    check(&d4.path, [0, 0, 0]);
    // Unpacking a bundle leaves its slices packed.
    let d5 = convert(&file, &to(Shape::Dirs, Some(false)), Limits::default()).unwrap();
    assert_eq!((d5.shape, &d5.path), (Shape::Dslice, &d.path));
    let names = |suffix: &str| [0, 1, 2].map(|i| format!("slice_{i}{suffix}")).to_vec();
    let files = [vec!["metadata.json".to_owned()], names(".dslice")].concat();
    assert_eq!(listing(&d5.path), files);
    // What has the shape already is left alone.
    let same = convert(&d5.path, &to(Shape::Dslice, None), Limits::default()).unwrap();
    assert!(same.unchanged && same.path == d5.path);
    let options = ConvertOptions {
        expand_slices: true,
        ..to(Shape::Dirs, Some(false))
    };
    fs::remove_dir_all(&d5.path).unwrap();
    for source in [&file, &d5.path] {
        let both = convert(source, &options, Limits::default()).unwrap();
        assert_eq!((both.shape, &both.path), (Shape::Dirs, &d.path));
        let mut all = [files.clone(), names("")].concat();
        all.sort();
        assert_eq!(listing(&both.path), all);
        for i in 1..3 {
            fs::remove_dir_all(d5.path.join(format!("slice_{i}"))).unwrap();
        }
    }
    let options = ConvertOptions {
        expand_slices: true,
        ..to(Shape::Dsperse, None)
    };
    assert!(convert(&file, &options, Limits::default()).is_err());
}

#[test]
fn a_directory_goes_before_its_dslice_which_a_change_drops() {
    let dir = tempfile::tempdir().unwrap();
    let net = dir.path().join("net");
    create(&net, Shape::Dslice);
    compile_at(&net, &[0], 1);
    let to = |to| ConvertOptions {
        to: Some(to),
        ..ConvertOptions::default()
    };
    let limits = Limits::default();
    let one = convert(&net.join("slice_1.dslice"), &to(Shape::Dirs), limits).unwrap();
    assert_eq!(one.path, net.canonicalize().unwrap().join("slice_1"));
    check(&net, [1, 0, 0]);
    // Another state in the archive is not looked at, whatever names it.
    fs::copy(net.join("slice_0.dslice"), net.join("slice_1.dslice")).unwrap();
    check(&net, [1, 0, 0]);
    let store = SliceStore::open(&net.join("slice_1.dslice"), Access::Read).unwrap();
    assert_eq!(store.indices(), [1]);
    assert!(store.slice(1).unwrap().compilations.is_empty());
    drop(store);
    // A directory and archives, changed together.
    compile_at(&net, &[1, 2], 2);
    assert!(!net.join("slice_1.dslice").exists() && net.join("slice_2.dslice").exists());
    check(&net, [1, 2, 2]);
    // And back, where the directory goes away when that is asked for.
    let options = ConvertOptions {
        cleanup: Some(true),
        ..to(Shape::Dslice)
    };
    let one = convert(&net.join("slice_1"), &options, limits).unwrap();
    assert!(one.path.is_file() && one.removed.is_some());
    let again = convert(&net.join("slice_1.dslice"), &options, limits).unwrap();
    assert!(again.unchanged);
    assert_eq!(
        listing(&net),
        [
            "metadata.json",
            "slice_0.dslice",
            "slice_1.dslice",
            "slice_2.dslice"
        ]
    );
    check(&net, [1, 2, 2]);
}

#[test]
fn a_single_slice_alone_is_its_directory_too() {
    let dir = tempfile::tempdir().unwrap();
    let net = dir.path().join("net");
    create(&net, Shape::Dslice);
    let file = dir.path().join("one.dslice");
    fs::copy(net.join("slice_1.dslice"), &file).unwrap();
    let options = ConvertOptions {
        to: Some(Shape::Dirs),
        ..ConvertOptions::default()
    };
    let one = convert(&file, &options, Limits::default()).unwrap();
    compile_at(&file, &[1], 3);
    assert!(one.path.join("demo").is_dir() && !file.exists());
    // A file of the same name that is another slice is nobody's twin.
    fs::copy(net.join("slice_2.dslice"), &file).unwrap();
    compile_at(&one.path, &[1], 4);
    compile_at(&file, &[2], 4);
    assert!(file.exists());
}

#[test]
fn single_slices_convert_alone() {
    let dir = tempfile::tempdir().unwrap();
    let slices = dir.path().join("slices");
    create(&slices, Shape::Dirs);
    compile_at(&slices, &[1], 1);
    let inside = slices.join("slice_1");
    let mut options = ConvertOptions {
        to: Some(Shape::Dslice),
        ..ConvertOptions::default()
    };
    options.for_verify = true;
    let e = convert(&inside, &options, Limits::default()).unwrap_err();
    assert!(e.to_string().contains("among the others"), "{e}");
    options.for_verify = false;
    options.output = Some(dir.path().join("one.dslice"));
    let one = convert(&inside, &options, Limits::default()).unwrap();
    let store = SliceStore::open(&one.path, Access::Edit).unwrap();
    assert_eq!(store.indices(), [1]);
    assert!(store.model().is_none());
    assert!(
        store
            .require_model()
            .unwrap_err()
            .to_string()
            .contains("single slice")
    );
    assert_eq!(
        fs::read(store.payload(1).unwrap().unwrap()).unwrap(),
        payload(1)
    );
    compile(&store, 1, 7);
    store.commit().unwrap();
    options.to = Some(Shape::Dirs);
    options.output = None;
    let back = convert(&one.path, &options, Limits::default()).unwrap();
    assert_eq!(back.path, one.path.with_file_name("one"));
    let store = SliceStore::open(&back.path, Access::Read).unwrap();
    assert_eq!(store.location().kind, Kind::SliceDir);
    let m = store.slice(1).unwrap();
    assert_eq!(m.payload.path.as_deref(), Some("payload/slice_1.onnx"));
    let a = &m.compilations["demo"].artefacts[0];
    assert_eq!(
        fs::read(store.artefact(1, a).unwrap()).unwrap(),
        content(1, "circuit", 7)
    );
    options.to = Some(Shape::Dsperse);
    assert!(convert(&back.path, &options, Limits::default()).is_err());
}

#[test]
fn a_verifiers_bundle_holds_no_secret_and_no_needless_weights() {
    let dir = tempfile::tempdir().unwrap();
    let slices = dir.path().join("slices");
    create(&slices, Shape::Dirs);
    compile_at(&slices, &[0, 1], 1);
    // Slice 1 also has a backend that recomputes; slice 2 has none at all.
    let store = SliceStore::open(&slices, Access::Edit).unwrap();
    let scratch = store.scratch().unwrap();
    let recompute = dsperse_documents::Compilation {
        verify_needs_payload: true,
        ..Default::default()
    };
    store
        .install_compilation(1, "rerun", scratch.path(), recompute, |_| {})
        .unwrap();
    store.commit().unwrap();
    fs::write(
        slices.join("slice_0/notes.txt"),
        "undeclared, so perhaps secret",
    )
    .unwrap();
    let options = ConvertOptions {
        to: Some(Shape::Dsperse),
        for_verify: true,
        ..ConvertOptions::default()
    };
    let done = convert(&slices, &options, Limits::default()).unwrap();
    assert_eq!(done.path.file_name().unwrap(), "slices-verify.dsperse");
    check(&slices, [1, 1, 0]);
    let bytes = fs::read(&done.path).unwrap();
    for secret in [
        "circuit of slice",
        "trapdoor of slice",
        "perhaps secret",
        "onnx of slice 0",
    ] {
        let found = bytes.windows(secret.len()).any(|w| w == secret.as_bytes());
        assert!(!found, "\"{secret}\" must not be in a verifier's bundle");
    }
    let store = SliceStore::open(&done.path, Access::Read).unwrap();
    assert_eq!(store.model(), Some(&model()), "the identity stays");
    assert!(store.payload(0).unwrap().is_none());
    for i in [1, 2] {
        let path = store.payload(i).unwrap().unwrap();
        assert_eq!(fs::read(path).unwrap(), payload(i));
    }
    let refs = store
        .circuit(0, "demo", &[Role::Verifying, Role::Public])
        .unwrap();
    let names: Vec<&str> = refs.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(names, ["verifying_key", "settings"]);
    assert!(
        store
            .circuit(0, "demo", &[Role::Proving, Role::Secret])
            .unwrap()
            .is_empty()
    );
    // Its source is never removed.
    let options = ConvertOptions {
        cleanup: Some(true),
        ..options
    };
    assert!(convert(&slices, &options, Limits::default()).is_err());
}

#[test]
fn a_path_means_the_same_everywhere() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let net = root.join("net");
    fs::create_dir(&net).unwrap();
    let found = |p: &Path| resolve(p).map(|l| (l.path, l.kind, l.only));
    let e = resolve(&net).unwrap_err().to_string();
    for place in [
        "net/slices\"",
        "net/slices.dsperse\"",
        "net.dsperse\"",
        "dsperse slice",
    ] {
        assert!(e.contains(place), "{e}");
    }
    create(&root.join("net.dsperse"), Shape::Dsperse);
    let beside = (root.join("net.dsperse"), Kind::Model(Shape::Dsperse), None);
    assert_eq!(found(&net).unwrap(), beside);
    assert_eq!(found(&root.join("net/")).unwrap(), beside);
    assert_eq!(found(&beside.0).unwrap(), beside);
    create(&net.join("slices.dsperse"), Shape::Dsperse);
    assert_eq!(found(&net).unwrap().0, net.join("slices.dsperse"));
    assert_eq!(
        found(&net.join("slices")).unwrap().0,
        net.join("slices.dsperse")
    );
    create(&net.join("slices"), Shape::Dirs);
    let first = resolve(&net).unwrap();
    assert_eq!(first.path, net.join("slices"));
    assert_eq!(
        first.also,
        [net.join("slices.dsperse"), root.join("net.dsperse")]
    );
    let one = found(&net.join("slices/slice_2")).unwrap();
    assert_eq!(one, (net.join("slices"), Kind::Model(Shape::Dirs), Some(2)));
    let store = SliceStore::open(&net.join("slices/slice_2"), Access::Read).unwrap();
    assert_eq!(store.indices(), [2]);
    assert!(store.model().is_some());
}

#[test]
fn nothing_foreign_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("slices");
    fs::create_dir(&at).unwrap();
    fs::write(at.join("thesis.tex"), "years of work").unwrap();
    let e = NewSlices::create(&at, Shape::Dirs).unwrap_err();
    assert!(e.to_string().contains("thesis.tex"), "{e}");
    assert!(NewSlices::create(&at, Shape::Dsperse).is_err());
    assert_eq!(fs::read(at.join("thesis.tex")).unwrap(), b"years of work");
    fs::remove_file(at.join("thesis.tex")).unwrap();
    create(&at, Shape::Dirs);
    check(&at, [0, 0, 0]);
}

#[test]
fn what_was_changed_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("slices");
    create(&at, Shape::Dirs);
    compile_at(&at, &[0], 1);
    let onnx = at.join("slice_0/payload/slice_0.onnx");
    let mut bytes = fs::read(&onnx).unwrap();
    bytes[3] ^= 1;
    fs::write(&onnx, &bytes).unwrap();
    let vk = at.join("slice_0/demo/keys/vk.bin");
    fs::write(&vk, "short").unwrap();
    let store = SliceStore::open(&at, Access::Read).unwrap();
    assert!(matches!(
        store.payload(0),
        Err(BundleError::Changed {
            field: "SHA-256",
            ..
        })
    ));
    assert!(matches!(
        store.circuit(0, "demo", &[Role::Verifying]),
        Err(BundleError::Changed { field: "size", .. })
    ));
    // Nor does a conversion carry it on.
    let options = ConvertOptions {
        to: Some(Shape::Dsperse),
        ..ConvertOptions::default()
    };
    drop(store);
    assert!(convert(&at, &options, Limits::default()).is_err());
    assert_eq!(listing(dir.path()), ["slices"]);
}

#[test]
fn slices_that_do_not_belong_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("slices");
    create(&at, Shape::Dirs);
    let open = || SliceStore::open(&at, Access::Read);
    // Two slices swapped.
    let swap = || {
        fs::rename(at.join("slice_0"), at.join("tmp")).unwrap();
        fs::rename(at.join("slice_1"), at.join("slice_0")).unwrap();
        fs::rename(at.join("tmp"), at.join("slice_1")).unwrap();
    };
    swap();
    let e = open().unwrap().slice(0).unwrap_err();
    assert!(
        e.to_string().contains("this is slice 1, expected slice 0"),
        "{e}"
    );
    swap();
    // A slice of another model.
    let file = at.join("slice_0/metadata.json");
    let good = fs::read_to_string(&file).unwrap();
    for (field, bad) in [
        ("\"parameters\": 20", "\"parameters\": 2000"),
        ("\"macs\": 16", "\"macs\": 17"),
        ("\"name\": \"a\"", "\"name\": \"q\""),
        (&model().identity, &"0".repeat(64)),
        (&model().slices[0].payload_sha256, &"0".repeat(64)),
    ] {
        assert!(good.contains(field), "{field}");
        fs::write(&file, good.replace(field, bad)).unwrap();
        let e = open().unwrap().slice(0).unwrap_err();
        assert!(
            e.to_string()
                .contains("differs from what the model's metadata says"),
            "{e}"
        );
    }
    fs::write(&file, good).unwrap();
    // One too many, one too few.
    fs::create_dir(at.join("slice_3")).unwrap();
    assert!(open().unwrap_err().to_string().contains("lists 3 slices"));
    fs::remove_dir(at.join("slice_3")).unwrap();
    fs::rename(at.join("slice_2"), dir.path().join("gone")).unwrap();
    assert!(
        open()
            .unwrap_err()
            .to_string()
            .contains("slice 2 of the model is missing")
    );
}

#[test]
fn documents_of_other_versions() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("slices");
    create(&at, Shape::Dirs);
    let file = at.join("slice_1/metadata.json");
    let good = fs::read_to_string(&file).unwrap();
    // A later minor with fields that we don't know: read, rewritten, nothing lost.
    let later = good.replacen(
        "\"schema\": \"1.0.0\"",
        "\"schema\": \"1.7.0\", \"colour\": {\"r\": [1, 2.5]}",
        1,
    );
    fs::write(&file, later).unwrap();
    compile_at(&at, &[1], 1);
    let v: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(v["schema"], "1.7.0");
    assert_eq!(v["colour"]["r"], serde_json::json!([1, 2.5]));
    assert_eq!(v["backend"], "demo");
    // A later major: refused, untouched.
    let newer = good.replacen("1.0.0", "2.0.0", 1);
    fs::write(&file, &newer).unwrap();
    let store = SliceStore::open(&at, Access::Edit).unwrap();
    let e = store.update_slice(1, |_| {}).unwrap_err().to_string();
    assert!(
        e.contains("schema 2.0.0") && e.contains("update dsperse"),
        "{e}"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), newer);
    let unread: Result<SliceMetadata, _> = crate::files::atomic::read_document(&file);
    assert!(unread.is_err());
}

#[test]
fn hostile_paths_in_documents_read_nothing_outside() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("secret"), payload(0)).unwrap();
    let at = dir.path().join("slices");
    create(&at, Shape::Dirs);
    let file = at.join("slice_0/metadata.json");
    let good = fs::read_to_string(&file).unwrap();
    let absolute = dir.path().join("secret");
    for path in [
        "../../secret",
        absolute.to_str().unwrap(),
        "payload/../../../secret",
    ] {
        fs::write(&file, good.replace("payload/slice_0.onnx", path)).unwrap();
        let store = SliceStore::open(&at, Access::Read).unwrap();
        assert!(
            matches!(store.payload(0), Err(BundleError::UnsafePath { .. })),
            "{path}"
        );
    }
}

#[test]
fn slices_are_compiled_by_several_threads() {
    for shape in SHAPES {
        let dir = tempfile::tempdir().unwrap();
        let at = place(dir.path(), shape);
        create(&at, shape);
        let store = SliceStore::open(&at, Access::Edit).unwrap();
        for generation in [1, 2] {
            std::thread::scope(|s| {
                for i in 0..3 {
                    let store = &store;
                    s.spawn(move || compile(store, i, generation));
                }
            });
        }
        store.commit().unwrap();
        check(&at, [2, 2, 2]);
    }
}
