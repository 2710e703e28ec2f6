//! The `#[repr(C)]` types that cross the boundary. `include/dsperse_backend.h` says the
//! same in C; a test compiles both and compares sizes and offsets.

use abi_stable::StableAbi;
use std::ffi::c_void;
use std::sync::atomic::AtomicU32;

/// Bytes that the callee may read until it returns. `data` may be null when `len` is 0.
#[repr(C)]
#[derive(Debug, Clone, Copy, StableAbi)]
pub struct ByteView {
    /// First byte.
    pub data: *const u8,
    /// Number of bytes.
    pub len: usize,
}

impl ByteView {
    /// A view of a slice, valid as long as the slice.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self {
            data: bytes.as_ptr(),
            len: bytes.len(),
        }
    }

    /// The bytes, or `None` for a null pointer with a length, or a length that no
    /// object can have.
    ///
    /// # Safety
    /// `data` must be null or point to `len` initialised bytes that nobody changes
    /// during `'a`.
    #[must_use]
    pub unsafe fn bytes<'a>(self) -> Option<&'a [u8]> {
        if self.len == 0 {
            return Some(&[]);
        }
        if self.data.is_null() || self.len > isize::MAX.unsigned_abs() {
            return None;
        }
        // SAFETY: not null, a possible length, and the caller vouches for the rest.
        Some(unsafe { std::slice::from_raw_parts(self.data, self.len) })
    }
}

/// A buffer that one side allocates and the same side frees: whoever receives it calls
/// `release` once when done. Allocators on the two sides may differ.
#[repr(C)]
#[derive(Debug, StableAbi)]
pub struct OwnedBuffer {
    /// First byte; may be null when `len` is 0.
    pub data: *mut u8,
    /// Number of bytes to read.
    pub len: usize,
    /// For the owner's use only (a capacity, a handle).
    pub owner: usize,
    /// Frees the buffer and empties the struct; null when there is nothing to free.
    pub release: Option<unsafe extern "C" fn(*mut OwnedBuffer)>,
}

impl OwnedBuffer {
    /// A buffer that holds nothing: what a host passes as `out`.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            data: std::ptr::null_mut(),
            len: 0,
            owner: 0,
            release: None,
        }
    }

    /// Hands the bytes over to a caller on the other side.
    #[must_use]
    pub fn from_vec(bytes: Vec<u8>) -> Self {
        let mut bytes = std::mem::ManuallyDrop::new(bytes);
        Self {
            data: bytes.as_mut_ptr(),
            len: bytes.len(),
            owner: bytes.capacity(),
            release: Some(release_vec),
        }
    }
}

/// Frees a buffer made by [`OwnedBuffer::from_vec`]; safe to call twice.
unsafe extern "C" fn release_vec(buffer: *mut OwnedBuffer) {
    if buffer.is_null() {
        return;
    }
    // SAFETY: the receiver passes the struct that it got, or a bitwise copy of it, once.
    let taken = unsafe { std::ptr::replace(buffer, OwnedBuffer::empty()) };
    if !taken.data.is_null() {
        // SAFETY: these three came from a Vec<u8> in `from_vec` of this same library.
        drop(unsafe { Vec::from_raw_parts(taken.data, taken.len, taken.owner) });
    }
}

/// What a host lends to one call. Later minors may append fields: read a field only when
/// `struct_size` covers it. All of it stays valid until `call` returns and not longer.
#[repr(C)]
#[derive(Debug, StableAbi)]
pub struct HostV1 {
    /// Size of this struct in bytes, as the host knows it.
    pub struct_size: usize,
    /// Passed back to `event`.
    pub context: *mut c_void,
    /// Receives events; may be null. Any thread may call it while the call runs.
    /// Arguments: `context`, an [`EventKind`](super::EventKind), a JSON document.
    pub event: Option<unsafe extern "C" fn(*mut c_void, u32, ByteView)>,
    /// Not 0 when the host wants the call to stop; may be null (never cancelled).
    pub cancelled: *const AtomicU32,
}

/// What the C door returns: a pointer to a static of the plugin.
#[repr(C)]
#[derive(Debug, Clone, Copy, StableAbi)]
pub struct BackendV1 {
    /// Size of this struct in bytes, as the plugin knows it.
    pub struct_size: usize,
    /// Must be [`ABI_MAJOR`](super::ABI_MAJOR).
    pub abi_major: u32,
    /// Minor version of the documents that the plugin was built for.
    pub abi_minor: u32,
    /// See [`DescribeFn`].
    pub describe: Option<unsafe extern "C" fn(*mut OwnedBuffer) -> i32>,
    /// See [`CallFn`].
    pub call:
        Option<unsafe extern "C" fn(ByteView, ByteView, *const HostV1, *mut OwnedBuffer) -> i32>,
}

/// Writes the descriptor (JSON) to the buffer. Pure, and the same at every call.
pub type DescribeFn = unsafe extern "C" fn(out: *mut OwnedBuffer) -> i32;

/// Runs one operation: `op` is its name, `request` a JSON [`CallRequest`](super::CallRequest).
pub type CallFn = unsafe extern "C" fn(
    op: ByteView,
    request: ByteView,
    host: *const HostV1,
    out: *mut OwnedBuffer,
) -> i32;

/// Receives an event.
pub type EventFn = unsafe extern "C" fn(context: *mut c_void, kind: u32, payload: ByteView);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_released_buffer_is_empty_and_may_be_released_again() {
        let mut buffer = OwnedBuffer::from_vec(b"reply".to_vec());
        let release = buffer.release.expect("an owner");
        // SAFETY: the buffer is ours and was made by `from_vec`.
        unsafe {
            assert_eq!(
                std::slice::from_raw_parts(buffer.data, buffer.len),
                b"reply"
            );
            release(&raw mut buffer);
            assert!(buffer.data.is_null() && buffer.len == 0 && buffer.release.is_none());
            release(&raw mut buffer);
        }
    }

    #[test]
    fn views_refuse_null_with_a_length() {
        let bad = ByteView {
            data: std::ptr::null(),
            len: 3,
        };
        // SAFETY: null is allowed by the contract.
        assert_eq!(unsafe { bad.bytes() }, None);
        let empty = ByteView {
            data: std::ptr::null(),
            len: 0,
        };
        // SAFETY: as above.
        assert_eq!(unsafe { empty.bytes() }, Some(&[][..]));
    }
}
