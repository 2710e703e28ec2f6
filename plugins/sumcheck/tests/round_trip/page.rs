//! `docs/operators.md` is made here, from the backend's own list and from the operator cases:
//! the page in the repository must be the one that is made. With `UPDATE_DOCS=1` it is written.

use crate::operators::{Cases, floats};
use dsperse_backend_sumcheck::describe::descriptor;
use dsperse_onnx::ModelProto;
use dsperse_sumcheck_lowering::array::Array;
use dsperse_sumcheck_lowering::{Calibration, Settings, import, lower};
use dsperse_sumcheck_prover::lay_out;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

const HEAD: &str = "# Operators of the embedded prover

Made by a test (`UPDATE_DOCS=1 cargo test -p dsperse-backend-sumcheck page`) from the backend's list and from its cases, \
each of which is compared with ONNX Runtime and proven. How each operator becomes integers stands in \
[sumcheck-operators.md](sumcheck-operators.md); `dsperse analyze` says what holds for a model.

- *How*: empty when the prover reads the operator itself, else its limits. *By simpler operators*: a rule of \
`plugin-api/rewrite` replaces it, when all that the rule makes can be proven.
- *Operator sets*: of the standard where no domain is named.
- *Cost*: looked-up and committed values for each element of the inputs or of the result, whichever are more; the \
greatest of the cases that hold this operator alone. Proving time grows with them: a convolution's accumulator has about 10.
- *Error*: the largest difference to ONNX Runtime, relative to the output's largest magnitude, at 16 bits, on four \
samples of each such case. `exact`: none. Empty: no case holds the operator alone.

Tensors may be float, double, float16, bfloat16, boolean or integers. Integers and booleans are exact and must stay within \
the bounds that compile derives from their type and from calibration; a run beyond them falls through to the next backend.

| operator | operator sets | how | cost | error |
| --- | --- | --- | --- | --- |
";

const TAIL: &str = "
## What is declined, and why

| operator | why |
| --- | --- |
| NonZero, Unique, Compress, NonMaxSuppression | the shape of the result depends on the data; a slice's shapes are fixed |
| Loop, Scan, sequences | no fixed list of operations; an `If` whose condition is constant is resolved when the model is sliced |
| random generators | no function of the inputs |
| operators on strings, but constant labels | no numbers |
| Log and the like of numbers whose quantised value may be 0 | proven where the fidelity target is met on calibration, else declined with the error |
";

/// What the cases of one operator say.
struct Measured {
    error: f64,
    cost: f64,
}

fn measure(cases: &mut Cases) -> BTreeMap<(String, String), Measured> {
    let mut all: BTreeMap<(String, String), Measured> = BTreeMap::new();
    for name in cases.names() {
        let proto = ModelProto::parse(cases.model(&name)).expect("a model");
        let graph = proto.main_graph().expect("a graph");
        let [node] = graph.node.as_slice() else {
            continue;
        };
        let key = (node.domain().to_owned(), node.op_type().to_owned());
        let graph = import::import(&proto, None).expect("supported");
        let mut read = |kind: &str, ids: &[usize], s: usize| -> Vec<Array> {
            let each = ids.iter().enumerate().map(|(i, &id)| {
                let data = floats(cases, &format!("{name}/{s}/{kind}_{i}.npy"));
                let data = data.into_iter().map(f64::from).collect();
                Array::new(graph.shape(id).to_vec(), data).expect("fits")
            });
            each.collect()
        };
        let inputs: Vec<Vec<Array>> = (0..4).map(|s| read("input", &graph.inputs, s)).collect();
        let outputs: Vec<Vec<Array>> = (0..4).map(|s| read("output", &graph.outputs, s)).collect();
        let calibration = Calibration {
            inputs: inputs[..3].to_vec(),
            outputs: Vec::new(),
        };
        let settings = Settings {
            least_bits: 16,
            ..Settings::default()
        };
        let lowered = lower(&proto, None, &calibration, settings).expect("lowers");
        let (mut difference, mut scale) = (0f64, 1e-30f64);
        for (x, expected) in inputs.iter().zip(&outputs) {
            let found = lowered.quantised.run(x).expect("runs");
            for (f, e) in found.iter().zip(expected) {
                scale = scale.max(e.max_abs());
                let pairs = f.data.iter().zip(&e.data);
                difference = pairs.map(|(a, b)| (a - b).abs()).fold(difference, f64::max);
            }
        }
        let program = lowered.quantised.program;
        let count = |ids: &[usize]| -> usize {
            let sizes = ids
                .iter()
                .map(|&o| graph.shape(o).iter().product::<usize>());
            sizes.sum()
        };
        let elements = count(&graph.inputs).max(count(&graph.outputs));
        let layout = lay_out(&program, None).expect("provable").layout;
        let tables: usize = layout.tables.iter().map(|t| 1 << t.vars).sum();
        let values: usize = layout.leaves - tables
            + layout
                .columns
                .iter()
                .filter(|c| c.width.is_some() && !c.is_weight)
                .map(|c| c.shape.iter().product::<usize>())
                .sum::<usize>();
        let own = Measured {
            error: difference / scale,
            cost: values as f64 / elements as f64,
        };
        all.entry(key)
            .and_modify(|m| {
                m.error = m.error.max(own.error);
                m.cost = m.cost.max(own.cost);
            })
            .or_insert(own);
    }
    all
}

fn page() -> String {
    let mut cases = Cases::open();
    let measured = measure(&mut cases);
    let mut page = HEAD.to_owned();
    for o in descriptor().capabilities.operators {
        let name = if o.domain.is_empty() {
            o.op.clone()
        } else {
            format!("{}.{}", o.domain, o.op)
        };
        let sets = match o.until_opset {
            Some(last) => format!("{} to {last}", o.since_opset),
            None => format!("{} and later", o.since_opset),
        };
        let (mut cost, mut error) = (String::new(), String::new());
        if let Some(m) = measured.get(&(o.domain.clone(), o.op.clone())) {
            cost = format!("{:.1}", m.cost);
            // One figure, rounded up, says enough and does not hang on the last bit.
            error = if m.error == 0.0 {
                "exact".into()
            } else {
                let power = 10f64.powi(m.error.log10().floor() as i32);
                format!("{:.0e}", (m.error / power).ceil() * power)
            };
        }
        writeln!(
            page,
            "| {name} | {sets} | {} | {cost} | {error} |",
            o.limits
        )
        .expect("written");
    }
    page.push_str(TAIL);
    page
}

#[test]
fn the_page_of_operators_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operators.md");
    let page = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).expect("written");
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == page,
        "docs/operators.md is not what UPDATE_DOCS=1 writes"
    );
}
