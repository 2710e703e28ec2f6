//! Hostile archives: each must be refused with its reason, and nothing may be written
//! outside the place that was chosen.

use crate::fixture::{check, compile_at, create, listing};
use crate::{Access, BundleError, ConvertOptions, Shape, SliceStore, convert};
use dsperse_archive::{Archive, ArchiveError, Limits, Section};
use proptest::prelude::*;
use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// One entry of a hand-made archive.
struct Entry<'a> {
    name: &'a str,
    data: &'a [u8],
    mode: u32,
    method: u16,
    /// The uncompressed size that the headers promise; the real one when `None`.
    promise: Option<u32>,
    flags: u16,
}

fn entry<'a>(name: &'a str, data: &'a [u8]) -> Entry<'a> {
    Entry {
        name,
        data,
        mode: if name.ends_with('/') {
            0o040_755
        } else {
            0o100_644
        },
        method: 0,
        promise: None,
        flags: 0,
    }
}

/// An archive made byte by byte, with none of a library's scruples. Stored data only.
fn zip(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut central = Vec::new();
    let count = entries.len() as u16;
    for e in entries {
        let offset = out.len() as u32;
        let mut crc = crc32(e.data);
        if e.method != 0 {
            crc = 0;
        }
        let size = e.promise.unwrap_or(e.data.len() as u32);
        let mut common = Vec::new();
        common.extend(20u16.to_le_bytes());
        common.extend(e.flags.to_le_bytes());
        common.extend(e.method.to_le_bytes());
        common.extend([0, 0, 0x21, 0]);
        common.extend(crc.to_le_bytes());
        common.extend((e.data.len() as u32).to_le_bytes());
        common.extend(size.to_le_bytes());
        common.extend((e.name.len() as u16).to_le_bytes());
        common.extend([0, 0]);
        out.extend(b"PK\x03\x04");
        out.extend(&common);
        out.extend(e.name.as_bytes());
        out.extend(e.data);
        central.extend(b"PK\x01\x02");
        // Made by Unix, so that the mode counts.
        central.extend([20, 3]);
        central.extend(&common);
        central.extend([0; 6]);
        central.extend((e.mode << 16).to_le_bytes());
        central.extend(offset.to_le_bytes());
        central.extend(e.name.as_bytes());
    }
    let start = out.len() as u32;
    out.extend(&central);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend(count.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend((central.len() as u32).to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend([0, 0]);
    out
}

fn crc32(data: &[u8]) -> u32 {
    let mut crc = !0u32;
    for b in data {
        crc ^= u32::from(*b);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ 0xEDB8_8320
            } else {
                crc >> 1
            };
        }
    }
    !crc
}

fn open(bytes: &[u8], limits: Limits) -> Result<Archive, BundleError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.dslice");
    fs::write(&path, bytes).unwrap();
    let read = Archive::open(&path, limits);
    // In memory the same rules hold.
    let section = Section::bytes(bytes.into());
    let words =
        |a: &Result<Archive, ArchiveError>| a.as_ref().map(|_| ()).map_err(|e| e.to_string());
    assert_eq!(words(&Archive::of(section, &path, limits)), words(&read));
    Ok(read?)
}

fn refusal(bytes: &[u8]) -> String {
    open(bytes, Limits::default()).unwrap_err().to_string()
}

#[test]
fn the_hand_made_archive_is_a_good_one() {
    let bytes = zip(&[entry("a", b"one"), entry("b/c", b"two"), entry("d/", b"")]);
    let mut a = open(&bytes, Limits::default()).unwrap();
    assert_eq!(a.names().collect::<Vec<_>>(), ["a", "b/c"]);
    let mut out = Vec::new();
    let (size, sha256) = a.extract("b/c", &mut out).unwrap();
    assert_eq!((size, out.as_slice()), (3, b"two".as_slice()));
    assert_eq!(sha256, dsperse_documents::digest::sha256_hex(b"two"));
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for (name, why) in [
        ("../evil", "climbs out"),
        ("a/../../evil", "climbs out"),
        ("/etc/passwd", "absolute"),
        ("C:/windows", "drive letter"),
        ("a\\..\\..\\evil", "backslash"),
        ("", "empty"),
        ("a//b", "empty component"),
        ("a\nb", "control character"),
        ("a\0b", "control character"),
        ("a./b", "dot or a space"),
        (".dsperse-txn/journal.json", "reserved"),
    ] {
        let e = refusal(&zip(&[entry("metadata.json", b"{}"), entry(name, b"x")]));
        assert!(e.contains(why), "{name:?}: {e}");
    }
    let mut bytes = zip(&[entry("axb", b"x")]);
    for i in 0..bytes.len() - 3 {
        if &bytes[i..i + 3] == b"axb" {
            bytes[i + 1] = 0xff;
        }
    }
    assert!(refusal(&bytes).contains("not UTF-8"));
}

