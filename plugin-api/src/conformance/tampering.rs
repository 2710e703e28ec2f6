//! Checks 14 to 16: whatever is changed in a proof, a claim or a key, the verdict is
//! Invalid. An error would not do: a host treats errors as faults of the backend, and only
//! a verdict as a fault of the prover.

use super::Book;
use super::rig::{self, Rig};
use super::slices::Trip;
use crate::{ArtefactRef, Descriptor, Encoding, Error, Result, Role, Stage, TensorFile, Verdict};

/// Runs the checks on the two trips of one sample.
pub(super) fn check(rig: &Rig<'_>, descriptor: &Descriptor, pair: &[Trip], book: &mut Book) {
    let [trip, other] = pair else {
        return book.rest("the sample has no second input");
    };
    let bench = Bench {
        rig,
        needs_payload: descriptor.capabilities.verify_needs_payload,
        trip,
    };
    if descriptor.capabilities.stages.contains(&Stage::Prove) {
        let mut complaints = bench.files(&trip.proof, |changed| Change {
            proof: Some(changed),
            ..Change::default()
        });
        complaints.extend(bench.judge(
            "the proof of another input",
            Change {
                proof: Some(other.proof.clone()),
                ..Change::default()
            },
        ));
        book.enter(14, complaints);
    } else {
        book.skip(14, "the backend makes no proofs");
    }
    book.enter(15, bench.claims(other));
    if trip.circuit.iter().any(|a| a.role == Role::Verifying) {
        let complaints = bench.files(&trip.circuit, |changed| Change {
            circuit: Some(changed),
            ..Change::default()
        });
        book.enter(16, complaints);
    } else {
        book.skip(
            16,
            "\"compile\" declares no artefact with the role \"verifying\"",
        );
    }
}

/// What to put in place of the honest parts.
#[derive(Default)]
struct Change {
    circuit: Option<Vec<ArtefactRef>>,
    proof: Option<Vec<ArtefactRef>>,
    inputs: Option<Vec<TensorFile>>,
    outputs: Option<Vec<TensorFile>>,
}

struct Bench<'a> {
    rig: &'a Rig<'a>,
    needs_payload: bool,
    trip: &'a Trip,
}

