//! What a library file says without being loaded: format, machine, doors, manifest.

use super::SkipKind;
use crate::loader::{Refused, no_door};
use dsperse_plugin_api::abi::{self, C_SYMBOL, MANIFEST_SECTION, Manifest, STABLE_SYMBOL};
use object::{Architecture, BinaryFormat, Object, ObjectKind, ObjectSection, ObjectSymbol};
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Largest manifest, in bytes.
const MAX_MANIFEST: u64 = 64 << 10;
/// The section's name where sections have segments.
const MACHO_SECTION: &str = "__dsperse";

/// Checks everything that can be checked without running the library's code. A manifest
/// can only refuse: what a plugin is called and can do is for its descriptor to say.
pub(crate) fn inspect(path: &Path) -> Result<(), Refused> {
    let refuse = |kind, reason: String| Refused { kind, reason };
    let file = File::open(path)
        .map_err(|e| refuse(SkipKind::Unreadable, format!("it can't be read: {e}")))?;
    let is_file = file.metadata().is_ok_and(|m| m.is_file());
    if !is_file {
        return Err(refuse(
            SkipKind::NotALibrary,
            "it is not a regular file".into(),
        ));
    }
    let cache = object::ReadCache::new(BufReader::new(file));
    let library = object::File::parse(&cache)
        .map_err(|e| refuse(SkipKind::NotALibrary, not_a_library(path, &e)))?;
    check_machine(&library)?;
    if library.kind() != ObjectKind::Dynamic {
        return Err(refuse(
            SkipKind::NotALibrary,
            format!(
                "it is a {}, not a shared library",
                match library.kind() {
                    ObjectKind::Executable => "program",
                    ObjectKind::Relocatable => "compiled object",
                    ObjectKind::Core => "core dump",
                    _ => "binary of another kind",
                }
            ),
        ));
    }
    if let Some(manifest) = &stated(path, &library)?
        && !manifest.api.is_empty()
    {
        let plugin: semver::Version = manifest.api.parse().map_err(|e| {
            refuse(
                SkipKind::IncompatibleVersion,
                format!(
                    "the API version \"{}\" in its manifest can't be read: {e}",
                    manifest.api
                ),
            )
        })?;
        abi::negotiate(&dsperse_plugin_api::descriptor::API_VERSION, &plugin)
            .map_err(|reason| refuse(SkipKind::IncompatibleVersion, reason))?;
    }
    if has_doors(&library) == Some(false) {
        return Err(refuse(SkipKind::NotAPlugin, no_door()));
    }
    Ok(())
}

/// The manifest beside a library, or in it.
pub(crate) fn manifest(path: &Path) -> Result<Option<Manifest>, Refused> {
    let refuse = |reason| Refused {
        kind: SkipKind::NotALibrary,
        reason,
    };
    let file = File::open(path).map_err(|e| refuse(format!("it can't be read: {e}")))?;
    let cache = object::ReadCache::new(BufReader::new(file));
    let library = object::File::parse(&cache).map_err(|e| refuse(not_a_library(path, &e)))?;
    stated(path, &library)
}

fn stated<'d, R: object::ReadRef<'d>>(
    path: &Path,
    library: &object::File<'d, R>,
) -> Result<Option<Manifest>, Refused> {
    match sidecar(path)? {
        Some(manifest) => Ok(Some(manifest)),
        None => section(library),
    }
}

fn not_a_library(path: &Path, error: &object::Error) -> String {
    let mut head = [0u8; 4];
    let read = File::open(path).and_then(|mut f| f.read_exact(&mut head));
    match read {
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => {
            "it is not a shared library: it has less than 4 bytes".into()
        }
        Ok(()) if &head == b"\x7fELF" => format!("it is a damaged shared library: {error}"),
        _ => format!(
            "it is not a shared library: it begins with the bytes {}",
            hex::encode(head)
        ),
    }
}

/// The file's system, machine and word size must be this program's.
fn check_machine<'d, R: object::ReadRef<'d>>(library: &object::File<'d, R>) -> Result<(), Refused> {
    let (format, machine) = (library.format(), library.architecture());
    let (our_format, our_machine) = (BinaryFormat::native_object(), native_architecture());
    let unknown = our_machine == Architecture::Unknown;
    let fits = format == our_format
        && (unknown || machine == our_machine)
        && library.is_64() == cfg!(target_pointer_width = "64")
        && library.is_little_endian() == cfg!(target_endian = "little");
    if fits {
        return Ok(());
    }
    let bits = if library.is_64() { 64 } else { 32 };
    Err(Refused {
        kind: SkipKind::WrongArchitecture,
        reason: format!(
            "it was built for {} {machine:?} ({bits} bits), this program for {} {} ({} bits): \
             get the plugin for this machine",
            system(format),
            system(our_format),
            std::env::consts::ARCH,
            usize::BITS
        ),
    })
}

