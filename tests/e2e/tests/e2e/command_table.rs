//! Every command that users of DSperse know, in the long, the short and the legacy form, as a
//! table: what is typed, and what lies there afterwards.

use dsperse_e2e::Place;

/// What is typed (`RUN` stands for the newest run), which files must be there then, and what must
/// not. A name that ends in `/` is a directory that holds something.
type Row<'a> = (&'a str, &'a [&'a str], &'a [&'a str]);

fn walk(rows: &[Row]) {
    let place = Place::of_model("digits-mlp");
    for (line, there, gone) in rows {
        let run = |text: &str| match text.contains("RUN") {
            true => text.replace("RUN", &place.newest_run()),
            false => text.to_owned(),
        };
        place.call(&run(line)).exits(0);
        for name in *there {
            let path = place.path(&run(name));
            let is_there = if name.ends_with('/') {
                path.read_dir().is_ok_and(|mut d| d.next().is_some())
            } else {
                path.is_file()
            };
            assert!(is_there, "\"{line}\" leaves no {name}");
        }
        for name in *gone {
            assert!(!place.path(&run(name)).exists(), "\"{line}\" leaves {name}");
        }
    }
}

const DIRS: &[&str] = &[
    "model/slices/metadata.json",
    "model/slices/slice_0/metadata.json",
    "model/slices/slice_2/payload/slice_2.onnx",
];
const COMPILED: &[&str] = &[
    "model/slices/slice_0/sumcheck/",
    "model/slices/slice_2/sumcheck/",
];
const RAN: &[&str] = &[
    "model/run/metadata.json",
    "RUN/run_results.json",
    "RUN/tensors/index.json",
    "RUN/slice_0/input.json",
    "RUN/slice_2/output.json",
    "out.json",
];
const PROVEN: &[&str] = &["RUN/slice_0/sumcheck/proof/", "RUN/slice_2/sumcheck/proof/"];
const FULL: &[&str] = &[
    "model/slices/metadata.json",
    "model/slices/slice_0/metadata.json",
    "model/slices/slice_0/sumcheck/",
    "RUN/run_results.json",
    "RUN/slice_1/sumcheck/proof/",
    "RUN/receipt.json",
    "out.json",
];

#[test]
fn long_forms() {
    walk(&[
        (
            "slice --model-dir model --output-dir model/slices --output-type dirs --strategy layer --save",
            &[
                DIRS[0],
                DIRS[1],
                DIRS[2],
                "model/analysis/model_metadata.json",
            ],
            &["model/slices.dsperse"],
        ),
        (
            "compile --slices model/slices --input-file model/input.json --layers 0-1 --backend sumcheck",
            &COMPILED[..1],
            &[COMPILED[1]],
        ),
        (
            "compile --path model --backend 0-1:sumcheck;2:sumcheck|onnx --parallel 2",
            COMPILED,
            &[],
        ),
        (
            "run --slices-path model/slices --input-file model/input.json --output-file out.json --run-dir model/run",
            RAN,
            &["RUN/slice_0/sumcheck/proof"],
        ),
        (
            "prove RUN model/slices --proof-output proofs --output-file proved.json",
            &[
                PROVEN[0],
                PROVEN[1],
                "proofs/slice_0/sumcheck/proof/",
                "proved.json",
            ],
            &["RUN/receipt.json"],
        ),
        (
            "verify RUN model/slices --input model/input.json --output out.json --output-file verdict.json",
            &["RUN/receipt.json", "verdict.json"],
            &[],
        ),
        (
            "full-run --model-dir model --input-file model/input.json --strategy layer --output-file out.json",
            FULL,
            &[],
        ),
        (
            "convert --input model/slices --to dsperse --output net",
            &["net.dsperse", "model/slices/metadata.json"],
            &["net"],
        ),
    ]);
}

