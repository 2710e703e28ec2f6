//! Test fixture, never to be installed: a backend that misbehaves in the way its options
//! name, so that tests can show what a host does about it.
//!
//! Options: `fault` is one of [`FAULTS`] (none by default), `at` the operation in which
//! it happens (`compile` by default), `bytes` how much memory `memory` takes, `marker` a
//! word that the processes left behind carry in their environment.
//!
//! Without a fault it is a complete little backend for any slice. Its outputs are its first
//! input, repeated, and its "proof" is a hash of the claim, which shows nothing to anybody;
//! but it round trips, and every tampering is noticed, so it can stand in for a proof
//! system in tests of routing, fall-through and verification.
//!
//! The modules: [`fixture`] is that backend; [`crash`] ways to die, hang and hoard;
//! [`lie`] false declarations; [`raw`] replies that the safe trait can't express, and the
//! C door that sends them.

pub mod crash;
pub mod fixture;
pub mod lie;
pub mod raw;

/// Every fault, with what happens.
pub const FAULTS: &[(&str, &str)] = &[
    // Ends of the call or the process (`crash`).
    ("panic", "panics in the call"),
    ("panic-thread", "panics in a thread, then fails"),
    ("panic-drop", "panics when the backend is dropped"),
    ("abort", "aborts the process"),
    ("segfault", "reads an address that is not mapped"),
    ("stack-overflow", "recurses without end"),
    ("exit-0", "ends the process with status 0"),
    (
        "exit-thread",
        "ends the process with status 0 from a thread",
    ),
    // Time and resources (`crash`).
    (
        "loop",
        "loops for ever and never looks at the cancellation flag",
    ),
    ("loop-polite", "loops until cancelled"),
    (
        "memory",
        "takes `bytes` of memory, 4 GiB by default, and keeps it for a minute",
    ),
    ("noise", "writes 200 MB to standard output, then goes on"),
    (
        "forged-frames",
        "writes garbage and forged replies to every descriptor, then goes on",
    ),
    (
        "forged-frames-exit",
        "the same, then ends the process with status 0",
    ),
    (
        "close-descriptors",
        "closes every descriptor from 3 on, then goes on",
    ),
    ("child", "leaves a child process behind, then goes on"),
    (
        "child-setsid",
        "leaves a child in a session of its own behind, then goes on",
    ),
    // Replies that are no replies (`raw`).
    ("bad-json", "replies with half a JSON document"),
    ("wrong-document", "replies with JSON of another shape"),
    ("not-utf8", "replies with bytes that are not UTF-8"),
    ("unknown-status", "returns the status 77"),
    ("no-document", "returns status 0 with an empty buffer"),
    ("null-reply", "returns a length without an address"),
    ("huge-reply", "replies with 1 GiB"),
    // Declarations that are not true (`lie`).
    ("missing-artefact", "declares a file that does not exist"),
    ("wrong-digest", "declares the digest of another file"),
    ("wrong-size", "declares another size"),
    (
        "climb",
        "declares a path that climbs out of the job's directory",
    ),
    ("absolute-path", "declares an absolute path"),
    ("symlink", "declares a symbolic link to a file outside"),
    ("symlink-dir", "declares a file behind a linked directory"),
    ("fifo", "declares a named pipe"),
    ("directory", "declares a directory"),
    ("duplicate", "declares two artefacts of one name"),
    (
        "short-tensor",
        "declares an output tensor whose file is too short (`witness`)",
    ),
    ("no-outputs", "declares no output tensor (`witness`)"),
    ("huge", "declares a file of a terabyte, with nothing in it"),
    (
        "overwrite",
        "writes over its first input, then goes on (`witness`)",
    ),
    // Honest errors, one per kind (`fixture`).
    ("error-unsupported", "returns the error kind `unsupported`"),
    (
        "error-tool-missing",
        "returns the error kind `tool_missing`",
    ),
    (
        "error-invalid-input",
        "returns the error kind `invalid_input`",
    ),
    ("error-resource", "returns the error kind `resource`"),
    ("error-internal", "returns the error kind `internal`"),
];
