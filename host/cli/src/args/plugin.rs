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
    #[command(
        after_help = "Examples:\n  dsperse --plugins ./my-plugins plugin list\n  dsperse plugin list --outdated"
    )]
    List {
        /// Ask the indexes of installed backends for newer versions
        #[arg(long)]
        outdated: bool,
    },
    /// Install a backend from a package, after checking it
    #[command(
        after_help = "Examples:\n  dsperse plugin add mine --index https://example.org/plugins/\n  dsperse plugin add mine@^0.2\n  dsperse plugin add ./mine-0.2.0-linux-x86_64.dsplugin --sha256 3f0c…"
    )]
    Add {
        /// A package (path or URL), or a backend's name, with a version or a range of them after "@"
        #[arg(value_name = "PATH|URL|NAME[@VERSION]")]
        what: String,
        /// The folder or URL whose index lists the backend [default: every source whose key is pinned]
        #[arg(long, value_name = "URL|DIR")]
        index: Option<String>,
        /// The SHA-256 that the package must have; it then needs no signature
        #[arg(long, value_name = "HEX")]
        sha256: Option<String>,
        /// Take a version that is older than the active one
        #[arg(long, conflicts_with = "no_activate")]
        allow_downgrade: bool,
        /// Install the version beside the active one, to be named as NAME@VERSION
        #[arg(long)]
        no_activate: bool,
    },
    /// Install newer versions of installed backends, within what dsperse.toml requires
    #[command(after_help = "Example:\n  dsperse plugin update mine")]
    Update {
        /// The backends [default: all that were installed]
        names: Vec<String>,
        /// The folder or URL whose index is asked [default: where each was installed from]
        #[arg(long, value_name = "URL|DIR")]
        index: Option<String>,
    },
    /// Remove an installed backend, or one version of it
    #[command(after_help = "Example:\n  dsperse plugin remove mine@0.1.0")]
    Remove {
        /// The backend, perhaps with a version after "@"
        #[arg(value_name = "NAME[@VERSION]")]
        what: String,
    },
    /// Make the version that was active before active again
    #[command(after_help = "Example:\n  dsperse plugin rollback mine")]
    Rollback {
        /// The backend
        name: String,
    },
    /// Pin the key that packages of a source must be signed by, or list the pinned keys
    #[command(
        after_help = "Examples:\n  dsperse plugin trust https://example.org/plugins/ RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\n  dsperse plugin trust ./plugins mine.pub\n  dsperse plugin trust"
    )]
    Trust {
        /// The URL or folder that packages come from
        #[arg(value_name = "URL|DIR")]
        source: Option<String>,
        /// The public key: its line, or the .pub file
        #[arg(requires = "source")]
        key: Option<String>,
        /// Trust this source no longer
        #[arg(long, requires = "source", conflicts_with = "key")]
        remove: bool,
    },
    /// Write dsperse-plugins.lock: exactly which installed backends this project works with
    #[command(after_help = "Example:\n  dsperse plugin lock")]
    Lock,
    /// Install exactly what dsperse-plugins.lock names
    #[command(
        after_help = "Examples:\n  dsperse plugin install\n  dsperse plugin install --from /media/plugins"
    )]
    Install {
        /// Take the packages from this folder or URL instead of where the lock file says
        #[arg(long, value_name = "URL|DIR")]
        from: Option<String>,
    },
    /// Make the package of a library, for this platform
    #[command(
        after_help = "Example:\n  dsperse plugin pack target/release/libdsperse_backend_mine.so -o dist --sign mine.key"
    )]
    Pack {
        /// The library
        library: PathBuf,
        /// Directory that the package goes to
        #[arg(short, long, value_name = "DIR", default_value = ".")]
        output: PathBuf,
        /// Sign it with this secret key (of "plugin keygen" or minisign)
        #[arg(long, value_name = "KEY")]
        sign: Option<PathBuf>,
        /// A further file for the package. Repeatable [default: LICENSE*, COPYING* and NOTICE* of
        /// the working directory]
        #[arg(long, value_name = "FILE")]
        include: Vec<PathBuf>,
    },
    /// Write the index of a folder of packages, which makes it a source
    #[command(after_help = "Example:\n  dsperse plugin index dist")]
    Index {
        /// The folder
        dir: PathBuf,
    },
    /// Make the key pair that signs packages, in the format of minisign
    #[command(after_help = "Example:\n  dsperse plugin keygen -o mine")]
    Keygen {
        /// Name of the files: NAME.key is secret, NAME.pub is for users
        #[arg(short, long, value_name = "NAME", default_value = "dsperse-plugins")]
        output: PathBuf,
    },
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
        /// Where the crate dsperse-plugin-api is: its directory, the URL of DSperse's repository
        /// (at the tag of this version, or URL#TAG), or "registry" [default: the source tree
        /// around this program]
        #[arg(long, value_name = "DIR|URL|registry")]
        api: Option<String>,
    },
}
