//! `plugin` and the commands below it.

use std::path::PathBuf;

/// Arguments of `plugin`.
#[derive(Debug, Clone, clap::Args)]
pub struct Plugin {
    #[command(subcommand)]
    pub command: PluginCommand,
}

/// Commands below `plugin`.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum PluginCommand {
    /// List the loaded backends, and what was skipped and why
    #[command(after_help = "Example:\n  dsperse --plugins ./my-plugins plugin list")]
    List,
    /// Show what a backend says of itself
    #[command(after_help = "Example:\n  dsperse plugin inspect sumcheck")]
    Inspect {
        /// The backend's name
        name: String,
    },
    /// Check the external tools of every backend and say what to type
    #[command(after_help = "Example:\n  dsperse plugin doctor")]
    Doctor {
        /// Forget which libraries crashed before, so that they are tried again
        #[arg(long)]
        reset: bool,
    },
    /// Run the numbered conformance checks on a library
    #[command(
        after_help = "Example:\n  dsperse plugin test target/debug/libdsperse_backend_mine.so"
    )]
    Test {
        /// The library
        library: PathBuf,
    },
    /// Write a new backend from the template
    #[command(after_help = "Example:\n  dsperse plugin new mine")]
    New {
        /// Name of the backend: lower-case letters, digits, "-" and "_"
        name: String,
        /// Where the crate goes [default: ./NAME]
        #[arg(short, long, value_name = "DIR")]
        output: Option<PathBuf>,
        /// Where the crate dsperse-plugin-api is: its directory, or the URL of DSperse's
        /// repository [default: the source tree around this program]
        #[arg(long, value_name = "DIR|URL")]
        api: Option<String>,
    },
}
