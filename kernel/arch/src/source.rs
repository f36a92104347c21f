//! RDSEED and RDRAND as sources of entropy.

use kernel::entropy::Source;
use snp::instr::{pause, rdrand64, rdseed64};

/// One of the two instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// From the entropy source through its conditioner.
    Rdseed,
    /// From the CPU's DRBG.
    Rdrand,
}

impl Source for Instruction {
    fn sample(&mut self) -> Option<u64> {
        let sample = match self {
            Instruction::Rdseed => rdseed64(),
            Instruction::Rdrand => rdrand64(),
        };
        if sample.is_none() {
            pause();
        }
        sample
    }
}
