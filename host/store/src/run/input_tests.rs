//! What users give as input: every accepted form, and the messages for the others.

use crate::fixture::info;
use crate::run::input::{
    Fixed, Sample, input_shapes, parse_json, read_inputs, read_outputs, read_samples,
};
use crate::run::output::{Direction, write_json};
use dsperse_plugin_api::{Encoding, TensorInfo};
use dsperse_tensor::Tensor;
use proptest::prelude::*;
use std::fs;
use std::io::Write;
use std::path::Path;
use zip::write::SimpleFileOptions;

/// An `.npy` file of version 1, as the format's description says.
fn npy(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    let mut header =
        format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut out = b"\x93NUMPY".to_vec();
    out.extend([1, 0]);
    out.extend((header.len() as u16).to_le_bytes());
    out.extend(header.as_bytes());
    out.extend(data);
    out
}

fn json(text: &str, wanted: &[TensorInfo]) -> Result<Vec<Vec<f64>>, String> {
    parse_json(
        Path::new("input.json"),
        text.as_bytes(),
        wanted,
        Direction::Input,
    )
    .map(|ts| {
        for (t, w) in ts.iter().zip(wanted) {
            assert_eq!(&t.info, w);
        }
        ts.iter().map(Tensor::to_f64).collect()
    })
    .map_err(|e| e.to_string())
}

fn typed(name: &str, encoding: Encoding, shape: &[u64]) -> TensorInfo {
    TensorInfo {
        encoding,
        ..info(name, shape)
    }
}

#[test]
fn every_documented_form_is_read() {
    let one = [info("x", &[1, 2, 3])];
    let six = vec![vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]];
    for text in [
        r#"{"input_data": [[1,2,3,4,5,6]]}"#,
        r#"{"input_data": [[[1,2,3],[4,5,6]]]}"#,
        r#"{"input_data": [[[[1,2,3],[4,5,6]]]]}"#,
        r#"{"input_data": [1,2,3,4,5,6]}"#,
        r#"{"input": [[[1,2,3],[4,5,6]]]}"#,
        r#"{"input": [1,2,3,4,5,6], "comment": "ignored"}"#,
        r#"{"x": [[1,2,3],[4,5,6]]}"#,
        r#"{"x": [1,2,3,4,5,6.0]}"#,
        "[[[1,2,3],[4,5,6]]]",
        "[1,2,3,4,5,6]",
        r#"{"inputs": {"x": {"shape": [1,2,3], "dtype": "f32", "data": [1,2,3,4,5,6]}}}"#,
    ] {
        assert_eq!(json(text, &one).as_ref(), Ok(&six), "{text}");
    }
    let two = [info("x", &[2]), info("y", &[1, 1])];
    for text in [
        r#"{"input_data": [[1,2],[3]]}"#,
        r#"{"input_data": [[1,2],[[3]]]}"#,
        r#"{"input": [[1,2],3]}"#,
        r#"{"y": 3, "x": [1,2]}"#,
        "[[1,2],[3]]",
    ] {
        assert_eq!(
            json(text, &two),
            Ok(vec![vec![1.0, 2.0], vec![3.0]]),
            "{text}"
        );
    }
    assert_eq!(json("7", &[info("s", &[])]), Ok(vec![vec![7.0]]));
    assert_eq!(json("[]", &[info("e", &[0, 3])]), Ok(vec![vec![]]));
    // An input that is called like one of the keys.
    assert_eq!(
        json(r#"{"input": [5]}"#, &[info("input", &[1])]),
        Ok(vec![vec![5.0]])
    );
}

