#!/usr/bin/env python3
"""Takes each check of the verdict out in turn and runs the tests beside it, which must fail.

    scripts/mutate-checks.py [NAME | PACKAGE]...

A check that could go without a test noticing is no check. Three places are looked at: the trust
kernel (`host/verify`), what the host believes of a job (`plugin-host`, `stages`), and the proof
system (`plugins/sumcheck`). The sources are put back at the end, also after an interruption.
(Ended while cargo compiles, it can leave a mutation in `target/debug/incremental`: remove that then.)
`cargo mutants -p dsperse-verify -p dsperse-sumcheck-verifier` is the long form of this, over every
expression; this is the short one, over what docs/trust.md promises.
"""

import os
import pathlib
import signal
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# For each package whose tests have to notice: where its sources are, and the checks: name, file,
# what is there, what takes the check out.
CHECKS = {
    ("dsperse-verify", "host/verify/src"): [
        ("run identity", "verification.rs", "other_model(&report, results).into_iter().collect()", "Vec::new()"),
        ("run slices", "verification.rs", "other_slices(model, results),", "Vec::new(),"),
        ("run record", "verification.rs", "other_record(&report, results, own_input, own_output),", "Vec::new(),"),
        ("expected model", "verification.rs", "check_model(&demands, model, &identity)?;", ""),
        ("senseless demands", "verification.rs", "demands.objection()", "None::<String>"),
        ("missing verdicts", "verification.rs", "Verdict::Unchecked, &s.payload_sha256", "Verdict::Proven, &s.payload_sha256"),
        ("fidelity", "verification.rs", "closeness::judge(self.evidence, self.checker, &self.claims, limit, report)?;", "let _ = limit;"),
        ("expected keys", "verification.rs", "keys::compare(&self.demands, report);", ""),
        ("expected receipt", "verification.rs", "report.failures.extend(differences);", "drop(differences);"),
        ("document of the slice", "memory.rs", "match slice.contradiction(summary, &self.model.identity) {", "match None::<&str> {"),
        ("ONNX file", "slice.rs", "Err(defect) => return Ok(Err(defect.reason())),\n        };\n        let claim", "Err(_) => None,\n        };\n        let claim"),
        ("sizes and digests", "memory.rs", "bytes.len() as u64 == size && found == sha256", "true"),
        ("paths", "memory.rs", "if let Some(why) = objection(path) {", "if let Some(why) = objection(\"x\") {"),
        ("invalid proof", "slice.rs", "Ok(Answer::Invalid { reason }) => Err(NotProven::Wrong(reason)),", "Ok(Answer::Invalid { .. }) => Ok(verdict.verdict = Verdict::Proven),"),
        ("unreadable proof", "slice.rs", "Err(e) if e.kind == ErrorKind::InvalidInput => Err(NotProven::Wrong(e.message)),", ""),
        ("wrong recomputation", "slice.rs", 'Ok(Answer::Invalid { reason }) => Err(format!("{reason}; {why_not_proven}")),', "Ok(Answer::Invalid { .. }) => Ok(verdict.verdict = Verdict::Recomputed),"),
        ("binding of the backend", "slice.rs", "if !verdict_counts_as_proof(capabilities) {", "if false {"),
        ("saturated inputs", "slice.rs", "verdict.saturated_inputs > 0 && !self.demands.allow_saturation", "false"),
        ("allowed backends", "slice.rs", "if let Some(reason) = self.demands.refusal(&backend) {\n            return Err(", "if let Some(reason) = None::<String> {\n            return Err("),
        ("allowed executor", "slice.rs", "if let Some(reason) = self.demands.refusal(&backend) {\n            verdict", "if let Some(reason) = None::<String> {\n            verdict"),
        ("policy", "slice.rs", "if let Err(reason) = self.demands.policy.check(capabilities) {", "if let Err(reason) = Ok::<(), String>(()) {"),
        ("compiled file", "slice.rs", "if compilation.payload_sha256 != slice.payload.sha256 {", "if false {"),
        ("version of the backend", "slice.rs", "            .takes_artefacts_of(&compilation.backend_version)\n", "            .takes_artefacts_of(&backend.descriptor.version.to_string())\n"),
        ("verifying artefacts only", "slice.rs", ".filter(|a| a.role == Role::Verifying)", ""),
        ("artefacts declared twice", "slice.rs", "w[0] == w[1]", "w.is_empty()"),
        ("executor that declines", "slice.rs", "if let Some(reason) = self.checker.declines(&backend, slice)? {", "if let Some(reason) = None::<String> {"),
        ("keys not named", "keys.rs", "let needed = demands.expect_model.is_some() && demands.expect_keys.is_none();", "let needed = false;"),
        ("keys compiled again", "keys.rs", "let Some(name) = difference(used, &fresh) else {", "let Some(name) = difference(used, used).or(difference(&fresh, &fresh)) else {"),
        ("reproducible keys", "keys.rs", "if !properties.is_some_and(|p| p.reproducible_compile) {", "if properties.is_none() {"),
        ("claimed output", "claims.rs", "match agree(evidence, stored, &claimed) {", "match agree(evidence, stored, &claimed).map(|_| true) {"),
        ("shape of tensors", "claims.rs", "held.info.shape != declared.shape", "false"),
        ("encoding of tensors", "claims.rs", "|| !fits", "|| false"),
        ("target of fidelity", "closeness.rs", "if found.misses() {", "if false {"),
        ("unmeasured fidelity", "closeness.rs", "if demanded.is_some() {", "if false {"),
        ("weaker than the receipt", "receipt.rs", "rank(now.verdict) < rank(before)", "false"),
        ("floats of circuits", "slice.rs", "if let Ok(Answer::Valid { .. }) = nearly.answer {", "if nearly.answer.is_ok() {"),
        ("tolerance of the verifier", "slice.rs", "self.demands.tolerance == 0.0 && *most > 0.0", "*most > self.demands.tolerance"),
        ("bound over the prover's note", "slice.rs", "noted.unwrap_or(DEFAULT_MAX_ERROR).min(most)", "noted.unwrap_or(most)"),
        ("floats of executors", "slice.rs", "circuit.filter(|name| *name != backend.name())", "circuit.filter(|_| true)"),
    ],
    ("dsperse-plugin-host", "host/plugin-host/src"): [
        ("bytes handed back", "check.rs", "if found <= bounds.bytes {", "if true {"),
        ("time of reading", "check.rs", "self.timeout.filter(|limit| self.began.elapsed() > *limit)", "self.timeout.filter(|_| false)"),
        ("size declared", "check.rs", "artefact.size != 0 && artefact.size != size", "false"),
        ("digest declared", "check.rs", "if declared.is_empty() || declared == found {", "if true {"),
        ("links", "check.rs", "if meta.file_type().is_symlink() {", "if false {"),
        ("descriptions", "host.rs", "match impossible(descriptor) {", "match None::<String> {"),
        ("clean end", "judge.rs", "End::Exit(exit) => exit.ended == Ended::Code(0) && exit.killed.is_none(),", "End::Exit(_) => true,"),
    ],
    ("dsperse-stages", "host/stages/src"): [
        ("overwritten while running", "run/mod.rs", "        untouched(&run)?;\n", ""),
        ("overwritten while proving", "prove.rs", "    untouched(run)?;\n", ""),
        ("slices left out", "run/choice.rs", "_ if !selected.contains(&s.index) => Vec::new(),", ""),
        ("version before proving", "opened.rs", "(!backend.takes_artefacts_of(version)).then(", "false.then("),
    ],
    ("dsperse-jobs", "host/jobs/src"): [
        ("version of the plugin", "local.rs", "if job.backend_version != version {", "if false {"),
        ("library of the plugin", "local.rs", "(job.plugin_sha256 != digest).then(", "false.then("),
    ],
    ("dsperse-sumcheck-verifier", "plugins/sumcheck/verifier/src"): [
        ("upper end of weights", "layout.rs", "if !((hi - lo + 1) as u128).is_power_of_two() {", "if false {"),
        ("equality with an operand", "layout.rs", "cs.push(Constraint::of(vec![product]));", "drop(product);"),
        ("slack of a division", "layout.rs", "self.in_range(node, Source::DivSlack, slack, 2 * dh - 1, &mut cs);", "drop(slack);"),
        ("slack of a root", "layout.rs", "self.in_range(node, Source::SqrtSlack, slack, 2 * s_hi, &mut cs);", "drop(slack);"),
        ("excess", "layout.rs", "cs.push(Constraint::of(vec![ends]));", "drop(ends);"),
        ("wires of a program", "validate.rs", "        .min(MAX_PROGRAM_ENTRIES);\n", ";\n"),
        ("wires of small tensors", "validate.rs", "if checked.entries > most {", "if checked.entries > MAX_PROGRAM_ENTRIES {"),
        ("two claims", "claims.rs", "Some(c) if c.value == value => Ok(()),", "Some(_) if true => Ok(()),"),
        ("wrapping", "layout.rs", "        if ok {\n", "        if ok || true {\n"),
        ("entries evaluated", "claims.rs", "if self.evaluated <= MAX_EVALUATED_ENTRIES {", "if true {"),
    ],
    # Its tests are the malicious prover.
    ("dsperse-sumcheck-prover", "plugins/sumcheck/verifier/src"): [
        ("ranges in the key", "verify.rs", "        check_ranges(key)?;\n", ""),
        ("anchor", "verify.rs", "        weight += eq_eval(&c.point, &point);\n        power *= alpha;\n", "        power *= alpha;\n"),
        ("context", "verify.rs", '    t.absorb_bytes(b"context", context);\n', ""),
        ("activations before challenges", "verify.rs", '    t.absorb_bytes(b"activations", root);\n', "    let _ = root;\n"),
        ("columns", "verify.rs", "if weight * value != end {", "if false {"),
        ("opened value", "commit.rs", "[batch] if batch.current() == [value] && batch.next().is_empty() => Ok(()),", "[_] => Ok(()),"),
        ("bounds of public values", "verify.rs", ".find(|&&v| v < bounds.lo || v > bounds.hi)", ".find(|&&v| v != v)"),
        ("claims about public tensors", "nodes.rs", "if public.value(node, &c.point)? != c.value {", "if false {"),
        ("limbs", "nodes.rs", "        Err(ProofFault::Limbs)", "        Ok(())"),
        ("terms", "nodes.rs", "        Err(ProofFault::Terms)", "        Ok(())"),
        ("rewirings", "nodes.rs", "        Err(ProofFault::Wire)", "        Ok(())"),
        ("products", "nodes.rs", "        Err(ProofFault::Product)", "        Ok(())"),
        ("padding of summed labels", "linear.rs", "_ => below(here, s.size),", "_ => EF::ONE,"),
        ("equations", "zero.rs", "if expected != end {", "if false {"),
        ("tables", "lookup.rs", "if p0 * q1 + p1 * q0 != EF::ZERO {", "if false {"),
        ("layers", "lookup.rs", "if lambda * (p0 * q1 + p1 * q0) + q0 * q1 != claim {", "if false {"),
        ("spelling of openings", "proof.rs", "if postcard::to_allocvec(&opening)? != bytes {", "if false {"),
        ("length of openings", "proof.rs", "if n > most {", "if false {"),
        ("trailing bytes", "bytes.rs", "if self.rest.is_empty() {", "if true {"),
        ("trailing messages", "transcript.rs", "if self.messages.is_empty() {", "if true {"),
    ],
}


