//! From the command line to the exit code: parsing, logging, and how an error is told.

use crate::app::App;
use crate::args::{Cli, ColorWhen, Global, ProgressHow};
use crate::commands;
use crate::console::progress::{Mode, Progress};
use crate::error::UserError;
use crate::exit::Exit;
use crate::output;
use clap::{CommandFactory, FromArgMatches};
use std::io::IsTerminal;
use std::process::ExitCode;

/// Parses, runs and reports.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match parse() {
        Ok(cli) => cli,
        Err(exit) => return exit.into(),
    };
    start_logging(&cli.global);
    let colour = colour(cli.global.color);
    let mode = match cli.global.progress {
        ProgressHow::Json => Mode::Json,
        ProgressHow::None => Mode::Quiet,
        _ if cli.global.quiet => Mode::Quiet,
        ProgressHow::Plain => Mode::Plain,
        ProgressHow::Auto if std::io::stderr().is_terminal() => Mode::Terminal,
        ProgressHow::Auto => Mode::Plain,
    };
    let app = App::new(cli.global, Progress::new(mode, colour));
    let result = commands::execute(&app, cli.command);
    app.finish();
    match result {
        Ok(_) if app.cancel().is_cancelled() => Exit::Interrupted.into(),
        Ok(exit) => exit,
        Err(e) => {
            report(&e, app.global.json, colour);
            e.exit.into()
        }
    }
}

fn parse() -> std::result::Result<Cli, Exit> {
    // Colours of help and usage errors are decided before anything is parsed.
    let choice = std::env::args()
        .skip_while(|a| a != "--color")
        .nth(1)
        .or_else(|| std::env::args().find_map(|a| Some(a.strip_prefix("--color=")?.to_owned())));
    let choice = match choice.as_deref() {
        Some("always") => clap::ColorChoice::Always,
        Some("never") => clap::ColorChoice::Never,
        _ => clap::ColorChoice::Auto,
    };
    let parsed = Cli::command()
        .color(choice)
        .try_get_matches()
        .and_then(|m| Cli::from_arg_matches(&m));
    parsed.map_err(|e| {
        // Help and version are no errors; clap knows where each of them goes.
        let exit = if e.use_stderr() {
            Exit::Usage
        } else {
            Exit::Done
        };
        if exit == Exit::Usage && std::env::args().any(|a| a == "--json") {
            // The message is the first paragraph; usage and advice follow.
            let said = e.to_string();
            let paragraph = said.split("\n\n").next().unwrap_or_default();
            let message = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
            let error = UserError::usage(
                message.strip_prefix("error: ").unwrap_or(&message),
                "--help of the command tells what it takes",
            );
            output::error(&error);
        }
        let _ = e.print();
        exit
    })
}

fn colour(when: ColorWhen) -> bool {
    match when {
        ColorWhen::Always => true,
        ColorWhen::Never => false,
        ColorWhen::Auto => {
            std::io::stderr().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
        }
    }
}

fn start_logging(global: &Global) {
    use tracing_subscriber::filter::Targets;
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;
    let default = match (global.quiet, global.verbose) {
        (true, _) => "error",
        // The engine warns of every operator set that its authors have not tested yet.
        (_, 0) => "warn,tract_onnx=error",
        (_, 1) => "info",
        (_, 2) => "debug",
        _ => "trace",
    };
    let given = global.log_level.clone().or_else(|| {
        let set = std::env::var("RUST_LOG").ok().filter(|v| !v.is_empty());
        set.filter(|_| global.verbose == 0 && !global.quiet)
    });
    let filter = given.as_deref().unwrap_or(default).parse::<Targets>();
    let filter = filter.unwrap_or_else(|e| {
        eprintln!("warning: the log filter is not valid and is ignored: {e}");
        default.parse().unwrap_or_default()
    });
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(colour(global.color))
        .without_time();
    tracing_subscriber::registry()
        .with(lines)
        .with(filter)
        .init();
}

fn report(e: &UserError, json: bool, colour: bool) {
    if json {
        output::error(e);
    }
    let text = e.render();
    if colour {
        eprintln!("{}", text.replacen("error:", "\x1b[31merror:\x1b[0m", 1));
    } else {
        eprintln!("{text}");
    }
}
