//! A job is carried out by the backend that it names, or by none.

use super::world::{Lab, World};
use dsperse_e2e::binary;
use dsperse_plugin_api::job::Options;
use dsperse_plugin_host::{CancelToken, HostOptions, PluginHost};
use dsperse_stages::Loaded;
use dsperse_stages::job::{Control, Executor, Files, Job, Operation, Outcome};
use dsperse_stages::local::LocalExecutor;
use std::fs;
use std::io::Write;

#[test]
fn another_library_or_version_of_the_backend_is_refused() {
    let world = World::of("onnx").expect("onnx is always here");
    let lab = Lab::of("onnx");
    let plugin = lab.host.get("onnx").expect("it is loaded");
    let options = Options::default();
    let backend = Loaded {
        descriptor: &plugin.descriptor,
        digest: &plugin.digest,
        options: &options,
    };
    let slice = world.slice_metadata(0);
    let job = Job::new(Operation::Supports, &backend, slice.slice_info(None));
    let mut files = Files::default();
    files.insert(Files::PAYLOAD, &slice.payload.sha256, world.payload(0));
    let scratch = tempfile::tempdir().expect("a directory");
    let carry_out = |host: &PluginHost, job: &Job| -> Outcome {
        let dir = tempfile::tempdir_in(scratch.path()).expect("a directory");
        let control = Control {
            dir: dir.path().to_path_buf(),
            threads: 1,
            timeout: None,
            memory: None,
            cancel: CancelToken::new(),
            events: None,
        };
        LocalExecutor::new(host).execute(job, &files, &control)
    };
    let here = carry_out(&lab.host, &job).result;
    assert!(here.is_ok(), "{here:?}");

    // The same backend in every respect but one byte behind its end.
    let other = scratch
        .path()
        .join(plugin.path.file_name().expect("a name"));
    fs::copy(&plugin.path, &other).expect("a copy");
    let appended = fs::OpenOptions::new().append(true).open(&other);
    appended
        .and_then(|mut f| f.write_all(b"\n"))
        .expect("a byte");
    let mut options = HostOptions::with_paths(&[other]);
    options.worker_program = Some(binary());
    let changed = PluginHost::discover(options);
    let found = changed.get("onnx").expect("it still loads");
    let error = carry_out(&changed, &job)
        .result
        .expect_err("another library");
    assert!(error.message.contains(&found.digest), "{error:?}");
    assert!(error.message.contains(&plugin.digest), "{error:?}");
    assert!(error.hint.is_some(), "{error:?}");

    let mut newer = job;
    newer.backend_version = "99.0.0".into();
    let error = carry_out(&lab.host, &newer)
        .result
        .expect_err("another version");
    assert!(error.message.contains("99.0.0"), "{error:?}");
}
