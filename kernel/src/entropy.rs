//! Entropy for the TPM's DRBG: RDSEED and RDRAND, each under the continuous health tests of SP 800-90B, conditioned
//! together by SHA-512.
//!
//! A CPU may return constants with success (RN-01: zeros from RDSEED on Zen 5, all-ones from RDRAND on Zen 2), so no
//! answer is taken for random because the instruction says so. A failed test is for good: from then on there is no
//! entropy, and the TPM goes to failure mode.
//!
//! Samples are 64 bits. At least 32 bits of min-entropy are claimed for each, far below what the sources' makers claim,
//! which makes the tests strict for faults and never a nuisance: a false alarm has a probability of 2^-60 a sample or
//! less.

use sha2::{Digest, Sha512};
use snp::cpuid::CpuidTable;
use tpm_core::EntropyFailure;
use zeroize::Zeroize;

/// One instruction: 64 bits, or nothing at the moment.
pub trait Source {
    /// The next sample.
    fn sample(&mut self) -> Option<u64>;
}

/// Repetition count test (SP 800-90B, 4.4.1): as many equal samples in a row are a fault. With 32 bits of entropy, 1 +
/// 60 / 32 rounded up.
const REPETITION_CUTOFF: u32 = 3;
/// Adaptive proportion test (4.4.2): window for a source that is not binary.
const WINDOW: u32 = 512;
/// How often the window's first sample may come back. The least cutoff that is above the first sample itself by the
/// margin of the binomial distribution with p = 2^-32 and a tail of 2^-60.
const PROPORTION_CUTOFF: u32 = 4;
/// A source that has nothing so many times in a row has failed; the manufacturers' guides advise 10 for RDRAND and some
/// hundreds for RDSEED.
const PATIENCE: u32 = 100_000;
/// Samples that are tested and thrown away before the first is used (4.3, start-up tests).
const STARTUP_SAMPLES: u32 = 1024;
/// Samples of each source for one block of output: 8 times 32 bits, twice over, for 256 bits of security.
const SAMPLES_PER_BLOCK: usize = 16;
/// Bytes of a block: half of SHA-512's, so that the output has full entropy (SP 800-90C: input at least 64 bits above
/// the output).
const BLOCK: usize = 32;

/// An instruction of which the checked CPUID page says that the CPU lacks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hidden {
    /// Leaf 7, bit 18 of EBX: the entropy source through its conditioner.
    RDSEED,
    /// Leaf 1, bit 30 of ECX: the CPU's DRBG.
    RDRAND,
}

snp::error_words! { Hidden {
    Self::RDSEED => "the CPU is said to have no RDSEED",
    Self::RDRAND => "the CPU is said to have no RDRAND",
} }

/// Every CPU with SEV-SNP has both instructions, so one that is missing was hidden. RDRAND is the output of a DRBG and
/// no entropy source (SP 800-90B), and the same source twice is one: nothing takes the place of the other
/// (docs/decisions.md).
///
/// # Errors
/// The instruction that is missing.
pub fn both_exist(cpuid: &CpuidTable) -> Result<(), Hidden> {
    let bit = |leaf, register: fn(&snp::cpuid::CpuidRegisters) -> u32, bit: u32| {
        cpuid.raw(leaf, 0).is_some_and(|found| register(&found) >> bit & 1 != 0)
    };
    if !bit(7, |leaf| leaf.ebx, 18) {
        return Err(Hidden::RDSEED);
    }
    if bit(1, |leaf| leaf.ecx, 30) { Ok(()) } else { Err(Hidden::RDRAND) }
}

/// A source with its health tests.
struct Tested<S> {
    source: S,
    last: Option<u64>,
    repetitions: u32,
    window_first: u64,
    window_used: u32,
    window_hits: u32,
    failed: bool,
}

impl<S: Source> Tested<S> {
    const fn new(source: S) -> Self {
        Self { source, last: None, repetitions: 1, window_first: 0, window_used: 0, window_hits: 0, failed: false }
    }

