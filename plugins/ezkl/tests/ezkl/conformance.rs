//! The conformance kit with the real EZKL, on one sample: keys and proofs cost seconds.

use crate::{ezkl, options};
use dsperse_backend_ezkl::EzklBackend;
use dsperse_plugin_api::conformance::{InProcess, WithOptions, run, samples};

#[test]
#[ignore = "needs EZKL: scripts/install-backends.sh ezkl"]
fn the_plugin_conforms() {
    let ezkl = ezkl();
    let caller = WithOptions {
        inner: InProcess::of::<EzklBackend>(),
        options: options(&ezkl),
    };
    let report = run(&caller, &[samples::gemm()]);
    eprintln!("{report}");
    assert!(report.passed(), "{report}");
    assert_eq!(report.claimed, ["gemm"]);
}
