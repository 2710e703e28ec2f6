//! The verdict on one slice.

use crate::checker::{Again, Backend, Checked, Need, Question};
use crate::claims::Claims;
use crate::demands::Demands;
use crate::doubt::NotProven;
use crate::evidence::{Defect, Evidence, File, Held};
use crate::keys;
use dsperse_documents::{
    Compilation, DEFAULT_MAX_ERROR, ErrorKind, KeyOrigin, SliceMetadata, SliceRun, SliceVerdict,
    Verdict,
};
use dsperse_plugin_api::{Artefact, Role, Stage, Verdict as Answer, job::SATURATED_INPUTS};
use dsperse_router::policy::verdict_counts_as_proof;
use serde_json::{Map, Value};

struct Claim<F> {
    inputs: Vec<Held<F>>,
    outputs: Vec<Held<F>>,
}

pub(crate) struct Judge<'a, E: Evidence, C> {
    pub evidence: &'a E,
    pub checker: &'a C,
    pub claims: &'a Claims<E::File>,
    pub demands: &'a Demands,
}

/// The inner error is why the slice is not proven; the outer one ends the verification.
type Proven<T, S> = Result<Result<T, NotProven>, S>;

impl<E: Evidence, C: Again<E::File>> Judge<'_, E, C> {
    /// Judges a slice of the model.
    ///
    /// # Errors
    /// Only what ends the whole verification.
    pub(crate) fn slice(
        &self,
        index: usize,
        payload_sha256: &str,
    ) -> Result<SliceVerdict, C::Stop> {
        let mut verdict = SliceVerdict::new(index, Verdict::Unchecked, payload_sha256);
        let results = self.evidence.results();
        let recorded = results.slices.iter().find(|s| s.index == index);
        verdict.fidelity = recorded.and_then(|r| r.fidelity.clone());
        if let Err(reason) = self.judge(index, recorded, &mut verdict)? {
            verdict.verdict = Verdict::Failed;
            verdict.proof = None;
            verdict.reason = Some(reason);
        }
        Ok(verdict)
    }

    /// The inner error is the reason of a failed verdict.
    fn judge(
        &self,
        index: usize,
        recorded: Option<&SliceRun>,
        verdict: &mut SliceVerdict,
    ) -> Result<Result<(), String>, C::Stop> {
        // The slice's own document must say what the model's document says, and the ONNX
        // file, when it is there, must be the one that both name.
        let slice = match self.evidence.slice(index) {
            Ok(slice) => slice,
            Err(defect) => return Ok(Err(defect.reason())),
        };
        let payload = match self.evidence.payload(&slice) {
            Ok(payload) => payload,
            Err(defect) => return Ok(Err(defect.reason())),
        };
        let claim = match (
            self.claims.pick(&slice.inputs),
            self.claims.pick(&slice.outputs),
        ) {
            (Ok(inputs), Ok(outputs)) => Claim { inputs, outputs },
            (Err(reason), _) | (_, Err(reason)) => return Ok(Err(reason)),
        };
        match self.proof(&slice, payload.as_ref(), recorded, &claim, verdict)? {
            Ok(()) => Ok(Ok(())),
            Err(NotProven::Wrong(reason)) => Ok(Err(reason)),
            Err(NotProven::Undecided { reason, hint }) => {
                verdict.reason = Some(reason);
                verdict.hint = hint;
                let circuit = recorded.and_then(|r| r.backend.as_deref());
                self.recompute(&slice, payload, circuit, &claim, verdict)
            }
        }
    }

    /// Checks the proof, if there is one.
    fn proof(
        &self,
        slice: &SliceMetadata,
        payload: Option<&E::File>,
        recorded: Option<&SliceRun>,
        claim: &Claim<E::File>,
        verdict: &mut SliceVerdict,
    ) -> Proven<(), C::Stop> {
        let counted = match self.counted(slice, recorded) {
            Ok(counted) => counted,
            Err(not_proven) => return Ok(Err(not_proven)),
        };
        let (backend, compilation, proof) = counted;
        let question = match self.question(slice, payload, backend, compilation, proof, claim) {
            Ok(question) => question,
            Err(not_proven) => return Ok(Err(not_proven)),
        };
        verdict.circuit = question.circuit.iter().map(File::receipt).collect();
        verdict.proof_files = question.proof.iter().map(File::receipt).collect();
        let origin = keys::origin(
            self.evidence,
            self.checker,
            self.claims,
            self.demands,
            slice,
            compilation,
            &backend,
            &verdict.circuit,
        )?;
        let origin = match origin {
            Ok(origin) => origin,
            Err(not_proven) => return Ok(Err(not_proven)),
        };
        let Checked { answer, usage } = self.checker.check(question)?;
        verdict.usage = usage;
        note_backend(verdict, &backend);
        let name = backend.name();
        Ok(match answer {
            Ok(Answer::Valid { facts, warnings }) => {
                self.valid(&backend, origin, facts, warnings, verdict)
            }
            Ok(Answer::Invalid { reason }) => Err(NotProven::Wrong(reason)),
            // What the backend can't read is part of the claim, and wrong.
            Err(e) if e.kind == ErrorKind::InvalidInput => Err(NotProven::Wrong(e.message)),
            Err(e) => Err(NotProven::Undecided {
                reason: format!(
                    "backend \"{name}\" could not judge its proof: {}",
                    e.message
                ),
                hint: e.hint,
            }),
        })
    }

    /// The proof of a slice with the backend that it is of, when that backend's word counts.
    fn counted<'s>(
        &'s self,
        slice: &'s SliceMetadata,
        recorded: Option<&'s SliceRun>,
    ) -> Result<(Backend<'s>, &'s Compilation, &'s [Artefact]), NotProven> {
        let files = recorded
            .and_then(|r| r.proof_execution.as_ref())
            .map(|p| p.files.as_slice())
            .unwrap_or_default();
        let Some(name) = recorded.and_then(|r| r.backend.as_deref()) else {
            return Err(NotProven::undecided("the slice did not run"));
        };
        if files.is_empty() {
            return Err(NotProven::undecided(match self.checker.backend(name) {
                Some(b) if !b.can(Stage::Prove) => format!("backend \"{name}\" makes no proofs"),
                _ => "there is no proof".to_owned(),
            }));
        }
        let compilation = slice.compilations.get(name);
        let Some(backend) = self.checker.backend(name) else {
            return Err(NotProven::undecided(format!(
                "its proof needs backend \"{name}\"{}, which is not loaded",
                compilation.map_or_else(String::new, |c| format!(" {}", c.backend_version))
            ))
            .hint(self.checker.advice(Need::Backend)));
        };
        if !backend.can(Stage::Verify) {
            return Err(NotProven::undecided(format!(
                "backend \"{name}\" verifies no proofs"
            )));
        }
        if let Some(reason) = self.demands.refusal(&backend) {
            return Err(NotProven::undecided(reason));
        }
        let capabilities = &backend.descriptor.capabilities;
        if let Err(reason) = self.demands.policy.check(capabilities) {
            return Err(NotProven::undecided(format!(
                "a proof of \"{name}\" does not count here: {reason}"
            )));
        }
        let Some(compilation) = compilation else {
            return Err(NotProven::undecided(format!(
                "these slices hold nothing that \"{name}\" compiled"
            )));
        };
        if compilation.payload_sha256 != slice.payload.sha256 {
            return Err(NotProven::Wrong(format!(
                "what \"{name}\" compiled is of another ONNX file than the slice's"
            )));
        }
        if !backend
            .descriptor
            .takes_artefacts_of(&compilation.backend_version)
        {
            return Err(NotProven::undecided(format!(
                "its proof is of \"{name}\" {}, loaded is {}",
                compilation.backend_version, backend.descriptor.version
            ))
            .hint(self.checker.advice(Need::Version)));
        }
        Ok((backend, compilation, files))
    }

    /// The question whether a proof holds.
    fn question<'q>(
        &self,
        slice: &'q SliceMetadata,
        payload: Option<&E::File>,
        backend: Backend<'q>,
        compilation: &Compilation,
        proof: &[Artefact],
        claim: &'q Claim<E::File>,
    ) -> Result<Question<'q, E::File>, NotProven> {
        let payload = if backend.descriptor.capabilities.verify_needs_payload {
            Some(self.needed(payload, &backend)?)
        } else {
            None
        };
        // A verdict rests on verifying artefacts alone, so that what pins them pins
        // everything.
        let circuit = compilation
            .artefacts
            .iter()
            .filter(|a| a.role == Role::Verifying)
            .map(|a| Ok(File::new(a, self.evidence.compiled(slice, a)?)))
            .collect::<Result<Vec<_>, Defect>>()?;
        let proof = proof
            .iter()
            .map(|a| Ok(File::new(a, self.evidence.proof(a)?)))
            .collect::<Result<Vec<_>, Defect>>()?;
        // Of two files of one name a backend could take either.
        for list in [&circuit, &proof] {
            let mut names: Vec<&str> = list.iter().map(|f| f.name.as_str()).collect();
            names.sort_unstable();
            if let Some(twice) = names.windows(2).find(|w| w[0] == w[1]) {
                return Err(NotProven::Wrong(format!(
                    "the artefact \"{}\" is declared twice",
                    twice[0]
                )));
            }
        }
        Ok(Question {
            backend,
            slice,
            payload,
            circuit,
            proof,
            inputs: &claim.inputs,
            outputs: &claim.outputs,
            tolerance: self.demands.tolerance,
        })
    }

    fn needed(
        &self,
        payload: Option<&E::File>,
        backend: &Backend<'_>,
    ) -> Result<E::File, NotProven> {
        payload.cloned().ok_or_else(|| {
            NotProven::undecided(format!(
                "backend \"{}\" needs the slice's ONNX file, which is not in this bundle",
                backend.name()
            ))
        })
    }

    /// A proof that its backend found valid makes the slice proven, when it is bound to the
    /// claimed values and speaks of them.
    fn valid(
        &self,
        backend: &Backend<'_>,
        origin: KeyOrigin,
        facts: Map<String, Value>,
        warnings: Vec<String>,
        verdict: &mut SliceVerdict,
    ) -> Result<(), NotProven> {
        let name = backend.name();
        let capabilities = &backend.descriptor.capabilities;
        if !verdict_counts_as_proof(capabilities) {
            return Err(NotProven::undecided(format!(
                "a proof of \"{name}\" is not bound to inputs and outputs"
            )));
        }
        verdict.saturated_inputs = saturated_inputs(&facts);
        if verdict.saturated_inputs > 0 && !self.demands.allow_saturation {
            return Err(NotProven::undecided(format!(
                "{} of the claimed input values are beyond the range that the circuit of \"{name}\" represents: its proof holds for the nearest values that it has, not for these",
                verdict.saturated_inputs
            ))
            .hint(self.checker.advice(Need::Saturation)));
        }
        verdict.verdict = Verdict::Proven;
        verdict.keys = Some(origin);
        verdict.proof.clone_from(&capabilities.proof);
        verdict.facts.extend(facts);
        verdict.warnings.extend(warnings);
        verdict.reason = None;
        verdict.hint = None;
        Ok(())
    }

    /// Computes the slice again from its ONNX file. `circuit` is the backend whose values are
    /// claimed. The inner error is the reason of a failed verdict.
    fn recompute(
        &self,
        slice: &SliceMetadata,
        payload: Option<E::File>,
        circuit: Option<&str>,
        claim: &Claim<E::File>,
        verdict: &mut SliceVerdict,
    ) -> Result<Result<(), String>, C::Stop> {
        let why_not_proven = verdict.reason.clone().unwrap_or_default();
        let also = |reason: &str| Some(format!("{why_not_proven}; {reason}"));
        let Some(backend) = self.checker.executor().filter(|b| b.can(Stage::Recompute)) else {
            verdict.reason = also("no backend that computes slices again is loaded");
            return Ok(Ok(()));
        };
        if let Some(reason) = self.demands.refusal(&backend) {
            verdict.reason = also(&reason);
            return Ok(Ok(()));
        }
        let payload = match self.needed(payload.as_ref(), &backend) {
            Ok(payload) => payload,
            Err(NotProven::Wrong(reason)) => return Ok(Err(reason)),
            Err(NotProven::Undecided { reason, .. }) => {
                verdict.reason = also(&reason);
                return Ok(Ok(()));
            }
        };
        if let Some(reason) = self.checker.declines(&backend, slice)? {
            verdict.reason = also(&reason);
            return Ok(Ok(()));
        }
        let again = |tolerance| {
            self.checker.check(Question {
                backend,
                slice,
                payload: Some(payload.clone()),
                circuit: Vec::new(),
                proof: Vec::new(),
                inputs: &claim.inputs,
                outputs: &claim.outputs,
                tolerance,
            })
        };
        let Checked { mut answer, usage } = again(self.demands.tolerance)?;
        verdict.usage.add(&usage);
        note_backend(verdict, &backend);
        // Another engine's floats differ in their last bits, a circuit's by its rounding. So
        // where the verifier sets no tolerance, a difference says nothing yet of a claim that
        // a circuit made; being further away than the circuit was made for does.
        let near = circuit.filter(|name| *name != backend.name());
        let near = near.and_then(|name| slice.compilations.get(name));
        let near = near.map(|compilation| self.made_for(compilation));
        let near = near.filter(|most| self.demands.tolerance == 0.0 && *most > 0.0);
        if let (Ok(Answer::Invalid { reason }), Some(tolerance)) = (&answer, near) {
            let differs = reason.clone();
            let nearly = again(tolerance)?;
            verdict.usage.add(&nearly.usage);
            if let Ok(Answer::Valid { .. }) = nearly.answer {
                verdict.reason = also(&format!(
                    "computed again it is within {tolerance:e}, as close as a circuit has to be, but not the same bit for bit: {differs}"
                ));
                if verdict.hint.is_none() {
                    verdict.hint = self.checker.advice(Need::Tolerance);
                }
                return Ok(Ok(()));
            }
            answer = nearly.answer;
        }
        Ok(match answer {
            Ok(Answer::Valid { facts, warnings }) => {
                verdict.verdict = Verdict::Recomputed;
                verdict.tolerance = Some(self.demands.tolerance);
                verdict.facts.extend(facts);
                verdict.warnings.extend(warnings);
                Ok(())
            }
            Ok(Answer::Invalid { reason }) => Err(format!("{reason}; {why_not_proven}")),
            Err(e) if e.kind == ErrorKind::InvalidInput => Err(e.message),
            Err(e) => {
                verdict.reason = also(&e.message);
                // What leads to a proof is the better advice.
                if verdict.hint.is_none() {
                    verdict.hint = e.hint;
                }
                Ok(())
            }
        })
    }

    /// How far from the float model a circuit may be: what it was compiled for, by its
    /// compilation's own note. The note is the prover's word, so the verifier's bound caps it.
    fn made_for(&self, compilation: &Compilation) -> f64 {
        let noted = compilation.fidelity.as_ref().map(|f| f.target);
        let most = self.demands.max_error.unwrap_or(DEFAULT_MAX_ERROR);
        noted.unwrap_or(DEFAULT_MAX_ERROR).min(most)
    }
}

/// How many input values the circuit saw clamped. A number that can't be read counts as one:
/// the backend says that there is something.
fn saturated_inputs(facts: &Map<String, Value>) -> u64 {
    facts
        .get(SATURATED_INPUTS)
        .map_or(0, |n| n.as_u64().unwrap_or(1))
}

fn note_backend(verdict: &mut SliceVerdict, backend: &Backend<'_>) {
    verdict.backend = Some(backend.name().to_owned());
    verdict.backend_version = Some(backend.descriptor.version.to_string());
    verdict.plugin_sha256 = Some(backend.digest.to_owned());
}
