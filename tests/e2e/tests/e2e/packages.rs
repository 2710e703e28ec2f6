//! A plugin's life: packed, signed, added, used, updated, rolled back, locked; everything that
//! is refused, with nothing changed; and commands that are killed.

use dsperse_e2e::{Place, Ran};
use dsperse_packages::{Manifest, keys, package, platform};
use dsperse_plugin_api::conformance::samples;
use dsperse_test_support::{Fault, build_cident_version};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// A web server of this machine that serves the files of a directory.
struct Server {
    url: String,
    /// Packages break off half way.
    cut: Arc<AtomicBool>,
}

impl Server {
    fn of(dir: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let cut = Arc::new(AtomicBool::new(false));
        let half = cut.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = answer(stream, &dir, half.load(Ordering::SeqCst));
            }
        });
        Self { url, cut }
    }
}

fn answer(mut stream: TcpStream, dir: &Path, cut: bool) -> std::io::Result<()> {
    let mut request = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    request.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        if request.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
    }
    let path = first.split(' ').nth(1).unwrap_or("/");
    let Ok(body) = fs::read(dir.join(path.trim_start_matches('/'))) else {
        return stream.write_all(
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        );
    };
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    let sent = match cut && path.ends_with(".dsplugin") {
        true => body.len() / 2,
        false => body.len(),
    };
    stream.write_all(&body[..sent])
}

/// An author with a key, who publishes in `dist`, and a user in the same place.
struct Life {
    place: Place,
}

impl Life {
    fn new() -> Self {
        let life = Self {
            place: Place::with_plugins(&[]),
        };
        for dir in ["dist", "build"] {
            fs::create_dir(life.path(dir)).expect("a directory");
        }
        fs::write(life.path("LICENSE"), "MIT").expect("a file");
        life.call("plugin keygen -o author").exits(0);
        life
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.place.path(relative)
    }

    fn call(&self, line: &str) -> Ran {
        self.place.call(line)
    }

    /// Builds a version outside of the workspace's tree and publishes it, signed.
    fn publish(&self, version: &str) -> String {
        let library = build_cident_version(&self.path("build"), "mine", version, 0);
        let library = library.display();
        let packed = self
            .call(&format!(
                "plugin pack {library} -o dist --sign author.key --json"
            ))
            .exits(0)
            .json();
        self.call("plugin index dist").exits(0);
        packed["sha256"].as_str().expect("a digest").to_owned()
    }

    fn file(version: &str) -> String {
        format!("mine-{version}-{}.dsplugin", platform())
    }

    /// A package with a manifest of one's own, signed.
    fn forge(&self, library: &Path, change: impl FnOnce(&mut Manifest)) -> PathBuf {
        let mut manifest = Manifest {
            format: package::FORMAT,
            name: "mine".into(),
            version: "0.3.0".parse().expect("a version"),
            api: "1.0.0".parse().expect("a version"),
            platform: platform(),
            library: String::new(),
            library_sha256: String::new(),
            licence: "MIT".into(),
            summary: String::new(),
            files: BTreeMap::new(),
        };
        change(&mut manifest);
        let packed = package::pack(library, &[], manifest, &self.path("dist")).expect("a package");
        keys::sign(&packed.path, &self.path("author.key"), false).expect("a signature");
        packed.path
    }

    fn trust(&self, source: &str) {
        self.call(&format!("plugin trust {source} author.pub"))
            .exits(0);
    }

    /// Everything that is installed, with its content.
    fn installed(&self) -> BTreeMap<String, Vec<u8>> {
        let below = "home/.local/share/dsperse/packages";
        let files = match self.path(below).is_dir() {
            true => self.place.files(below),
            false => Vec::new(),
        };
        files
            .into_iter()
            .map(|f| {
                let content = fs::read(self.path(below).join(&f)).expect("a file");
                (f, content)
            })
            .collect()
    }

    /// A command that is refused, says why, and changes nothing.
    fn refused(&self, line: &str, exit: i32, words: &[&str]) {
        let before = self.installed();
        let ran = self.call(line).exits(exit);
        for word in words {
            assert!(ran.stderr.contains(word), "{line}: {word}\n{}", ran.stderr);
        }
        assert_eq!(before, self.installed(), "{line} changed something");
    }

