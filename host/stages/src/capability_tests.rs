//! The cuts of `--strategy capability` over backends that answer as the test says.

use crate::config::Config;
use crate::cut::{Cut, Wanted};
use crate::error::{Error, ErrorClass, Result};
use crate::event::Event;
use crate::fake::{executor, prover, yes};
use crate::job::{Executor, Files, Hint, Job, Outcome};
use crate::session::{Limits, Session};
use crate::slice::plan;
use dsperse_documents::{BackendError, ErrorKind, Usage};
use dsperse_onnx::{
    AttributeProto, DataType, GraphProto, ModelProto, NodeProto, Tensor, ValueInfoProto, Values,
};
use dsperse_plugin_api::abi::Op;
use dsperse_plugin_api::{Descriptor, OperatorSupport, Support};
use dsperse_plugin_host::CancelToken;
use dsperse_plugin_host::{Control, Reply};
use dsperse_slicer::{DimOptions, Plan, Prepared, load_bytes, prepare};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Yes, no, or no because of the node of this name.
#[derive(Debug, Clone, PartialEq)]
enum Says {
    Yes,
    No,
    Because(String),
}

impl From<bool> for Says {
    fn from(can: bool) -> Self {
        if can { Self::Yes } else { Self::No }
    }
}

type Answer = std::result::Result<Says, BackendError>;

/// Answers `supports` after a look at the slice's graph, and counts the questions.
struct Judge<F> {
    judge: F,
    asked: Mutex<Vec<String>>,
    cancel: CancelToken,
}

impl<F: Fn(&str, &GraphProto) -> Answer + Send + Sync> Executor for Judge<F> {
    fn execute(&self, job: &Job, files: &Files, _: &Control, _: Hint) -> crate::Result<Outcome> {
        assert_eq!(job.op(), Op::Supports);
        assert_eq!(job.options["limit"], 7, "the options of dsperse.toml");
        let path = files.get(Files::PAYLOAD, &job.slice.sha256).unwrap();
        let model = ModelProto::parse(std::fs::read(path).unwrap()).unwrap();
        let graph = model.main_graph().unwrap();
        let nodes: Vec<&str> = graph.node.iter().map(|n| n.name()).collect();
        let said = format!("{} {}", job.backend, nodes.join(" "));
        self.asked.lock().unwrap().push(said);
        if self.cancel.is_cancelled() {
            return Ok(Outcome::error(BackendError::cancelled()));
        }
        let result = (self.judge)(&job.backend, graph).map(|says| {
            let node = match says {
                // So many bytes for each node.
                Says::Yes => return yes(100 * graph.node.len() as u64),
                Says::No => None,
                Says::Because(node) => Some(node),
            };
            Reply::Supports(Support::No {
                node,
                op: None,
                reason: "it can't".into(),
            })
        });
        Ok(Outcome::here(result, Usage::default()))
    }
}

/// What came of a plan.
struct Planned {
    plan: Result<Plan>,
    asked: Vec<String>,
    warnings: Vec<String>,
}

impl Planned {
    /// The nodes of each slice.
    fn slices(&self) -> &[Vec<usize>] {
        &self.plan.as_ref().unwrap().slices
    }
}

fn planned(
    model: &Prepared,
    provers: &[Descriptor],
    parallel: usize,
    judge: impl Fn(&str, &GraphProto) -> Answer + Send + Sync,
) -> Planned {
    let cancel = CancelToken::new();
    let wanted = Wanted::default();
    let how = (&Cut::Capability, &wanted, None);
    planned_until(model, provers, parallel, cancel, how, judge)
}

/// With `--strategy auto` for a chain of all provers.
fn automatic(
    model: &Prepared,
    provers: &[Descriptor],
    memory: u64,
    judge: impl Fn(&str, &GraphProto) -> Answer + Send + Sync,
) -> Planned {
    let names: Vec<&str> = provers.iter().map(|p| p.name.as_str()).collect();
    let wanted = Wanted {
        backend: Some(names.join("|")),
        ..Wanted::default()
    };
    let how = (&Cut::Auto, &wanted, Some(memory));
    planned_until(model, provers, 1, CancelToken::new(), how, judge)
}