    fn next(&mut self) -> Result<u64, EntropyFailure> {
        if self.failed {
            return Err(EntropyFailure);
        }
        let sample = (0..PATIENCE).find_map(|_| self.source.sample());
        match sample.filter(|sample| self.is_healthy(*sample)) {
            Some(sample) => Ok(sample),
            None => {
                self.failed = true;
                Err(EntropyFailure)
            }
        }
    }

    fn is_healthy(&mut self, sample: u64) -> bool {
        let (repetition, proportion) = (self.repetition(sample), self.proportion(sample));
        // The two constants that faulty CPUs return with success; a random sample is one of them once in 2^63.
        repetition && proportion && sample != 0 && sample != u64::MAX
    }

    fn repetition(&mut self, sample: u64) -> bool {
        self.repetitions = if self.last == Some(sample) { self.repetitions + 1 } else { 1 };
        self.last = Some(sample);
        self.repetitions < REPETITION_CUTOFF
    }

    fn proportion(&mut self, sample: u64) -> bool {
        if self.window_used == 0 {
            (self.window_first, self.window_hits) = (sample, 0);
        }
        self.window_used = (self.window_used + 1) % WINDOW;
        self.window_hits += u32::from(sample == self.window_first);
        self.window_hits < PROPORTION_CUTOFF
    }
}

/// Two independent sources, conditioned together: the output is good if either is.
pub struct Conditioner<A, B> {
    seed: Tested<A>,
    random: Tested<B>,
    blocks: u64,
}

impl<A: Source, B: Source> Conditioner<A, B> {
    /// Takes the sources into use after their start-up tests.
    pub fn start(seed: A, random: B) -> Result<Self, EntropyFailure> {
        let mut this = Self { seed: Tested::new(seed), random: Tested::new(random), blocks: 0 };
        for _ in 0..STARTUP_SAMPLES {
            this.seed.next()?;
            this.random.next()?;
        }
        Ok(this)
    }

    fn block(&mut self) -> Result<[u8; BLOCK], EntropyFailure> {
        let mut hash = Sha512::new();
        self.blocks = self.blocks.wrapping_add(1);
        hash.update(self.blocks.to_le_bytes());
        for _ in 0..SAMPLES_PER_BLOCK {
            for mut sample in [self.seed.next()?, self.random.next()?] {
                hash.update(sample.to_le_bytes());
                sample.zeroize();
            }
        }
        let mut digest: [u8; 64] = hash.finalize().into();
        let block = digest.first_chunk().copied().ok_or(EntropyFailure);
        digest.zeroize();
        block
    }
}