    /// The active version of `mine`.
    fn active(&self) -> String {
        let listed = self.call("plugin list --json").exits(0).json();
        let plugins = listed["plugins"].as_array().expect("plugins").iter();
        let mut mine = plugins.filter(|p| p["descriptor"]["name"] == "mine");
        let version = mine.next().map(|p| p["descriptor"]["version"].clone());
        version
            .as_ref()
            .and_then(Value::as_str)
            .unwrap_or("none")
            .to_owned()
    }

    /// Runs a model of one `Identity` node with a backend; the version that compiled it.
    fn use_it(&self, backend: &str) -> String {
        let sample = samples::identity();
        fs::create_dir_all(self.path("model")).expect("a directory");
        fs::write(self.path("model/model.onnx"), sample.model).expect("a model");
        fs::write(
            self.path("model/input.json"),
            r#"{"input_data": [[1, 2, 3, 4]]}"#,
        )
        .expect("a file");
        self.call("slice -m model --strategy whole --output-type dirs")
            .exits(0);
        self.call(&format!("compile -s model -b {backend}"))
            .exits(0);
        self.call("run -s model").exits(0);
        self.call("verify --run-dir model/run").exits(0);
        let slice = self.place.json("model/slices/slice_0/metadata.json");
        let made = &slice["compilations"][backend]["backend_version"];
        made.as_str()
            .unwrap_or_else(|| panic!("{slice}"))
            .to_owned()
    }
}

#[test]
fn from_a_folder_and_a_server_to_a_locked_set_on_another_machine() {
    let life = Life::new();
    fs::write(life.path("dsperse.toml"), "[require]\nmine = \"^0.1\"\n").expect("a file");
    let first = life.publish("0.1.0");
    life.trust("dist");
    let added = life
        .call("plugin add mine --index dist --json")
        .exits(0)
        .json();
    assert_eq!(added["plugin"]["sha256"], first.as_str());
    assert_eq!(life.use_it("mine"), "0.1.0");
    let lock = fs::read_to_string(life.path("dsperse-plugins.lock")).expect("a lock file");
    // A folder of the project is named relative to the lock file.
    assert!(lock.contains("source = \"dist\""), "{lock}");

    // A new patch, from a server whose key is not known yet.
    let second = life.publish("0.1.1");
    life.publish("0.2.0");
    let server = Server::of(life.path("dist"));
    let outdated = life.call("plugin list --outdated").exits(0).stdout;
    assert!(outdated.contains("0.1.1"), "{outdated}");
    let update = format!("plugin update --index {}", server.url);
    life.refused(&update, 4, &["no key is pinned for http://127.0.0.1:"]);
    life.trust(&server.url);
    let updated = life.call(&format!("{update} --json")).exits(0).json();
    // Not further than the configuration allows.
    assert_eq!(updated["updated"][0]["version"], "0.1.1", "{updated}");
    assert_eq!(updated["updated"][0]["sha256"], second.as_str());
    assert_eq!(life.active(), "0.1.1");
    assert_eq!(life.use_it("mine"), "0.1.1");
    // Both are there, side by side.
    assert_eq!(life.use_it("mine@0.1.0"), "0.1.0");
    let again = life.call("plugin update").exits(0).stdout;
    assert!(again.contains("mine 0.1.1 is up to date"), "{again}");

    // Another machine has the lock file and nothing else.
    let other = Life::new();
    for file in ["dsperse-plugins.lock", "dsperse.toml"] {
        fs::copy(life.path(file), other.path(file)).expect("a copy");
    }
    let told = other.call("slice -m nowhere").exits(4).stderr;
    assert!(told.contains("names backend \"mine\" 0.1.1"), "{told}");
    assert!(told.contains("type: dsperse plugin install"), "{told}");
    let installed = other.call("plugin install --json").exits(0).json();
    assert_eq!(installed["plugins"][0]["sha256"], second.as_str());
    assert_eq!(other.active(), "0.1.1");
    assert_eq!(other.use_it("mine"), "0.1.1");
    // Again changes nothing, and an index that offers more is not asked.
    other.call("plugin install").exits(0);
    assert_eq!(other.active(), "0.1.1");

    // Back, and forth.
    life.call("plugin rollback mine").exits(0);
    assert_eq!(life.active(), "0.1.0");
    assert_eq!(life.use_it("mine"), "0.1.0");
    life.call("plugin rollback mine").exits(0);
    assert_eq!(life.active(), "0.1.1");
    // A new minor version, once the project allows it; and back.
    fs::write(life.path("dsperse.toml"), "[require]\nmine = \"<0.3\"\n").expect("a file");
    let minor = life.call("plugin update --json").exits(0).json();
    assert_eq!(minor["updated"][0]["version"], "0.2.0", "{minor}");
    assert_eq!(life.use_it("mine"), "0.2.0");
    life.call("plugin rollback mine").exits(0);
    assert_eq!(life.use_it("mine"), "0.1.1");
    life.call("plugin remove mine@0.2.0").exits(0);
    life.call("plugin remove mine@0.1.1").exits(0);
    assert_eq!(life.active(), "0.1.0");
    life.call("plugin remove mine").exits(0);
    assert_eq!(life.active(), "none");
    assert!(!life.installed().keys().any(|f| f.contains("store/")));
}

