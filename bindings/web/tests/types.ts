// Compiled, not run: the package's types are those that users need.
import { load, digest, type Demands, type Outcome, type Progress, type Verdict } from "dsperse-verify";

export async function use(bytes: Uint8Array): Promise<Verdict[]> {
  const demands: Demands = { require: "proven", expectModel: digest, maxError: 0.01 };
  const verifier = await load();
  const told: Progress[] = [];
  const outcome: Outcome = await verifier.verify(bytes, demands, (p) => told.push(p));
  if (!outcome.accepted) {
    return [];
  }
  const share: number | null | undefined = outcome.report?.proven_by_macs;
  console.log(share, outcome.refused?.length);
  // @ts-expect-error: a misspelt demand.
  await verifier.verify(bytes, { requier: "proven" });
  return outcome.report?.slices.map((s) => s.verdict) ?? [];
}