#[test]
fn short_forms() {
    walk(&[
        (
            "s -m model -o model/slices --output-type dirs --strategy layer -S analysis.json",
            &[DIRS[0], DIRS[1], DIRS[2], "analysis.json"],
            &["model/analysis"],
        ),
        (
            "c -s model -i model/input.json -l 0,2 -b sumcheck",
            COMPILED,
            &["model/slices/slice_1/sumcheck"],
        ),
        (
            "c -p model/slices -b sumcheck",
            &["model/slices/slice_1/sumcheck/"],
            &[],
        ),
        ("r -s model -i model/input.json -o out.json", RAN, &[]),
        ("p RUN model/slices -l 0", &PROVEN[..1], &[PROVEN[1]]),
        (
            "p RUN model/slices -o proved.json",
            &[PROVEN[0], PROVEN[1], "proved.json"],
            &[],
        ),
        (
            "v RUN model/slices -o verdict.json",
            &["RUN/receipt.json", "verdict.json"],
            &[],
        ),
        (
            "fr -m model -i model/input.json -s model/slices -b sumcheck -o out.json",
            FULL,
            &[],
        ),
        (
            "convert -i model/slices --to dslice -o packed",
            &[
                "packed/metadata.json",
                "packed/slice_0.dslice",
                "packed/slice_2.dslice",
            ],
            &["packed/slice_0"],
        ),
    ]);
}

#[test]
fn legacy_forms() {
    walk(&[
        (
            "slice --mp model --output-dir model/slices --output-type dirs --strategy layer --save-file",
            &[
                DIRS[0],
                DIRS[1],
                DIRS[2],
                "model/analysis/model_metadata.json",
            ],
            &[],
        ),
        (
            "compile --sd model/slices --if model/input.json -b sumcheck",
            COMPILED,
            &[],
        ),
        (
            "run --slices-dir model/slices --if model/input.json -o out.json",
            RAN,
            &[],
        ),
        ("prove --rd model/run", PROVEN, &[]),
        (
            "verify --run-dir model/run --no-input",
            &["RUN/receipt.json"],
            &[],
        ),
        (
            "full-run --model-path model/model.onnx --if model/input.json --slices-dir model/slices -o out.json",
            FULL,
            &[],
        ),
        (
            "full-run --mp model --sd model/slices -i model/input.json -o out.json",
            FULL,
            &[],
        ),
        (
            "slice convert --input model/slices --to dsperse --cleanup",
            &["model/slices.dsperse"],
            &["model/slices"],
        ),
        // What is packed is compiled, run, proven and verified as it lies there.
        (
            "compile --slices-directory model/slices.dsperse -b sumcheck --force",
            &["model/slices.dsperse"],
            &["model/slices"],
        ),
        ("run -p model --if model/input.json -o out.json", RAN, &[]),
        ("prove RUN model/slices.dsperse", PROVEN, &[]),
        (
            "verify RUN model/slices.dsperse",
            &["RUN/receipt.json"],
            &["model/slices"],
        ),
    ]);
}

/// What the other rows leave out: the model's file itself, one slice among the others as
/// DATA_PATH, limits, no input, no circuits.
#[test]
fn one_slice_and_limits() {
    let limits = "--parallel 1 --timeout 5m --memory 2G";
    let compile = format!("compile --slices model/slices/slice_1.dslice -b sumcheck {limits}");
    let prove = format!("prove RUN model/slices --force {limits}");
    let full_run = format!(
        "full-run -m model -i model/input.json -s model/slices -l 0-1 -b sumcheck -o out.json {limits}"
    );
    walk(&[
        (
            "slice --model-path model/model.onnx --output-type dslice --strategy layer",
            &[
                "model/slices/metadata.json",
                "model/slices/slice_0.dslice",
                "model/slices/slice_2.dslice",
            ],
            &["model/slices/slice_0", "model/slices.dsperse"],
        ),
        (
            &compile,
            &["model/slices/slice_1.dslice"],
            &["model/slices/slice_1"],
        ),
        // Only that one has a circuit, so only that one is proven.
        ("run -s model", &["RUN/slice_1/output.json"], &[]),
        (
            "prove RUN model/slices",
            &["RUN/slice_1/sumcheck/proof/"],
            &[PROVEN[0], PROVEN[1]],
        ),
        ("compile --path model -b sumcheck", &[], &[]),
        ("run --path model -o out.json", RAN, &[]),
        (
            "prove RUN model/slices/slice_1.dslice",
            &["RUN/slice_1/sumcheck/proof/"],
            &[PROVEN[0], PROVEN[1]],
        ),
        (&prove, PROVEN, &[]),
        (
            "verify RUN model/slices --require proven",
            &["RUN/receipt.json"],
            &[],
        ),
        (
            "convert -i model/slices --to dirs -o model/slices --cleanup",
            DIRS,
            &["model/slices/slice_0.dslice"],
        ),
        (
            "compile -s model/slices/slice_0 -b sumcheck --force",
            &COMPILED[..1],
            &[],
        ),
        (
            "run -s model/slices -i model/input.json -o out.json",
            RAN,
            &[],
        ),
        ("prove RUN model/slices/slice_0", &PROVEN[..1], &[PROVEN[1]]),
        ("prove --run-dir RUN -l 1-2", PROVEN, &[]),
        (
            "verify --rd model/run --require proven",
            &["RUN/receipt.json"],
            &[],
        ),
        (
            "run -s model -b onnx -o plain.json",
            &["RUN/run_results.json", "plain.json"],
            &[],
        ),
        ("prove --run-dir RUN", &[], PROVEN),
        (
            &full_run,
            &["RUN/slice_1/sumcheck/proof/", "RUN/receipt.json"],
            &[PROVEN[1]],
        ),
    ]);
}

