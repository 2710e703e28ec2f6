//! Element by element.

pub(super) mod elu;
pub(super) mod extremum;
pub(super) mod gelu;
pub(super) mod hard_sigmoid;
pub(super) mod hyperbolic;
pub(super) mod inverse;
pub(super) mod logic;
pub(super) mod mean;
pub(super) mod mish;
pub(super) mod modulo;
pub(super) mod pow;
pub(super) mod prelu;
pub(super) mod reciprocal;
pub(super) mod round;
pub(super) mod select;
pub(super) mod shrink;
pub(super) mod sigmoid;
pub(super) mod simple;
pub(super) mod softmax;
pub(super) mod softplus;
pub(super) mod softsign;
pub(super) mod sum;
pub(super) mod thresholded_relu;