#[test]
fn links_and_special_files_are_refused() {
    for mode in [
        0o120_777, 0o010_644, 0o020_644, 0o060_644, 0o140_644, 0o040_755,
    ] {
        let e = refusal(&zip(&[Entry {
            mode,
            ..entry("link", b"/etc/passwd")
        }]));
        assert!(e.contains("link or a special file"), "{mode:o}: {e}");
    }
}

#[test]
fn collisions_are_refused() {
    let two = |a, b| refusal(&zip(&[entry(a, b"1"), entry(b, b"2")]));
    assert!(two("a", "a").contains("same name"));
    assert!(two("Key.bin", "key.BIN").contains("collides"));
    assert!(two("Ünder", "ünder").contains("collides"));
    assert!(two("demo/a", "Demo/b").contains("collides"));
    assert!(two("demo", "demo/a").contains("collides"));
    assert!(two("demo/a", "demo").contains("collides"));
    assert!(
        open(
            &zip(&[entry("d/a", b"1"), entry("d/b", b"2")]),
            Limits::default()
        )
        .is_ok()
    );
}

#[test]
fn unsupported_entries_are_refused() {
    let one = |e| refusal(&zip(&[e]));
    let bzip2 = Entry {
        method: 12,
        ..entry("a", b"x")
    };
    assert!(one(bzip2).contains("compression method"));
    let encrypted = Entry {
        flags: 1,
        ..entry("a", b"x")
    };
    assert!(one(encrypted).contains("encrypted"));
    let e = one(entry("dir/", b"content"));
    assert!(
        e.contains("special file") || e.contains("directory with content"),
        "{e}"
    );
}

#[test]
fn entries_that_share_bytes_are_refused() {
    // Two directory entries that point at the same data.
    let mut bytes = zip(&[entry("a", b"shared"), entry("b", b"shared")]);
    let second = bytes.windows(4).rposition(|w| w == b"PK\x01\x02").unwrap();
    bytes[second + 42..second + 46].copy_from_slice(&0u32.to_le_bytes());
    assert!(
        refusal(&bytes).contains("share bytes"),
        "{}",
        refusal(&bytes)
    );
}

fn deflated(name: &str, data: &[u8]) -> Vec<u8> {
    let mut w = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    w.start_file(name, options).unwrap();
    w.write_all(data).unwrap();
    w.finish().unwrap().into_inner()
}

fn extract(bytes: &[u8], name: &str, limits: Limits) -> Result<u64, String> {
    let mut a = open(bytes, limits).map_err(|e| e.to_string())?;
    let mut out = std::io::sink();
    a.extract(name, &mut out)
        .map(|r| r.0)
        .map_err(|e| e.to_string())
}

#[test]
fn bombs_stop_while_they_inflate() {
    let bomb = deflated("a", &vec![0u8; 64 << 20]);
    assert!(bomb.len() < 100_000);
    let e = extract(&bomb, "a", Limits::default()).unwrap_err();
    assert!(e.contains("more than 200 times"), "{e}");
    let limits = Limits {
        ratio: 10_000,
        ..Limits::default()
    };
    assert_eq!(
        extract(&bomb, "a", limits),
        Ok(64 << 20),
        "limits can be set"
    );
    let limits = Limits {
        ratio: 10_000,
        total_bytes: 1 << 20,
        ..Limits::default()
    };
    let e = extract(&bomb, "a", limits).unwrap_err();
    assert!(e.contains("more than 1048576 bytes"), "{e}");
    // The header lies about the size.
    let mut liar = deflated("a", &vec![7u8; 1 << 20]);
    for magic in [b"PK\x03\x04", b"PK\x01\x02"] {
        let at = liar.windows(4).position(|w| w == magic).unwrap();
        let at = at + if magic[2] == 3 { 22 } else { 24 };
        liar[at..at + 4].copy_from_slice(&100u32.to_le_bytes());
    }
    let e = extract(&liar, "a", Limits::default()).unwrap_err();
    assert!(
        e.contains("more than the 100 bytes") || e.contains("damaged"),
        "{e}"
    );
    let many: Vec<String> = (0..50).map(|i| format!("f{i}")).collect();
    let many: Vec<Entry> = many.iter().map(|n| entry(n, b"x")).collect();
    let limits = Limits {
        entries: 49,
        ..Limits::default()
    };
    let e = open(&zip(&many), limits).unwrap_err().to_string();
    assert!(e.contains("50 entries, the limit is 49"), "{e}");
}

