//! What a worker call costs beyond the backend's own work, in its parts: start, load,
//! call, end; as medians. `cargo bench -p dsperse-plugin-host`.
//!
//! The backend is the C fixture, whose `probe` does nothing, so that all of the time is
//! overhead. `-- --library PATH --worker PATH` measures with another library or worker
//! program, such as `dsperse` itself. The parts are those of single processes handing over
//! to each other, so a busy machine stretches them: measure on a quiet one.

use dsperse_plugin_api::ProbeJob;
use dsperse_plugin_host::{Control, HostOptions, PluginHost, Request};
use std::path::PathBuf;

const CALLS: usize = 200;

/// The path behind an option of the command line.
fn argument(name: &str) -> Option<PathBuf> {
    let mut args = std::env::args().skip_while(|arg| arg != name).skip(1);
    args.next().map(PathBuf::from)
}

fn main() {
    let dir = tempfile::tempdir().expect("a directory");
    let library = argument("--library")
        .unwrap_or_else(|| dsperse_test_support::build_cident(dir.path(), "cident", 0));
    let worker =
        argument("--worker").unwrap_or_else(|| env!("CARGO_BIN_EXE_dsperse-plugin-worker").into());
    let mut options = HostOptions::with_paths(&[&library]);
    options.worker_program = Some(worker);
    let host = PluginHost::discover(options);
    let Some(plugin) = host.plugins().first() else {
        eprintln!("no plugin: {:?}", host.skipped());
        std::process::exit(1);
    };
    let mut parts: [Vec<f64>; 6] = Default::default();
    for _ in 0..CALLS {
        let outcome = host.call(
            &plugin.descriptor.name,
            Request::Probe(ProbeJob::default()),
            Control::new(dir.path()),
        );
        if let Err(error) = outcome.result {
            eprintln!("the call failed: {error}");
            std::process::exit(1);
        }
        let p = outcome.parts;
        let total = outcome.usage.seconds;
        let rest = total - p.start - p.load - p.call - p.end;
        for (list, value) in parts
            .iter_mut()
            .zip([p.start, p.load, p.call, p.end, rest, total])
        {
            list.push(value * 1e3);
        }
    }
    println!(
        "{CALLS} calls of \"probe\" of \"{}\" ({} bytes), milliseconds",
        plugin.descriptor.name,
        std::fs::metadata(&library).map_or(0, |m| m.len())
    );
    println!("{:8} {:>8} {:>8} {:>8}", "part", "median", "p90", "max");
    for (name, list) in ["start", "load", "call", "end", "rest", "total"]
        .iter()
        .zip(&mut parts)
    {
        list.sort_by(f64::total_cmp);
        let at = |share: usize| list[(CALLS * share / 100).min(CALLS - 1)];
        println!("{name:8} {:8.2} {:8.2} {:8.2}", at(50), at(90), at(100));
    }
}
