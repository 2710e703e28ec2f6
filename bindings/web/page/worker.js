// One verification, in a thread of its own: a file that hangs or traps takes nothing with it.
self.onmessage = async ({ data }) => {
  const say = (message) => self.postMessage(message);
  try {
    const verifier = await load(data.wasm);
    const outcome = await verifier.verify(data.file, data.demands, (progress) => say({ progress }));
    say({ outcome });
  } catch (error) {
    say({ outcome: { accepted: false, report: null, refused: String(error?.message ?? error) } });
  }
};
