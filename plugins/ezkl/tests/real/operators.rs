//! Every operator that the plugin lists, alone in a slice, against the floats.

use crate::{ezkl, options, with_cx};
use dsperse_backend_ezkl::files::Work;
use dsperse_backend_ezkl::model::{normalise, operators};
use dsperse_backend_ezkl::prepare::{build, settle};
use dsperse_backend_ezkl::srs::Places;
use dsperse_test_support::operators::{Case, cases};
use dsperse_test_support::stages::{Sample, compile_job};
use std::collections::BTreeSet;

/// Largest error that a single operator may have. Scale 13 resolves 1.2e-4.
const BOUND: f64 = 2e-3;

#[test]
fn every_listed_operator_computes_the_floats() {
    let Some(ezkl) = ezkl() else { return };
    let options = options(&ezkl);
    let places = Places::new(&options).unwrap();
    let mut wrong = Vec::new();
    let mut done = BTreeSet::new();
    for case in cases() {
        if normalise(case.model.to_bytes()).is_err() {
            eprintln!("{}: refused by the plugin", case.name);
            continue;
        }
        let Case {
            name,
            model,
            inputs,
            outputs,
        } = &case;
        let sample = Sample {
            inputs: inputs.clone(),
            outputs: outputs.clone(),
        };
        let fidelity = with_cx(|cx, dir| {
            let job = compile_job(dir, model, options.clone(), &[sample]);
            let work = Work::new(cx)?;
            let settled = settle(&ezkl, &job, &places, &work, cx)?;
            build(&ezkl, &job, &settled, &work, cx)
        });
        match fidelity {
            Ok(f) if f.max_error.is_some_and(|e| e < BOUND) => {
                eprintln!("{name}: {:.1e}", f.max_error.unwrap());
                done.insert(case.op().to_owned());
            }
            Ok(f) => wrong.push(format!("{name}: error {:?}", f.max_error)),
            Err(e) => wrong.push(format!("{name}: {e}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let listed: BTreeSet<String> = operators().into_iter().map(|o| o.op).collect();
    assert_eq!(done, listed);
}
