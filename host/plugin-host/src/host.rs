//! The plugin host: what a program holds for as long as it may call plugins.

use crate::call::Call;
use crate::discovery::{Place, Plugin, SkipKind, Skipped, inspect, look, scan};
use crate::engine::{DescribeError, Engine, skip_kind};
use crate::state::{Described, Stamp, State};
use crate::{CallOutcome, Control, HostOptions, Reply, Request, check};
use dsperse_documents::setting::RESET;
use dsperse_plugin_api::abi::{CallRequest, Op, RawReply, negotiate};
use dsperse_plugin_api::context::Level;
use dsperse_plugin_api::descriptor::API_VERSION;
use dsperse_plugin_api::{Descriptor, Error, ErrorKind, Stage, SupportsJob};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::path::Path;
use std::time::Instant;

/// Knows every plugin that can be called, and calls them. Threads may share it.
#[derive(Debug)]
pub struct PluginHost {
    options: HostOptions,
    plugins: Vec<Plugin>,
    others: Vec<Plugin>,
    skipped: Vec<Skipped>,
    state: State,
    engine: Engine,
}

impl PluginHost {
    /// Looks for plugins and lets each one describe itself (from the cache, or in a
    /// worker when its library is new). Never fails: what can't be used is listed in
    /// [`PluginHost::skipped`] with its reason.
    #[must_use]
    pub fn discover(options: HostOptions) -> Self {
        let found = scan(&options.search);
        let mut host = Self {
            state: State::open(options.cache_dir.as_deref()),
            engine: Engine::new(
                options.isolation,
                options.worker_program.as_deref(),
                &options.policy,
            ),
            options,
            plugins: Vec::new(),
            others: Vec::new(),
            skipped: found.skipped,
        };
        for (path, sha256) in found.candidates {
            match host.admit(&path, sha256.as_deref()) {
                Ok(plugin) => host.others.push(plugin),
                Err((kind, reason)) => host.skipped.push(Skipped { path, kind, reason }),
            }
        }
        host.choose();
        host
    }

    /// Of each name the version that the name alone means: the first in search order that is
    /// as it is required, or else the first.
    fn choose(&mut self) {
        let wanted = |p: &Plugin| {
            let required = self.options.requirements.get(&p.descriptor.name);
            required.is_none_or(|r| r.matches(&p.descriptor.version))
        };
        let mut rest = Vec::new();
        let all = std::mem::take(&mut self.others);
        for (at, plugin) in all.iter().enumerate() {
            let name = &plugin.descriptor.name;
            let of_name = || {
                all.iter()
                    .enumerate()
                    .filter(|(_, p)| p.descriptor.name == *name)
            };
            let chosen = of_name()
                .find(|(_, p)| wanted(p))
                .or_else(|| of_name().next())
                .map(|(at, _)| at);
            match chosen == Some(at) {
                true => self.plugins.push(plugin.clone()),
                false => rest.push(plugin.clone()),
            }
        }
        self.others = rest;
    }

    /// Everything that stands between a file and its use, in the order of what it costs
    /// and of how much is trusted to the library.
    fn admit(&self, path: &Path, sha256: Option<&str>) -> Result<Plugin, (SkipKind, String)> {
        if let Some(reason) = self.state.banned(path) {
            return Err((SkipKind::Quarantined, quarantined(&reason)));
        }
        inspect(path).map_err(|refused| (refused.kind, refused.reason))?;
        let (stamp, digest) = self
            .state
            .digest(path)
            .map_err(|e| (SkipKind::Unreadable, format!("it can't be read: {e}")))?;
        if let Some(expected) = sha256.filter(|e| *e != digest) {
            return Err((
                SkipKind::Changed,
                format!(
                    "it was changed since it was installed: its SHA-256 is {digest}, expected {expected}"
                ),
            ));
        }
        self.not_worn_out(&digest)
            .map_err(|e| (SkipKind::Quarantined, e.message))?;
        let described = match self.state.described(&digest) {
            Some(described) => described,
            None => {
                let described = self.describe(path)?;
                self.state.remember_description(&digest, &described);
                described
            }
        };
        let descriptor = described.descriptor;
        check_descriptor(&descriptor)?;
        let same = |p: &&Plugin| {
            p.descriptor.name == descriptor.name && p.descriptor.version == descriptor.version
        };
        if let Some(first) = self.others.iter().find(same) {
            return Err((
                SkipKind::Shadowed,
                format!(
                    "backend \"{}\" {} was found first in \"{}\"",
                    descriptor.name,
                    descriptor.version,
                    first.path.display(),
                ),
            ));
        }
        Ok(Plugin {
            descriptor,
            path: path.to_path_buf(),
            digest,
            door: described.door,
            stamp,
        })
    }

