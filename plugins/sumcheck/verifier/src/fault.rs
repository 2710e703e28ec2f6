//! Why bytes, commitments, public values and proofs are refused. Each has its sentence here
//! and nowhere else; callers that only tell people print it.

use thiserror::Error;

use crate::claims::{MAX_CLAIMS, MAX_EVALUATED_ENTRIES};
use crate::commit::{MAX_STACK, MIN_STACK};
use crate::program::TensorId;

/// Bytes that are no key and no proof.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Malformed {
    /// This error occurs when the bytes end too early.
    #[error("{needed} bytes are needed, {left} are left")]
    Short {
        /// Bytes that the next item has.
        needed: usize,
        /// Bytes that are there.
        left: usize,
    },
    /// This error occurs when a length or index has no meaning.
    #[error("a size is out of range")]
    Size,
    /// This error occurs when a field element is p or more.
    #[error("a field element is not canonical")]
    Element,
    /// This error occurs when a list is longer than its limit or than the bytes left.
    #[error("a list of {items} items does not fit")]
    List {
        /// Its length.
        items: usize,
    },
    /// This error occurs when something follows the last item.
    #[error("{bytes} bytes follow the end")]
    Rest {
        /// How much.
        bytes: usize,
    },
    /// This error occurs when the first bytes are not those of the format.
    #[error("it does not start with the {0}'s mark")]
    Mark(&'static str),
    /// This error occurs when a proof was made for an earlier version of the protocol.
    #[error(
        "it is of version {found} of the proof format, this program checks version {expected}; compile, run and prove the slice again"
    )]
    Version {
        /// The version found.
        found: u8,
        /// The version of this program.
        expected: u8,
    },
    /// This error occurs when a tag stands for nothing.
    #[error("there is no {what} {tag}")]
    Tag {
        /// What it should stand for.
        what: &'static str,
        /// The tag.
        tag: u8,
    },
    /// This error occurs when a key says otherwise than its program whether it has weights.
    #[error("it has a commitment to weights and no weights, or the reverse")]
    Weights,
    /// This error occurs when an opening is longer than any of its key can be.
    #[error("an opening has {found} bytes, those of this key have {most} at most")]
    LongOpening {
        /// Its length.
        found: usize,
        /// The greatest length.
        most: usize,
    },
    /// This error occurs when an opening can't be decoded, or encoded.
    #[error("an opening: {0}")]
    Opening(#[from] postcard::Error),
    /// This error occurs when something follows an opening.
    #[error("bytes follow an opening")]
    OpeningRest,
    /// This error occurs when the opening's bytes are another spelling of the same opening.
    #[error("an opening is not in canonical form")]
    Spelling,
}

/// For callers whose errors are sentences.
impl From<Malformed> for String {
    fn from(e: Malformed) -> Self {
        e.to_string()
    }
}

/// A commitment that the library has no parameters for.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CommitError {
    /// This error occurs when a stack is too small or too large.
    #[error("a stack has {0} variables; {MIN_STACK} to {MAX_STACK} are supported")]
    Variables(usize),
    /// This error occurs when a rate is outside the supported ones.
    #[error("a rate of 2^-{0} is not supported")]
    Rate(usize),
    /// This error occurs when the library refuses size and rate; the text is its own.
    #[error("{0}")]
    Library(String),
    /// This error occurs when the library can't say how sound an opening is.
    #[error("the library gives no soundness bound for these parameters")]
    NoBound,
}

