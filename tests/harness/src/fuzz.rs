//! Replays the corpora of `tests/fuzz` and mutations of them, on the stable toolchain and within seconds.
//!
//! The mutator is our own. The available libraries either draw random inputs without the corpus (`bolero`'s
//! own engine, `proptest`) or need a C++ runtime (`libfuzzer-sys`, used by `tests/fuzz/run`).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

/// A target: the name of its corpus, and a function that panics if an input violates a property.
pub type Target = (&'static str, fn(&[u8]));

/// Mutations per target.
const MUTATIONS: usize = 10_000;
/// Maximum input length; the programs bound untrusted input before they parse it.
const MAX_BYTES: usize = 16 * 1024;
/// Time limit for one input, far above the need of any loaded machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Fragments that often break parsers.
const WORDS: [&[u8]; 40] = [
    b"\0",
    b"\n",
    b"\r\n",
    b"\"",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"\xef\xbb\xbf",
    b"\xff",
    b"\xc3\x28",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b".",
    b"..",
    b"%",
    b"%00",
    b"%2e",
    b"&",
    b"=",
    b"?",
    b"#",
    b"@",
    b"/",
    b"//",
    b"null",
    b"true",
    b"-1",
    b"0",
    b"1e309",
    b"18446744073709551616",
    b"-9223372036854775809",
    b"2147483648",
    b"\xe2\x80\xae",
    b"\x1b[31m",
    b"https://",
    b"sha256:",
];

/// Plays every seed of each target and a fixed set of mutations. Prints a failing input in full.
#[track_caller]
pub fn replay(targets: &[Target]) {
    for (name, target) in targets {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "tests/fuzz/corpus/{name} has no seed");
        for seed in &seeds {
            play(name, *target, seed);
        }
        let mut random = Random::of(name);
        for _ in 0..MUTATIONS {
            let input = mutated(&mut random, &seeds);
            play(name, *target, &input);
        }
    }
}

#[track_caller]
fn play(name: &str, target: fn(&[u8]), input: &[u8]) {
    let begin = Instant::now();
    let played = catch_unwind(AssertUnwindSafe(|| target(input)));
    assert!(played.is_ok(), "{name} fails with this input: {}", input.escape_ascii());
    assert!(begin.elapsed() < PATIENCE, "{name} takes too long with this input: {}", input.escape_ascii());
}

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
    let entries = folder.read_dir().unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a seed")).collect()
}

/// Returns a seed with one to six changes.
fn mutated(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut input = random.pick(seeds).clone();
    for _ in 0..=random.below(6) {
        let at = random.below(input.len() + 1);
        let until = (at + random.below(32)).min(input.len());
        match random.below(10) {
            0 | 1 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
            2 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = u8::try_from(random.below(256)).expect("a byte");
                }
            }
            3 | 4 => drop(input.splice(at..at, random.pick(&WORDS).iter().copied())),
            5 => drop(input.drain(at..until)),
            6 => {
                let part: Vec<u8> = input.get(at..until).unwrap_or_default().to_vec();
                drop(input.splice(at..at, part));
            }
            7 => {
                let other = random.pick(seeds);
                let from = random.below(other.len() + 1);
                let part = other.get(from..(from + random.below(64)).min(other.len())).unwrap_or_default();
                drop(input.splice(at..until, part.iter().copied()));
            }
            8 => input.truncate(at),
            _ => {
                let word = random.pick(&WORDS).repeat(random.below(200));
                drop(input.splice(at..at, word));
            }
        }
        input.truncate(MAX_BYTES);
    }
    input
}

/// A deterministic random number generator (xorshift64*, Vigna 2016).
struct Random(u64);

impl Random {
    fn of(name: &str) -> Self {
        Self(name.bytes().fold(0x9e37_79b9_7f4a_7c15, |seed, byte| seed.rotate_left(9) ^ u64::from(byte) | 1))
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(drawn).expect("31 bits") % limit.max(1)
    }

    fn pick<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        let at = self.below(among.len());
        among.get(at).expect("one of them")
    }
}