#[test]
fn values_keep_their_exact_bits() {
    let parse = |text: &str, e| {
        parse_json(
            Path::new("i"),
            text.as_bytes(),
            &[typed("x", e, &[1])],
            Direction::Input,
        )
        .unwrap()
        .remove(0)
        .data
    };
    assert_eq!(parse("[0.1]", Encoding::F32), 0.1f32.to_le_bytes());
    assert_eq!(
        parse("[1e-45]", Encoding::F32),
        f32::from_bits(1).to_le_bytes()
    );
    assert_eq!(parse("[-0.0]", Encoding::F32), (-0.0f32).to_le_bytes());
    assert_eq!(
        parse("[9223372036854775807]", Encoding::I64),
        i64::MAX.to_le_bytes()
    );
    assert_eq!(
        parse("[18446744073709551615]", Encoding::U64),
        u64::MAX.to_le_bytes()
    );
    assert_eq!(parse("[true]", Encoding::Bool), [1]);
    assert_eq!(parse("[0]", Encoding::Bool), [0]);
    assert_eq!(parse("[3.0]", Encoding::I32), 3i32.to_le_bytes());
}

#[test]
fn wrong_input_is_named_with_what_was_expected_and_found() {
    let x = [info("x", &[1, 2, 3])];
    let i8s = [typed("n", Encoding::I8, &[2])];
    let two = [info("x", &[2]), info("y", &[1])];
    for (text, wanted, message) in [
        (
            "[1,2,3,4,5]",
            &x[..],
            "\"input.json\": input \"x\" has shape [5] (5 elements), expected [1, 2, 3] (6 elements) (or the same number of elements, flat)",
        ),
        (
            "[[1,2],[3,4],[5,6]]",
            &x,
            "\"input.json\": input \"x\" has shape [3, 2] (6 elements), expected [1, 2, 3] (6 elements) (or the same number of elements, flat)",
        ),
        (
            "[[1,2,3],[4,5]]",
            &x,
            "\"input.json\": input \"x\" has shape uneven rows of 3 and 2 elements, expected [1, 2, 3] (6 elements) (or the same number of elements, flat)",
        ),
        (
            "[[1,2,3],[4,5,[6]]]",
            &x,
            "\"input.json\": input \"x\" has shape rows of uneven depth, expected [1, 2, 3] (6 elements) (or the same number of elements, flat)",
        ),
        (
            "[1,2,3,4,5,\"6\"]",
            &x,
            "\"input.json\": input \"x\" holds \"6\" at element 5, expected a number (f32)",
        ),
        (
            "[1,2,null,4,5,6]",
            &x,
            "\"input.json\": input \"x\" holds null at element 2, expected a number (f32)",
        ),
        (
            "[1,2,3,4,5,1e39]",
            &x,
            "\"input.json\": input \"x\" holds 1e+39 at element 5, expected a finite number within the range of f32 (f32)",
        ),
        (
            "[1, 128]",
            &i8s,
            "\"input.json\": input \"n\" holds 128 at element 1, expected an integer from -128 to 127 (i8)",
        ),
        (
            "[1.5, 1]",
            &i8s,
            "\"input.json\": input \"n\" holds 1.5 at element 0, expected an integer from -128 to 127 (i8)",
        ),
        (
            r#"{"z": [1]}"#,
            &x,
            "\"input.json\": it has the keys [\"z\"]; expected \"input_data\", \"input\", a bare array or a key for the model's input \"x\" [1, 2, 3]",
        ),
        (
            r#"{"x": [1, 2]}"#,
            &two,
            "\"input.json\": it has the keys [\"x\"]; expected \"input_data\" with 2 arrays, or a key for each of the model's inputs \"x\" [2], \"y\" [1]",
        ),
        (
            r#"{"input_data": [[1, 2]]}"#,
            &two,
            "\"input.json\": \"input_data\" has 1 arrays; expected \"input_data\" with 2 arrays, or a key for each of the model's inputs \"x\" [2], \"y\" [1]",
        ),
    ] {
        assert_eq!(json(text, wanted).unwrap_err(), message, "{text}");
    }
    let e = json("[NaN]", &x).unwrap_err();
    assert!(
        e.contains("not valid JSON") && e.contains("NaN and Infinity"),
        "{e}"
    );
    let empty = json("", &x).unwrap_err();
    assert!(
        empty.contains("not valid JSON") && !empty.contains("NaN"),
        "{empty}"
    );
    json("\u{feff}[[1, 2, 3], [4, 5, 6]]", &x).expect("a mark at the beginning is no error");
    let deep = "[".repeat(100_000);
    assert!(json(&deep, &x).unwrap_err().contains("recursion limit"));
    let e = read_inputs(Path::new("/nonexistent/input.json"), &x, &Fixed::new()).unwrap_err();
    assert!(
        e.to_string()
            .starts_with("can't read \"/nonexistent/input.json\""),
        "{e}"
    );
}

