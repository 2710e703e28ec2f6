//! Functions of one variable that become lookup tables.

/// A function of one variable.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Function {
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// Gauss error function.
    Erf,
    /// `x/2 · (1 + erf(x/√2))`.
    Gelu,
    /// The approximation of GELU with tanh.
    GeluTanh,
    /// `e^x`.
    Exp,
    /// Square root; 0 for negative numbers.
    Sqrt,
    /// Natural logarithm; the least finite value is that of the least positive number.
    Log,
    /// Sine.
    Sin,
    /// Cosine.
    Cos,
    /// Inverse tangent.
    Atan,
    /// `x` to a constant power.
    Power(f64),
}

impl Function {
    /// The function's value.
    #[must_use]
    pub fn at(self, x: f64) -> f64 {
        use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI};
        match self {
            Self::Sigmoid => 1.0 / (1.0 + libm::exp(-x)),
            Self::Tanh => libm::tanh(x),
            Self::Erf => libm::erf(x),
            Self::Gelu => 0.5 * x * (1.0 + libm::erf(x * FRAC_1_SQRT_2)),
            Self::GeluTanh => {
                let inner = FRAC_2_PI.sqrt() * (x + 0.044_715 * x * x * x);
                0.5 * x * (1.0 + libm::tanh(inner))
            }
            Self::Exp => libm::exp(x),
            Self::Sqrt => x.max(0.0).sqrt(),
            Self::Log => libm::log(x),
            Self::Sin => libm::sin(x),
            Self::Cos => libm::cos(x),
            Self::Atan => libm::atan(x),
            Self::Power(p) => libm::pow(x, p),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        let near = |f: Function, x: f64, y: f64| {
            assert!((f.at(x) - y).abs() < 1e-9, "{f:?}({x}) = {}", f.at(x));
        };
        near(Function::Sigmoid, 0.0, 0.5);
        near(Function::Erf, 1.0, 0.842_700_792_949_715);
        near(Function::Gelu, 1.0, 0.841_344_746_068_543);
        near(Function::GeluTanh, 1.0, 0.841_191_990_608_276);
        near(Function::Sqrt, -4.0, 0.0);
        near(Function::Power(-0.5), 4.0, 0.5);
    }
}
