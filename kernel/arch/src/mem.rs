//! `memcpy`, `memmove`, `memset`, `memcmp`, `bcmp`: what the compiler calls and no libc provides. In assembly, as a
//! loop in Rust may be compiled into a call of itself. 16 bytes at a time, without branches on the data except for
//! `memcmp`'s result.

use core::arch::naked_asm;

/// Copies `rdx` bytes from `rsi` to `rdi`, which do not overlap.
#[unsafe(no_mangle)]
#[unsafe(naked)]
extern "C" fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    naked_asm!(
        "mov rax, rdi",
        "cmp rdx, 16",
        "jb 3f",
        // The last 16 bytes first in a register: they may overlap with the last whole step.
        "movups xmm1, [rsi + rdx - 16]",
        "lea rcx, [rdi + rdx - 16]",
        "2:",
        "movups xmm0, [rsi]",
        "movups [rdi], xmm0",
        "add rsi, 16",
        "add rdi, 16",
        "cmp rdi, rcx",
        "jb 2b",
        "movups [rcx], xmm1",
        "ret",
        "3:",
        "cmp rdx, 8",
        "jb 4f",
        "mov rcx, [rsi]",
        "mov r8, [rsi + rdx - 8]",
        "mov [rdi], rcx",
        "mov [rdi + rdx - 8], r8",
        "ret",
        "4:",
        "test rdx, rdx",
        "jz 6f",
        "5:",
        "mov cl, [rsi]",
        "mov [rdi], cl",
        "inc rsi",
        "inc rdi",
        "dec rdx",
        "jnz 5b",
        "6:",
        "ret",
    )
}

/// Copies `rdx` bytes from `rsi` to `rdi`, which may overlap.
#[unsafe(no_mangle)]
#[unsafe(naked)]
extern "C" fn memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    naked_asm!(
        "mov rax, rdi",
        "mov rcx, rdi",
        "sub rcx, rsi",
        // As an unsigned number, to - from is below len only where a forward copy would overwrite what is still to be
        // read.
        "cmp rcx, rdx",
        "jb 4f",
        "cmp rdx, 16",
        "jb 3f",
        "2:",
        "movups xmm0, [rsi]",
        "movups [rdi], xmm0",
        "add rsi, 16",
        "add rdi, 16",
        "sub rdx, 16",
        "cmp rdx, 16",
        "jae 2b",
        "3:",
        "test rdx, rdx",
        "jz 6f",
        "5:",
        "mov cl, [rsi]",
        "mov [rdi], cl",
        "inc rsi",
        "inc rdi",
        "dec rdx",
        "jnz 5b",
        "6:",
        "ret",
        "4:",
        "cmp rdx, 16",
        "jb 8f",
        "7:",
        "movups xmm0, [rsi + rdx - 16]",
        "movups [rdi + rdx - 16], xmm0",
        "sub rdx, 16",
        "cmp rdx, 16",
        "jae 7b",
        "8:",
        "test rdx, rdx",
        "jz 6b",
        "9:",
        "mov cl, [rsi + rdx - 1]",
        "mov [rdi + rdx - 1], cl",
        "dec rdx",
        "jnz 9b",
        "ret",
    )
}

/// Fills `rdx` bytes at `rdi` with the low byte of `esi`.
#[unsafe(no_mangle)]
#[unsafe(naked)]
extern "C" fn memset(to: *mut u8, value: i32, len: usize) -> *mut u8 {
    naked_asm!(
        "mov rax, rdi",
        "movzx ecx, sil",
        "mov r8, 0x0101010101010101",
        "imul rcx, r8",
        "cmp rdx, 16",
        "jb 3f",
        "movq xmm0, rcx",
        "punpcklqdq xmm0, xmm0",
        "lea r8, [rdi + rdx - 16]",
        "2:",
        "movups [rdi], xmm0",
        "add rdi, 16",
        "cmp rdi, r8",
        "jb 2b",
        "movups [r8], xmm0",
        "ret",
        "3:",
        "test rdx, rdx",
        "jz 5f",
        "4:",
        "mov [rdi], cl",
        "inc rdi",
        "dec rdx",
        "jnz 4b",
        "5:",
        "ret",
    )
}

/// Compares `rdx` bytes as unsigned numbers, the first difference decides.
#[unsafe(no_mangle)]
#[unsafe(naked)]
extern "C" fn memcmp(left: *const u8, right: *const u8, len: usize) -> i32 {
    naked_asm!(
        "2:",
        "cmp rdx, 8",
        "jb 4f",
        "mov rax, [rdi]",
        "mov rcx, [rsi]",
        "cmp rax, rcx",
        "jne 3f",
        "add rdi, 8",
        "add rsi, 8",
        "sub rdx, 8",
        "jmp 2b",
        "3:",
        "bswap rax",
        "bswap rcx",
        "cmp rax, rcx",
        "sbb eax, eax",
        "or eax, 1",
        "ret",
        "4:",
        "test rdx, rdx",
        "jz 6f",
        "5:",
        "movzx eax, byte ptr [rdi]",
        "movzx ecx, byte ptr [rsi]",
        "sub eax, ecx",
        "jne 7f",
        "inc rdi",
        "inc rsi",
        "dec rdx",
        "jnz 5b",
        "6:",
        "xor eax, eax",
        "7:",
        "ret",
    )
}

/// As `memcmp`; only whether the result is zero counts.
#[unsafe(no_mangle)]
#[unsafe(naked)]
extern "C" fn bcmp(left: *const u8, right: *const u8, len: usize) -> i32 {
    naked_asm!("jmp {memcmp}", memcmp = sym memcmp)
}