impl Bench<'_> {
    /// A complaint unless the changed claim is Invalid.
    fn judge(&self, what: &str, change: Change) -> Option<String> {
        let trip = Trip {
            circuit: change.circuit.unwrap_or_else(|| self.trip.circuit.clone()),
            proof: change.proof.unwrap_or_else(|| self.trip.proof.clone()),
            inputs: change.inputs.unwrap_or_else(|| self.trip.inputs.clone()),
            outputs: change.outputs.unwrap_or_else(|| self.trip.outputs.clone()),
            ..self.trip.clone()
        };
        match trip.verify(self.rig, self.needs_payload) {
            Ok(Verdict::Invalid { .. }) => None,
            Ok(Verdict::Valid { .. }) => Some(format!("{what}: the verdict is Valid")),
            Err(e) => Some(format!("{what}: the error {:?}, \"{}\"", e.kind, e.message)),
        }
    }

    /// Tampers with each file that a verifier needs.
    fn files(
        &self,
        list: &[ArtefactRef],
        change: impl Fn(Vec<ArtefactRef>) -> Change,
    ) -> Vec<String> {
        let mut complaints = Vec::new();
        for (i, artefact) in list.iter().enumerate() {
            if artefact.role != Role::Verifying {
                continue;
            }
            match self.variants(artefact) {
                Ok(variants) => {
                    for (what, file) in variants {
                        let mut changed = list.to_vec();
                        changed[i] = file;
                        let what = format!("\"{}\" {what}", artefact.name);
                        complaints.extend(self.judge(&what, change(changed)));
                    }
                }
                Err(e) => complaints.push(e.message),
            }
        }
        complaints
    }

    fn variants(&self, artefact: &ArtefactRef) -> Result<Vec<(String, ArtefactRef)>> {
        let bytes = std::fs::read(&artefact.path)?;
        let mut variants = Vec::new();
        let last = bytes.len().saturating_sub(1);
        let mut places = vec![0, last / 4, last / 2, last / 4 * 3, last];
        places.dedup();
        for place in places {
            let mut changed = bytes.clone();
            if let Some(byte) = changed.get_mut(place) {
                *byte ^= 1;
                variants.push((format!("with byte {place} changed"), changed));
            }
        }
        variants.push(("without its last byte".into(), bytes[..last].to_vec()));
        variants.push(("empty".into(), Vec::new()));
        let mut longer = bytes;
        longer.push(b'0');
        variants.push(("with one more byte".into(), longer));

        let store = |(what, bytes): (String, Vec<u8>)| {
            let dir = self.rig.fresh_dir("tampered")?;
            // The name stays: tools look at extensions.
            let name = std::path::Path::new(&artefact.path)
                .file_name()
                .and_then(|n| n.to_str())
                .unwrap_or("file");
            std::fs::write(dir.join(name), bytes)?;
            let (path, sha256, _) = rig::inside(&dir, name).map_err(Error::internal)?;
            let file = ArtefactRef {
                path,
                sha256,
                ..artefact.clone()
            };
            Ok((what, file))
        };
        variants.into_iter().map(store).collect()
    }

    /// Tampers with the claimed inputs and outputs.
    fn claims(&self, other: &Trip) -> Vec<String> {
        let mut complaints = Vec::new();
        let mut judge = |what: &str, change: Result<Change>| match change {
            Ok(change) => complaints.extend(self.judge(what, change)),
            Err(e) => complaints.push(e.message),
        };
        let last = |t: &Trip| t.outputs.first().and_then(|o| o.info.len()).unwrap_or(1) - 1;
        for (what, element) in [("first", 0), ("last", last(self.trip))] {
            judge(
                &format!("the {what} element of the output plus one"),
                self.plus_one(&self.trip.outputs, Some(element))
                    .map(|t| Change {
                        outputs: Some(t),
                        ..Change::default()
                    }),
            );
        }
        judge(
            "every element of the input plus one",
            self.plus_one(&self.trip.inputs, None).map(|t| Change {
                inputs: Some(t),
                ..Change::default()
            }),
        );
        judge(
            "the outputs of another input",
            Ok(Change {
                outputs: Some(other.outputs.clone()),
                ..Change::default()
            }),
        );
        judge(
            "the input of another run",
            Ok(Change {
                inputs: Some(other.inputs.clone()),
                ..Change::default()
            }),
        );
        complaints
    }

    /// Copies of the tensors with one element of the first, or all, one step up: 1.0 for
    /// floats, one integer step for the others.
    fn plus_one(&self, tensors: &[TensorFile], only: Option<u64>) -> Result<Vec<TensorFile>> {
        let mut changed = tensors.to_vec();
        let Some(first) = changed.first_mut() else {
            return Ok(changed);
        };
        let mut bytes = std::fs::read(&first.path)?;
        let size = first.info.encoding.element_size();
        for (i, element) in bytes.chunks_exact_mut(size).enumerate() {
            if only.is_some_and(|only| only != i as u64) {
                continue;
            }
            match (first.info.encoding, &mut *element) {
                (Encoding::F32, [a, b, c, d]) => {
                    let up = f32::from_le_bytes([*a, *b, *c, *d]) + 1.0;
                    element.copy_from_slice(&up.to_le_bytes());
                }
                (Encoding::F64, _) => {
                    let mut whole = [0; 8];
                    whole.copy_from_slice(element);
                    element.copy_from_slice(&(f64::from_le_bytes(whole) + 1.0).to_le_bytes());
                }
                // An integer: add one to the number that starts with the lowest byte.
                _ => {
                    for byte in element {
                        *byte = byte.wrapping_add(1);
                        if *byte != 0 {
                            break;
                        }
                    }
                }
            }
        }
        let dir = self.rig.fresh_dir("tampered")?;
        std::fs::write(dir.join("tensor.bin"), bytes)?;
        let (path, sha256, _) = rig::inside(&dir, "tensor.bin").map_err(Error::internal)?;
        first.path = path;
        first.sha256 = sha256;
        Ok(changed)
    }
}