    fn describe(&self, path: &Path) -> Result<Described, (SkipKind, String)> {
        match self.engine.describe(path) {
            Ok((raw, door)) => match raw.descriptor() {
                Ok(descriptor) => Ok(Described { descriptor, door }),
                Err(error) => Err((SkipKind::LoadFailed, error.message)),
            },
            Err(error) => {
                let kind = skip_kind(&error);
                let reason = match error {
                    DescribeError::Refused(refused) => refused.reason,
                    DescribeError::Failed(error) => error.message,
                    DescribeError::Crashed(error) => {
                        self.state.ban(path, &error.message);
                        error.message
                    }
                };
                Err((kind, reason))
            }
        }
    }

    /// What the host was built with.
    #[must_use]
    pub fn options(&self) -> &HostOptions {
        &self.options
    }

    /// Every backend that can be called by its name alone, in search order, each name once.
    #[must_use]
    pub fn plugins(&self) -> &[Plugin] {
        &self.plugins
    }

    /// Further versions of these backends, which are called as `name@version`.
    #[must_use]
    pub fn other_versions(&self) -> &[Plugin] {
        &self.others
    }

    /// Every library and directory that was passed over, each with one reason.
    #[must_use]
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// Every place that was searched, with what gave no backend there.
    #[must_use]
    pub fn places(&self) -> Vec<Place> {
        let search = self.options.search.iter();
        search.map(|place| look(place, &self.skipped)).collect()
    }

    /// The plugin that `name` or `name@version` means.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Plugin> {
        match name.split_once('@') {
            None => self.plugins.iter().find(|p| p.descriptor.name == name),
            Some((name, version)) => {
                self.plugins.iter().chain(&self.others).find(|p| {
                    p.descriptor.name == name && p.descriptor.version.to_string() == version
                })
            }
        }
    }

    /// Runs one operation of the backend `name` and waits for it. Every fault of the
    /// plugin becomes a typed error in the outcome.
    #[must_use]
    pub fn call(&self, name: &str, request: Request, control: Control) -> CallOutcome {
        let start = Instant::now();
        let mut outcome = match self.prepare(name, &request, &control) {
            Ok(Prepared::Known(reply)) => CallOutcome {
                cached: true,
                ..CallOutcome::without_worker(Ok(reply))
            },
            Ok(Prepared::Run { plugin, document }) => {
                self.run(plugin, &request, &document, &control, start)
            }
            Err(error) => CallOutcome::without_worker(Err(error)),
        };
        outcome.usage.seconds = start.elapsed().as_secs_f64();
        outcome
    }

    fn prepare(
        &self,
        name: &str,
        request: &Request,
        control: &Control,
    ) -> Result<Prepared<'_>, Error> {
        let plugin = self.get(name).ok_or_else(|| {
            let names: Vec<&str> = self
                .plugins
                .iter()
                .map(|p| p.descriptor.name.as_str())
                .collect();
            Error::invalid_input(format!(
                "there is no backend \"{name}\"; loaded: {}",
                if names.is_empty() {
                    "none".into()
                } else {
                    names.join(", ")
                }
            ))
            .with_hint("run \"dsperse plugin list\" to see what was found and what was skipped")
        })?;
        if control.cancel.is_cancelled() {
            return Err(Error::cancelled());
        }
        self.not_worn_out(&plugin.digest)?;
        // What is recorded of a result is the digest, so it must be that of what ran.
        if Stamp::of(&plugin.path).ok().as_ref() != Some(&plugin.stamp) {
            return Err(Error::internal(format!(
                "the library \"{}\" has changed since this program started",
                plugin.path.display()
            ))
            .with_hint("run the command again"));
        }
        if let Request::Supports(job) = request
            && let Some(support) =
                self.state
                    .supports(&plugin.digest, &supports_key(job), lasting(plugin))
        {
            return Ok(Prepared::Known(Reply::Supports(support)));
        }
        Ok(Prepared::Run {
            plugin,
            document: encode(request, control)?,
        })
    }

    fn run(
        &self,
        plugin: &Plugin,
        request: &Request,
        document: &[u8],
        control: &Control,
        began: Instant,
    ) -> CallOutcome {
        let op = request.op();
        let call = Call {
            op: op.as_str(),
            request: document,
            control,
            // A verdict must not depend on what a worker did before.
            reuse: plugin.descriptor.capabilities.reusable_worker && op != Op::Verify,
        };
        let outcome = self.engine.run(&plugin.path, &plugin.digest, &call);
        let outcome = outcome.map(|raw| {
            raw.and_then(|raw| decode(request, &raw, control, began))
                .map_err(|error| honest(error, control))
        });
        self.remember(plugin, request, &outcome.result);
        outcome
    }

    fn remember(&self, plugin: &Plugin, request: &Request, result: &Result<Reply, Error>) {
        match result {
            Ok(reply) => {
                self.state.forgive(&plugin.digest);
                if let (Request::Supports(job), Reply::Supports(support)) = (request, reply) {
                    let key = supports_key(job);
                    let lasting = lasting(plugin);
                    self.state
                        .remember_supports(&plugin.digest, &key, support, lasting);
                }
            }
            Err(error) if matches!(error.kind, ErrorKind::Crash | ErrorKind::Panic) => {
                self.state.count_crash(&plugin.digest);
            }
            Err(_) => {}
        }
    }

    /// Refuses a library that crashed too often in a row.
    fn not_worn_out(&self, digest: &str) -> Result<(), Error> {
        let crashes = self.state.crashes(digest);
        if crashes < self.options.policy.crashes_to_quarantine {
            return Ok(());
        }
        let reason = format!("{crashes} calls in a row crashed");
        Err(Error::new(ErrorKind::Crash, quarantined(&reason)))
    }

    /// Forgets every quarantined library (`plugin doctor --reset`), so that the next
    /// discovery tries them again. Returns how many there were.
    ///
    /// # Errors
    /// When the quarantine file can't be removed.
    pub fn reset_quarantine(&self) -> std::io::Result<usize> {
        self.state
            .reset_quarantine(self.options.policy.crashes_to_quarantine)
    }
}

