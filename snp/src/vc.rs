//! Decoding of the instruction behind a #VC (APM volume 2, 15.35.5).
//!
//! The host can raise #VC at any instruction, with any error code (WeSee). So the error code alone decides nothing: the
//! bytes at RIP must be an instruction that raises this very code. Decoded is what 64-bit firmware of ours executes and
//! no more. In particular VMMCALL, MMIO and string I/O are refused: emulating them copies memory on the host's say-so.

use crate::ghcb::call::Width;
use crate::ghcb::exit::code;

/// Longest instruction.
pub const MAX_INSTRUCTION: usize = 15;

/// An instruction that the #VC handler emulates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// CPUID.
    Cpuid,
    /// RDMSR.
    Rdmsr,
    /// WRMSR.
    Wrmsr,
    /// RDTSC.
    Rdtsc,
    /// RDTSCP.
    Rdtscp,
    /// IN.
    In(Port, Width),
    /// OUT.
    Out(Port, Width),
}

/// Where an I/O instruction has its port number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// In the instruction.
    Immediate(u8),
    /// In DX.
    Dx,
}

/// A decoded instruction and its length in bytes, by which RIP moves on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// What it is.
    pub instruction: Instruction,
    /// Bytes.
    pub len: u8,
}

/// Why a #VC is not handled. The caller ends the guest: either the host made the exception up, or the firmware executed
/// what it must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VcError {
    /// The bytes are not one of the instructions above.
    Instruction,
    /// The instruction does not raise this error code.
    Mismatch {
        /// The #VC's error code.
        exit_code: u64,
        /// What stands at RIP.
        instruction: Instruction,
    },
}

crate::error_words! { VcError {
    Self::Instruction => "an unknown instruction",
    Self::Mismatch { exit_code, instruction } => "{instruction:?} does not raise the error code {exit_code:#x}",
} }

impl Instruction {
    /// The error code with which the instruction raises #VC.
    #[must_use]
    pub const fn exit_code(self) -> u64 {
        match self {
            Self::Cpuid => code::CPUID,
            Self::Rdmsr | Self::Wrmsr => code::MSR,
            Self::Rdtsc => code::RDTSC,
            Self::Rdtscp => code::RDTSCP,
            Self::In(..) | Self::Out(..) => code::IOIO,
        }
    }
}

/// Decodes the bytes at RIP (64-bit code) and checks that they raise `exit_code`.
///
/// # Errors
/// [`VcError`].
pub fn decode(exit_code: u64, bytes: &[u8]) -> Result<Decoded, VcError> {
    let decoded = instruction(bytes).ok_or(VcError::Instruction)?;
    let instruction = decoded.instruction;
    if instruction.exit_code() == exit_code { Ok(decoded) } else { Err(VcError::Mismatch { exit_code, instruction }) }
}

/// The operand-size prefix is taken before IN and OUT only, and nothing else: compilers emit no other for these
/// instructions.
fn instruction(bytes: &[u8]) -> Option<Decoded> {
    let (instruction, len) = match bytes {
        [0x0F, 0xA2, ..] => (Instruction::Cpuid, 2),
        [0x0F, 0x32, ..] => (Instruction::Rdmsr, 2),
        [0x0F, 0x30, ..] => (Instruction::Wrmsr, 2),
        [0x0F, 0x31, ..] => (Instruction::Rdtsc, 2),
        [0x0F, 0x01, 0xF9, ..] => (Instruction::Rdtscp, 3),
        [0x66, rest @ ..] => {
            let (instruction, len) = io(rest, Width::Word)?;
            (instruction, len + 1)
        }
        _ => io(bytes, Width::Dword)?,
    };
    Some(Decoded { instruction, len })
}

/// IN and OUT; `wide` is the width of the forms that are not for a byte. An operand-size prefix before a byte form
/// changes nothing.
fn io(bytes: &[u8], wide: Width) -> Option<(Instruction, u8)> {
    let (opcode, rest) = bytes.split_first()?;
    let width = if opcode & 1 == 0 { Width::Byte } else { wide };
    let (port, len) = match opcode & 0xF8 {
        0xE0 => (Port::Immediate(*rest.first()?), 2),
        0xE8 => (Port::Dx, 1),
        _ => return None,
    };
    match opcode & 0x06 {
        4 => Some((Instruction::In(port, width), len)),
        6 => Some((Instruction::Out(port, width), len)),
        _ => None,
    }
}
