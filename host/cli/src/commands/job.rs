//! `job`: carries out what was sent here.

use crate::app::App;
use crate::args::job::{Job, JobCommand, Run};
use crate::error::Result;
use crate::output;
use dsperse_engines::document::{JobExit, VERSION};
use dsperse_engines::node::{Node, host_name};
use dsperse_plugin_host::PluginHost;
use serde_json::{Map, Value, json};
use std::io::Read;
use std::process::ExitCode;

pub fn execute(app: &App, args: &Job) -> Result<ExitCode> {
    match &args.command {
        JobCommand::Run(run) => Ok(ExitCode::from(carry_out(app, run) as u8)),
        JobCommand::Node => {
            let host = PluginHost::discover(app.host_options());
            let plugins = host.plugins().iter();
            let plugins: Map<String, Value> = plugins
                .map(|p| (p.descriptor.name.clone(), Value::from(p.digest.clone())))
                .collect();
            let node = json!({"dsperse": VERSION, "host": host_name(), "plugins": plugins});
            output::json(&node);
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn carry_out(app: &App, args: &Run) -> JobExit {
    let cancel = app.cancel().clone();
    if args.leash {
        let cancel = cancel.clone();
        std::thread::spawn(move || {
            // Whoever holds the other end is gone, or lets go of it.
            let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
            cancel.cancel();
        });
    }
    // A job names versions and options itself; the node's own configuration is no part of it.
    let host = PluginHost::discover(app.host_options());
    let node = Node {
        host: &host,
        store: args.store.clone(),
        scratch: args.scratch.clone(),
        cancel,
    };
    match node.run(&args.dir) {
        Ok(exit) => exit,
        Err((exit, error)) => {
            let error = dsperse_stages::Error::failed(error.message);
            eprintln!("{}", crate::error::UserError::from(error).render());
            exit
        }
    }
}
