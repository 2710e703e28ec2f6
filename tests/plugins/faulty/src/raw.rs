//! The C door of the fixture, and replies that the safe trait can't express.

use crate::fixture::{Faulty, chosen};
use dsperse_plugin_api::abi::{
    ABI_MAJOR, ABI_MINOR, BackendV1, ByteView, CallRequest, HostV1, OwnedBuffer, status,
};
use dsperse_plugin_api::{ProbeJob, shim};

static TABLE: BackendV1 = BackendV1 {
    struct_size: size_of::<BackendV1>(),
    abi_major: ABI_MAJOR,
    abi_minor: ABI_MINOR,
    describe: Some(shim::describe::<Faulty>),
    call: Some(call),
};

// SAFETY: the name belongs to DSperse's plugin ABI.
#[unsafe(export_name = "dsperse_backend_v1")]
extern "C" fn entry() -> *const BackendV1 {
    &raw const TABLE
}

unsafe extern "C" fn call(
    op: ByteView,
    request: ByteView,
    host: *const HostV1,
    out: *mut OwnedBuffer,
) -> i32 {
    // SAFETY: the host passes readable views.
    if let Some(fault) = unsafe { raw_fault(op, request) }
        && let Some((status, reply)) = raw_reply(&fault)
    {
        // SAFETY: the host passes a buffer to write to.
        unsafe { out.write(reply) };
        return status;
    }
    // SAFETY: the arguments are the host's own.
    unsafe { shim::call::<Faulty>(op, request, host, out) }
}

/// The fault of this call, read without the trait. Every job has `options`, so a probe's
/// document reads them all.
unsafe fn raw_fault(op: ByteView, request: ByteView) -> Option<String> {
    // SAFETY: the caller vouches for the views.
    let (op, request) = unsafe { (op.bytes()?, request.bytes()?) };
    let request: CallRequest<ProbeJob> = serde_json::from_slice(request).ok()?;
    let fault = chosen(&request.job.options, std::str::from_utf8(op).ok()?);
    fault.ok().flatten().map(str::to_owned)
}

fn raw_reply(fault: &str) -> Option<(i32, OwnedBuffer)> {
    let bytes = |text: &[u8]| OwnedBuffer::from_vec(text.to_vec());
    Some(match fault {
        "bad-json" => (status::OK, bytes(b"{\"artefacts\":[{\"name\":")),
        "wrong-document" => (status::OK, bytes(b"[\"artefacts\", 7]")),
        "not-utf8" => (status::OK, bytes(b"{\"warnings\":[\"\xff\xfe\"]}")),
        "unknown-status" => (77, bytes(b"{}")),
        "no-document" => (status::OK, OwnedBuffer::empty()),
        "null-reply" => (
            status::OK,
            OwnedBuffer {
                len: 4096,
                ..OwnedBuffer::empty()
            },
        ),
        // Zeroed memory that is never touched costs nothing unless the host reads it.
        "huge-reply" => (status::OK, OwnedBuffer::from_vec(vec![0; 1 << 30])),
        _ => return None,
    })
}