impl<A: Source, B: Source> tpm_core::Entropy for Conditioner<A, B> {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyFailure> {
        for chunk in out.chunks_mut(BLOCK) {
            let mut block = self.block()?;
            let (used, _) = block.split_at(chunk.len());
            chunk.copy_from_slice(used);
            block.zeroize();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tpm_core::Entropy;

    use super::*;

    /// A good source that becomes what `fault` makes of it after `good` samples.
    struct Faulty<F> {
        state: u64,
        good: u32,
        fault: F,
    }

    impl<F: FnMut(u64) -> Option<u64>> Source for Faulty<F> {
        fn sample(&mut self) -> Option<u64> {
            // splitmix64
            self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.state;
            z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            let sample = z ^ z >> 31;
            if self.good == 0 {
                return (self.fault)(sample);
            }
            self.good -= 1;
            Some(sample)
        }
    }

    fn good(state: u64) -> Faulty<fn(u64) -> Option<u64>> {
        Faulty { state, good: u32::MAX, fault: |_| None }
    }

    /// A CPUID page of three leaves: 1 with this ECX, 7 with this EBX, and that of the C-bit.
    fn cpuid(leaf_1_ecx: u32, leaf_7_ebx: u32) -> CpuidTable {
        let mut page = [0; snp::PAGE_SIZE];
        page[0] = 3;
        let words = [[1, 0, 0, leaf_1_ecx], [7, 0, leaf_7_ebx, 0], [0x8000_001f, 0, 51, 0]];
        for (index, entry) in words.into_iter().enumerate() {
            for (offset, word) in [0, 0x18, 0x1c, 0x20].into_iter().zip(entry) {
                page[16 + 48 * index + offset..][..4].copy_from_slice(&word.to_le_bytes());
            }
        }
        CpuidTable::parse(&page).unwrap()
    }

    /// A host that hides one instruction gets no TPM whose two sources are one.
    #[test]
    fn an_instruction_that_is_hidden_is_not_replaced_by_the_other() {
        let (rdrand, rdseed) = (1 << 30, 1 << 18);
        assert_eq!(both_exist(&cpuid(rdrand, rdseed)), Ok(()));
        assert_eq!(both_exist(&cpuid(u32::MAX, !rdseed)), Err(Hidden::RDSEED));
        assert_eq!(both_exist(&cpuid(!rdrand, u32::MAX)), Err(Hidden::RDRAND));
        assert_eq!(both_exist(&cpuid(0, 0)), Err(Hidden::RDSEED));
    }

    #[test]
    fn honest_sources_give_different_bytes_each_time() {
        let mut conditioner = Conditioner::start(good(1), good(2)).unwrap();
        let mut blocks = std::collections::BTreeSet::new();
        for _ in 0..1000 {
            let mut out = [0; 40];
            conditioner.fill(&mut out).unwrap();
            assert!(blocks.insert(out));
        }
    }

    /// RN-01: each fault is found at start-up or while running, in either source, and for good.
    #[test]
    fn faults_are_found_within_a_window_and_for_good() {
        type Fault = fn() -> alloc::boxed::Box<dyn FnMut(u64) -> Option<u64>>;
        let faults: [(&str, Fault); 6] = [
            ("stuck at 0", || alloc::boxed::Box::new(|_| Some(0))),
            ("stuck at 1", || alloc::boxed::Box::new(|_| Some(u64::MAX))),
            ("never ready", || alloc::boxed::Box::new(|_| None)),
            ("constant", || alloc::boxed::Box::new(|_| Some(0x1234))),
            ("one in ten zero", || {
                let mut count = 0;
                alloc::boxed::Box::new(move |sample| {
                    count += 1;
                    Some(if count % 10 == 0 { 0 } else { sample })
                })
            }),
            ("repeats every 64", || {
                let mut count = 0;
                alloc::boxed::Box::new(move |_| {
                    count = (count + 1) % 64;
                    Some(count * 0x1_0001 + 7)
                })
            }),
        ];
        for (name, fault) in faults {
            for before in [0, 5, 700, 3000] {
                let faulty = || Faulty { state: 3, good: before, fault: fault() };
                assert!(exhausts(faulty(), good(4)), "{name} as RDSEED after {before}");
                assert!(exhausts(good(5), faulty()), "{name} as RDRAND after {before}");
            }
        }
    }

    /// Whether the fault is found before three windows have gone by, and stays found.
    fn exhausts(a: impl Source, b: impl Source) -> bool {
        let Ok(mut conditioner) = Conditioner::start(a, b) else {
            return true;
        };
        let mut out = [0; BLOCK];
        let blocks = (3000 + 3 * WINDOW) as usize / SAMPLES_PER_BLOCK;
        let found = (0..blocks).any(|_| conditioner.fill(&mut out).is_err());
        found && conditioner.fill(&mut out).is_err()
    }

    #[test]
    fn a_source_that_is_slow_now_and_then_is_not_faulty() {
        let mut count = 0_u32;
        let slow = Faulty {
            state: 9,
            good: 0,
            fault: move |sample| {
                count += 1;
                count.is_multiple_of(50).then_some(sample)
            },
        };
        let mut conditioner = Conditioner::start(slow, good(6)).unwrap();
        assert!(conditioner.fill(&mut [0; 64]).is_ok());
    }
}
