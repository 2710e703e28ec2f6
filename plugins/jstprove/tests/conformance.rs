//! The conformance kit with JSTprove's real programs.

use dsperse_backend_jstprove::Jstprove;
use dsperse_backend_jstprove::programs::Programs;
use dsperse_plugin_api::Cx;
use dsperse_plugin_api::conformance::{InProcess, run, samples};
use dsperse_test_support::stages::{Quiet, needed};
use serde_json::Map;

#[test]
#[ignore = "needs JSTprove: scripts/install-backends.sh jstprove"]
fn the_plugin_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let cx = Cx::new(dir.path().to_owned(), 1, None, &Quiet);
    let found = Programs::find(&Map::new()).and_then(|p| p.check(&cx));
    needed("JSTprove", found);
    let report = run(&InProcess::of::<Jstprove>(), &samples::all());
    assert!(report.passed(), "{report}");
    let all: Vec<String> = samples::all().into_iter().map(|s| s.name).collect();
    assert_eq!(report.claimed, all);
}
