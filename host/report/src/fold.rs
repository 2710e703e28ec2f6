//! Repeated blocks: stretches of slices that are built alike, one after another.
//!
//! Deep models repeat a block of a few layers many times. Drawn one by one, they hide what
//! the model is. Here neighbouring repetitions are found by the operators of their slices;
//! sizes may differ, as the channels of a network that grows wider do.

/// A stretch of the model: one slice, or a block that repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Its first slice.
    pub first: usize,
    /// Slices of one repetition.
    pub length: usize,
    /// Repetitions; 1 for what stands alone.
    pub times: usize,
}

impl Stretch {
    /// The slices of all repetitions.
    #[must_use]
    pub fn slices(&self) -> std::ops::Range<usize> {
        self.first..self.first + self.length * self.times
    }
    /// Whether it is more than one slice.
    #[must_use]
    pub fn is_block(&self) -> bool {
        self.times > 1
    }
}

/// Longest block that is looked for.
const LONGEST: usize = 24;
/// Fewest slices that are worth folding.
const FEWEST: usize = 4;

/// Cuts a list into stretches. From each position, the repetition that covers most is taken,
/// of two that cover the same the shorter block. Where a block begins is open by as many
/// places as it is long; it begins where the fewest tensors cross, which is where a person
/// would cut: `crossing` says how many are alive before a slice.
#[must_use]
pub fn fold<T: PartialEq>(alike: &[T], crossing: impl Fn(usize) -> usize) -> Vec<Stretch> {
    let mut stretches = Vec::new();
    let mut first = 0;
    while first < alike.len() {
        let best = (1..=LONGEST.min((alike.len() - first) / 2))
            .map(|length| Stretch {
                first,
                length,
                times: repetitions(&alike[first..], length),
            })
            .filter(|s| s.is_block() && s.length * s.times >= FEWEST)
            // `max_by_key` takes the last of equals, so the shorter comes last.
            .rev()
            .max_by_key(|s| s.length * s.times);
        let single = |first| Stretch {
            first,
            length: 1,
            times: 1,
        };
        let Some(best) = best else {
            stretches.push(single(first));
            first += 1;
            continue;
        };
        // A later beginning may cost the last repetition, when it is no whole one in truth.
        let begin = (first..first + best.length)
            .filter(|at| {
                let times = repetitions(alike.get(*at..).unwrap_or_default(), best.length);
                times > 1 && times + 1 >= best.times && times * best.length >= FEWEST
            })
            .min_by_key(|at| (crossing(*at), *at))
            .unwrap_or(first);
        stretches.extend((first..begin).map(single));
        let times = repetitions(&alike[begin..], best.length);
        let stretch = Stretch {
            first: begin,
            length: best.length,
            times,
        };
        first = stretch.slices().end;
        stretches.push(stretch);
    }
    stretches
}

fn repetitions<T: PartialEq>(list: &[T], length: usize) -> usize {
    let Some(block) = list.get(..length) else {
        return 0;
    };
    list.chunks_exact(length)
        .take_while(|chunk| *chunk == block)
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn told(text: &str) -> Vec<(usize, usize, usize)> {
        let letters: Vec<char> = text.chars().collect();
        fold(&letters, |_| 1)
            .into_iter()
            .map(|s| (s.first, s.length, s.times))
            .collect()
    }

    #[test]
    fn blocks_of_a_residual_network_are_found() {
        assert_eq!(told("abcabcabcd"), [(0, 3, 3), (9, 1, 1)]);
        assert_eq!(
            told("xababababyababab"),
            [(0, 1, 1), (1, 2, 4), (9, 1, 1), (10, 2, 3)]
        );
    }

    #[test]
    fn few_and_single_slices_stay_as_they_are() {
        assert_eq!(told("aab"), [(0, 1, 1), (1, 1, 1), (2, 1, 1)]);
        assert_eq!(told("aaaa"), [(0, 1, 4)]);
        assert_eq!(told(""), []);
    }

    #[test]
    fn a_block_begins_where_few_tensors_cross() {
        let letters: Vec<char> = "cabcabcabcx".chars().collect();
        // Two tensors are alive within a block, one between blocks: before each "a".
        let folded = fold(&letters, |i| if letters[i] == 'a' { 1 } else { 2 });
        let block = folded.iter().find(|s| s.is_block()).expect("a block");
        assert_eq!((block.first, block.length, block.times), (1, 3, 3));
    }

    #[test]
    fn of_equal_cover_the_shorter_block_is_taken() {
        assert_eq!(told("abababab"), [(0, 2, 4)]);
    }

    proptest! {
        #[test]
        fn every_slice_is_in_one_stretch(letters in prop::collection::vec(0u8..3, 0..80)) {
            let slices: Vec<usize> = fold(&letters, |i| i % 3).iter().flat_map(Stretch::slices).collect();
            prop_assert_eq!(slices, (0..letters.len()).collect::<Vec<_>>());
        }

        #[test]
        fn repetitions_are_alike(letters in prop::collection::vec(0u8..3, 0..80)) {
            for s in fold(&letters, |i| i % 3) {
                let all = &letters[s.slices()];
                let block = &all[..s.length];
                prop_assert!(all.chunks(s.length).all(|c| c == block));
            }
        }
    }
}
