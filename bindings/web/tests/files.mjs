// ZIP files of stored entries, for tampering with packed proofs, and the samples.
import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { crc32 } from "node:zlib";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "..");
export const dist = join(root, "bindings", "web", "dist");
export const samples = process.env.DSPERSE_WEB_SAMPLES ?? join(root, "target", "web-samples");

/** Packed proofs by the name of their model. */
export const files = () =>
  readdirSync(samples)
    .filter((name) => name.endsWith(".dsproof"))
    .sort()
    .map((name) => ({ name, path: join(samples, name), bytes: readFileSync(join(samples, name)) }));

/** The smallest of them, for tampering. */
export const smallest = () => files().reduce((a, b) => (a.bytes.length <= b.bytes.length ? a : b));

/** What the program says of a file. */
export function program(path, ...more) {
  const call = process.env.DSPERSE_PROGRAM ?? join(root, "target", "debug", "dsperse");
  let out;
  try {
    out = execFileSync(call, ["verify", path, "--json", "--quiet", "--no-input", ...more], {
      stdio: ["ignore", "pipe", "ignore"],
    });
  } catch (error) {
    if (![1, 3].includes(error.status)) {
      throw new Error(`dsperse ended with ${error.status} ${error.signal ?? ""}`);
    }
    out = error.stdout;
  }
  const said = JSON.parse(out);
  return said.error ? { accepted: false, report: null, refused: said.error.message } : { accepted: said.accepted, report: said, refused: null };
}

/** Names and contents of an archive of stored entries. */
export function entries(zip) {
  const out = [];
  let at = zip.readUInt32LE(zip.length - 6);
  while (zip.readUInt32LE(at) === 0x02014b50) {
    const [size, nameLength, extra, comment] = [20, 28, 30, 32].map((o, i) => (i ? zip.readUInt16LE(at + o) : zip.readUInt32LE(at + o)));
    const local = zip.readUInt32LE(at + 42);
    const start = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
    out.push({ name: zip.toString("utf8", at + 46, at + 46 + nameLength), content: Buffer.from(zip.subarray(start, start + size)) });
    at += 46 + nameLength + extra + comment;
  }
  return out;
}

/** An archive of stored entries. */
export function zipped(list) {
  const parts = [];
  const directory = [];
  let at = 0;
  for (const { name, content } of list) {
    const label = Buffer.from(name);
    const fields = Buffer.alloc(26);
    fields.writeUInt16LE(20, 0);
    fields.writeUInt32LE(0x00210000, 6);
    fields.writeUInt32LE(crc32(content), 10);
    fields.writeUInt32LE(content.length, 14);
    fields.writeUInt32LE(content.length, 18);
    fields.writeUInt16LE(label.length, 22);
    const local = Buffer.concat([Buffer.from("PK\x03\x04"), fields, label, content]);
    const central = Buffer.alloc(46);
    central.write("PK\x01\x02");
    central.writeUInt16LE(20, 4);
    fields.copy(central, 6);
    central.writeUInt32LE(at, 42);
    directory.push(central, label);
    parts.push(local);
    at += local.length;
  }
  const index = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06");
  end.writeUInt16LE(list.length, 8);
  end.writeUInt16LE(list.length, 10);
  end.writeUInt32LE(index.length, 12);
  end.writeUInt32LE(at, 16);
  return Buffer.concat([...parts, index, end]);
}

/** Pseudo-random numbers that are the same each time. */
export function random(seed) {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}
