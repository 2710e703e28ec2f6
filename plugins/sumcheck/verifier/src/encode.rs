//! The canonical bytes of a program, as they stand in the verifying key.

use crate::bytes::{ByteReader, Writer};
use crate::fault::Malformed;
use crate::program::*;
use crate::wire::MAX_FACTOR_ENTRIES;

/// Writes a program.
pub fn write_program(w: &mut Writer, program: &Program) {
    w.list(&program.nodes, write_op);
    w.list(&program.tables, |w, t| {
        w.i64(t.lo);
        w.list(&t.values, |w, &v| w.u32(v as u32));
    });
    w.list(&program.outputs, |w, &t| w.u32(t));
}

/// Reads a program; it still has to be validated.
pub fn read_program(r: &mut ByteReader<'_>) -> Result<Program, Malformed> {
    Ok(Program {
        nodes: r.list(MAX_NODES, 1, read_op)?,
        tables: r.list(MAX_NODES, 12, |r| {
            Ok::<_, Malformed>(Table {
                lo: r.i64()?,
                values: r.list(MAX_TABLE, 4, |r| r.u32().map(|v| v as i32))?,
            })
        })?,
        outputs: r.list(MAX_NODES, 4, |r| r.u32())?,
    })
}

fn sizes(w: &mut Writer, list: &[usize]) {
    w.list(list, |w, &d| w.size(d));
}

fn read_sizes(r: &mut ByteReader<'_>) -> Result<Vec<usize>, Malformed> {
    r.list(MAX_RANK, 4, |r| r.size())
}

fn labels(w: &mut Writer, list: &[u8]) {
    w.list(list, |w, &l| w.u8(l));
}

fn read_labels(r: &mut ByteReader<'_>) -> Result<Vec<u8>, Malformed> {
    r.list(MAX_RANK, 1, |r| r.u8())
}

fn write_op(w: &mut Writer, op: &Op) {
    match op {
        Op::Input { shape, lo, hi } => {
            w.u8(0);
            sizes(w, shape);
            w.i64(*lo);
            w.i64(*hi);
        }
        Op::Weight { shape, lo, hi } => {
            w.u8(1);
            sizes(w, shape);
            w.i64(*lo);
            w.i64(*hi);
        }
        Op::Wire { input, factors } => {
            w.u8(2);
            w.u32(*input);
            w.list(factors, write_factor);
        }
        Op::Select { input, dim, ids } => {
            w.u8(10);
            w.u32(*input);
            w.size(*dim);
            w.u32(*ids);
        }
        Op::Einsum {
            a,
            b,
            a_labels,
            b_labels,
            out_labels,
        } => {
            w.u8(3);
            w.u32(*a);
            w.u32(*b);
            labels(w, a_labels);
            labels(w, b_labels);
            labels(w, out_labels);
        }
        Op::Affine { terms, constant } => {
            w.u8(4);
            w.list(terms, |w, &(t, c)| {
                w.u32(t);
                w.i64(c);
            });
            w.i64(*constant);
        }
        Op::Requant {
            input,
            multiplier,
            shift,
            lo,
            hi,
        } => {
            w.u8(5);
            w.u32(*input);
            w.i64(*multiplier);
            w.u32(*shift);
            w.i64(*lo);
            w.i64(*hi);
        }
        Op::Lookup { input, table } => {
            w.u8(6);
            w.u32(*input);
            w.u32(*table);
        }
        Op::Max { inputs } => {
            w.u8(7);
            w.list(inputs, |w, &t| w.u32(t));
        }
        Op::Div { num, den, lo, hi } => {
            w.u8(8);
            w.u32(*num);
            w.u32(*den);
            w.i64(*lo);
            w.i64(*hi);
        }
        Op::Sqrt { input } => {
            w.u8(9);
            w.u32(*input);
        }
    }
}

fn read_op(r: &mut ByteReader<'_>) -> Result<Op, Malformed> {
    Ok(match r.u8()? {
        0 => Op::Input {
            shape: read_sizes(r)?,
            lo: r.i64()?,
            hi: r.i64()?,
        },
        1 => Op::Weight {
            shape: read_sizes(r)?,
            lo: r.i64()?,
            hi: r.i64()?,
        },
        2 => Op::Wire {
            input: r.u32()?,
            factors: r.list(4 * MAX_RANK, 5, read_factor)?,
        },
        3 => Op::Einsum {
            a: r.u32()?,
            b: r.u32()?,
            a_labels: read_labels(r)?,
            b_labels: read_labels(r)?,
            out_labels: read_labels(r)?,
        },
        4 => Op::Affine {
            terms: r.list(MAX_NODES, 12, |r| Ok::<_, Malformed>((r.u32()?, r.i64()?)))?,
            constant: r.i64()?,
        },
        5 => Op::Requant {
            input: r.u32()?,
            multiplier: r.i64()?,
            shift: r.u32()?,
            lo: r.i64()?,
            hi: r.i64()?,
        },
        6 => Op::Lookup {
            input: r.u32()?,
            table: r.u32()?,
        },
        7 => Op::Max {
            inputs: r.list(MAX_MAX_INPUTS, 4, |r| r.u32())?,
        },
        8 => Op::Div {
            num: r.u32()?,
            den: r.u32()?,
            lo: r.i64()?,
            hi: r.i64()?,
        },
        9 => Op::Sqrt { input: r.u32()? },
        10 => Op::Select {
            input: r.u32()?,
            dim: r.size()?,
            ids: r.u32()?,
        },
        tag => {
            return Err(Malformed::Tag {
                what: "operation",
                tag,
            });
        }
    })
}

