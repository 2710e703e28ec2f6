//! RNN, GRU and LSTM of fixed length (ONNX RNN-22, GRU-22, LSTM-22), unrolled. The inputs'
//! part `X·Wᵀ + Wb` is one product for all steps; each step then adds `H·Rᵀ + Rb`.
//!
//! RNN: `h = f(xW + hR)`. GRU, gates z, r, h: `z = f(…)`, `r = f(…)`,
//! `ĥ = g(xW + (r·h)R + Rb)`, or with `linear_before_reset` `g(xW + r·(hR + Rb))`,
//! `h = (1 − z)·ĥ + z·h`. LSTM, gates i, o, f, c: `i = f(… + Pi·c)`, `f = f(… + Pf·c)`,
//! `c = f·c + i·g(…)`, `o = f(… + Po·c)`, `h = o·h(c)`.
//!
//! `sequence_lens` must name the full length. With `clip`, what enters an activation is cut to
//! `±clip` first.

use crate::builder::Builder;
use crate::operand::Operand;
use crate::rule::{Decline, Done, Rule, Site};
use dsperse_onnx::AttributeProto;

pub(crate) const RULES: [Rule; 3] = [
    Rule::new("rnn", "RNN", unrolled),
    Rule::new("gru", "GRU", unrolled),
    Rule::new("lstm", "LSTM", unrolled),
];

/// Weights of one direction, ready for products from the right.
struct Cell {
    r: Operand,
    /// The recurrent bias, where it is not added to the input's part.
    rb: Option<Operand>,
    peepholes: Option<[Operand; 3]>,
    activations: Vec<Activation>,
    hidden: usize,
    linear_before_reset: bool,
    input_forget: bool,
}

/// One of the activations by name, with its parameters and what cuts its input.
#[derive(Debug, Clone)]
struct Activation {
    name: String,
    alpha: Option<f64>,
    beta: Option<f64>,
    clip: Option<f64>,
}

impl Activation {
    /// Whether it takes this many of the listed parameters, by the standard's table.
    fn parameters(name: &str) -> (bool, bool) {
        match name {
            "affine" | "hardsigmoid" | "scaledtanh" => (true, true),
            "leakyrelu" | "thresholdedrelu" | "elu" => (true, false),
            _ => (false, false),
        }
    }

    fn apply(&self, b: &mut Builder<'_>, x: &Operand) -> Done<Operand> {
        let cut = match self.clip {
            Some(c) => b.clip(x, -c, c)?,
            None => x.clone(),
        };
        let x = &cut;
        let alpha = |default: f64| self.alpha.unwrap_or(default);
        let beta = |default: f64| self.beta.unwrap_or(default);
        // Of these, the standard gives no values, or engines others.
        let named = ["affine", "scaledtanh", "thresholdedrelu"].contains(&self.name.as_str());
        if named && self.alpha.is_none() {
            return Decline::because(format!(
                "its activation \"{}\" has no parameters",
                self.name
            ));
        }
        #[allow(clippy::cast_possible_truncation)] // it was one
        let attribute = |v: f64| vec![AttributeProto::from_float("alpha", v as f32)];
        match self.name.as_str() {
            "sigmoid" => b.sigmoid(x),
            "tanh" => b.tanh(x),
            "relu" => b.relu(x),
            "softsign" => b.unary("Softsign", x),
            "softplus" => b.unary("Softplus", x),
            "affine" => {
                let t = b.scale(x, alpha(1.0))?;
                b.add_number(&t, beta(0.0))
            }
            "scaledtanh" => {
                let t = b.scale(x, beta(1.0))?;
                let t = b.tanh(&t)?;
                b.scale(&t, alpha(1.0))
            }
            "hardsigmoid" => {
                super::super::elementwise::hard_sigmoid::line(b, x, alpha(0.2), beta(0.5))
            }
            "leakyrelu" => b.node("LeakyRelu", &[x], attribute(alpha(0.01))),
            "thresholdedrelu" => b.node("ThresholdedRelu", &[x], attribute(alpha(1.0))),
            "elu" => b.node("Elu", &[x], attribute(alpha(1.0))),
            name => Decline::because(format!("its activation \"{name}\" is not supported")),
        }
    }
}

/// The activations of all directions, one after the other.
fn activations(n: &Site<'_>, standard: &[&str], directions: usize) -> Done<Vec<Activation>> {
    let given = n.node().strings("activations")?.unwrap_or_default();
    let names: Vec<&str> = match given.len() {
        l if l == standard.len() * directions => given,
        0 => standard.repeat(directions),
        _ => return Decline::because("its activations do not fit its directions"),
    };
    let clip = n.node().float("clip")?.map(f64::from).filter(|c| *c > 0.0);
    let (mut alphas, mut betas) = (
        n.floats("activation_alpha")?.iter(),
        n.floats("activation_beta")?.iter(),
    );
    let mut place = 0;
    Ok(names
        .into_iter()
        .map(|name| {
            place += 1;
            // As in ONNX Runtime, the cell's state is not cut before it becomes the output.
            let last = standard.len() == 3 && place % 3 == 0;
            let name = name.to_lowercase();
            let (alpha, beta) = Activation::parameters(&name);
            // Only activations that have parameters take one from the lists.
            Activation {
                alpha: alpha
                    .then(|| alphas.next())
                    .flatten()
                    .copied()
                    .map(f64::from),
                beta: beta.then(|| betas.next()).flatten().copied().map(f64::from),
                clip: clip.filter(|_| !last),
                name,
            }
        })
        .collect())
}