enum Prepared<'a> {
    /// Remembered from an earlier call.
    Known(Reply),
    Run {
        plugin: &'a Plugin,
        document: Vec<u8>,
    },
}

fn quarantined(reason: &str) -> String {
    format!(
        "it is quarantined until it changes: {reason}; \"dsperse plugin doctor {RESET}\" tries it again"
    )
}

/// What every descriptor must satisfy.
fn check_descriptor(descriptor: &Descriptor) -> Result<(), (SkipKind, String)> {
    negotiate(&API_VERSION, &descriptor.api_version)
        .map_err(|reason| (SkipKind::IncompatibleVersion, reason))?;
    let name = &descriptor.name;
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if name.is_empty() || name.len() > 64 || !name.chars().all(good) {
        return Err((
            SkipKind::LoadFailed,
            format!(
                "it calls itself {name:?}; a name has 1 to 64 lower-case letters, digits, \"-\" and \"_\""
            ),
        ));
    }
    match impossible(descriptor) {
        Some(why) => Err((
            SkipKind::LoadFailed,
            format!("backend \"{name}\" describes what can't be: {why}"),
        )),
        None => Ok(()),
    }
}

/// What contradicts itself in what a backend says it can do. Everything that is decided about
/// proofs is decided by these words, so they have to make sense together.
fn impossible(descriptor: &Descriptor) -> Option<String> {
    let says = &descriptor.capabilities;
    let can = |stage| says.stages.contains(&stage);
    let proves = can(Stage::Prove) || can(Stage::Verify);
    if proves && says.proof.is_none() {
        return Some("it makes or verifies proofs and says nothing of their properties".to_owned());
    }
    if says.proof.is_some() && !proves {
        return Some(
            "it tells properties of proofs and has neither the stage \"prove\" nor \"verify\""
                .to_owned(),
        );
    }
    if can(Stage::Prove) && !can(Stage::Witness) {
        return Some(
            "it has the stage \"prove\" without \"witness\", which computes what is proven"
                .to_owned(),
        );
    }
    let wanted = descriptor.compatible_artefacts.as_deref();
    if let Some(text) = wanted.filter(|w| semver::VersionReq::parse(w).is_err()) {
        return Some(format!(
            "\"{text}\" for the versions whose artefacts it takes is no range of versions"
        ));
    }
    let kinds = ["bool", "integer", "number", "string", "path"];
    let option = descriptor
        .options
        .iter()
        .find(|o| !kinds.contains(&o.kind.as_str()));
    option.map(|o| {
        format!(
            "its option \"{}\" is of the kind \"{}\", expected one of {}",
            o.key,
            o.kind,
            kinds.join(", ")
        )
    })
}