fn planned_until(
    model: &Prepared,
    provers: &[Descriptor],
    parallel: usize,
    cancel: CancelToken,
    (cut, wanted, memory): (&Cut, &Wanted, Option<u64>),
    judge: impl Fn(&str, &GraphProto) -> Answer + Send + Sync,
) -> Planned {
    let judge = Judge {
        judge,
        asked: Mutex::default(),
        cancel: cancel.clone(),
    };
    let backends = [provers, &[executor()]].concat();
    let options: String = backends
        .iter()
        .map(|b| format!("[backend.{}]\nlimit = 7\n", b.name))
        .collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), options).unwrap();
    let config = Config::read(file.path()).unwrap();
    let warnings = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&warnings);
    let session = Session::with_backends(
        backends.into_iter().map(|mut b| {
            b.options = vec![dsperse_plugin_api::OptionSpec {
                key: "limit".into(),
                kind: "integer".into(),
                help: String::new(),
                default: None,
                affects_compile: true,
            }];
            (b, String::new())
        }),
        &judge,
        &config,
        Limits {
            parallel: Some(parallel),
            memory,
            ..Limits::default()
        },
        cancel,
        Arc::new(move |e| {
            if let Event::Warning { message, .. } = e {
                heard.lock().unwrap().push(message.clone());
            }
        }),
    )
    .unwrap();
    let plan = plan(&session, model, cut, wanted, Path::new("model.onnx"));
    drop(session);
    let warnings = warnings.lock().unwrap().clone();
    Planned {
        plan,
        asked: judge.asked.into_inner().unwrap(),
        warnings,
    }
}

fn listing(name: &str, operators: &[&str]) -> Descriptor {
    let mut d = prover(name);
    d.capabilities.operators = operators
        .iter()
        .map(|op| OperatorSupport {
            op: (*op).into(),
            domain: String::new(),
            since_opset: 1,
            until_opset: None,
            dtypes: Vec::new(),
            limits: String::new(),
        })
        .collect();
    d
}

/// A chain of nodes on a tensor [1, 4, 6, 6]: `C` a convolution, `G` a grouped one, `R` a
/// Relu, `S` a Sigmoid. Convolutions have weights of their own.
fn chain(nodes: &str) -> Prepared {
    let shape = [1, 4, 6, 6];
    let mut graph = GraphProto::default();
    let mut last = "x".to_owned();
    for (i, kind) in nodes.chars().enumerate() {
        let output = format!("t{i}");
        let mut node = match kind {
            'R' => NodeProto::new("Relu", &[&last], &[&output]),
            'S' => NodeProto::new("Sigmoid", &[&last], &[&output]),
            _ => {
                let groups = if kind == 'G' { 2 } else { 1 };
                let dims = vec![4, 4 / groups, 1, 1];
                let values = vec![i as f32; 16 / groups];
                let weights = Tensor::new(dims, Values::F32(values)).unwrap();
                let name = format!("w{i}");
                graph.initializer.push(weights.to_proto(&name));
                let conv = NodeProto::new("Conv", &[&last, &name], &[&output]);
                conv.with(AttributeProto::from_int("group", groups as i64))
            }
        };
        node.name = Some(format!("{kind}{i}"));
        graph.node.push(node);
        last = output;
    }
    let value = |name: &str| ValueInfoProto::concrete(name, DataType::F32, &shape);
    graph.input = vec![value("x")];
    graph.output = vec![value(&last)];
    let bytes = ModelProto::from_graph(graph, 17).to_bytes();
    let loaded = load_bytes("model.onnx", bytes.into(), None).unwrap();
    prepare(loaded, &DimOptions::default()).unwrap()
}

/// As real backends: the list has Conv, but only ungrouped ones are taken.
fn no_groups(_: &str, graph: &GraphProto) -> Answer {
    let grouped = |n: &NodeProto| n.int("group").unwrap().is_some_and(|g| g != 1);
    Ok(match graph.node.iter().find(|n| grouped(n)) {
        Some(node) => Says::Because(node.name().into()),
        None => Says::Yes,
    })
}

#[test]
fn an_attribute_that_nobody_can_prove_stands_alone() {
    let model = chain("CRGRCR");
    let provers = [listing("p", &["Conv", "Relu"])];
    let planned = planned(&model, &provers, 1, no_groups);
    assert_eq!(planned.slices(), [vec![0, 1], vec![2], vec![3, 4, 5]]);
    assert_eq!(planned.plan.as_ref().unwrap().strategy.name, "capability");
    assert_eq!(
        planned.asked,
        [
            // The three Relus are one and the same; the convolutions have other weights.
            "p C0",
            "p R1",
            "p G2",
            "p C4",
            // Perhaps the grouped one is fine among the others?
            "p C0 R1 G2 R3 C4 R5",
            // Then what would be one slice.
            "p C0 R1",
            "p R3 C4 R5",
        ]
    );
    assert!(planned.warnings.is_empty(), "{:?}", planned.warnings);
}