fn unrolled(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let gates = match n.operator() {
        "LSTM" => 4,
        "GRU" => 3,
        _ => 1,
    };
    let batch_first = n.flag("layout", false)?;
    let (mut x, w, r) = (n.input(0)?, n.input(1)?, n.input(2)?);
    if batch_first {
        if x.rank() != 3 {
            return Decline::because("its input is not 3-D");
        }
        x = b.transpose(&x, &[1, 0, 2])?;
    }
    let ([length, batch, _], [directions, rows, inputs], [_, _, hidden]) =
        (x.shape.as_slice(), w.shape.as_slice(), r.shape.as_slice())
    else {
        return Decline::because("its inputs are not 3-D");
    };
    let (length, batch, directions, hidden, inputs) =
        (*length, *batch, *directions, *hidden, *inputs);
    if *rows != gates * hidden || inputs != x.size(2) {
        return Decline::because("its weights do not fit its input");
    }
    if let Some(lengths) = n.optional_list(b, 4)?
        && lengths.iter().any(|l| usize::try_from(*l) != Ok(length))
    {
        return Decline::because("its sequences have different lengths");
    }
    let direction = n.text("direction", "forward")?;
    let reversed: Vec<bool> = match (direction, directions) {
        ("forward", 1) => vec![false],
        ("reverse", 1) => vec![true],
        ("bidirectional", 2) => vec![false, true],
        _ => return Decline::because(format!("its direction \"{direction}\" does not fit")),
    };
    let standard: &[&str] = match gates {
        4 => &["Sigmoid", "Tanh", "Tanh"],
        3 => &["Sigmoid", "Tanh"],
        _ => &["Tanh"],
    };
    let functions = activations(n, standard, directions)?;
    let bias = n.optional(3)?;
    let (h0, c0, p) = (n.optional(5)?, n.optional(6)?, n.optional(7)?);
    let (mut all, mut last_h, mut last_c) = (Vec::new(), Vec::new(), Vec::new());
    for (d, backwards) in reversed.into_iter().enumerate() {
        let one = |b: &mut Builder<'_>, t: &Operand| -> Done<Operand> {
            let s = b.slice(t, 0, d, d + 1)?;
            b.reshape(&s, &t.shape[1..])
        };
        let w = one(b, &w)?;
        let w = b.transpose(&w, &[1, 0])?;
        let r = one(b, &r)?;
        let r = b.transpose(&r, &[1, 0])?;
        let flat = b.reshape(&x, &[length * batch, inputs])?;
        let mut part = b.matmul(&flat, &w)?;
        let linear_before_reset = gates == 3 && n.flag("linear_before_reset", false)?;
        let mut rb = None;
        if let Some(bias) = &bias {
            let bias = one(b, bias)?;
            let half = gates * hidden;
            let (wb, own) = (
                b.slice(&bias, 0, 0, half)?,
                b.slice(&bias, 0, half, 2 * half)?,
            );
            part = b.add(&part, &wb)?;
            if linear_before_reset {
                rb = Some(own);
            } else {
                part = b.add(&part, &own)?;
            }
        }
        let part = b.reshape(&part, &[length, batch, gates * hidden])?;
        let cell = Cell {
            r,
            rb,
            peepholes: match &p {
                Some(p) => {
                    let p = one(b, p)?;
                    let parts = b.split(&p, 0, &[hidden; 3])?;
                    <[Operand; 3]>::try_from(parts).ok()
                }
                None => None,
            },
            activations: functions
                .chunks(standard.len())
                .nth(d)
                .unwrap_or_default()
                .to_vec(),
            hidden,
            linear_before_reset,
            input_forget: n.flag("input_forget", false)?,
        };
        let start = |b: &mut Builder<'_>, t: &Option<Operand>| -> Done<Operand> {
            match t {
                Some(t) if batch_first => {
                    let t = b.transpose(t, &[1, 0, 2])?;
                    one(b, &t)
                }
                Some(t) => one(b, t),
                None => b.numbers(x.dtype, &[batch, hidden], &vec![0.0; batch * hidden]),
            }
        };
        let mut h = start(b, &h0)?;
        let mut c = if gates == 4 {
            Some(start(b, &c0)?)
        } else {
            None
        };
        let mut steps = Vec::with_capacity(length);
        for k in 0..length {
            let t = if backwards { length - 1 - k } else { k };
            let xt = b.slice(&part, 0, t, t + 1)?;
            let xt = b.reshape(&xt, &[batch, gates * hidden])?;
            h = match (gates, &mut c) {
                (4, Some(c)) => lstm(b, &cell, &xt, &h, c)?,
                (3, _) => gru(b, &cell, &xt, &h)?,
                _ => {
                    let s = b.matmul(&h, &cell.r)?;
                    let s = b.add(&xt, &s)?;
                    cell.activations[0].apply(b, &s)?
                }
            };
            steps.push(b.reshape(&h, &[1, 1, batch, hidden])?);
        }
        if backwards {
            steps.reverse();
        }
        all.push(b.concat(&steps, 0)?);
        last_h.push(b.reshape(&h, &[1, batch, hidden])?);
        if let Some(c) = c {
            last_c.push(b.reshape(&c, &[1, batch, hidden])?);
        }
    }
    let mut out = vec![b.concat(&all, 1)?, b.concat(&last_h, 0)?];
    if gates == 4 {
        out.push(b.concat(&last_c, 0)?);
    }
    if batch_first {
        out[0] = b.transpose(&out[0], &[2, 0, 1, 3])?;
        for last in &mut out[1..] {
            *last = b.transpose(last, &[1, 0, 2])?;
        }
    }
    Ok(out)
}

