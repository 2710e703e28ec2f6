"""The Python package says of each file of the corpus what the program said.

Called by scripts/test-web.sh; ``DSPERSE_WEB_CORPUS`` is the directory that corpus.mjs wrote.
"""

import json
import os
from pathlib import Path

import dsperse

corpus = Path(os.environ["DSPERSE_WEB_CORPUS"])
rows = json.loads((corpus / "index.json").read_text())
for row in rows:
    try:
        said = dsperse.verify(corpus / row["file"])
        accepted, verdicts = said.accepted, [s.verdict for s in said.slices]
    except dsperse.DsperseError as error:
        # No verdict at all, as the file can't be read.
        accepted, verdicts = False, None
        assert str(error), row["name"]
    expected = (row["accepted"], row["verdicts"])
    assert (accepted, verdicts) == expected, f"{row['name']}: {(accepted, verdicts)}, not {expected}"
print(f"Python agrees on {len(rows)} files")
