//! Einsum (ONNX Einsum-12) of up to many operands, pair by pair: axes that only one operand
//! has and nobody needs are summed, then both become `[batch, left, inner]` and
//! `[batch, inner, right]` (matrices where nothing is shared) and are multiplied. A label that comes twice in one operand takes
//! its diagonal; an axis of size 1 against a longer one is left out.

use crate::builder::Builder;
use crate::operand::{Operand, strides};
use crate::rule::{Decline, Done, Rule, Site};

use super::super::movement::indexing::from_flat;

pub(crate) const RULE: Rule = Rule::new("einsum", "Einsum", einsum);

/// A tensor with a label for each axis, each label once.
struct Term {
    x: Operand,
    labels: Vec<char>,
}

/// Labels of an operand; an ellipsis becomes upper-case Greek letters, counted from the end.
fn labels(text: &str, rank: usize) -> Done<Vec<char>> {
    let plain = text.chars().filter(char::is_ascii_alphabetic).count();
    if !text.contains("...") {
        if plain != rank {
            return Decline::because("its equation does not fit its operands");
        }
        return Ok(text.chars().filter(char::is_ascii_alphabetic).collect());
    }
    let Some(open) = rank.checked_sub(plain) else {
        return Decline::because("its equation does not fit its operands");
    };
    let mut out = Vec::new();
    let mut parts = text.splitn(2, "...");
    let letters = |t: Option<&str>| -> Vec<char> {
        t.unwrap_or("")
            .chars()
            .filter(char::is_ascii_alphabetic)
            .collect()
    };
    out.extend(letters(parts.next()));
    out.extend((0..open).rev().map(ellipsis));
    out.extend(letters(parts.next()));
    Ok(out)
}

/// The label of the `i`-th axis of an ellipsis, from the end.
fn ellipsis(i: usize) -> char {
    char::from_u32(0x391 + u32::try_from(i).unwrap_or(0)).unwrap_or('Α')
}

fn einsum(b: &mut Builder<'_>, n: &Site<'_>) -> Done {
    let equation: String = n
        .text("equation", "")?
        .chars()
        .filter(|c| !c.is_whitespace())
        .collect();
    let (left, right) = match equation.split_once("->") {
        Some((l, r)) => (l.to_owned(), Some(r.to_owned())),
        None => (equation, None),
    };
    let inputs = n.inputs()?;
    let texts: Vec<&str> = left.split(',').collect();
    if texts.len() != inputs.len() {
        return Decline::because("its equation has another number of operands");
    }
    let mut terms = Vec::new();
    let mut widest = 0;
    for (x, text) in inputs.iter().zip(&texts) {
        let list = labels(text, x.rank())?;
        widest = widest.max(list.iter().filter(|c| !c.is_ascii()).count());
        terms.push(diagonal(b, x, list)?);
    }
    let output: Vec<char> = match &right {
        Some(text) => {
            let plain = text.chars().filter(char::is_ascii_alphabetic).count();
            let open = if text.contains("...") { widest } else { 0 };
            labels(text, plain + open)?
        }
        None => {
            // Labels that come once, in alphabetical order, after the ellipsis.
            let mut once: Vec<char> = left
                .chars()
                .filter(|c| c.is_ascii_alphabetic() && left.matches(*c).count() == 1)
                .collect();
            once.sort_unstable();
            (0..widest).rev().map(ellipsis).chain(once).collect()
        }
    };
    let mut terms = terms.into_iter();
    let Some(mut sum) = terms.next() else {
        return Decline::because("it has no operands");
    };
    let mut rest: Vec<Term> = terms.collect();
    loop {
        let needed: Vec<char> = output
            .iter()
            .chain(rest.iter().flat_map(|t| &t.labels))
            .copied()
            .collect();
        sum = summed(b, sum, &needed)?;
        if rest.is_empty() {
            break;
        }
        let next = rest.remove(0);
        let later: Vec<char> = output
            .iter()
            .chain(rest.iter().flat_map(|t| &t.labels))
            .copied()
            .collect();
        sum = pair(b, sum, next, &later)?;
    }
    let perm: Vec<usize> = output
        .iter()
        .map(|l| sum.labels.iter().position(|s| s == l))
        .collect::<Option<_>>()
        .ok_or_else(|| Decline("its result has an axis that no operand has".into()))?;
    Ok(vec![b.transpose(&sum.x, &perm)?])
}

