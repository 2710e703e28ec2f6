//! Runs of neighbours that have something in common among the fractions of the lookup argument.
//!
//! Padding is looked up with numerator 0, and where the committed values are 0 too, with one
//! denominator. A third or more of the leaves of a network can be such: 768 is padded to 1024.
//! The arithmetic on such a run is done once for all of it. Elements are looked up with
//! numerator 1, which saves half of the products of their layer. What is sent does not change.

use std::ops::Range;

use dsperse_sumcheck_verifier::commit::EF;
use p3_field::PrimeCharacteristicRing;

/// Shorter runs cost more than they save.
const LEAST: usize = 8;

/// What neighbouring fractions have in common.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// They are all 0 over this.
    Zeros(EF),
    /// Their numerators are all 1, before they are scaled.
    Ones,
}

/// Neighbouring fractions of a kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Run {
    /// The first.
    pub start: usize,
    /// The one after the last.
    pub end: usize,
    /// What they have in common.
    pub kind: Kind,
}

impl Run {
    /// Whether it is long enough.
    pub fn is_worth(&self) -> bool {
        self.end >= self.start + LEAST
    }
}

/// Runs that do not touch, in their order.
#[derive(Clone, Debug, Default)]
pub struct Runs(Vec<Run>);

impl Runs {
    /// Of runs of any order that have no element in common.
    pub fn new(mut runs: Vec<Run>) -> Self {
        runs.sort_by_key(|r| r.start);
        Self(runs)
    }

    /// The runs of pairs of neighbours.
    pub fn halved(&self) -> Self {
        let half = self.0.iter().map(|r| Run {
            start: r.start.div_ceil(2),
            end: r.end / 2,
            kind: r.kind,
        });
        Self(half.filter(Run::is_worth).collect())
    }

    /// The runs of the sums of pairs of neighbours, if these runs are of pairs already.
    pub fn summed(self) -> Self {
        let sums = self.0.into_iter().filter_map(|r| match r.kind {
            Kind::Zeros(den) => Some(Run {
                kind: Kind::Zeros(den.square()),
                ..r
            }),
            Kind::Ones => None,
        });
        Self(sums.collect())
    }

    /// A range in parts, each within a run, whose kind is told, or outside all of them.
    pub fn segments(
        &self,
        range: Range<usize>,
    ) -> impl Iterator<Item = (Range<usize>, Option<Kind>)> + '_ {
        let mut next = self.0.partition_point(|r| r.end <= range.start);
        let mut at = range.start;
        std::iter::from_fn(move || {
            if at >= range.end {
                return None;
            }
            let run = self.0.get(next).filter(|r| r.start < range.end);
            let (end, kind) = match run {
                Some(r) if r.start <= at => {
                    next += 1;
                    (r.end.min(range.end), Some(r.kind))
                }
                Some(r) => (r.start, None),
                None => (range.end, None),
            };
            let part = at..end;
            at = end;
            Some((part, kind))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_cover_a_range_once() {
        let run = |start, end, den| Run {
            start,
            end,
            kind: match den {
                0 => Kind::Ones,
                _ => Kind::Zeros(EF::from_u64(den)),
            },
        };
        let runs = Runs::new(vec![run(40, 64, 2), run(8, 24, 0)]);
        for (from, to) in [(0, 70), (8, 24), (10, 20), (24, 40), (20, 41), (64, 80)] {
            let mut at = from;
            for (part, kind) in runs.segments(from..to) {
                assert_eq!(part.start, at);
                assert!(part.end > at);
                at = part.end;
                for i in part {
                    let within = runs.0.iter().find(|r| r.start <= i && i < r.end);
                    assert_eq!(within.map(|r| r.kind), kind, "{i}");
                }
            }
            assert_eq!(at, to);
        }
        let half = runs.halved();
        assert_eq!(half.0, [run(4, 12, 0), run(20, 32, 2)]);
        assert_eq!(half.summed().0, [run(20, 32, 4)]);
        // Odd ends lose what has no partner, and short runs are no longer worth it.
        let odd = Runs::new(vec![run(1, 19, 3)]).halved();
        assert_eq!(odd.0, [run(1, 9, 3)]);
        assert!(odd.halved().0.is_empty());
    }
}