#[test]
fn what_is_refused_changes_nothing() {
    let life = Life::new();
    let zeros = "0".repeat(64);
    let first = life.publish("0.1.0");
    let second = life.publish("0.2.0");
    let server = Server::of(life.path("dist"));
    let package = |version: &str| format!("dist/{}", Life::file(version));
    let two = package("0.2.0");

    life.refused(
        "plugin add mine",
        2,
        &["where to look for \"mine\"", "--index"],
    );
    life.refused(
        "plugin add mine --index dist",
        4,
        &["no key is pinned for", "dsperse plugin trust"],
    );
    life.refused(
        &format!("plugin add {two} --sha256 {zeros}"),
        4,
        &["its SHA-256 is", "--sha256 says 0000"],
    );
    life.refused(
        "plugin add other --index dist",
        2,
        &["no index lists \"other\""],
    );
    life.refused(
        "plugin add mine@9.0.0 --index dist",
        2,
        &["has no \"mine\" =9.0.0", "0.2.0 for"],
    );
    life.refused(
        "plugin add mine --index http://example.org/",
        2,
        &["could change what comes over http:"],
    );

    // Another author's key.
    life.call("plugin keygen -o stranger").exits(0);
    life.call("plugin trust dist stranger.pub").exits(0);
    life.refused(
        "plugin add mine --index dist",
        4,
        &["signed by key", "which is unknown"],
    );
    life.call("plugin trust dist --remove").exits(0);

    // The right digest is enough; it is the user's own word.
    life.trust("dist");
    life.call(&format!("plugin add {two} --sha256 {second}"))
        .exits(0);
    life.call("plugin remove mine").exits(0);
    life.call("plugin add mine --index dist").exits(0);
    assert_eq!(life.active(), "0.2.0");

    // Older than what is active.
    life.refused(
        "plugin add mine@0.1.0 --index dist",
        4,
        &["is older than 0.2.0", "--allow-downgrade"],
    );
    life.call("plugin add mine@0.1.0 --index dist --no-activate")
        .exits(0);
    assert_eq!(life.active(), "0.2.0");
    life.call("plugin add mine@0.1.0 --index dist --allow-downgrade")
        .exits(0);
    assert_eq!(life.active(), "0.1.0");
    life.call("plugin add mine@0.2.0 --index dist").exits(0);

    // A signature of another file, a changed one, none.
    let three = life.forge(
        &build_cident_version(&life.path("build"), "mine", "0.3.0", 0),
        |_| {},
    );
    let minisig = keys::beside(&three);
    let good = fs::read(&minisig).expect("a signature");
    let add = format!("plugin add dist/{}", Life::file("0.3.0"));
    fs::copy(keys::beside(&life.path(&two)), &minisig).expect("a copy");
    life.refused(&add, 4, &["its signature by key", "is wrong"]);
    fs::write(&minisig, &good[..good.len() / 2]).expect("a file");
    life.refused(&add, 4, &["its signature"]);
    fs::remove_file(&minisig).expect("it was there");
    life.refused(&add, 4, &["it is not signed, and no SHA-256"]);
    fs::write(&minisig, &good).expect("a file");
    // A file of which half came.
    let whole = fs::read(&three).expect("a package");
    fs::write(&three, &whole[..whole.len() / 2]).expect("a file");
    life.refused(&add, 4, &["is wrong"]);
    let (_, half) = dsperse_store::file_digest(&three).expect("a digest");
    fs::remove_file(&minisig).expect("it was there");
    life.refused(
        &format!("{add} --sha256 {half}"),
        4,
        &["not a complete ZIP archive"],
    );
    fs::write(&three, &whole).expect("a file");
    fs::write(&minisig, &good).expect("a file");

    // The same over the network, and an index that lies.
    life.call("plugin index dist").exits(0);
    life.trust(&server.url);
    let from_server = format!("plugin add mine@0.3.0 --index {}", server.url);
    server.cut.store(true, Ordering::SeqCst);
    life.refused(&from_server, 3, &["can't fetch", "broke off"]);
    server.cut.store(false, Ordering::SeqCst);
    life.place.edit_json("dist/index.json", |index| {
        index["plugins"][2]["platforms"][platform()]["sha256"] = zeros.clone().into();
    });
    life.refused(&from_server, 4, &["the index says 0000"]);
    life.place.edit_json("dist/index.json", |index| {
        index["plugins"][2]["platforms"][platform()]["sha256"] = first.clone().into();
        index["plugins"][2]["platforms"][platform()]["file"] = Life::file("0.1.0").into();
    });
    life.refused(&from_server, 4, &["it holds mine 0.1.0, not mine 0.3.0"]);
    life.place.edit_json("dist/index.json", |index| {
        index["plugins"][2]["platforms"][platform()]["file"] = "../author.key".into();
    });
    life.refused(&from_server, 3, &["climbs out"]);

    // Packages that are signed well and are wrong all the same.
    let library = life
        .path("build")
        .join(dsperse_test_support::library_name("mine"));
    let foreign = life.forge(&library, |m| m.platform = "plan9-mips".into());
    life.refused(
        &format!("plugin add {}", foreign.display()),
        4,
        &["it is for plan9-mips, this is"],
    );
    let renamed = life.forge(&library, |m| {
        m.version = "0.4.0".parse().expect("a version")
    });
    life.refused(
        &format!("plugin add {}", renamed.display()),
        4,
        &[
            "fails the checks",
            "it calls itself mine 0.3.0, its package says mine 0.4.0",
        ],
    );
    let fickle = Fault::DescribeChanges.build(&life.path("build"), "fickle");
    let described = life.call(&format!(
        "plugin pack {} -o dist --sign author.key --json",
        fickle.display()
    ));
    let path = described.exits(0).json()["path"]
        .as_str()
        .expect("a path")
        .to_owned();
    life.refused(
        &format!("plugin add {path}"),
        4,
        &["fails the checks", "check 2 (descriptor is sound)"],
    );

    // Somebody else is at it.
    let root = life.path("home/.local/share/dsperse/packages");
    let held = dsperse_store::Lock::acquire(&root, dsperse_store::Access::Edit).expect("a lock");
    for line in [
        "plugin rollback mine",
        "plugin remove mine",
        add.as_str(),
        "plugin trust dist stranger.pub",
    ] {
        life.refused(line, 1, &["is in use by"]);
    }
    drop(held);
    life.call(&add).exits(0);
    assert_eq!(life.active(), "0.3.0");

    // A library that was changed after it was installed is not run.
    let installed = life.installed();
    let library = installed
        .keys()
        .find(|f| f.contains("0.3.0") && f.ends_with(".so"))
        .expect("a library");
    let mut bytes = installed[library].clone();
    bytes.push(0);
    fs::write(root.join(library), bytes).expect("a file");
    let listed = life.call("plugin list").exits(0).stdout;
    assert!(
        listed.contains("it was changed since it was installed"),
        "{listed}"
    );
    // Added again, it is whole.
    life.call(&add).exits(0);
    assert_eq!(life.active(), "0.3.0");
}