fn le(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn npz(path: &Path, arrays: &[(&str, Vec<u8>)], compress: bool) {
    let mut w = zip::ZipWriter::new(fs::File::create(path).unwrap());
    let method = if compress {
        zip::CompressionMethod::Deflated
    } else {
        zip::CompressionMethod::Stored
    };
    for (name, bytes) in arrays {
        let options = SimpleFileOptions::default().compression_method(method);
        w.start_file(format!("{name}.npy"), options).unwrap();
        w.write_all(bytes).unwrap();
    }
    w.finish().unwrap();
}

#[test]
fn numpy_files_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.npy");
    let x = [info("x", &[2, 3])];
    let read = |path: &Path, wanted: &[TensorInfo]| {
        read_inputs(path, wanted, &Fixed::new())
            .map(|ts| ts.iter().map(Tensor::to_f64).collect::<Vec<_>>())
            .map_err(|e| e.to_string())
    };
    let six = le(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    fs::write(&path, npy("<f4", false, "(2, 3)", &six)).unwrap();
    assert_eq!(
        read(&path, &x),
        Ok(vec![vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])
    );
    fs::write(&path, npy("<f4", true, "(2, 3)", &six)).unwrap();
    assert_eq!(
        read(&path, &x),
        Ok(vec![vec![1.0, 3.0, 5.0, 2.0, 4.0, 6.0]])
    );
    fs::write(&path, npy("<f4", false, "(3, 2)", &six)).unwrap();
    let e = read(&path, &x).unwrap_err();
    assert!(
        e.contains("\"x\" has shape [3, 2] (6 elements), expected [2, 3]"),
        "{e}"
    );
    fs::write(
        &path,
        npy(
            "<f4",
            false,
            "(6,)",
            &le(&[0.0, 1.0, f32::NAN, 3.0, 4.0, 5.0]),
        ),
    )
    .unwrap();
    let e = read(&path, &x).unwrap_err();
    assert!(
        e.contains("holds NaN (<f4) at element 2, expected a finite number"),
        "{e}"
    );
    assert!(read(&path, &[info("x", &[6]), info("y", &[1])]).is_err());

    let path = dir.path().join("in.NPZ");
    let a = npy("<f4", false, "(2,)", &le(&[1.0, 2.0]));
    let b = npy("<i8", false, "()", &7i64.to_le_bytes());
    let two = [info("a", &[2]), typed("b", Encoding::I64, &[1])];
    let expected = Ok(vec![vec![1.0, 2.0], vec![7.0]]);
    for compress in [false, true] {
        npz(&path, &[("b", b.clone()), ("a", a.clone())], compress);
        assert_eq!(read(&path, &two), expected);
        npz(
            &path,
            &[("arr_0", a.clone()), ("arr_1", b.clone())],
            compress,
        );
        assert_eq!(read(&path, &two), expected);
    }
    npz(&path, &[("anything", a.clone())], false);
    assert_eq!(read(&path, &[info("x", &[2])]), Ok(vec![vec![1.0, 2.0]]));
    npz(&path, &[("a", a.clone()), ("c", b)], false);
    let e = read(&path, &two).unwrap_err();
    assert!(e.contains("it has the arrays [\"a\", \"c\"]"), "{e}");
    // An array that can't be the tensor is not even inflated.
    npz(
        &path,
        &[("a", npy("<f4", false, "(33554432,)", &vec![0; 128 << 20]))],
        true,
    );
    let e = read(&path, &[info("a", &[2])]).unwrap_err();
    assert!(e.contains("holds more than"), "{e}");
}

fn text(direction: Direction, tensors: &[Tensor]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tensors.json");
    write_json(&path, direction, tensors).unwrap();
    std::fs::read(path).unwrap()
}

#[test]
fn outputs_are_written_for_people_and_read_back_exactly() {
    let fixed = Encoding::Fixed { exponent: -18 };
    let tensors = [
        Tensor::new(info("y", &[1, 2]), le(&[0.1, -2.5])).unwrap(),
        Tensor::new(
            typed("q \"1\"", fixed, &[2]),
            [262_144i64, -1]
                .iter()
                .flat_map(|n| n.to_le_bytes())
                .collect(),
        )
        .unwrap(),
        Tensor::new(typed("ok", Encoding::Bool, &[]), vec![1]).unwrap(),
    ];
    assert_eq!(
        String::from_utf8(text(Direction::Output, &tensors)).unwrap(),
        r#"{
  "output_data": [
    [0.1, -2.5],
    [1.0, -3.814697265625e-6],
    [true]
  ],
  "outputs": {
    "y": {"shape": [1,2], "dtype": "f32", "data": [0.1, -2.5]},
    "q \"1\"": {"shape": [2], "dtype": "fixed", "exponent": -18, "data": [262144, -1]},
    "ok": {"shape": [], "dtype": "bool", "data": [true]}
  }
}
"#
    );
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("output.json");
    write_json(&path, Direction::Output, &tensors).unwrap();
    // The model says f32 where a quantised slice really gave fixed point.
    let wanted = [
        info("y", &[1, 2]),
        info("q \"1\"", &[2]),
        typed("ok", Encoding::Bool, &[]),
    ];
    assert_eq!(read_outputs(&path, &wanted).unwrap(), tensors);
    // Only outputs may be fixed point.
    let input = dir.path().join("input.json");
    write_json(&input, Direction::Input, &tensors).unwrap();
    let e = read_inputs(&input, &wanted, &Fixed::new())
        .unwrap_err()
        .to_string();
    assert!(e.contains("has dtype \"fixed\""), "{e}");
    let e = read_outputs(&path, &[info("y", &[2])])
        .unwrap_err()
        .to_string();
    assert!(e.contains("has shape [1,2], expected [2]"), "{e}");
    // What JSON can't say is null, and null is no number.
    let nan = Tensor::new(info("y", &[1]), f32::NAN.to_le_bytes().to_vec()).unwrap();
    write_json(&path, Direction::Output, &[nan]).unwrap();
    let e = read_outputs(&path, &[info("y", &[1])])
        .unwrap_err()
        .to_string();
    assert!(e.contains("holds null at element 0"), "{e}");
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        "[a-z]{0,3}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            proptest::collection::vec(
                ("(x|y|input|input_data|inputs|shape|dtype|data)", inner),
                0..4
            )
            .prop_map(|v| serde_json::Value::Object(v.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_document_gives_tensors_or_an_error(v in any_json(), n in 0u64..4) {
        let wanted = [info("x", &[n, 2]), typed("y", Encoding::I8, &[1])];
        for wanted in [&wanted[..], &wanted[..1], &wanted[1..]] {
            for direction in [Direction::Input, Direction::Output] {
                let text = v.to_string();
                if let Ok(ts) = parse_json(Path::new("p"), text.as_bytes(), wanted, direction) {
                    prop_assert_eq!(ts.len(), wanted.len());
                    for (t, w) in ts.iter().zip(wanted) {
                        prop_assert_eq!(&t.info.shape, &w.shape);
                        prop_assert!(t.to_f64().iter().all(|x| x.is_finite()));
                    }
                }
            }
        }
    }

    #[test]
    fn arbitrary_bytes_are_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let wanted = [info("x", &[2])];
        let _ = parse_json(Path::new("p"), &bytes, &wanted, Direction::Input);
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend(&bytes);
        prop_assert!(crate::run::input::parse_npy(Path::new("p"), &file, &wanted, Direction::Input).is_err() || file.len() >= 18);
    }

    #[test]
    fn every_f32_tensor_survives_its_json(values in proptest::collection::vec(proptest::num::f32::NORMAL | proptest::num::f32::SUBNORMAL | proptest::num::f32::ZERO, 6)) {
        let t = Tensor::new(info("x", &[2, 3]), le(&values)).unwrap();
        let out = text(Direction::Input, std::slice::from_ref(&t));
        let wanted = std::slice::from_ref(&t.info);
        let back = parse_json(Path::new("p"), &out, wanted, Direction::Input).unwrap();
        prop_assert_eq!(&back[0], &t);
        // And from `input_data` alone.
        let mut v: serde_json::Value = serde_json::from_slice(&out).unwrap();
        v.as_object_mut().unwrap().remove("inputs");
        let back = parse_json(Path::new("p"), v.to_string().as_bytes(), wanted, Direction::Input).unwrap();
        prop_assert_eq!(&back[0], &t);
    }
}

