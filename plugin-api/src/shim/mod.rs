//! The bodies of the two exported functions: they turn the binary interface into calls of
//! the [`Backend`] trait, and whatever happens into a status and a document.
//!
//! No panic leaves these functions. `export_backend!` instantiates them for a type;
//! nobody else needs them.

mod host;
mod panics;
mod trace;

use crate::abi::{ByteView, CallRequest, HostV1, Op, OwnedBuffer, status};
use crate::{Backend, Cx, Error, ErrorKind, Result};
use host::LentHost;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

/// `describe` of a backend.
///
/// # Safety
/// `out` must be null or point to an empty buffer that may be written.
pub unsafe extern "C" fn describe<T: Backend>(out: *mut OwnedBuffer) -> i32 {
    let outcome = catch_unwind(|| serde_json::to_vec(&T::describe()).map_err(unwritable))
        .unwrap_or_else(|payload| Err(panics::error(payload)));
    // SAFETY: the caller vouches for `out`.
    unsafe { answer(outcome, out) }
}

/// `call` of a backend.
///
/// # Safety
/// `op` and `request` must be readable, `host` null or valid, `out` null or writable,
/// all until this returns; any thread may use the host's callback.
pub unsafe extern "C" fn call<T: Backend>(
    op: ByteView,
    request: ByteView,
    host: *const HostV1,
    out: *mut OwnedBuffer,
) -> i32 {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the caller vouches for the views and the host until this call returns,
        // and `LentHost` lives shorter.
        let (op, request, host) = unsafe { (op.bytes(), request.bytes(), LentHost::new(host)) };
        let op: Op = text("operation", op)?.parse()?;
        let request = request.ok_or_else(|| malformed(op, "it has no address"))?;
        run::<T>(op, request, &host)
    }))
    .unwrap_or_else(|payload| Err(panics::error(payload)));
    // SAFETY: the caller vouches for `out`.
    unsafe { answer(outcome, out) }
}

/// Opens the backend and runs one operation. The backend is dropped in here, so that a
/// panic in its `Drop` is caught as well.
fn run<T: Backend>(op: Op, request: &[u8], host: &LentHost) -> Result<Vec<u8>> {
    match op {
        Op::Probe => with(op, request, host, |b: &T, job, cx| b.probe(job, cx)),
        Op::Supports => with(op, request, host, |b: &T, job, cx| b.supports(job, cx)),
        Op::Compile => with(op, request, host, |b: &T, job, cx| b.compile(job, cx)),
        Op::Witness => with(op, request, host, |b: &T, job, cx| b.witness(job, cx)),
        Op::Prove => with(op, request, host, |b: &T, job, cx| b.prove(job, cx)),
        Op::Verify => with(op, request, host, |b: &T, job, cx| b.verify(job, cx)),
    }
}

fn with<T: Backend, Job: DeserializeOwned, Reply: Serialize>(
    op: Op,
    request: &[u8],
    host: &LentHost,
    operation: impl FnOnce(&T, &Job, &Cx) -> Result<Reply>,
) -> Result<Vec<u8>> {
    let request: CallRequest<Job> =
        serde_json::from_slice(request).map_err(|e| malformed(op, e))?;
    let dir = PathBuf::from(&request.dir);
    if !dir.is_absolute() {
        return Err(malformed(
            op,
            format!("\"dir\" is \"{}\", expected an absolute path", request.dir),
        ));
    }
    let _watched = panics::watch(host);
    trace::forward(request.log_level);
    let cx = Cx::new(dir, request.threads, request.memory, host);
    cx.check_cancelled()?;
    let backend = T::open(&cx)?;
    let reply = operation(&backend, &request.job, &cx)?;
    drop(backend);
    serde_json::to_vec(&reply).map_err(unwritable)
}

fn text<'a>(what: &str, bytes: Option<&'a [u8]>) -> Result<&'a str> {
    bytes
        .and_then(|b| std::str::from_utf8(b).ok())
        .ok_or_else(|| Error::unsupported(format!("the name of the {what} is not UTF-8")))
}

fn malformed(op: Op, why: impl std::fmt::Display) -> Error {
    Error::invalid_input(format!("the request of \"{op}\" can't be read: {why}"))
}

#[allow(clippy::needless_pass_by_value)] // shaped for map_err
fn unwritable(e: serde_json::Error) -> Error {
    Error::internal(format!("the reply can't be written as JSON: {e}"))
}

/// Hands an outcome over.
///
/// # Safety
/// `out` must be null or point to a buffer that may be written.
unsafe fn answer(outcome: Result<Vec<u8>>, out: *mut OwnedBuffer) -> i32 {
    if out.is_null() {
        return status::FAULT;
    }
    let (status, bytes) = match outcome {
        Ok(bytes) => (status::OK, bytes),
        Err(error) => match serde_json::to_vec(&error) {
            Ok(bytes) => (status::ERROR, bytes),
            Err(_) => (status::FAULT, Vec::new()),
        },
    };
    // SAFETY: not null, and the caller lets us write. The buffer comes in empty, so there
    // is nothing to drop.
    unsafe { out.write(OwnedBuffer::from_vec(bytes)) };
    status
}

/// The error of a panic.
fn panic_error(message: &str, place: Option<&str>) -> Error {
    Error::new(
        ErrorKind::Panic,
        match place {
            Some(place) => format!("the backend panicked at {place}: {message}"),
            None => format!("the backend panicked: {message}"),
        },
    )
}
