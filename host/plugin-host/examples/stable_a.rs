//! A Rust plugin for the tests of this crate: it comes through the abi_stable door, keeps
//! its worker, and takes as much memory as a probe asks for, itself or by a tool,
//! or floods its host with events, or hangs with a child in a session of its own. `stable_b` is its twin under
//! another name.

use dsperse_plugin_api::{
    Backend, CompileJob, Cx, Descriptor, Done, Error, Probe, ProbeJob, Result, Support,
    SupportsJob, Verdict, VerifyJob, WitnessJob, export_backend,
};
use std::process::Command;

struct Stable;

impl Backend for Stable {
    fn describe() -> Descriptor {
        let mut d = Descriptor::new(
            env!("CARGO_CRATE_NAME"),
            env!("CARGO_PKG_VERSION"),
            "Test fixture behind the abi_stable door.",
        );
        d.capabilities.reusable_worker = true;
        d
    }

    fn open(_: &Cx) -> Result<Self> {
        Ok(Self)
    }

    fn probe(&self, job: &ProbeJob, cx: &Cx) -> Result<Probe> {
        let mib = |key: &str| job.options.get(key).and_then(serde_json::Value::as_u64);
        let bytes = usize::try_from(mib("mib").unwrap_or(0) << 20).unwrap_or(0);
        drop(std::hint::black_box(vec![1u8; bytes]));
        if mib("hang").is_some() {
            Command::new("setsid").args(["sleep", "300"]).spawn()?;
            loop {
                std::thread::park();
            }
        }
        if mib("flood").is_some() {
            loop {
                cx.progress(0.5, "flooding");
            }
        }
        if let Some(mib) = mib("tool_mib") {
            // A line without an end, all of which tail has to remember.
            let script = format!("head -c {mib}M /dev/zero | tail > /dev/null");
            Command::new("sh").args(["-c", &script]).status()?;
        }
        Ok(Probe::ready())
    }

    fn supports(&self, _: &SupportsJob, _: &Cx) -> Result<Support> {
        Err(no())
    }

    fn compile(&self, _: &CompileJob, _: &Cx) -> Result<Done> {
        Err(no())
    }

    fn witness(&self, _: &WitnessJob, _: &Cx) -> Result<Done> {
        Err(no())
    }

    fn verify(&self, _: &VerifyJob, _: &Cx) -> Result<Verdict> {
        Err(no())
    }
}

fn no() -> Error {
    Error::unsupported("this fixture only answers probes")
}

export_backend!(Stable);