#[test]
fn what_is_not_in_a_list_is_not_asked() {
    let model = chain("CSSR");
    let provers = [listing("p", &["Conv", "Relu"]), listing("q", &["Sigmoid"])];
    let planned = planned(&model, &provers, 1, |_, _| Ok(Says::Yes));
    assert_eq!(planned.slices(), [vec![0], vec![1, 2], vec![3]]);
    assert_eq!(planned.asked, ["p C0", "q S1", "p R3", "q S1 S2"]);
}

#[test]
fn runs_belong_to_one_backend_from_end_to_end() {
    let model = chain("CRSRC");
    // "p" takes all but Sigmoid, "q" all but Conv.
    let planned = planned(&model, &[prover("p"), prover("q")], 1, |name, graph| {
        let refused = if name == "p" { "Sigmoid" } else { "Conv" };
        Ok((!graph.node.iter().any(|n| n.op_type() == refused)).into())
    });
    assert_eq!(planned.slices(), [vec![0, 1], vec![2, 3], vec![4]]);
}

#[test]
fn a_pattern_of_which_no_part_means_anything_is_found() {
    // A Sigmoid means something only between two Relus, and the backend says which doesn't.
    let model = chain("CRSRCSRRSRG");
    let provers = [listing("p", &["Conv", "Relu", "Sigmoid"])];
    let planned = planned(&model, &provers, 1, |name, graph| {
        let is = |at: Option<&NodeProto>, op: &str| at.is_some_and(|n| n.op_type() == op);
        for (i, node) in graph.node.iter().enumerate() {
            let before = i.checked_sub(1).and_then(|i| graph.node.get(i));
            let between = is(before, "Relu") && is(graph.node.get(i + 1), "Relu");
            if node.op_type() == "Sigmoid" && !between {
                return Ok(Says::Because(node.name().into()));
            }
        }
        no_groups(name, graph)
    });
    let slices: [Vec<usize>; 4] = [vec![0, 1, 2, 3, 4], vec![5], vec![6, 7, 8, 9], vec![10]];
    assert_eq!(planned.slices(), slices);
    assert_eq!(
        planned.asked,
        [
            "p C0",
            "p R1",
            "p S2",
            "p C4",
            "p G10",
            "p C0 R1 S2 R3 C4 S5 R6 R7 S8 R9 G10",
            // Without the Sigmoid that was named.
            "p C0 R1 S2 R3 C4",
            "p R6 R7 S8 R9 G10",
            "p R6 R7 S8 R9",
        ]
    );
}

#[test]
fn slices_that_are_refused_as_a_whole_are_halved() {
    let model = chain("RRRRRRRSR");
    // Each node alone is fine, but not more than three together.
    let small = |_: &str, graph: &GraphProto| Ok((graph.node.len() <= 3).into());
    let provers = [listing("p", &["Relu"])];
    let planned = planned(&model, &provers, 1, small);
    assert_eq!(
        planned.slices(),
        [vec![0, 1, 2], vec![3, 4], vec![5, 6], vec![7], vec![8]]
    );
    assert_eq!(
        planned.asked,
        [
            "p R0",
            "p R0 R1 R2 R3 R4 R5 R6",
            "p R0 R1 R2",
            "p R3 R4 R5 R6",
            // The other half is the same.
            "p R3 R4",
        ]
    );
}

#[test]
fn a_backend_that_is_not_ready_does_not_count() {
    let model = chain("CRC");
    let provers = [prover("p"), listing("q", &["Relu"])];
    let planned = planned(&model, &provers, 1, |name, _| match name {
        "p" => Err(BackendError::tool_missing("tool", "\"tool\" is not there")),
        _ => Ok(Says::Yes),
    });
    assert_eq!(planned.slices(), [vec![0], vec![1], vec![2]]);
    assert_eq!(planned.asked, ["p C0", "q R1"], "one refusal is enough");
    assert_eq!(
        planned.warnings,
        [
            "backend \"p\" is not ready, so what only it could prove stands apart: \"tool\" is not there"
        ]
    );
}

