//! Decoding behind #VC: the error code must be that of the instruction at RIP.

use proptest::prelude::*;
use snp::ghcb::call::Width;
use snp::vc::{Decoded, Instruction, Port, VcError, decode};

/// What the firmware executes: error code, bytes, instruction.
const KNOWN: [(u64, &[u8], Instruction); 17] = [
    (0x72, &[0x0F, 0xA2], Instruction::Cpuid),
    (0x7C, &[0x0F, 0x32], Instruction::Rdmsr),
    (0x7C, &[0x0F, 0x30], Instruction::Wrmsr),
    (0x6E, &[0x0F, 0x31], Instruction::Rdtsc),
    (0x87, &[0x0F, 0x01, 0xF9], Instruction::Rdtscp),
    (0x7B, &[0xE4, 0x71], Instruction::In(Port::Immediate(0x71), Width::Byte)),
    (0x7B, &[0xE5, 0x71], Instruction::In(Port::Immediate(0x71), Width::Dword)),
    (0x7B, &[0x66, 0xE5, 0x71], Instruction::In(Port::Immediate(0x71), Width::Word)),
    (0x7B, &[0xE6, 0x70], Instruction::Out(Port::Immediate(0x70), Width::Byte)),
    (0x7B, &[0xE7, 0x70], Instruction::Out(Port::Immediate(0x70), Width::Dword)),
    (0x7B, &[0xEC], Instruction::In(Port::Dx, Width::Byte)),
    (0x7B, &[0xED], Instruction::In(Port::Dx, Width::Dword)),
    (0x7B, &[0x66, 0xED], Instruction::In(Port::Dx, Width::Word)),
    (0x7B, &[0xEE], Instruction::Out(Port::Dx, Width::Byte)),
    (0x7B, &[0xEF], Instruction::Out(Port::Dx, Width::Dword)),
    (0x7B, &[0x66, 0xEF], Instruction::Out(Port::Dx, Width::Word)),
    (0x7B, &[0x66, 0xEE], Instruction::Out(Port::Dx, Width::Byte)),
];

#[test]
fn each_instruction_is_decoded_whatever_follows_it() {
    for (code, bytes, instruction) in KNOWN {
        let decoded = Decoded { instruction, len: u8::try_from(bytes.len()).unwrap() };
        for follow in [&[][..], &[0x90; 13], &[0xFF; 13]] {
            assert_eq!(decode(code, &[bytes, follow].concat()), Ok(decoded));
        }
    }
}

/// Every error code up to 0x500 and the GHCB's own, at every instruction: accepted exactly where both agree.
#[test]
fn made_up_error_codes_are_refused() {
    for exit_code in (0..=0x500).chain([0x8000_0001, 0x8000_0002, u64::MAX]) {
        for (code, bytes, instruction) in KNOWN {
            let got = decode(exit_code, bytes);
            if exit_code == code {
                assert!(got.is_ok());
            } else {
                assert_eq!(got, Err(VcError::Mismatch { exit_code, instruction }));
            }
        }
    }
}

/// VMMCALL, VMGEXIT, string I/O, MMIO moves, WBINVD, INVD, RDPMC, MONITOR, MWAIT, prefixes that no compiler emits, and
/// cut instructions.
#[test]
fn what_is_not_emulated_is_refused_under_every_code() {
    let refused: [&[u8]; 22] = [
        &[0x0F, 0x01, 0xD9],
        &[0xF3, 0x0F, 0x01, 0xD9],
        &[0x6C],
        &[0x6D],
        &[0x6E],
        &[0x6F],
        &[0xF3, 0x6E],
        &[0x8B, 0x07],
        &[0x89, 0x07],
        &[0x0F, 0x09],
        &[0x0F, 0x08],
        &[0x0F, 0x33],
        &[0x0F, 0x01, 0xC8],
        &[0x0F, 0x01, 0xC9],
        &[0x66, 0x66, 0xED],
        &[0xF3, 0x0F, 0xA2],
        &[0x66, 0x0F, 0xA2],
        &[0x48, 0xED],
        &[],
        &[0x0F],
        &[0xE4],
        &[0x66],
    ];
    for bytes in refused {
        for code in 0..=0x500 {
            assert_eq!(decode(code, bytes), Err(VcError::Instruction), "{bytes:02x?}");
        }
    }
}

#[test]
fn all_two_byte_openings_are_known_or_refused() {
    let mut accepted = 0;
    for (first, second) in (0..=255).flat_map(|first| (0..=255).map(move |second| (first, second))) {
        let bytes = [first, second];
        accepted += [0x6E, 0x72, 0x7B, 0x7C, 0x87].into_iter().filter(|code| decode(*code, &bytes).is_ok()).count();
    }
    // CPUID, RDMSR, WRMSR, RDTSC; 4 one-byte and 4 immediate forms with any second byte; 4 forms behind 0x66.
    assert_eq!(accepted, 4 + 8 * 256 + 4);
}

proptest! {
    /// A decoded length never passes the bytes that were given.
    #[test]
    fn random_bytes_are_survived(code in 0x60..0x90_u64, bytes in prop::collection::vec(any::<u8>(), 0..16)) {
        if let Ok(decoded) = decode(code, &bytes) {
            prop_assert!(usize::from(decoded.len) <= bytes.len());
        }
    }
}