#[test]
fn nested_archives_share_the_limits_of_the_outer_one() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("s.dsperse");
    create(&at, Shape::Dsperse);
    let limits = Limits {
        total_bytes: fs::metadata(&at).unwrap().len() / 2,
        ..Limits::default()
    };
    let options = ConvertOptions {
        to: Some(Shape::Dirs),
        ..ConvertOptions::default()
    };
    let e = convert(&at, &options, limits).unwrap_err().to_string();
    assert!(e.contains("inflates to more than"), "{e}");
    assert_eq!(
        listing(dir.path()),
        ["s.dsperse"],
        "the source stays, nothing else"
    );
    // A .dsperse inside a .dsperse is no slice.
    let inner = fs::read(&at).unwrap();
    let metadata = metadata_of(&at);
    let outer = zip(&[
        entry("metadata.json", &metadata),
        entry("slice_0.dsperse", &inner),
    ]);
    fs::write(&at, outer).unwrap();
    let e = SliceStore::open(&at, Access::Read).unwrap_err().to_string();
    assert!(e.contains("does not belong into a .dsperse"), "{e}");
}

#[test]
fn what_the_end_record_promises_is_checked_first() {
    let good = zip(&[entry("a", b"x")]);
    let end = good.len() - 22;
    // A comment could hide another end record.
    let mut comment = good.clone();
    comment[end + 20] = 1;
    comment.push(b'c');
    assert!(refusal(&comment).contains("end record"));
    // 65,535 entries are promised, one is there: refused before it is looked for.
    let mut many = good.clone();
    many[end + 8..end + 12].fill(0xff);
    let limits = Limits {
        entries: 100,
        ..Limits::default()
    };
    let e = open(&many, limits).unwrap_err().to_string();
    assert!(e.contains("65535 entries, the limit is 100"), "{e}");
    // The same by way of ZIP64.
    let mut large = good[..end].to_vec();
    let record = large.len() as u64;
    large.extend(b"PK\x06\x06");
    large.extend(44u64.to_le_bytes());
    large.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    large.extend((1u64 << 40).to_le_bytes());
    large.extend((1u64 << 40).to_le_bytes());
    large.extend([0; 16]);
    large.extend(b"PK\x06\x07\0\0\0\0");
    large.extend(record.to_le_bytes());
    large.extend([1, 0, 0, 0]);
    large.extend(&good[end..]);
    let e = refusal(&large);
    assert!(e.contains("1099511627776 entries"), "{e}");
}

#[test]
fn a_compressed_slice_inside_a_bundle_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("s.dsperse");
    create(&at, Shape::Dsperse);
    let mut w = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    w.start_file("metadata.json", options).unwrap();
    w.write_all(&metadata_of(&at)).unwrap();
    w.start_file("slice_0.dslice", options).unwrap();
    w.write_all(&vec![0; 1000]).unwrap();
    fs::write(&at, w.finish().unwrap().into_inner()).unwrap();
    let e = SliceStore::open(&at, Access::Read).unwrap_err().to_string();
    assert!(e.contains("must be stored without compression"), "{e}");
}

fn metadata_of(at: &Path) -> Vec<u8> {
    Archive::open(at, Limits::default())
        .unwrap()
        .read_document("metadata.json")
        .unwrap()
}

