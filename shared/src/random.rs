//! Random bytes and text from the operating system's generator.
//!
//! Panics if the generator fails, because there is no safe way to continue.

use rand::Rng;
use rand::distr::{Alphanumeric, SampleString};
use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;

#[must_use]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    UnwrapErr(SysRng).fill_bytes(&mut bytes);
    bytes
}

/// `length` characters of `0-9A-Za-z`, uniformly distributed (5.95 bits a character).
#[must_use]
pub fn alphanumeric(length: usize) -> String {
    Alphanumeric.sample_string(&mut UnwrapErr(SysRng), length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_is_equally_likely() {
        const DRAWS: u32 = 620_000;
        let mut counts = [0_u32; 128];
        for byte in alphanumeric(DRAWS as usize).bytes() {
            counts[usize::from(byte)] += 1;
        }

        let expected = f64::from(DRAWS) / 62.0;
        let chi_squared: f64 = (0..128_u8)
            .filter(u8::is_ascii_alphanumeric)
            .map(|byte| (f64::from(counts[usize::from(byte)]) - expected).powi(2) / expected)
            .sum();

        // 61 degrees of freedom: a fair generator exceeds 142.4 once in 10^8 runs.
        assert!(chi_squared < 142.4, "chi squared is {chi_squared}");
        let drawn: u32 =
            (0..128_u8).filter(u8::is_ascii_alphanumeric).map(|byte| counts[usize::from(byte)]).sum();
        assert_eq!(drawn, DRAWS);
    }
}
