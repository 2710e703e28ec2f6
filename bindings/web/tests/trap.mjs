// A WebAssembly module in which one exported function traps, as a fault in the verifier would.

/** A number of the binary format (LEB128, WebAssembly core specification 5.2.2), and where it ends. */
function number(bytes, at) {
  let value = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[at++];
    value += (byte & 127) * 2 ** shift;
    if (byte < 128) {
      return [value, at];
    }
  }
}

/** Where the content of each section lies. */
function sections(bytes) {
  const found = new Map();
  for (let at = 8; at < bytes.length; ) {
    const id = bytes[at];
    const [size, start] = number(bytes, at + 1);
    found.set(id, start);
    at = start + size;
  }
  return found;
}

const [IMPORTS, EXPORTS, CODE] = [2, 7, 10];

/** The module, with `unreachable` in the place of every instruction of an exported function. */
export function withTrap(module, name) {
  const bytes = Uint8Array.from(module);
  const place = sections(bytes);
  const text = new TextDecoder();
  let index = null;
  let [count, at] = number(bytes, place.get(EXPORTS));
  for (; count > 0; count -= 1) {
    let length, kind, item;
    [length, at] = number(bytes, at);
    const exported = text.decode(bytes.subarray(at, at + length));
    kind = bytes[at + length];
    [item, at] = number(bytes, at + length + 1);
    if (kind === 0 && exported === name) {
      index = item;
    }
  }
  if (index === null) {
    throw new Error(`the module exports no function ${name}`);
  }
  let body = place.get(CODE);
  let functions;
  [functions, body] = number(bytes, body);
  for (let n = imported(bytes, place); n < index; n += 1) {
    const [size, start] = number(bytes, body);
    body = start + size;
  }
  const [size, start] = number(bytes, body);
  // Declarations of locals stay; then instructions up to the end (0x0b) of the body.
  let [groups, code] = number(bytes, start);
  for (; groups > 0; groups -= 1) {
    [, code] = number(bytes, code);
    code += 1;
  }
  bytes.fill(0x00, code, start + size - 1);
  return bytes;
}

/** The number of imported functions, which come first in the numbering. */
function imported(bytes, place) {
  if (!place.has(IMPORTS)) {
    return 0;
  }
  let functions = 0;
  let [count, at] = number(bytes, place.get(IMPORTS));
  for (; count > 0; count -= 1) {
    for (let part = 0; part < 2; part += 1) {
      const [length, start] = number(bytes, at);
      at = start + length;
    }
    if (bytes[at] !== 0) {
      throw new Error("an import that is no function");
    }
    [, at] = number(bytes, at + 1);
    functions += 1;
  }
  return functions;
}
