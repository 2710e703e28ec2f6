//! A backend exported by the macro is reached through both doors, and whatever goes wrong
//! inside comes out as a status and a document.

use dsperse_plugin_api::abi::{
    self, ByteView, CallRequest, EventKind, Functions, HostV1, LogEvent, Manifest, PanicEvent,
    status,
};
use dsperse_plugin_api::*;
use std::ffi::c_void;
use std::sync::Mutex;
use std::sync::atomic::AtomicU32;

/// Does what the option `act` of a probe says.
struct Actor {
    panics_in_drop: bool,
}

impl Drop for Actor {
    fn drop(&mut self) {
        assert!(!self.panics_in_drop, "panic in drop");
    }
}

impl Backend for Actor {
    fn describe() -> Descriptor {
        Descriptor::new("actor", "0.3.0", "Acts for a test.")
    }
    fn open(cx: &Cx) -> Result<Self> {
        Ok(Self {
            panics_in_drop: cx.threads() == 13,
        })
    }
    fn probe(&self, job: &ProbeJob, cx: &Cx) -> Result<Probe> {
        match job.options.get("act").and_then(|v| v.as_str()) {
            Some("panic") => panic!("a tidy message"),
            Some("thread") => {
                let thread = std::thread::Builder::new().name("helper".into());
                let joined = thread.spawn(|| panic!("in a thread"))?.join();
                assert!(joined.is_err());
            }
            Some("log") => {
                tracing::debug!(answer = 42, "quiet");
                tracing::warn!(answer = 42, "loud");
                cx.log(Level::Info, "by hand");
                cx.progress(0.5, "halfway");
            }
            Some(other) => return Err(Error::resource(format!("no {other}"))),
            None => {}
        }
        Ok(Probe::ready())
    }
    fn supports(&self, _: &SupportsJob, _: &Cx) -> Result<Support> {
        Err(Error::unsupported("nothing"))
    }
    fn compile(&self, _: &CompileJob, _: &Cx) -> Result<Done> {
        Ok(Done::default())
    }
    fn witness(&self, _: &WitnessJob, _: &Cx) -> Result<Done> {
        Ok(Done::default())
    }
    fn verify(&self, _: &VerifyJob, _: &Cx) -> Result<Verdict> {
        Ok(Verdict::valid())
    }
}

export_backend!(Actor);

unsafe extern "C" {
    fn dsperse_backend_v1() -> *const abi::BackendV1;
    #[link_name = "_1as_0lib_1header_0root_bmodule_bloader"]
    static ROOT: u8;
    static dsperse_backend_manifest: [u8; 48];
}

fn functions() -> Functions {
    let entry: unsafe extern "C" fn() -> *const abi::BackendV1 = dsperse_backend_v1;
    // SAFETY: the macro defined the symbol in this very binary.
    let (functions, version) = unsafe { abi::c::open(entry as *const c_void) }.expect("opens");
    assert_eq!(version, API_VERSION);
    functions
}

type Events = Mutex<Vec<(u32, Vec<u8>)>>;

unsafe extern "C" fn event(context: *mut c_void, kind: u32, payload: ByteView) {
    // SAFETY: the context is the `Events` of `call`, the payload is valid during the call.
    let (events, bytes) = unsafe { (&*context.cast::<Events>(), payload.bytes()) };
    let bytes = bytes.expect("readable").to_vec();
    events.lock().expect("no panic").push((kind, bytes));
}

/// One call at a time, as in a worker: events of helper threads go to the newest call.
static ALONE: Mutex<()> = Mutex::new(());

fn call(op: &str, request: &str, cancelled: u32) -> (Result<Probe>, Vec<(u32, Vec<u8>)>) {
    let _alone = ALONE.lock().expect("no panic");
    let events = Events::default();
    let flag = AtomicU32::new(cancelled);
    let host = HostV1 {
        struct_size: size_of::<HostV1>(),
        context: (&raw const events).cast_mut().cast(),
        event: Some(event),
        cancelled: &raw const flag,
    };
    // SAFETY: host, flag and events outlive the call.
    let reply = unsafe { functions().call(op, request.as_bytes(), &raw const host, 1 << 20) };
    let result = reply.expect("readable").decode(op);
    (result, events.into_inner().expect("no panic"))
}

fn probe(act: Option<&str>, threads: usize) -> (Result<Probe>, Vec<(u32, Vec<u8>)>) {
    let mut job = ProbeJob::default();
    if let Some(act) = act {
        job.options.insert("act".into(), act.into());
    }
    let request = CallRequest {
        job,
        dir: "/".into(),
        threads,
        memory: None,
        log_level: Level::Info,
    };
    call("probe", &serde_json::to_string(&request).expect("JSON"), 0)
}