fn gru(b: &mut Builder<'_>, cell: &Cell, xt: &Operand, h: &Operand) -> Done<Operand> {
    let k = cell.hidden;
    let xs = b.split(xt, 1, &[2 * k, k])?;
    let rs = b.split(&cell.r, 1, &[2 * k, k])?;
    let biases = match &cell.rb {
        Some(rb) => Some(b.split(rb, 0, &[2 * k, k])?),
        None => None,
    };
    let mut s = b.matmul(h, &rs[0])?;
    if let Some(rb) = &biases {
        s = b.add(&s, &rb[0])?;
    }
    let s = b.add(&xs[0], &s)?;
    let s = cell.activations[0].apply(b, &s)?;
    let zr = b.split(&s, 1, &[k, k])?;
    let new = if cell.linear_before_reset {
        let mut s = b.matmul(h, &rs[1])?;
        if let Some(rb) = &biases {
            s = b.add(&s, &rb[1])?;
        }
        b.mul(&zr[1], &s)?
    } else {
        let s = b.mul(&zr[1], h)?;
        b.matmul(&s, &rs[1])?
    };
    let new = b.add(&xs[1], &new)?;
    let new = cell.activations[1].apply(b, &new)?;
    // (1 − z)·ĥ + z·h = ĥ + z·(h − ĥ)
    let d = b.sub(h, &new)?;
    let d = b.mul(&zr[0], &d)?;
    b.add(&new, &d)
}

fn lstm(
    b: &mut Builder<'_>,
    cell: &Cell,
    xt: &Operand,
    h: &Operand,
    c: &mut Operand,
) -> Done<Operand> {
    let k = cell.hidden;
    let s = b.matmul(h, &cell.r)?;
    let s = b.add(xt, &s)?;
    let [f, g, out] = cell.activations.as_slice() else {
        return Decline::because("it has not three activations");
    };
    let (i, o, forget, new);
    match &cell.peepholes {
        // The gates are i, o, f, c, so three neighbours have the same function.
        None => {
            let parts = b.split(&s, 1, &[3 * k, k])?;
            let gates = f.apply(b, &parts[0])?;
            let gates = b.split(&gates, 1, &[k, k, k])?;
            i = gates[0].clone();
            o = Some(gates[1].clone());
            forget = gates[2].clone();
            new = g.apply(b, &parts[1])?;
        }
        Some([pi, _, pf]) => {
            let parts = b.split(&s, 1, &[k; 4])?;
            let t = b.mul(pi, c)?;
            let t = b.add(&parts[0], &t)?;
            i = f.apply(b, &t)?;
            let t = b.mul(pf, c)?;
            let t = b.add(&parts[2], &t)?;
            forget = f.apply(b, &t)?;
            o = None;
            new = g.apply(b, &parts[3])?;
        }
    }
    let forget = if cell.input_forget {
        let one = b.scalar(&i, 1.0)?;
        b.sub(&one, &i)?
    } else {
        forget
    };
    let kept = b.mul(&forget, c)?;
    let added = b.mul(&i, &new)?;
    *c = b.add(&kept, &added)?;
    let o = match (o, &cell.peepholes) {
        (Some(o), _) => o,
        (None, Some([_, po, _])) => {
            let part = b.slice(&s, 1, k, 2 * k)?;
            let t = b.mul(po, c)?;
            let t = b.add(&part, &t)?;
            f.apply(b, &t)?
        }
        (None, None) => return Decline::because("it has no output gate"),
    };
    let t = out.apply(b, c)?;
    b.mul(&o, &t)
}