#[test]
fn two_adds_at_once_leave_one_whole_state() {
    let life = Life::new();
    life.publish("0.1.0");
    life.trust("dist");
    let start = || {
        let mut command = life.place.command();
        command.args(["plugin", "add", "mine", "--index", "dist"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the binary starts")
    };
    let ran: Vec<Ran> = [start(), start(), start()]
        .into_iter()
        .map(|c| dsperse_e2e::ran(&c.wait_with_output().expect("it ends")))
        .collect();
    assert!(ran.iter().any(|r| r.code == 0), "{ran:#?}");
    for r in ran.iter().filter(|r| r.code != 0) {
        assert!(r.stderr.contains("is in use by"), "{r:#?}");
    }
    assert_eq!(life.active(), "0.1.0");
}

#[test]
fn killed_at_any_moment_the_old_version_or_the_new_one_is_there() {
    let life = Life::new();
    fs::write(life.path("dsperse.toml"), "").expect("a file");
    life.publish("0.1.0");
    life.publish("0.2.0");
    life.trust("dist");
    life.place.add_model("digits-mlp", "model");
    life.call("plugin add mine@0.1.0 --index dist").exits(0);
    let state = ["home/.local", "dsperse-plugins.lock"];
    let copy = |from: &str, to: &str| {
        for path in state {
            let (from, to) = (life.path(from).join(path), life.path(to).join(path));
            fs::create_dir_all(to.parent().expect("a parent")).expect("a directory");
            let copied = Command::new("cp").arg("-rT").arg(from).arg(to).status();
            assert!(copied.expect("cp runs").success());
        }
    };
    copy("", "old");
    let begin = Instant::now();
    life.call("plugin add mine --index dist").exits(0);
    let whole = begin.elapsed();
    let locks_new = || {
        let text = fs::read_to_string(life.path("dsperse-plugins.lock")).expect("a lock file");
        text.contains("version = \"0.2.0\"")
    };
    let mut seen = BTreeMap::new();
    const POINTS: u32 = 20;
    for point in 0..POINTS {
        fs::remove_dir_all(life.path("home/.local")).expect("it is there");
        copy("old", "");
        let mut command = life.place.command();
        command.args(["plugin", "add", "mine", "--index", "dist"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the binary starts");
        // The last steps are short, so most moments are near the end.
        let fraction = 1.0 - (1.0 - f64::from(point) / f64::from(POINTS)).powi(2);
        std::thread::sleep(whole.mul_f64(fraction));
        // SIGKILL; one that has ended is as good.
        let _ = child.kill();
        child.wait().expect("it ends");
        let installed = life
            .place
            .json("home/.local/share/dsperse/packages/installed.json");
        let active = installed["plugins"]["mine"]["active"]
            .as_str()
            .expect("a version")
            .to_owned();
        // What the project has locked is there and whole, so its commands work.
        life.call("slice -m model").exits(0);
        assert_eq!(
            life.active(),
            if locks_new() { "0.2.0" } else { "0.1.0" },
            "point {point}"
        );
        assert!(active == "0.2.0" || !locks_new(), "point {point}");
        *seen.entry(active).or_insert(0) += 1;
        // The next command clears away what was left.
        life.call("plugin rollback mine");
        let left = life.installed().into_keys().find(|f| f.contains(".new-"));
        assert_eq!(left, None, "point {point}");
    }
    life.call("plugin add mine --index dist").exits(0);
    assert_eq!(life.active(), "0.2.0");
    assert!(seen.contains_key("0.1.0"), "{seen:?}");
}

#[test]
fn a_lock_file_that_asks_for_a_key_gets_it() {
    let life = Life::new();
    fs::write(life.path("dsperse.toml"), "").expect("a file");
    life.publish("0.1.0");
    life.trust("dist");
    life.call("plugin add mine --index dist").exits(0);
    life.call("plugin lock").exits(0);
    let other = Life::new();
    fs::copy(
        life.path("dsperse-plugins.lock"),
        other.path("dsperse-plugins.lock"),
    )
    .expect("a copy");
    let from = format!("plugin install --from {}", life.path("dist").display());
    let minisig = keys::beside(&life.path(&format!("dist/{}", Life::file("0.1.0"))));
    let good = fs::read(&minisig).expect("a signature");
    fs::remove_file(&minisig).expect("it was there");
    other.refused(&from, 4, &["the lock file says that it must be"]);
    other.call("plugin keygen -o stranger").exits(0);
    keys::sign(
        &life.path(&format!("dist/{}", Life::file("0.1.0"))),
        &other.path("stranger.key"),
        false,
    )
    .expect("a signature");
    other.refused(&from, 4, &["which is unknown"]);
    fs::write(&minisig, good).expect("a file");
    // Another package under the same name.
    let text = fs::read_to_string(other.path("dsperse-plugins.lock")).expect("a lock file");
    let digest = text
        .split("sha256 = \"")
        .nth(1)
        .and_then(|t| t.get(..64))
        .expect("a digest");
    fs::write(
        other.path("dsperse-plugins.lock"),
        text.replace(digest, &"0".repeat(64)),
    )
    .expect("a file");
    other.refused(&from, 4, &["the lock file says 0000"]);
    fs::write(
        other.path("dsperse-plugins.lock"),
        text.replace(&platform(), "plan9-mips"),
    )
    .expect("a file");
    other.refused(&from, 4, &["it is locked for plan9-mips, this is"]);
    fs::write(other.path("dsperse-plugins.lock"), &text).expect("a file");
    other.call(&from).exits(0);
    assert_eq!(other.active(), "0.1.0");
}