#[test]
fn a_hostile_slice_inside_a_bundle_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("s.dsperse");
    create(&at, Shape::Dsperse);
    let metadata = metadata_of(&at);
    let evil = zip(&[entry("../../evil", b"x")]);
    let bytes = zip(&[
        entry("metadata.json", &metadata),
        entry("slice_0.dslice", &evil),
        entry("slice_1.dslice", &evil),
        entry("slice_2.dslice", &evil),
    ]);
    fs::write(&at, bytes).unwrap();
    let options = ConvertOptions {
        to: Some(Shape::Dirs),
        ..ConvertOptions::default()
    };
    let e = convert(&at, &options, Limits::default())
        .unwrap_err()
        .to_string();
    assert!(e.contains("climbs out"), "{e}");
    assert_eq!(listing(dir.path()), ["s.dsperse"]);
}

#[test]
fn a_bundle_cut_anywhere_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for shape in [Shape::Dsperse, Shape::Dslice] {
        let at = crate::output_path(&dir.path().join("s"), shape);
        create(&at, shape);
        compile_at(&at, &[1], 1);
        let file = match shape {
            Shape::Dslice => at.join("slice_1.dslice"),
            _ => at.clone(),
        };
        let whole = fs::read(&file).unwrap();
        for len in 0..whole.len() {
            fs::write(&file, &whole[..len]).unwrap();
            // The whole way now and then, the archive alone each time.
            let e = if len % 101 == 0 {
                SliceStore::open(&at, Access::Read).map(|_| ()).unwrap_err()
            } else {
                Archive::open(&file, Limits::default())
                    .map(|_| ())
                    .unwrap_err()
                    .into()
            };
            assert!(
                matches!(&e, BundleError::Archive { reason, .. } if reason.contains("not a complete ZIP")),
                "cut at {len} of {}: {e}",
                whole.len()
            );
        }
        for extra in [&b"x"[..], &[0; 100]] {
            let mut long = whole.clone();
            long.extend(extra);
            fs::write(&file, long).unwrap();
            assert!(SliceStore::open(&at, Access::Read).is_err(), "glued");
            let mut long = extra.to_vec();
            long.extend(&whole);
            fs::write(&file, long).unwrap();
            assert!(
                SliceStore::open(&at, Access::Read).is_err(),
                "glued in front"
            );
        }
        fs::write(&file, &whole).unwrap();
        check(&at, [0, 1, 0]);
    }
}

/// Reads everything that can be read of a bundle; only errors are allowed.
pub(crate) fn read_all(path: &Path) -> Result<(), BundleError> {
    let store = SliceStore::open(path, Access::Read)?;
    for i in store.indices() {
        let m = store.slice(i)?;
        store.payload(i)?;
        for a in m.compilations.values().flat_map(|c| &c.artefacts) {
            store.artefact(i, a)?;
        }
    }
    Ok(())
}

/// A small bundle, made once.
fn sample() -> &'static [u8] {
    static SAMPLE: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    SAMPLE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("s.dsperse");
        create(&at, Shape::Dsperse);
        compile_at(&at, &[0], 1);
        fs::read(&at).unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn changed_bytes_never_panic_and_never_pass_for_other_values(
        flips in proptest::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..4)
    ) {
        let mut bytes = sample().to_vec();
        for (at, xor) in &flips {
            let at = at.index(bytes.len());
            bytes[at] ^= xor;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.dsperse");
        fs::write(&path, &bytes).unwrap();
        // What is still accepted has the values that the digests record: a flip can only
        // have hit what carries no value (dates, versions).
        if read_all(&path).is_ok() {
            let store = SliceStore::open(&path, Access::Read).unwrap();
            for i in store.indices() {
                if let Some(p) = store.payload(i).unwrap() {
                    prop_assert_eq!(fs::read(p).unwrap(), crate::fixture::payload(i));
                }
            }
        }
        prop_assert_eq!(listing(dir.path()), ["s.dsperse"]);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(open(&bytes, Limits::default()).is_err());
    }

    #[test]
    fn arbitrary_names_stay_inside(names in proptest::collection::vec("[a./\\\\A:]{0,8}", 1..6)) {
        let entries: Vec<Entry> = names.iter().map(|n| entry(n, b"x")).collect();
        if let Ok(a) = open(&zip(&entries), Limits::default()) {
            for n in a.names() {
                prop_assert!(Path::new(n).components().all(|c| matches!(c, std::path::Component::Normal(_))));
            }
        }
    }
}
