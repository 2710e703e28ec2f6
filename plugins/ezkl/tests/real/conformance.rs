//! The conformance kit with the real EZKL, on one sample: keys and proofs cost seconds.

use crate::{ezkl, options};
use dsperse_backend_ezkl::EzklBackend;
use dsperse_plugin_api::abi::RawReply;
use dsperse_plugin_api::conformance::{Caller, InProcess, run, samples};
use dsperse_plugin_api::job::Options;
use serde_json::Value;
use std::time::Duration;

/// Puts this machine's options into every request that can be read.
struct WithOptions {
    inner: InProcess,
    options: Options,
}

impl Caller for WithOptions {
    fn describe(&self) -> dsperse_plugin_api::Result<RawReply> {
        self.inner.describe()
    }

    fn call(
        &self,
        op: &str,
        request: &[u8],
        cancel_after: Option<Duration>,
    ) -> dsperse_plugin_api::Result<RawReply> {
        let mut document: Value = match serde_json::from_slice(request) {
            Ok(document) => document,
            Err(_) => return self.inner.call(op, request, cancel_after),
        };
        if let Some(job) = document.get_mut("job").and_then(Value::as_object_mut) {
            job.insert("options".into(), Value::Object(self.options.clone()));
        }
        let request = document.to_string();
        self.inner.call(op, request.as_bytes(), cancel_after)
    }
}

#[test]
fn the_plugin_conforms() {
    let Some(ezkl) = ezkl() else { return };
    let caller = WithOptions {
        inner: InProcess::of::<EzklBackend>(),
        options: options(&ezkl),
    };
    let report = run(&caller, &[samples::gemm()]);
    eprintln!("{report}");
    assert!(report.passed(), "{report}");
    assert_eq!(report.claimed, ["gemm"]);
}
