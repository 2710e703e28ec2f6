//! The `abi_stable` door: a root module of exactly the two functions, checked for layout
//! when it is opened.
//!
//! Nothing else in DSperse calls `abi_stable`: dropping this door means deleting this
//! file, the derives in [`types`](super::types) and one line of `export_backend!`.
//!
//! Two habits of `abi_stable` are avoided on purpose. Its own loader caches one library
//! per root-module type and returns the first for any later path, so [`open`] reads the
//! header of the very library it was given. And its guard against panics ends the process,
//! so the functions are ours and catch panics themselves.

use super::Functions;
use super::types::{ByteView, HostV1, OwnedBuffer};
use crate::Backend;
use abi_stable::StableAbi;
use abi_stable::library::{
    AbiHeaderRef, CheckTypeLayout, LibHeader, ROOT_MODULE_LOADER_NAME_WITH_NUL, RootModule,
    RootModuleResult,
};
use abi_stable::prefix_type::{PrefixRefTrait, PrefixTypeTrait};
use abi_stable::sabi_types::VersionStrings;
use abi_stable::std_types::RResult;
use semver::Version;
use std::ffi::c_void;

/// Name of the symbol, with the zero byte that `dlsym` wants.
pub const STABLE_SYMBOL: &[u8] = ROOT_MODULE_LOADER_NAME_WITH_NUL.as_bytes();

/// The symbol's type, for `export_backend!`.
pub type Header = LibHeader;

/// The root module. It never gets a third field: `abi_stable` lets a host refuse a plugin
/// whose module has fewer fields than its own.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = ModuleRef, prefix_fields = ModulePrefix)))]
#[sabi(missing_field(panic))]
pub struct Module {
    /// See [`DescribeFn`](super::DescribeFn).
    pub describe: unsafe extern "C" fn(*mut OwnedBuffer) -> i32,
    /// See [`CallFn`](super::CallFn).
    #[sabi(last_prefix_field)]
    pub call: unsafe extern "C" fn(ByteView, ByteView, *const HostV1, *mut OwnedBuffer) -> i32,
}

impl RootModule for ModuleRef {
    abi_stable::declare_root_module_statics! {ModuleRef}
    const BASE_NAME: &'static str = "dsperse_backend";
    const NAME: &'static str = "DSperse backend";
    const VERSION_STRINGS: VersionStrings =
        VersionStrings::new(crate::descriptor::API_VERSION_TEXT);
}

/// The static that `export_backend!` exports for a backend.
#[must_use]
pub const fn header<T: Backend>() -> Header {
    // SAFETY: `module` returns a `ModuleRef` that was erased.
    unsafe { LibHeader::from_constructor::<ModuleRef>(module::<T>, CheckTypeLayout::Yes) }
}

extern "C" fn module<T: Backend>() -> RootModuleResult {
    let module = Module {
        describe: crate::shim::describe::<T>,
        call: crate::shim::call::<T>,
    }
    .leak_into_prefix();
    // SAFETY: the host casts it back to the same module after its layout check.
    RResult::ROk(unsafe { module.to_prefix_ref().cast() })
}

/// Opens the door behind the address of [`STABLE_SYMBOL`] and returns the functions with
/// the API version that the plugin was built for.
///
/// # Safety
/// `symbol` must be the address that the loader gave for [`STABLE_SYMBOL`] in a library
/// that stays loaded for the rest of the process.
///
/// # Errors
/// A sentence that says why the plugin can't be used.
pub unsafe fn open(symbol: *const c_void) -> Result<(Functions, Version), String> {
    if symbol.is_null() {
        return Err("the abi_stable root module has no address".into());
    }
    // SAFETY: the header type is a transparent pointer to the static behind the symbol.
    let header = unsafe { std::mem::transmute::<*const c_void, AbiHeaderRef>(symbol) };
    let library = header.upgrade().map_err(|e| one_line(&e))?;
    let text = library.version_strings().version;
    let version: Version = text
        .as_str()
        .parse()
        .map_err(|e| format!("the root module's version \"{text}\" can't be read: {e}"))?;
    super::negotiate(&crate::descriptor::API_VERSION, &version)?;
    let module = library
        .check_layout::<ModuleRef>()
        .map_err(|e| one_line(&e))?;
    Ok((
        Functions {
            describe: module.describe(),
            call: module.call(),
        },
        version,
    ))
}

/// abi_stable's messages run over many lines; a skipped plugin gets one.
fn one_line(error: &abi_stable::library::LibraryError) -> String {
    let text = error.to_string();
    let words: Vec<&str> = text.split_whitespace().take(60).collect();
    format!("abi_stable refuses the root module: {}", words.join(" "))
}
