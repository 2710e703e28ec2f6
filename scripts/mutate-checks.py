#!/usr/bin/env python3
"""Takes each check of the trust kernel out in turn and runs the kernel's tests, which must fail.

    scripts/mutate-checks.py [NAME]

A check that could go without a test noticing is no check. The sources are put back at the end,
also after an interruption. `cargo mutants -p dsperse-verify` is the long form of this, over every
expression; this is the short one, over what docs/trust.md promises.
"""

import pathlib
import subprocess
import sys

SOURCES = pathlib.Path(__file__).resolve().parent.parent / "host/verify/src"

# Name, file, what is there, what takes the check out.
CHECKS = [
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
    ("wrong recomputation", "slice.rs", "Ok(Answer::Invalid { reason }) => Err(reason),", "Ok(Answer::Invalid { .. }) => Ok(verdict.verdict = Verdict::Recomputed),"),
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
]


def tests_pass() -> bool:
    run = subprocess.run(
        ["cargo", "test", "--quiet", "-p", "dsperse-verify"],
        capture_output=True,
        text=True,
        cwd=SOURCES,
    )
    if "could not compile" in run.stderr:
        sys.exit(f"error: the mutation does not compile:\n{run.stderr}")
    return run.returncode == 0


def main() -> None:
    wanted = sys.argv[1:]
    if not tests_pass():
        sys.exit("error: the tests fail before anything is taken out")
    survivors = []
    for name, file, there, gone in CHECKS:
        if wanted and name not in wanted:
            continue
        path = SOURCES / file
        original = path.read_text()
        if original.count(there) != 1:
            sys.exit(f'error: "{name}": expected this once in {file}, found it {original.count(there)} times:\n{there}')
        try:
            path.write_text("#![allow(warnings)]\n" + original.replace(there, gone))
            survived = tests_pass()
        finally:
            path.write_text(original)
        print(f"{'NOT NOTICED' if survived else 'noticed':12} {name}", flush=True)
        if survived:
            survivors.append(name)
    if survivors:
        sys.exit(f"error: {len(survivors)} checks can go without a test noticing: {', '.join(survivors)}")


if __name__ == "__main__":
    main()