/// The request document of a call.
fn encode(request: &Request, control: &Control) -> Result<Vec<u8>, Error> {
    let dir = control.dir.to_str().ok_or_else(|| {
        Error::invalid_input(format!(
            "the directory {:?} is not UTF-8, which plugins can't be told",
            control.dir
        ))
    })?;
    if !control.dir.is_absolute() {
        return Err(Error::invalid_input(format!(
            "the job's directory \"{dir}\" is not absolute"
        )));
    }
    fn envelope<J: Serialize>(job: &J, dir: &str, control: &Control) -> Result<Vec<u8>, Error> {
        serde_json::to_vec(&CallRequest {
            job,
            dir: dir.to_owned(),
            threads: control.threads.max(1),
            memory: control.memory,
            log_level: Level::Info,
        })
        .map_err(|e| Error::invalid_input(format!("the job can't be written as JSON: {e}")))
    }
    match request {
        Request::Probe(job) => envelope(job, dir, control),
        Request::Supports(job) => envelope(job, dir, control),
        Request::Compile(job) => envelope(job, dir, control),
        Request::Witness(job) => envelope(job, dir, control),
        Request::Prove(job) => envelope(job, dir, control),
        Request::Verify(job) => envelope(job, dir, control),
    }
}

/// Reads an answer and checks the files that it declares.
fn decode(
    request: &Request,
    raw: &RawReply,
    control: &Control,
    began: Instant,
) -> Result<Reply, Error> {
    let op = request.op();
    Ok(match request {
        Request::Probe(_) => Reply::Probe(raw.reply(op)?),
        Request::Supports(_) => Reply::Supports(raw.reply(op)?),
        Request::Verify(_) => Reply::Verdict(raw.reply(op)?),
        Request::Compile(_) | Request::Witness(_) | Request::Prove(_) => {
            let mut done = raw.reply(op)?;
            let bounds = check::Bounds {
                op: op.as_str(),
                bytes: control.artefacts,
                began,
                timeout: control.timeout,
                cancel: &control.cancel,
            };
            check::done(request, &control.dir, &mut done, &bounds)?;
            Reply::Done(done)
        }
    })
}

/// Two kinds make the host stop or count, so a plugin may not claim them without cause.
fn honest(mut error: Error, control: &Control) -> Error {
    if error.kind == ErrorKind::Cancelled && !control.cancel.is_cancelled() {
        error.kind = ErrorKind::Internal;
        error.message = format!(
            "the backend says that the call was cancelled, which nobody asked for: {}",
            error.message
        );
    }
    error
}

/// Whether what a plugin says of a slice holds as long as its library is the same. One
/// that drives external tools may say something else when a tool comes or changes.
fn lasting(plugin: &Plugin) -> bool {
    plugin.descriptor.capabilities.tools.is_empty()
}

/// By what a `supports` answer is remembered: the slice's content and the options, but
/// not where the file lies.
fn supports_key(job: &SupportsJob) -> String {
    let mut job = job.clone();
    job.slice.model = None;
    job.slice.index = 0;
    job.slice.model_sha256 = String::new();
    let bytes = serde_json::to_vec(&job).unwrap_or_default();
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dsperse_plugin_api::{OptionSpec, ProofProperties};

    #[test]
    fn descriptions_that_contradict_themselves_are_refused() {
        let good = || {
            let mut d = Descriptor::new("a", "1.2.3", "a backend");
            d.capabilities.stages = vec![Stage::Witness, Stage::Prove, Stage::Verify];
            d.capabilities.proof = Some(ProofProperties::default());
            d
        };
        assert!(check_descriptor(&good()).is_ok());
        let refused = |change: fn(&mut Descriptor), words: &str| {
            let mut d = good();
            change(&mut d);
            let (kind, reason) = check_descriptor(&d).unwrap_err();
            assert_eq!(kind, SkipKind::LoadFailed);
            assert!(reason.contains(words), "{reason}");
        };
        refused(
            |d| d.capabilities.proof = None,
            "says nothing of their properties",
        );
        refused(
            |d| d.capabilities.stages = vec![Stage::Witness],
            "neither the stage \"prove\" nor \"verify\"",
        );
        refused(
            |d| d.capabilities.stages = vec![Stage::Prove, Stage::Verify],
            "without \"witness\"",
        );
        refused(
            |d| d.compatible_artefacts = Some("all of them".into()),
            "\"all of them\"",
        );
        refused(
            |d| {
                d.options.push(OptionSpec {
                    key: "speed".into(),
                    kind: "velocity".into(),
                    help: String::new(),
                    default: None,
                    affects_compile: false,
                });
            },
            "option \"speed\" is of the kind \"velocity\"",
        );
    }
}
