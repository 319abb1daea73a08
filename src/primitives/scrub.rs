//! Overwrites what a computation left on the stack.

use zeroize::Zeroize;

/// Runs `work`, which keeps secrets on the stack, and overwrites the stack below, up to 64 KiB. A best effort: registers
/// and what a compiler copies elsewhere aren't reached.
pub(super) fn scrubbed<T>(work: impl FnOnce() -> T) -> T {
    #[inline(never)]
    fn run<T>(work: impl FnOnce() -> T) -> T {
        work()
    }
    #[inline(never)]
    fn scrub() {
        let mut below = [0_u64; 64 * 1024 / 8];
        below.zeroize();
        std::hint::black_box(&below);
    }
    let result = run(work);
    scrub();
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_survives() {
        assert_eq!(scrubbed(|| [7; 100]), [7; 100]);
    }
}