fn system(format: BinaryFormat) -> &'static str {
    match format {
        BinaryFormat::Elf => "Linux (ELF)",
        BinaryFormat::MachO => "macOS",
        BinaryFormat::Pe | BinaryFormat::Coff => "Windows",
        _ => "another system",
    }
}

fn native_architecture() -> Architecture {
    match std::env::consts::ARCH {
        "x86_64" => Architecture::X86_64,
        "aarch64" => Architecture::Aarch64,
        "riscv64" => Architecture::Riscv64,
        "powerpc64" => Architecture::PowerPc64,
        "s390x" => Architecture::S390x,
        "loongarch64" => Architecture::LoongArch64,
        _ => Architecture::Unknown,
    }
}

/// The manifest in `<library>.json`, for libraries whose toolchain can't make sections.
fn sidecar(library: &Path) -> Result<Option<Manifest>, Refused> {
    let mut name = library.as_os_str().to_owned();
    name.push(".json");
    let path = PathBuf::from(name);
    let refuse = |reason: String| Refused {
        kind: SkipKind::NotAPlugin,
        reason: format!("\"{}\": {reason}", path.display()),
    };
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(refuse(format!("it can't be read: {e}"))),
    };
    let mut bytes = Vec::new();
    file.take(MAX_MANIFEST + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| refuse(format!("it can't be read: {e}")))?;
    if bytes.len() as u64 > MAX_MANIFEST {
        return Err(refuse(format!(
            "it has more than the {MAX_MANIFEST} bytes that a manifest may have"
        )));
    }
    Manifest::parse(&bytes).map(Some).map_err(refuse)
}

/// The manifest in the library's own section.
fn section<'d, R: object::ReadRef<'d>>(
    library: &object::File<'d, R>,
) -> Result<Option<Manifest>, Refused> {
    let Some(section) = library
        .section_by_name(MANIFEST_SECTION)
        .or_else(|| library.section_by_name(MACHO_SECTION))
    else {
        return Ok(None);
    };
    let refuse = |reason: String| Refused {
        kind: SkipKind::NotAPlugin,
        reason,
    };
    if section.size() > MAX_MANIFEST {
        return Err(refuse(format!(
            "its manifest has {} bytes, more than {MAX_MANIFEST}",
            section.size()
        )));
    }
    let bytes = section
        .data()
        .map_err(|e| refuse(format!("its manifest can't be read: {e}")))?;
    Manifest::parse(bytes).map(Some).map_err(refuse)
}

/// Whether one of the doors is exported; `None` when the library has no symbol table to
/// look into, which loading will have to decide.
fn has_doors<'d, R: object::ReadRef<'d>>(library: &object::File<'d, R>) -> Option<bool> {
    let mut any = false;
    for symbol in library.dynamic_symbols() {
        any = true;
        if !symbol.is_definition() {
            continue;
        }
        let name = symbol.name_bytes().unwrap_or_default();
        // Symbols of macOS begin with an underscore of their own.
        let name = name.strip_prefix(b"_").unwrap_or(name);
        for door in [STABLE_SYMBOL, C_SYMBOL] {
            let door = door.strip_suffix(b"\0").unwrap_or(door);
            if name == door.strip_prefix(b"_").unwrap_or(door) {
                return Some(true);
            }
        }
    }
    any.then_some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(bytes: &[u8]) -> Refused {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("libdsperse_backend_x.so");
        std::fs::write(&path, bytes).unwrap();
        inspect(&path).unwrap_err()
    }

    #[test]
    fn junk_is_told_by_its_first_bytes() {
        let junk = refused(b"#!/bin/sh\n");
        assert_eq!(junk.kind, SkipKind::NotALibrary);
        assert!(junk.reason.contains("23212f62"), "{}", junk.reason);
        assert!(refused(b"").reason.contains("less than 4 bytes"));
        assert!(refused(b"\x7fELF\x02\x01").reason.contains("damaged"));
    }

    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    #[test]
    fn another_machine_is_named_with_ours() {
        // The head of an ELF file: 64 bits, little-endian, shared object, AArch64.
        let mut head = vec![0u8; 64];
        head[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        head[16] = 3;
        head[18] = 183;
        head[20] = 1;
        head[52] = 64;
        let other = refused(&head);
        assert_eq!(other.kind, SkipKind::WrongArchitecture);
        assert!(other.reason.contains("Aarch64"), "{}", other.reason);
        assert!(other.reason.contains("x86_64"), "{}", other.reason);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_program_is_not_a_plugin() {
        let path = std::env::current_exe().unwrap();
        let kind = inspect(&path).unwrap_err().kind;
        assert_eq!(kind, SkipKind::NotAPlugin);
    }
}
