//! The table notices a missing check: each check of the pipeline is left out in turn, and
//! then something false is accepted that a row of the table holds against it.

use super::rows::table;
use super::world::{Lab, World};
use dsperse_stages::verify::VerifyOptions;
use dsperse_stages::verify::checks::Check;

/// For each check: a backend, and a row that only this check stops.
fn row_of(check: Check) -> (&'static str, &'static str) {
    match check {
        Check::RunIdentity => ("sumcheck", "run of another model"),
        Check::RunSlices => ("sumcheck", "slice added to the results"),
        Check::RunRecord => ("sumcheck", "output named otherwise in the results"),
        Check::Payload => ("sumcheck", "payload flipped"),
        Check::Proof => ("sumcheck", "proof flipped, digests too"),
        Check::Recomputation => ("onnx", "output changed in store and results"),
        Check::ClaimedOutput => ("sumcheck", "verifier's own output is another"),
        Check::ExpectModel => ("sumcheck", "another model than expected"),
        Check::ExpectKeys => ("sumcheck", "key of another circuit, keys pinned"),
        Check::Recompile => ("sumcheck", "key of another circuit, model pinned"),
        Check::ExpectReceipt => ("sumcheck", ""),
    }
}

#[test]
fn without_any_one_check_something_false_is_accepted() {
    for check in Check::ALL {
        let (backend, name) = row_of(check);
        let lab = Lab::of(backend);
        let world = World::of(backend).expect("an embedded backend");
        let options = if check == Check::ExpectReceipt {
            super::verifier::receipt_of_another_output(&lab, &world)
        } else {
            let rows = table();
            let row = rows.iter().find(|r| r.name == name);
            let row = row.unwrap_or_else(|| panic!("no row is called \"{name}\""));
            assert!(row.backends.contains(&backend));
            (row.tamper)(&world, &lab);
            (row.options)(&world)
        };
        let with = lab.verify(&world, &options);
        assert!(!with.accepted(), "{check:?}: accepted with every check");
        let without = lab.verify_without(&world, &options, check);
        assert!(
            without.accepted(),
            "{check:?}: \"{name}\" is stopped by something else too\n{}",
            without.words()
        );
        // And no other check stands in for it.
        for other in Check::ALL.into_iter().filter(|c| *c != check) {
            let outcome = lab.verify_without(&world, &options, other);
            assert!(
                !outcome.accepted(),
                "{check:?} is not independent of {other:?}"
            );
        }
    }
}

#[test]
fn nothing_is_left_out_by_default() {
    let lab = Lab::of("sumcheck");
    let world = World::of("sumcheck").expect("an embedded backend");
    let report = lab.verify(&world, &VerifyOptions::default()).report();
    assert!(report.accepted);
    assert_eq!(report.counts.proven, 3);
}