#[test]
fn a_constant_may_be_named_but_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    let fixed = Fixed::from([("rate".into(), "8000".into()), ("on".into(), "true".into())]);
    let x = [info("x", &[2])];
    let told = |file: &str, content: &[u8]| {
        let path = dir.path().join(file);
        if !content.is_empty() {
            std::fs::write(&path, content).unwrap();
        }
        let samples = read_samples(&path, &x, &fixed).map_err(|e| e.to_string());
        if !file.ends_with("jsonl") {
            let one = read_inputs(&path, &x, &fixed).map_err(|e| e.to_string());
            assert_eq!(one.err(), samples.clone().err());
        }
        samples.err().unwrap_or_default()
    };
    let right = r#"{"x": [1, 2], "rate": [[8000.0]], "on": true}"#;
    let wrong = r#"{"x": [1, 2], "rate": [8000, 16000]}"#;
    for (file, content, found) in [
        ("a.json", right.to_owned(), ""),
        ("b.json", wrong.to_owned(), "\"rate\" is 16000"),
        // As editors of Windows begin a file.
        ("c.json", format!("\u{feff}{wrong}"), "\"rate\" is 16000"),
        (
            "d.json",
            r#"{"x": [1, 2], "on": false}"#.into(),
            "\"on\" is false",
        ),
        (
            "e.json",
            r#"{"x": [1, 2], "rate": "8000"}"#.into(),
            "\"rate\" is \"8000\"",
        ),
        ("f.jsonl", format!("{right}\n\n{right}\n"), ""),
        (
            "g.jsonl",
            format!("{right}\n{wrong}\n"),
            "line 2\": \"rate\" is 16000",
        ),
    ] {
        let told = told(file, content.as_bytes());
        assert!(told.contains(found), "{file}: {told}");
        assert_eq!(told.is_empty(), found.is_empty(), "{file}: {told}");
    }
    for (file, rate) in [("h.npz", 8000.0), ("i.npz", 16000.0)] {
        let array =
            |values: &[f32]| npy("<f4", false, &format!("({},)", values.len()), &le(values));
        let arrays = [("x", array(&[1.0, 2.0])), ("rate", array(&[rate]))];
        npz(&dir.path().join(file), &arrays, false);
        let told = told(file, &[]);
        assert_eq!(
            told.contains("\"rate\" is 16000"),
            rate == 16000.0,
            "{told}"
        );
        assert_eq!(told.is_empty(), rate == 8000.0, "{told}");
    }
}

