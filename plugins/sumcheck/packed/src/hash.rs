//! BLAKE3 of many short messages at once: nodes of Merkle trees, and tries for a proof of work.
//!
//! The library hashes neighbours together only where their length is a multiple of a block. A
//! node of two digests of 28 bytes is less than a block.

/// Bytes of a block.
const BLOCK: usize = 64;

/// Digests of the first messages of `len` bytes each, as many as are worth it: their number is
/// returned. Messages are shorter than a block.
pub fn hash_short(messages: &[u8], len: usize, out: &mut [[u8; 32]]) -> usize {
    if len == 0 || len >= BLOCK {
        return 0;
    }
    #[cfg(target_arch = "x86_64")]
    if crate::level() == crate::Level::Avx512 {
        // SAFETY: `level` says that the processor has the features that it is compiled for.
        return unsafe { avx512::hash_short(messages, len, out) };
    }
    let _ = (messages, out);
    0
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::BLOCK;

    type V = __m512i;

    const IV: [u32; 8] = [
        0x6a09_e667,
        0xbb67_ae85,
        0x3c6e_f372,
        0xa54f_f53a,
        0x510e_527f,
        0x9b05_688c,
        0x1f83_d9ab,
        0x5be0_cd19,
    ];
    /// Start and end of a chunk, and of the tree: all there is (BLAKE3, section 2.2).
    const FLAGS: u32 = 1 | 1 << 1 | 1 << 3;
    /// How words of a block are permuted from round to round (table 2).
    const PERMUTATION: [usize; 16] = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];
    /// Messages at once: a vector has a word of each.
    const LANES: usize = 16;

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn splat(word: u32) -> V {
        _mm512_set1_epi32(word.cast_signed())
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load(words: &[u32; LANES]) -> V {
        // SAFETY: reads the sixteen words that are there; any alignment is allowed.
        unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn store(v: V, words: &mut [u32; LANES]) {
        // SAFETY: writes the sixteen words that are there; any alignment is allowed.
        unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), v) }
    }

    /// The quarter round G (section 2.2).
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn quarter(s: &mut [V; 16], [a, b, c, d]: [usize; 4], x: V, y: V) {
        s[a] = _mm512_add_epi32(_mm512_add_epi32(s[a], s[b]), x);
        s[d] = _mm512_ror_epi32::<16>(_mm512_xor_si512(s[d], s[a]));
        s[c] = _mm512_add_epi32(s[c], s[d]);
        s[b] = _mm512_ror_epi32::<12>(_mm512_xor_si512(s[b], s[c]));
        s[a] = _mm512_add_epi32(_mm512_add_epi32(s[a], s[b]), y);
        s[d] = _mm512_ror_epi32::<8>(_mm512_xor_si512(s[d], s[a]));
        s[c] = _mm512_add_epi32(s[c], s[d]);
        s[b] = _mm512_ror_epi32::<7>(_mm512_xor_si512(s[b], s[c]));
    }

    /// See [`super::hash_short`].
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub fn hash_short(messages: &[u8], len: usize, out: &mut [[u8; 32]]) -> usize {
        let mut done = 0;
        let groups = messages
            .chunks_exact(LANES * len)
            .zip(out.chunks_exact_mut(LANES));
        for (messages, out) in groups {
            // Word by word, with zeros after the messages' ends.
            let mut words = [[0u32; LANES]; 16];
            for (lane, message) in messages.chunks_exact(len).enumerate() {
                let mut block = [0; BLOCK];
                block[..len].copy_from_slice(message);
                for (word, bytes) in words.iter_mut().zip(block.as_chunks().0) {
                    word[lane] = u32::from_le_bytes(*bytes);
                }
            }
            let mut m = [_mm512_setzero_si512(); 16];
            for (m, words) in m.iter_mut().zip(&words) {
                *m = load(words);
            }
            let mut s = [_mm512_setzero_si512(); 16];
            for i in 0..8 {
                s[i] = splat(IV[i]);
            }
            for i in 0..4 {
                s[8 + i] = splat(IV[i]);
            }
            // The counter, of two words, is 0.
            s[14] = splat(len as u32);
            s[15] = splat(FLAGS);
            for _ in 0..7 {
                for i in 0..4 {
                    quarter(&mut s, [i, 4 + i, 8 + i, 12 + i], m[2 * i], m[2 * i + 1]);
                }
                for i in 0..4 {
                    let diagonal = [i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4];
                    quarter(&mut s, diagonal, m[8 + 2 * i], m[9 + 2 * i]);
                }
                let before = m;
                for (m, from) in m.iter_mut().zip(PERMUTATION) {
                    *m = before[from];
                }
            }
            for i in 0..8 {
                store(_mm512_xor_si512(s[i], s[8 + i]), &mut words[i]);
            }
            for (lane, digest) in out.iter_mut().enumerate() {
                for (bytes, words) in digest.as_chunks_mut().0.iter_mut().zip(&words) {
                    *bytes = words[lane].to_le_bytes();
                }
            }
            done += LANES;
        }
        done
    }
}
