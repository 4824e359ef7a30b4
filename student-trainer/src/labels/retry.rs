//! When to try again and when it is pointless: pure functions of the attempt and the teacher's status.

use std::time::Duration;

use tonic::Code;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// Pause before try number `attempt` (the first again is 0): 100 ms, doubling up to 5 s, of which the
/// second half is left to chance so that students of one teacher do not all come back at once.
pub(super) fn delay(attempt: u32, seed: u64) -> Duration {
    let whole = FIRST.saturating_mul(1 << attempt.min(16)).min(LONGEST);
    let half = whole / 2;
    half + half.mul_f64(chance(attempt, seed))
}

/// Evenly spread over `[0, 1)`, the same for the same arguments.
fn chance(attempt: u32, seed: u64) -> f64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes()).update(&attempt.to_le_bytes());
    let mut bits = [0; 4];
    hasher.finalize_xof().fill(&mut bits);
    f64::from(u32::from_le_bytes(bits)) / 2f64.powi(32)
}

/// A seed that differs between processes.
pub(super) fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}

/// Whether a stream that ended with this code may do better next time. What it leaves out are
/// decisions of the teacher (another fingerprint, a broken rule) that a second try would only repeat.
pub(super) fn may_pass(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable
            | Code::Internal
            | Code::Unknown
            | Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
    )
}

/// Whether attempt number `attempt` deserves a line in the log: 1, 2, 4, 8, ...
pub(super) fn worth_a_line(attempt: u32) -> bool {
    attempt.is_power_of_two()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pauses_double_within_their_bounds(attempt in 0u32..1000, seed: u64) {
            let pause = delay(attempt, seed);
            let whole = 100u128.saturating_mul(1 << attempt.min(20)).min(5000);
            prop_assert!(pause.as_millis() >= whole / 2 && pause.as_millis() <= whole);
            prop_assert_eq!(pause, delay(attempt, seed));
        }
    }

    #[test]
    fn two_students_do_not_come_back_together() {
        let apart = (0..100).filter(|&seed| delay(9, seed) != delay(9, seed + 1)).count();
        assert_eq!(apart, 100);
    }

    #[test]
    fn decisions_of_the_teacher_are_not_appealed() {
        for code in [
            Code::FailedPrecondition,
            Code::InvalidArgument,
            Code::Unimplemented,
            Code::ResourceExhausted,
            Code::PermissionDenied,
            Code::Unauthenticated,
        ] {
            assert!(!may_pass(code), "{code:?}");
        }
        assert!(may_pass(Code::Unavailable) && may_pass(Code::Internal));
    }
}
