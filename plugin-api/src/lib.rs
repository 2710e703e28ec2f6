//! What a DSperse plugin author depends on: the Backend trait, the export macro and the frozen ABI.