#[test]
fn a_backend_that_fails_can_not_prove_that_part() {
    let model = chain("CRSRCS");
    let planned = planned(&model, &[prover("p")], 1, |_, graph| {
        if graph.node.iter().any(|n| n.op_type() == "Sigmoid") {
            return Err(BackendError::new(ErrorKind::Crash, "signal 11"));
        }
        Ok(Says::Yes)
    });
    assert_eq!(planned.slices(), [vec![0, 1], vec![2], vec![3, 4], vec![5]]);
    assert_eq!(
        planned.warnings,
        [
            "backend \"p\" failed when it was asked about a part of the model, which counts as a \
             no; about Sigmoid: signal 11"
        ]
    );
}

#[test]
fn a_backend_that_keeps_crashing_is_not_asked_again() {
    let model = chain("CRCCSCC");
    let provers = [prover("p"), listing("q", &["Relu"])];
    for parallel in [1, 4] {
        let planned = planned(&model, &provers, parallel, |name, graph| {
            if name == "p" && graph.node.iter().any(|n| n.op_type() == "Conv") {
                return Err(BackendError::new(ErrorKind::Crash, "signal 11"));
            }
            Ok(Says::Yes)
        });
        // The Sigmoid, which "p" may have taken before, does not count either.
        assert_eq!(planned.slices(), [vec![0], vec![1], vec![2, 3, 4, 5, 6]]);
        assert_eq!(planned.warnings.len(), 1);
        let end = "and was not asked again, so what only it could prove stands apart; about \
                   Conv: signal 11";
        assert!(planned.warnings[0].ends_with(end), "{:?}", planned.warnings);
        if parallel == 1 {
            let asked = ["p C0", "p R1", "q R1", "p C2", "p C3"];
            assert_eq!(planned.asked, asked);
        }
    }
    // Crashes at long runs are a no to these runs only.
    let model = chain("RRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRR");
    let planned = planned(&model, &[prover("p")], 1, |_, graph| {
        if graph.node.len() > 2 {
            return Err(BackendError::new(ErrorKind::Crash, "signal 11"));
        }
        Ok(Says::Yes)
    });
    assert!(planned.slices().iter().all(|s| s.len() == 2));
    assert!(planned.warnings[0].contains("4 parts of the model, which counts as a no"));
}

#[test]
fn without_provers_nothing_is_cut() {
    let model = chain("CRC");
    let planned = planned(&model, &[], 1, |_, _| Ok(Says::Yes));
    assert_eq!(planned.slices(), [vec![0, 1, 2]]);
    assert!(planned.asked.is_empty());
    assert!(
        planned.warnings[0].starts_with("no loaded backend makes proofs"),
        "{:?}",
        planned.warnings
    );
}

#[test]
fn an_interrupt_ends_it() {
    let model = chain("CRCRCR");
    let cancel = CancelToken::new();
    let stop = cancel.clone();
    let how = (&Cut::Capability, &Wanted::default(), None);
    let planned = planned_until(&model, &[prover("p")], 1, cancel, how, move |_, graph| {
        if graph.node[0].name() == "R1" {
            stop.cancel();
        }
        Ok(Says::Yes)
    });
    let error: Error = planned.plan.unwrap_err();
    assert_eq!(error.class, ErrorClass::Interrupted);
    assert_eq!(planned.asked, ["p C0", "p R1"]);
}

#[test]
fn workers_side_by_side_change_nothing() {
    let model = chain("CRGRCRSRRRCGRRRC");
    let provers = [
        listing("p", &["Conv", "Relu"]),
        listing("q", &["Sigmoid", "Relu"]),
    ];
    let judge = |name: &str, graph: &GraphProto| match no_groups(name, graph)? {
        Says::Yes => Ok((graph.node.len() < 4).into()),
        no => Ok(no),
    };
    let alone = planned(&model, &provers, 1, judge);
    for _ in 0..20 {
        let together = planned(&model, &provers, 4, judge);
        assert_eq!(together.slices(), alone.slices());
    }
}

