//! A plugin in this very process, for tests of the plugins themselves.

use dsperse_plugin_api::abi::{C_SYMBOL, Functions, STABLE_SYMBOL, c, stable};
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use std::error::Error;
use std::ffi::c_void;
use std::path::Path;

/// Opens a library and returns its functions. The library is never closed.
///
/// # Errors
/// Why the library is no plugin, or not one for this host.
pub fn open(path: &Path) -> Result<Functions, String> {
    // SAFETY: only fixtures and plugins of this workspace are opened in a test's process.
    // With lazy binding an undefined symbol would end the process in the middle of a call.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.map_err(|e| {
        // libloading keeps the loader's own words in the source.
        let words = e.source().map(ToString::to_string);
        words.unwrap_or_else(|| e.to_string())
    })?;
    let library: &'static Library = Box::leak(Box::new(library));
    for (symbol, open) in [
        (C_SYMBOL, c::open as unsafe fn(*const c_void) -> _),
        (STABLE_SYMBOL, stable::open),
    ] {
        // SAFETY: the address is only handed to the door that the name belongs to.
        if let Ok(address) = unsafe { library.get::<*const c_void>(symbol) } {
            // SAFETY: the library stays loaded.
            return unsafe { open(*address) }.map(|(functions, _version)| functions);
        }
    }
    Err("the library exports no door of a DSperse backend".into())
}
