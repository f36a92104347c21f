//! `instructions FIRMWARE`: what the linked firmware executes that the processor, as the firmware sets it up, cannot.
//!
//! The firmware does not turn XSAVE on (CR4.OSXSAVE), so each instruction with a VEX or EVEX prefix is #UD, but for
//! BMI's, which have general registers only; and so are XGETBV and its kind.

use anyhow::{Context, Result, ensure};
use iced_x86::{Code, CpuidFeature, Decoder, DecoderOptions, EncodingKind, Instruction};
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};
use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::process::ExitCode;

/// What run-time detection finds, and the firmware therefore must have: who looks at the wrong place finds neither.
const WANTED: &[CpuidFeature] = &[CpuidFeature::AES, CpuidFeature::SHA];

fn main() -> Result<ExitCode> {
    sigpipe::reset();
    let firmware = env::args_os().nth(1).context("usage: instructions FIRMWARE")?;
    let file = fs::read(firmware)?;
    let functions = functions(&file)?;
    let (mut count, mut found, mut never) = (0_u64, Vec::new(), BTreeMap::<String, u64>::new());
    for Function { name, address, code } in &functions {
        for instruction in &mut Decoder::with_ip(64, code, *address, DecoderOptions::NONE) {
            ensure!(instruction.code() != Code::INVALID, "no instruction at {:#x} in {name}", instruction.ip());
            count += 1;
            found.extend(WANTED.iter().filter(|wanted| instruction.cpuid_features().contains(wanted)));
            if needs_xsave(&instruction) {
                *never.entry(name.clone()).or_default() += instruction.len() as u64;
            }
        }
    }
    println!("{} functions, {count} instructions", functions.len());
    let missing = WANTED.iter().find(|wanted| !found.contains(wanted));
    ensure!(missing.is_none(), "no instruction of {missing:?}: this is not the firmware's code");
    for (name, bytes) in &never {
        println!("{bytes:>8} bytes can never run: {name}");
    }
    Ok(if never.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Function<'a> {
    name: String,
    address: u64,
    code: &'a [u8],
}

/// The functions of an ELF file that have a size: all but those of assembly.
fn functions(file: &[u8]) -> Result<Vec<Function<'_>>> {
    let elf = object::read::elf::ElfFile64::<object::Endianness>::parse(file)?;
    let mut functions = Vec::new();
    for symbol in elf.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0) {
        let name = format!("{:#}", rustc_demangle::demangle(symbol.name()?));
        let section = elf.section_by_index(symbol.section_index().context("a function in no section")?)?;
        let code = section.data_range(symbol.address(), symbol.size())?;
        functions.push(Function {
            address: symbol.address(),
            code: code.with_context(|| format!("{name} lies outside its section"))?,
            name,
        });
    }
    Ok(functions)
}

/// Whether it is #UD while CR4.OSXSAVE is clear.
fn needs_xsave(instruction: &Instruction) -> bool {
    let features = instruction.cpuid_features();
    let any = |of: &[CpuidFeature]| features.iter().any(|feature| of.contains(feature));
    let general_registers = any(&[CpuidFeature::BMI1, CpuidFeature::BMI2]);
    let state = any(&[CpuidFeature::XSAVE, CpuidFeature::XSAVEC, CpuidFeature::XSAVEOPT, CpuidFeature::XSAVES]);
    state || (instruction.code().encoding() != EncodingKind::Legacy && !general_registers)
}

#[cfg(test)]
mod tests {
    use super::needs_xsave;
    use iced_x86::{Code, Decoder, DecoderOptions};

    fn needs(code: &[u8]) -> bool {
        let instruction = Decoder::new(64, code, DecoderOptions::NONE).decode();
        assert_ne!(instruction.code(), Code::INVALID, "{code:x?}");
        needs_xsave(&instruction)
    }

    #[test]
    fn vectors_with_a_prefix_need_xsave() {
        assert!(needs(&[0xC5, 0xF9, 0xEF, 0xC0]), "vpxor xmm0, xmm0, xmm0");
        assert!(needs(&[0xC5, 0xFD, 0xEF, 0xC0]), "vpxor ymm0, ymm0, ymm0");
        assert!(needs(&[0xC4, 0xE2, 0x7D, 0xDC, 0xC1]), "vaesenc ymm0, ymm0, ymm1");
        assert!(needs(&[0x62, 0xF1, 0x7D, 0x48, 0xEF, 0xC0]), "vpxord zmm0, zmm0, zmm0");
        assert!(needs(&[0xC5, 0xF8, 0x77]), "vzeroupper");
    }

    #[test]
    fn xgetbv_and_xsave_need_it() {
        assert!(needs(&[0x0F, 0x01, 0xD0]), "xgetbv");
        assert!(needs(&[0x0F, 0xAE, 0x20]), "xsave [rax]");
    }

    #[test]
    fn sse_and_general_registers_do_not() {
        assert!(!needs(&[0x66, 0x0F, 0xEF, 0xC0]), "pxor xmm0, xmm0");
        assert!(!needs(&[0x66, 0x0F, 0x38, 0xDC, 0xC1]), "aesenc xmm0, xmm1");
        assert!(!needs(&[0x0F, 0x38, 0xCB, 0xC1]), "sha256rnds2 xmm0, xmm1");
        assert!(!needs(&[0xC4, 0xE2, 0xFB, 0xF6, 0xC1]), "mulx rax, rax, rcx");
        assert!(!needs(&[0x0F, 0xAE, 0x00]), "fxsave [rax]");
    }
}
