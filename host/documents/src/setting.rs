//! What users can set, as sentences of this program name it.
//!
//! A library says which setting would help; how that is typed, only the command line knows. It
//! says so once, by [`spell`]. Elsewhere (a browser, a test) the bare name stands.

use std::fmt;
use std::sync::OnceLock;

static SPELLING: OnceLock<fn(&str) -> String> = OnceLock::new();

/// Something that a user can set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting(&'static str);

/// Says how settings are typed here. The first call counts.
pub fn spell(spelling: fn(&str) -> String) {
    let _ = SPELLING.set(spelling);
}

impl Setting {
    /// Its bare name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SPELLING.get() {
            Some(spelling) => f.write_str(&spelling(self.0)),
            None => f.write_str(self.0),
        }
    }
}

macro_rules! settings {
    ($($constant:ident $name:literal)*) => {
        $(#[allow(missing_docs, reason = "named for itself")]
        pub const $constant: Setting = Setting($name);)*
        /// Every one of them.
        pub const ALL: &[Setting] = &[$($constant),*];
    };
}

settings! {
    ALLOW_DOWNGRADE "allow-downgrade"
    ALLOW_SATURATION "allow-saturation"
    AT "at"
    BACKEND "backend"
    CALIBRATION "calibration"
    DIM "dim"
    EXPECT_KEYS "expect-keys"
    EXPECT_MODEL "expect-model"
    FIX "fix"
    INDEX "index"
    INPUT_SHAPE "input-shape"
    LAYERS "layers"
    MAX_ERROR "max-error"
    MEMORY "memory"
    NO_ACTIVATE "no-activate"
    PLUGINS "plugins"
    RECOMPILE "recompile"
    REQUIRE "require"
    REQUIRE_HIDDEN_WEIGHTS "require-hidden-weights"
    REQUIRE_POST_QUANTUM "require-post-quantum"
    REQUIRE_SECURITY "require-security"
    REQUIRE_STRONG_BINDING "require-strong-binding"
    REQUIRE_SUCCINCT "require-succinct"
    REQUIRE_TRANSPARENT "require-transparent"
    REQUIRE_ZK "require-zk"
    RESET "reset"
    SHA256 "sha256"
    SPLIT_ABOVE "split-above"
    STRATEGY "strategy"
    STRICT "strict"
    TIMEOUT "timeout"
    TOLERANCE "tolerance"
}
