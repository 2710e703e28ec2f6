//! The `dsperse` command line: arguments, dispatch, and what people see. The work itself
//! is in `dsperse-stages`.
//!
//! - [`args`]: what can be typed, one file per family of verbs;
//! - [`commands`]: one file per verb: arguments in, pipeline call, summary out;
//! - [`start`]: from the command line to the exit code;
//! - [`app`]: what all commands share (plugins, configuration, interruption);
//! - [`console`], [`prompt`], [`output`]: progress, tables, questions, stdout;
//! - [`packages`], [`locked`]: installed packages, and the project's lock file;
//! - [`nothing`]: what there is to say when no backend could be loaded;
//! - [`error`], [`exit`]: the one error that users see, and the exit codes.

mod app;
mod args;
mod commands;
mod console;
mod error;
mod executor;
mod exit;
mod locked;
mod nothing;
mod output;
mod packages;
mod prompt;
mod start;

fn main() -> std::process::ExitCode {
    // The program is also its own worker; this must come before anything else.
    if dsperse_plugin_host::is_worker() {
        dsperse_plugin_host::worker_main();
    }
    dsperse_documents::setting::spell(|name| format!("--{name}"));
    start::main()
}
