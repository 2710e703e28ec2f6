//! The plain C door: `const struct dsperse_backend_v1 *dsperse_backend_v1(void)`.

use super::Functions;
use super::types::BackendV1;
use super::version::ABI_MAJOR;
use crate::descriptor::API_VERSION;
use semver::Version;
use std::ffi::c_void;

/// Name of the symbol, with the zero byte that `dlsym` wants.
pub const C_SYMBOL: &[u8] = b"dsperse_backend_v1\0";

/// Type of the symbol.
pub type EntryFn = unsafe extern "C" fn() -> *const BackendV1;

/// Opens the door behind the address of [`C_SYMBOL`] and returns the functions with the
/// API version that the plugin was built for (its patch number is not known here).
///
/// # Safety
/// `symbol` must be the address that the loader gave for [`C_SYMBOL`] in a library that
/// stays loaded for the rest of the process.
///
/// # Errors
/// A sentence that says why the plugin can't be used, with the versions of both sides.
pub unsafe fn open(symbol: *const c_void) -> Result<(Functions, Version), String> {
    if symbol.is_null() {
        return Err("the symbol \"dsperse_backend_v1\" has no address".into());
    }
    // SAFETY: the symbol's name fixes its type.
    let entry = unsafe { std::mem::transmute::<*const c_void, EntryFn>(symbol) };
    // SAFETY: as above; the function takes nothing and returns a pointer.
    let table = unsafe { entry() };
    if table.is_null() {
        return Err("\"dsperse_backend_v1\" returned no table".into());
    }
    // The head of the table comes first: a library of another major may have a shorter one.
    // SAFETY: every version of the table starts with these three fields.
    let (size, major, minor) = unsafe {
        (
            (&raw const (*table).struct_size).read_unaligned(),
            (&raw const (*table).abi_major).read_unaligned(),
            (&raw const (*table).abi_minor).read_unaligned(),
        )
    };
    if major != ABI_MAJOR {
        return Err(format!(
            "the plugin has ABI major {major}, this host speaks {ABI_MAJOR}: get {}",
            if major > ABI_MAJOR {
                "a newer dsperse"
            } else {
                "a newer build of the plugin"
            }
        ));
    }
    if size < size_of::<BackendV1>() {
        return Err(format!(
            "the table of \"dsperse_backend_v1\" has {size} bytes, expected at least {}",
            size_of::<BackendV1>()
        ));
    }
    // SAFETY: the plugin says that the table is at least as long as ours.
    let table = unsafe { table.read_unaligned() };
    let (Some(describe), Some(call)) = (table.describe, table.call) else {
        return Err("the table of \"dsperse_backend_v1\" lacks a function".into());
    };
    let version = Version::new(u64::from(major), u64::from(minor), 0);
    super::negotiate(&API_VERSION, &version)?;
    Ok((Functions { describe, call }, version))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::{ByteView, HostV1, OwnedBuffer, status};

    unsafe extern "C" fn describe(_: *mut OwnedBuffer) -> i32 {
        status::OK
    }
    unsafe extern "C" fn call(
        _: ByteView,
        _: ByteView,
        _: *const HostV1,
        _: *mut OwnedBuffer,
    ) -> i32 {
        status::OK
    }

    const GOOD: BackendV1 = BackendV1 {
        struct_size: size_of::<BackendV1>(),
        abi_major: ABI_MAJOR,
        abi_minor: 7,
        describe: Some(describe),
        call: Some(call),
    };

    macro_rules! door {
        ($table:expr) => {{
            static TABLE: BackendV1 = $table;
            unsafe extern "C" fn entry() -> *const BackendV1 {
                &raw const TABLE
            }
            let entry: EntryFn = entry;
            // SAFETY: `entry` has the type that the symbol has.
            unsafe { open(entry as *const c_void) }
        }};
    }

    #[test]
    fn a_good_table_opens_with_its_version() {
        let (_, version) = door!(GOOD).expect("opens");
        assert_eq!(version, Version::new(1, 7, 0));
    }

    #[test]
    fn other_tables_are_refused_with_a_reason() {
        let reason = door!(BackendV1 {
            abi_major: 2,
            ..GOOD
        })
        .unwrap_err();
        assert!(reason.contains("ABI major 2"), "{reason}");
        let reason = door!(BackendV1 {
            struct_size: 16,
            ..GOOD
        })
        .unwrap_err();
        assert!(reason.contains("16 bytes"), "{reason}");
        let reason = door!(BackendV1 { call: None, ..GOOD }).unwrap_err();
        assert!(reason.contains("lacks a function"), "{reason}");
        // SAFETY: null is checked.
        assert!(unsafe { open(std::ptr::null()) }.is_err());
    }
}