# What takes longer than this waits for ever: for some checks that is what they prevent.
SECONDS = 900


def tests_pass(package: str) -> bool:
    run = subprocess.Popen(
        ["cargo", "test", "--quiet", "-p", package],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    )
    try:
        _, errors = run.communicate(timeout=SECONDS)
    except BaseException as e:
        os.killpg(run.pid, signal.SIGKILL)
        if isinstance(e, subprocess.TimeoutExpired):
            return False
        raise
    if "could not compile" in errors:
        sys.exit(f"error: the mutation does not compile:\n{errors}")
    return run.returncode == 0


def main() -> None:
    wanted = sys.argv[1:]
    survivors = []
    for (package, sources), checks in CHECKS.items():
        checks = [c for c in checks if not wanted or package in wanted or c[0] in wanted]
        if checks and not tests_pass(package):
            sys.exit(f"error: the tests of {package} fail, or do not end, before anything is taken out")
        for name, file, there, gone in checks:
            path = ROOT / sources / file
            original = path.read_text()
            if original.count(there) != 1:
                sys.exit(
                    f'error: "{name}": expected this once in {file}, found it {original.count(there)} times:\n{there}'
                )
            try:
                # Only a crate's root may allow for the whole crate; a file's module is enough.
                path.write_text("#![allow(warnings)]\n" + original.replace(there, gone))
                survived = tests_pass(package)
            finally:
                path.write_text(original)
            print(f"{'NOT NOTICED' if survived else 'noticed':12} {name}", flush=True)
            if survived:
                survivors.append(name)
    if survivors:
        sys.exit(f"error: {len(survivors)} checks can go without a test noticing: {', '.join(survivors)}")


if __name__ == "__main__":
    main()