/// Public tensors that do not fit the key's program.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PublicError {
    /// This error occurs when there are too many or too few.
    #[error("{needed} {what} are needed, {given} are given")]
    Count {
        /// Inputs or outputs.
        what: &'static str,
        /// How many the program has.
        needed: usize,
        /// How many there are.
        given: usize,
    },
    /// This error occurs when a tensor has another shape than the program's.
    #[error("tensor {tensor} needs the shape {needed:?}, {given:?} is given")]
    Shape {
        /// The tensor.
        tensor: TensorId,
        /// Its shape in the program.
        needed: Vec<usize>,
        /// The shape given.
        given: Vec<usize>,
    },
    /// This error occurs when a value is outside the bounds that the program states.
    #[error("tensor {tensor} has a value {value} outside {lo}..={hi}")]
    Value {
        /// The tensor.
        tensor: TensorId,
        /// The value.
        value: i64,
        /// The least value.
        lo: i64,
        /// The greatest value.
        hi: i64,
    },
}

/// Why a proof does not hold, by the step that found it. The prover walks the same steps, and
/// meets the limits among these before anybody else does.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ProofFault {
    /// This error occurs when the bytes are not those of a proof of this key.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// This error occurs when a commitment has no parameters; no accepted key is such.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// This error occurs when the protocol needs more messages than there are.
    #[error("the proof has too few messages")]
    TooFewMessages,
    /// This error occurs when messages are left at the end.
    #[error("the proof has {0} messages too many")]
    TooManyMessages(usize),
    /// This error occurs when the fractions of the lookup argument do not add up to zero.
    #[error("the looked-up values are not all in their tables")]
    NotInTables,
    /// This error occurs when a fraction has no value.
    #[error("a denominator of the lookup argument is zero")]
    Denominator,
    /// This error occurs when a layer does not follow from the one above it.
    #[error("layer {0} of the lookup argument does not add up")]
    Layer(usize),
    /// This error occurs when the batch of equations ends in the wrong value.
    #[error("the element-wise equations do not hold")]
    Equations,
    /// This error occurs when a claim ends at a public tensor and contradicts it.
    #[error("a claim about the public tensor {0} is wrong")]
    Public(TensorId),
    /// This error occurs when the limbs' values are not those of their tensor.
    #[error("the limbs of a tensor do not add up")]
    Limbs,
    /// This error occurs when the terms' values are not those of their sum.
    #[error("the terms of a sum do not add up")]
    Terms,
    /// This error occurs when a tensor that is zero by its wire is claimed not to be.
    #[error("a rewiring to zero has another value")]
    WireToZero,
    /// This error occurs when a wire's sumcheck ends in the wrong value.
    #[error("the sumcheck of a rewiring ends in the wrong value")]
    Wire,
    /// This error occurs when a product's sumcheck ends in the wrong value.
    #[error("the sumcheck of a product ends in the wrong value")]
    Product,
    /// This error occurs when two claims about one polynomial at one point differ.
    #[error("two claims about one value differ")]
    TwoClaims,
    /// This error occurs when a program leads to too many claims about one polynomial.
    #[error("a value has more than {MAX_CLAIMS} claims")]
    TooManyClaims,
    /// This error occurs when a program's wires are evaluated for too many claims.
    #[error(
        "the program's wires need more than {MAX_EVALUATED_ENTRIES} evaluated entries; cut the slice into smaller ones"
    )]
    TooManyEntries,
    /// This error occurs when a stack's sumcheck ends in another value than its claims say.
    #[error("the claims about committed values do not add up")]
    Columns,
    /// This error occurs when the proof has an opening of weights and the key has none, or
    /// the reverse.
    #[error("the opening of the weights is missing or superfluous")]
    WeightsOpening,
    /// This error occurs when the library refuses an opening; the text is its own.
    #[error("{0}")]
    Opening(String),
    /// This error occurs when an opening is of another value than the protocol ends in.
    #[error("the opened value is not the claimed one")]
    OpenedValue,
    /// This error occurs when layout and program do not belong together, which a key that
    /// was read or made here rules out.
    #[error("{0}")]
    Layout(&'static str),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_with_sentences_get_the_same_sentence() {
        let fault = Malformed::Rest { bytes: 3 };
        assert_eq!(String::from(fault.clone()), fault.to_string());
        assert_eq!(fault.to_string(), "3 bytes follow the end");
    }
}
