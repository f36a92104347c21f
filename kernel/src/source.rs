//! RDSEED and RDRAND as sources of entropy.

use kernel::entropy::Source;
use kernel::fatal::{Fatal, Reason};
use snp::cpuid::CpuidTable;
use snp::instr::{pause, rdrand64, rdseed64};

/// One of the two instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Instruction {
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

/// The wanted instruction, or the other where the checked CPUID page says that the CPU lacks it.
pub(crate) fn find(cpuid: &CpuidTable, wanted: Instruction) -> Result<Instruction, Fatal> {
    let other = match wanted {
        Instruction::Rdseed => Instruction::Rdrand,
        Instruction::Rdrand => Instruction::Rdseed,
    };
    let found = [wanted, other].into_iter().find(|instruction| exists(cpuid, *instruction));
    found.ok_or_else(|| Fatal::new(Reason::Entropy, format_args!("the CPU has neither RDSEED nor RDRAND")))
}

/// Leaf 7, EBX[18]; leaf 1, ECX[30].
fn exists(cpuid: &CpuidTable, instruction: Instruction) -> bool {
    match instruction {
        Instruction::Rdseed => cpuid.raw(7, 0).is_some_and(|leaf| leaf.ebx >> 18 & 1 != 0),
        Instruction::Rdrand => cpuid.raw(1, 0).is_some_and(|leaf| leaf.ecx >> 30 & 1 != 0),
    }
}