/// Each label once: where it comes twice, only elements with the same place on both axes.
fn diagonal(b: &mut Builder<'_>, x: &Operand, labels: Vec<char>) -> Done<Term> {
    let mut once: Vec<(char, usize)> = Vec::new();
    for (i, l) in labels.iter().enumerate() {
        match once.iter().find(|(o, _)| o == l) {
            Some((_, size)) if *size != x.size(i) => {
                return Decline::because("it takes a diagonal of no square");
            }
            Some(_) => {}
            None => once.push((*l, x.size(i))),
        }
    }
    if once.len() == labels.len() {
        return Ok(Term {
            x: x.clone(),
            labels,
        });
    }
    let steps = strides(&x.shape);
    let mut places = vec![0];
    for (label, size) in &once {
        let own = labels.iter().zip(&steps).filter(|(l, _)| *l == label);
        let step: usize = own.map(|(_, s)| s).sum();
        places = places
            .iter()
            .flat_map(|base| (0..*size).map(move |i| base + i * step))
            .collect();
    }
    let shape: Vec<usize> = once.iter().map(|(_, size)| *size).collect();
    Ok(Term {
        x: from_flat(b, x, &places, &shape)?,
        labels: once.into_iter().map(|(l, _)| l).collect(),
    })
}

/// Without the axes of size 1 that the other operand has longer.
fn widened(b: &mut Builder<'_>, t: Term, other: &Term) -> Done<Term> {
    let longer = |l: char| {
        let at = other.labels.iter().position(|o| *o == l);
        at.is_some_and(|i| other.x.size(i) > 1)
    };
    let kept: Vec<usize> = (0..t.labels.len())
        .filter(|i| t.x.size(*i) != 1 || !longer(t.labels[*i]))
        .collect();
    let shape: Vec<usize> = kept.iter().map(|i| t.x.size(*i)).collect();
    Ok(Term {
        x: b.reshape(&t.x, &shape)?,
        labels: kept.into_iter().map(|i| t.labels[i]).collect(),
    })
}

/// Without the axes that nobody needs.
fn summed(b: &mut Builder<'_>, t: Term, needed: &[char]) -> Done<Term> {
    let over: Vec<usize> = (0..t.labels.len())
        .filter(|i| !needed.contains(&t.labels[*i]))
        .collect();
    Ok(Term {
        x: b.sum(&t.x, &over, false)?,
        labels: t
            .labels
            .into_iter()
            .filter(|l| needed.contains(l))
            .collect(),
    })
}

fn pair(b: &mut Builder<'_>, p: Term, q: Term, later: &[char]) -> Done<Term> {
    let mine: Vec<char> = later.iter().chain(&p.labels).copied().collect();
    let q = summed(b, q, &mine)?;
    let p = widened(b, p, &q)?;
    let q = widened(b, q, &p)?;
    let size = |t: &Term, l: char| {
        let i = t.labels.iter().position(|s| *s == l);
        i.map_or(1, |i| t.x.size(i))
    };
    let both: Vec<char> = p
        .labels
        .iter()
        .copied()
        .filter(|l| q.labels.contains(l))
        .collect();
    if both.iter().any(|l| size(&p, *l) != size(&q, *l)) {
        return Decline::because("an axis has different sizes in its operands");
    }
    let batch: Vec<char> = both.iter().copied().filter(|l| later.contains(l)).collect();
    let inner: Vec<char> = both
        .iter()
        .copied()
        .filter(|l| !later.contains(l))
        .collect();
    let left: Vec<char> = p
        .labels
        .iter()
        .copied()
        .filter(|l| !both.contains(l))
        .collect();
    let right: Vec<char> = q
        .labels
        .iter()
        .copied()
        .filter(|l| !both.contains(l))
        .collect();
    let total = |t: &Term, list: &[char]| list.iter().map(|l| size(t, *l)).product::<usize>();
    let mut sizes_p = vec![total(&p, &batch), total(&p, &left), total(&p, &inner)];
    let mut sizes_q = vec![total(&q, &batch), total(&q, &inner), total(&q, &right)];
    if batch.is_empty() {
        // Plain matrices are what everybody multiplies.
        sizes_p.remove(0);
        sizes_q.remove(0);
    }
    let mut shape = Vec::new();
    shape.extend(batch.iter().chain(&left).map(|l| size(&p, *l)));
    shape.extend(right.iter().map(|l| size(&q, *l)));
    let mut order = |t: &Term, lists: [&[char]; 3], sizes: &[usize]| -> Done<Operand> {
        let perm: Vec<usize> = lists
            .concat()
            .iter()
            .filter_map(|l| t.labels.iter().position(|s| s == l))
            .collect();
        let x = b.transpose(&t.x, &perm)?;
        b.reshape(&x, sizes)
    };
    let x = order(&p, [&batch, &left, &inner], &sizes_p)?;
    let y = order(&q, [&batch, &inner, &right], &sizes_q)?;
    let z = b.matmul(&x, &y)?;
    Ok(Term {
        x: b.reshape(&z, &shape)?,
        labels: [batch, left, right].concat(),
    })
}