#[test]
fn samples_come_one_by_one_in_batches_and_in_folders() {
    let dir = tempfile::tempdir().unwrap();
    let read = |path: &Path, wanted: &[TensorInfo]| {
        read_samples(path, wanted, &Fixed::new())
            .map(|samples| {
                let values = |s: &Sample| s.tensors.iter().map(Tensor::to_f64).collect();
                samples.iter().map(values).collect::<Vec<Vec<_>>>()
            })
            .map_err(|e| e.to_string())
    };
    let x = [info("x", &[1, 2])];
    let e = read(dir.path(), &x).unwrap_err();
    assert!(e.contains("the directory holds no input"), "{e}");
    let one = dir.path().join("1.json");
    fs::write(&one, "[[1, 2]]").unwrap();
    assert_eq!(read(&one, &x), Ok(vec![vec![vec![1.0, 2.0]]]));
    // A document on each line; one that is wrong is named by its line.
    let lines = dir.path().join("1.jsonl");
    fs::write(&lines, "[[1, 2]]\n\n{\"x\": [3, 4]}\n").unwrap();
    let expected = vec![vec![vec![1.0, 2.0]], vec![vec![3.0, 4.0]]];
    assert_eq!(read(&lines, &x), Ok(expected));
    let shapes = input_shapes(&lines, &["x".to_owned()]).unwrap();
    assert_eq!(shapes["x"], [1, 2]);
    fs::write(&lines, "[[1, 2]]\n[[1]]\n").unwrap();
    let e = read(&lines, &x).unwrap_err();
    assert!(e.contains("1.jsonl, line 2\""), "{e}");
    fs::write(&lines, "\n").unwrap();
    let e = read(&lines, &x).unwrap_err();
    assert!(e.contains("the file holds no input"), "{e}");
    fs::remove_file(&lines).unwrap();
    // So many times the first dimension, or a dimension before it.
    let batch = dir.path().join("2.npy");
    for shape in ["(2, 2)", "(2, 1, 2)"] {
        let bytes = npy("<f4", false, shape, &le(&[3.0, 4.0, 5.0, 6.0]));
        fs::write(&batch, bytes).unwrap();
        let expected = vec![vec![vec![3.0, 4.0]], vec![vec![5.0, 6.0]]];
        assert_eq!(read(&batch, &x), Ok(expected), "{shape}");
    }
    // All inputs of a batch, each in its own shape.
    let pair = [info("a", &[1, 2]), info("b", &[3])];
    let arrays = [
        ("a", npy("<f4", false, "(2, 2)", &le(&[1.0, 2.0, 3.0, 4.0]))),
        ("b", npy("<f4", false, "(2, 3)", &le(&[5.0; 6]))),
    ];
    let path = dir.path().join("3.npz");
    npz(&path, &arrays, true);
    let sample = |a: [f64; 2]| vec![a.to_vec(), vec![5.0; 3]];
    assert_eq!(
        read(&path, &pair),
        Ok(vec![sample([1.0, 2.0]), sample([3.0, 4.0])])
    );
    fs::remove_file(&path).unwrap();
    assert_eq!(read(dir.path(), &x).map(|s| s.len()), Ok(3));
    // What is no batch is told as for a single input.
    let e = read(&batch, &[info("x", &[1, 3])]).unwrap_err();
    assert!(e.contains("expected [1, 3]"), "{e}");
}