#[test]
fn both_doors_lead_to_the_same_description() {
    // SAFETY: the macro defined the symbol in this very binary.
    let (stable, version) = unsafe { abi::stable::open((&raw const ROOT).cast()) }.expect("opens");
    assert_eq!(version, API_VERSION);
    assert_eq!(
        abi::STABLE_SYMBOL,
        b"_1as_0lib_1header_0root_bmodule_bloader\0",
        "the name that export_backend! spells out"
    );
    for functions in [functions(), stable] {
        // SAFETY: the functions are this binary's own.
        let reply = unsafe { functions.describe(1 << 20) }.expect("readable");
        assert_eq!(reply.descriptor(), Ok(Actor::describe()));
    }
}

#[test]
fn the_manifest_says_name_version_and_api() {
    // SAFETY: the macro defined the static in this very binary.
    let manifest = Manifest::parse(unsafe { &dsperse_backend_manifest }).expect("reads");
    assert_eq!(manifest.name, "doors");
    assert_eq!(manifest.version, API_VERSION.to_string());
    assert_eq!(manifest.api, API_VERSION.to_string());
}

#[test]
fn a_good_call_replies() {
    assert_eq!(probe(None, 1).0, Ok(Probe::ready()));
}

#[test]
fn unknown_operations_and_malformed_requests_have_their_kinds() {
    for (op, request, kind) in [
        ("transmogrify", "{}", ErrorKind::Unsupported),
        ("probe", "{", ErrorKind::InvalidInput),
        ("probe", r#"{"job":{}}"#, ErrorKind::InvalidInput),
        (
            "probe",
            r#"{"job":{},"dir":"here"}"#,
            ErrorKind::InvalidInput,
        ),
        (
            "supports",
            r#"{"job":{},"dir":"/"}"#,
            ErrorKind::InvalidInput,
        ),
    ] {
        assert_eq!(
            call(op, request, 0).0.unwrap_err().kind,
            kind,
            "{op} {request}"
        );
    }
}

#[test]
fn a_call_that_is_cancelled_before_it_starts_does_nothing() {
    let error = call("probe", r#"{"job":{},"dir":"/"}"#, 1).0.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Cancelled);
}

#[test]
fn errors_of_the_backend_arrive_whole() {
    assert_eq!(probe(Some("luck"), 1).0, Err(Error::resource("no luck")));
}

#[test]
fn a_panic_becomes_an_error_and_an_event_with_its_place() {
    let (result, events) = probe(Some("panic"), 1);
    let error = result.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Panic);
    assert!(error.message.contains("tests/doors.rs:"), "{error}");
    assert!(error.message.ends_with("a tidy message"), "{error}");
    let (kind, payload) = events.first().expect("an event");
    assert_eq!(EventKind::from_u32(*kind), Some(EventKind::Panic));
    let event: PanicEvent = serde_json::from_slice(payload).expect("JSON");
    assert_eq!(event.message, "a tidy message");
    assert!(event.place.contains("tests/doors.rs:"), "{event:?}");
}

#[test]
fn a_panic_in_drop_is_caught() {
    let error = probe(None, 13).0.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Panic);
    assert!(error.message.ends_with("panic in drop"), "{error}");
}

#[test]
fn a_panic_in_a_thread_is_reported_while_the_call_goes_on() {
    let (result, events) = probe(Some("thread"), 1);
    assert_eq!(result, Ok(Probe::ready()));
    let found = events
        .iter()
        .filter(|(kind, _)| EventKind::from_u32(*kind) == Some(EventKind::Panic))
        .map(|(_, payload)| serde_json::from_slice::<PanicEvent>(payload).expect("JSON"))
        .any(|e| e.message == "in a thread" && e.thread == "helper");
    assert!(found, "{events:?}");
}

#[test]
fn log_lines_of_the_wanted_level_and_progress_are_forwarded() {
    let (result, events) = probe(Some("log"), 1);
    assert_eq!(result, Ok(Probe::ready()));
    let logs: Vec<LogEvent> = events
        .iter()
        .filter(|(kind, _)| EventKind::from_u32(*kind) == Some(EventKind::Log))
        .map(|(_, payload)| serde_json::from_slice(payload).expect("JSON"))
        .collect();
    assert_eq!(logs.len(), 2, "{logs:?}");
    assert_eq!(
        (
            logs[0].level,
            logs[0].message.as_str(),
            logs[0].target.as_str()
        ),
        (Level::Warn, "loud answer=42", "doors")
    );
    assert_eq!(
        (logs[1].level, logs[1].message.as_str()),
        (Level::Info, "by hand")
    );
    assert!(
        events.iter().any(|(kind, payload)| *kind == 2
            && payload == br#"{"fraction":0.5,"step":"halfway"}"#)
    );
}

#[test]
fn a_host_that_lends_nothing_is_enough() {
    // SAFETY: null is allowed by the contract.
    let reply = unsafe {
        functions().call(
            "probe",
            br#"{"job":{},"dir":"/"}"#,
            std::ptr::null(),
            1 << 20,
        )
    };
    assert_eq!(reply.expect("readable").status, status::OK);
}
