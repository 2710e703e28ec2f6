//! The files on disk: slice directories, .dslice and .dsperse bundles, the tensor store, atomic writes and locks.
