//! A plugin in this very process, for tests of the plugins themselves.

use dsperse_plugin_api::abi::{C_SYMBOL, Functions, STABLE_SYMBOL, c, stable};
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use semver::Version;
use std::error::Error;
use std::ffi::c_void;
use std::path::Path;

/// Opens a library by the C door, or the other when it has none. It is never closed.
///
/// # Errors
/// Why the library is no plugin, or not one for this host.
pub fn open(path: &Path) -> Result<Functions, String> {
    doors(path, &[(C_SYMBOL, c::open), (STABLE_SYMBOL, stable::open)])
}

/// Opens a library by the `abi_stable` door.
///
/// # Errors
/// As [`open`].
pub fn open_stable(path: &Path) -> Result<Functions, String> {
    doors(path, &[(STABLE_SYMBOL, stable::open)])
}

type Open = unsafe fn(*const c_void) -> Result<(Functions, Version), String>;

fn doors(path: &Path, doors: &[(&[u8], Open)]) -> Result<Functions, String> {
    // With lazy binding an undefined symbol would end the process in the middle of a call.
    // SAFETY: only fixtures and plugins of this workspace are opened in a test's process.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.map_err(|e| {
        // libloading keeps the loader's own words in the source.
        let words = e.source().map(ToString::to_string);
        words.unwrap_or_else(|| e.to_string())
    })?;
    let library: &'static Library = Box::leak(Box::new(library));
    for (symbol, open) in doors {
        // SAFETY: the address is only handed to the door that the name belongs to.
        if let Ok(address) = unsafe { library.get::<*const c_void>(*symbol) } {
            // SAFETY: the library stays loaded.
            return unsafe { open(*address) }.map(|(functions, _version)| functions);
        }
    }
    Err("the library exports no door of a DSperse backend".into())
}
