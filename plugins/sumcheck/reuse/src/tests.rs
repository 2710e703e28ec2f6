//! The allocator as this test program's own.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::kept::{bytes, resident};
use crate::{LARGE, Reuse, release};

#[global_allocator]
static ALLOCATOR: Reuse = Reuse;

/// What is kept is the process's: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    let guard = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    release();
    guard
}

/// Numbers without a pattern.
fn numbers(seed: u64) -> impl Iterator<Item = usize> {
    let mut x = seed;
    std::iter::repeat_with(move || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        usize::try_from(x >> 20).expect("44 bits")
    })
}

#[test]
fn buffers_hold_what_was_written_and_share_nothing() {
    let _alone = alone();
    let mut held: Vec<(u8, Vec<u8>)> = vec![];
    for (step, n) in (0_u8..=255).cycle().zip(numbers(7)).take(300) {
        let len = LARGE / 2 + n / 16 % (3 * LARGE);
        match n % 4 {
            0 if held.len() < 8 => {
                let buffer = vec![0; len];
                assert!(buffer.iter().all(|&b| b == 0), "not cleared at {step}");
                held.push((0, buffer));
            }
            1 if held.len() < 8 => held.push((step, vec![step; len])),
            2 if !held.is_empty() => {
                let at = n / 4 % held.len();
                let (value, buffer) = &mut held[at];
                buffer.resize(len, *value);
                buffer.shrink_to_fit();
            }
            _ if !held.is_empty() => {
                let (value, buffer) = held.swap_remove(n / 4 % held.len());
                assert!(buffer.iter().all(|b| *b == value), "overwritten by {step}");
            }
            _ => {}
        }
    }
    for (value, buffer) in held {
        assert!(buffer.iter().all(|b| *b == value));
    }
    assert!(bytes() > 0);
    release();
    assert_eq!(bytes(), 0);
}

#[test]
fn pages_are_used_again_in_whole_and_in_part() {
    let _alone = alone();
    let first = vec![1_u8; 8 * LARGE];
    let at = first.as_ptr();
    drop(first);
    assert_eq!(bytes(), 8 * LARGE);
    let half = vec![2_u8; 4 * LARGE];
    let other = vec![3_u8; 4 * LARGE];
    assert_eq!(half.as_ptr(), at);
    assert_eq!(bytes(), 0);
    drop(half);
    drop(other);
    let again = vec![4_u8; 8 * LARGE];
    assert_eq!(again.as_ptr(), at);
}

#[test]
fn what_is_kept_makes_the_process_no_larger() {
    let _alone = alone();
    let now = || resident().expect("the system says it");
    let before = now();
    // None fits into what the ones before left, and 40 are in use at once at most.
    for mebibytes in [8, 12, 16, 24, 32, 40] {
        drop(vec![1_u8; mebibytes * LARGE]);
    }
    let larger = now().saturating_sub(before) / LARGE;
    assert!((36..=44).contains(&larger), "larger by {larger} MiB");
    release();
    let larger = now().saturating_sub(before) / LARGE;
    assert!(larger < 4, "larger by {larger} MiB");
}

#[test]
fn more_than_there_is_is_an_error() {
    let _alone = alone();
    drop(vec![1_u8; LARGE]);
    let mut buffer: Vec<u8> = vec![];
    assert!(buffer.try_reserve_exact(1 << 60).is_err());
    // All that was kept was given for it.
    assert_eq!(bytes(), 0);
}

#[test]
fn threads_take_turns() {
    let _alone = alone();
    std::thread::scope(|scope| {
        for value in 0..4_u8 {
            scope.spawn(move || {
                for n in numbers(u64::from(value) + 1).take(20) {
                    let buffer = vec![value; LARGE + n % LARGE];
                    assert!(buffer.iter().all(|b| *b == value));
                }
            });
        }
    });
}