fn write_factor(w: &mut Writer, factor: &Factor) {
    match factor {
        Factor::Keep { dim } => {
            w.u8(0);
            w.size(*dim);
        }
        Factor::Repeat { size } => {
            w.u8(1);
            w.size(*size);
        }
        Factor::Strided {
            dim,
            size,
            start,
            step,
        } => {
            w.u8(2);
            w.size(*dim);
            w.size(*size);
            w.i64(*start);
            w.i64(*step);
        }
        Factor::Window {
            dim,
            kernel,
            size,
            stride,
            dilation,
            pad,
        }
        | Factor::Pool {
            dim,
            kernel,
            size,
            stride,
            dilation,
            pad,
        } => {
            w.u8(match factor {
                Factor::Window { .. } => 3,
                _ => 4,
            });
            for x in [dim, kernel, size, stride, dilation, pad] {
                w.size(*x);
            }
        }
        Factor::Sum { dim } => {
            w.u8(5);
            w.size(*dim);
        }
        Factor::Gather { dim, indices } => {
            w.u8(6);
            w.size(*dim);
            w.list(indices, |w, &i| w.i64(i));
        }
        Factor::Reshape { dims, sizes: out } => {
            w.u8(7);
            sizes(w, dims);
            sizes(w, out);
        }
        Factor::Matrix {
            dims,
            sizes: out,
            entries,
        } => {
            w.u8(8);
            sizes(w, dims);
            sizes(w, out);
            w.list(entries, |w, &(o, i, c)| {
                w.u32(o);
                w.u32(i);
                w.u32(c as u32);
            });
        }
    }
}

fn read_factor(r: &mut ByteReader<'_>) -> Result<Factor, Malformed> {
    Ok(match r.u8()? {
        0 => Factor::Keep { dim: r.size()? },
        1 => Factor::Repeat { size: r.size()? },
        2 => Factor::Strided {
            dim: r.size()?,
            size: r.size()?,
            start: r.i64()?,
            step: r.i64()?,
        },
        3 => Factor::Window {
            dim: r.size()?,
            kernel: r.size()?,
            size: r.size()?,
            stride: r.size()?,
            dilation: r.size()?,
            pad: r.size()?,
        },
        4 => Factor::Pool {
            dim: r.size()?,
            kernel: r.size()?,
            size: r.size()?,
            stride: r.size()?,
            dilation: r.size()?,
            pad: r.size()?,
        },
        5 => Factor::Sum { dim: r.size()? },
        6 => Factor::Gather {
            dim: r.size()?,
            indices: r.list(MAX_FACTOR_ENTRIES, 8, |r| r.i64())?,
        },
        7 => Factor::Reshape {
            dims: read_sizes(r)?,
            sizes: read_sizes(r)?,
        },
        8 => Factor::Matrix {
            dims: read_sizes(r)?,
            sizes: read_sizes(r)?,
            entries: r.list(MAX_FACTOR_ENTRIES, 12, |r| {
                Ok::<_, Malformed>((r.u32()?, r.u32()?, r.u32()? as i32))
            })?,
        },
        tag => {
            return Err(Malformed::Tag {
                what: "factor",
                tag,
            });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scalars reshaped to scalars, which a rewiring may have any number of.
    fn rewiring(factors: usize) -> Program {
        let nothing = Factor::Reshape {
            dims: vec![],
            sizes: vec![],
        };
        let factors = vec![nothing; factors];
        Program {
            nodes: vec![Op::Wire { input: 0, factors }],
            ..Program::default()
        }
    }

    fn read(program: &Program) -> Result<Program, Malformed> {
        let mut w = Writer::default();
        write_program(&mut w, program);
        let mut r = ByteReader::new(&w.out);
        let read = read_program(&mut r)?;
        r.finish().map(|()| read)
    }

    #[test]
    fn a_rewiring_has_a_greatest_number_of_factors() {
        let longest = rewiring(32);
        assert_eq!(read(&longest), Ok(longest));
        let items = 33;
        assert_eq!(read(&rewiring(33)), Err(Malformed::List { items }));
    }

    #[test]
    fn an_operand_has_as_many_labels_as_dimensions() {
        let product = |labels: u8| Program {
            nodes: vec![Op::Einsum {
                a: 0,
                b: 1,
                a_labels: (0..labels).collect(),
                b_labels: vec![],
                out_labels: (0..labels).collect(),
            }],
            ..Program::default()
        };
        assert_eq!(read(&product(8)), Ok(product(8)));
        assert_eq!(read(&product(9)), Err(Malformed::List { items: 9 }));
    }
}