#[test]
fn conversions() {
    walk(&[
        (
            "slice -m model -o net --strategy layer",
            &["net.dsperse"],
            &["net"],
        ),
        // Unpacked once: the slices stay packed, and the source goes away.
        (
            "convert -i net.dsperse --to dirs",
            &[
                "net/metadata.json",
                "net/slice_0.dslice",
                "net/slice_2.dslice",
            ],
            &["net.dsperse", "net/slice_0"],
        ),
        (
            "compile -s net -b sumcheck",
            &["net/slice_0.dslice"],
            &["net/slice_0"],
        ),
        (
            "convert -i net --to dsperse --cleanup",
            &["net.dsperse"],
            &["net"],
        ),
        // Unpacked all the way, and the source stays.
        (
            "convert -i net.dsperse --to dirs --expand-slices --no-cleanup",
            &[
                "net.dsperse",
                "net/metadata.json",
                "net/slice_0.dslice",
                "net/slice_2.dslice",
                "net/slice_0/metadata.json",
                "net/slice_2/payload/slice_2.onnx",
                "net/slice_1/sumcheck/",
            ],
            &[],
        ),
        // Commands use the directories; what one changes is in no stale archive.
        (
            "compile -s net -l 0 --force",
            &["net/slice_0/sumcheck/", "net/slice_2.dslice"],
            &["net/slice_0.dslice"],
        ),
        (
            "run -s net -i model/input.json --run-dir model/run",
            &["RUN/run_results.json"],
            &[],
        ),
        ("prove RUN net", PROVEN, &[]),
        (
            "verify RUN net --require proven",
            &["RUN/receipt.json"],
            &[],
        ),
        // One slice, both ways, among the others.
        (
            "convert -i net/slice_0 --to dslice --cleanup",
            &["net/slice_0.dslice"],
            &["net/slice_0"],
        ),
        ("verify RUN net --require proven", &[], &[]),
        (
            "convert -i net/slice_0.dslice --to dirs",
            &["net/slice_0.dslice", "net/slice_0/metadata.json"],
            &[],
        ),
        ("verify RUN net --require proven", &[], &[]),
        // And alone.
        (
            "convert -i net/slice_1 --to dslice -o one.dslice",
            &["one.dslice", "net/slice_1/metadata.json"],
            &[],
        ),
        (
            "convert -i one.dslice --to dirs --cleanup",
            &["one/metadata.json", "one/payload/slice_1.onnx"],
            &["one.dslice"],
        ),
        (
            "convert -i one --to dslice",
            &["one.dslice", "one/metadata.json"],
            &[],
        ),
        (
            "compile -s one.dslice -b onnx",
            &["one/metadata.json"],
            &["one.dslice"],
        ),
        (
            "convert -i net --to dslice -o net --cleanup",
            &["net/slice_0.dslice", "net/slice_2.dslice"],
            &["net/slice_0", "net/slice_2"],
        ),
        ("verify RUN net --require proven", &[], &[]),
    ]);
}