#[test]
fn auto_cuts_around_what_is_declined_and_nowhere_else() {
    let model = chain("CRGRCRSR");
    let provers = [listing("p", &["Conv", "Relu"])];
    let planned = automatic(&model, &provers, 10_000, no_groups);
    let slices: [Vec<usize>; 5] = [vec![0, 1], vec![2], vec![3, 4, 5], vec![6], vec![7]];
    assert_eq!(planned.slices(), slices);
    assert_eq!(planned.plan.as_ref().unwrap().strategy.name, "auto");
    // The last Relu is the same as those of the longer runs, but alone it is a slice.
    let asked = ["p C0 R1 G2 R3 C4 R5", "p R7", "p C0 R1", "p R3 C4 R5"];
    assert_eq!(planned.asked, asked);
}

#[test]
fn auto_takes_a_whole_model_with_one_question() {
    let model = chain("CRCRCR");
    let planned = automatic(&model, &[prover("p")], 10_000, |_, _| Ok(Says::Yes));
    assert_eq!(planned.slices(), [vec![0, 1, 2, 3, 4, 5]]);
    assert_eq!(planned.asked, ["p C0 R1 C2 R3 C4 R5"]);
}

#[test]
fn auto_stays_within_the_memory() {
    let model = chain("CRCRCRCR");
    let planned = automatic(&model, &[prover("p")], 300, |_, _| Ok(Says::Yes));
    assert_eq!(planned.slices(), [[0, 1], [2, 3], [4, 5], [6, 7]]);
}

#[test]
fn auto_halves_what_is_declined_without_a_reason() {
    let model = chain("RRRRRR");
    let small = |_: &str, graph: &GraphProto| Ok((graph.node.len() <= 3).into());
    let planned = automatic(&model, &[prover("p")], 10_000, small);
    assert_eq!(planned.slices(), [[0, 1, 2], [3, 4, 5]]);
}

#[test]
fn auto_asks_only_whom_the_chain_names() {
    let model = chain("CRS");
    let provers = [listing("p", &["Conv", "Relu"]), prover("q")];
    let wanted = Wanted {
        backend: Some("p".to_owned()),
        ..Wanted::default()
    };
    let how = (&Cut::Auto, &wanted, None);
    let yes = |_: &str, _: &GraphProto| Ok(Says::Yes);
    let planned = planned_until(&model, &provers, 1, CancelToken::new(), how, yes);
    assert_eq!(planned.slices(), [vec![0, 1], vec![2]]);
    assert_eq!(planned.asked, ["p C0 R1"]);
}

#[test]
fn auto_without_provers_is_one_slice() {
    let model = chain("CRC");
    let how = (&Cut::Auto, &Wanted::default(), None);
    let yes = |_: &str, _: &GraphProto| Ok(Says::Yes);
    let planned = planned_until(&model, &[], 1, CancelToken::new(), how, yes);
    assert_eq!(planned.slices(), [vec![0, 1, 2]]);
    assert!(planned.warnings.is_empty(), "{:?}", planned.warnings);
}

#[test]
fn auto_joins_what_was_parted_for_the_sake_of_another_node() {
    let model = chain("SCRCRCR");
    // It declines all that begins with the Sigmoid, and does not say why.
    let planned = automatic(&model, &[prover("p")], 10_000, |_, graph| {
        let bad = graph.node.iter().any(|n| n.op_type() == "Sigmoid");
        Ok((!bad).into())
    });
    assert_eq!(planned.slices(), [vec![0], vec![1, 2, 3, 4, 5, 6]]);
}

#[test]
fn auto_joins_neighbours_that_nobody_takes() {
    let model = chain("CGGSC");
    let provers = [listing("p", &["Conv", "Relu"])];
    let planned = automatic(&model, &provers, 10_000, no_groups);
    assert_eq!(planned.slices(), [vec![0], vec![1, 2, 3], vec![4]]);
}

#[test]
fn auto_joins_a_pattern_that_halving_cut_through() {
    let model = chain("GRSRC");
    // A Sigmoid means something only after a Relu, and the grouped convolution is declined
    // without a word.
    let planned = automatic(&model, &[prover("p")], 10_000, |name, graph| {
        if no_groups(name, graph)? != Says::Yes {
            return Ok(Says::No);
        }
        let first = &graph.node[0];
        Ok(match first.op_type() {
            "Sigmoid" => Says::Because(first.name().into()),
            _ => Says::Yes,
        })
    });
    assert_eq!(planned.slices(), [vec![0], vec![1, 2, 3, 4]]);
}