#[test]
fn shapes_are_read_before_the_models_own_are_known() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("input.json");
    let shapes = |text: &str, names: &[&str]| {
        fs::write(&path, text).unwrap();
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        input_shapes(&path, &names).map_err(|e| e.to_string())
    };
    let ids = [("ids".to_owned(), vec![1, 3])];
    for text in [
        r#"{"input_data": [[1, 2, 3]]}"#,
        r#"{"ids": [[1, 2, 3]]}"#,
        r#"{"inputs": {"ids": {"shape": [1, 3], "dtype": "i64", "data": [1, 2, 3]}}}"#,
        "[[1, 2, 3]]",
    ] {
        assert_eq!(shapes(text, &["ids"]), Ok(ids.clone().into()), "{text}");
    }
    let both = shapes(r#"{"input_data": [[[1, 2, 3]], [4, 5]]}"#, &["ids", "x"]).unwrap();
    assert_eq!(both["x"], [2]);
    assert_eq!(
        shapes(r#"{"input_data": [[1], [2], [3]]}"#, &["ids", "x"]).unwrap_err(),
        format!(
            "\"{}\": \"input_data\" has 3 arrays; expected \"input_data\" with 2 arrays, or a key \
             for each of the model's inputs \"ids\", \"x\"",
            path.display()
        )
    );
    let path = dir.path().join("input.npy");
    fs::write(&path, npy("<i8", false, "(1, 2)", &[0; 16])).unwrap();
    let found = input_shapes(&path, &["ids".into()]).unwrap();
    assert_eq!(found["ids"], [1, 2]);
}
