# The accesses to memory of the guest's, which may fault at any moment: the host may have taken the page away. `instr::access` knows by their labels
# the instructions that reach the page, and no others. Where one of them faults, the exception handler goes on at `__access_refused` with every
# register as it is: no stack is used here, so the return address is on top of it.

    .section .text.access, "ax"
    .balign 16
    .global __access_copy, __access_copy_at, __access_exchange, __access_exchange_at
    .global __access_zero, __access_zero_at, __access_zero_end
    .global __access_pvalidate, __access_pvalidate_at, __access_rmpadjust, __access_rmpadjust_at, __access_refused

# (rdi: to, rsi: from, rdx: bytes) -> 0. Each byte is read once.
__access_copy:
    mov rcx, rdx
__access_copy_at:
    rep movsb
    xor eax, eax
    ret

# (rdi: byte, esi: new value) -> old value.
__access_exchange:
    movzx eax, sil
__access_exchange_at:
    xchg byte ptr [rdi], al
    movzx eax, al
    ret

# (rdi: first byte, aligned to 64, rsi: bytes, a multiple of 64) -> 0. Twice as fast as `rep stosq` where that is emulated.
__access_zero:
    add rsi, rdi
    xorps xmm0, xmm0
__access_zero_at:
    movaps [rdi], xmm0
    movaps [rdi + 16], xmm0
    movaps [rdi + 32], xmm0
    movaps [rdi + 48], xmm0
    add rdi, 64
    cmp rdi, rsi
    jne __access_zero_at
__access_zero_end:
    xor eax, eax
    ret

# (rdi: address, esi: size, edx: validate) -> EAX, and CF in bit 32.
__access_pvalidate:
    mov rax, rdi
    mov ecx, esi
__access_pvalidate_at:
    .byte 0xF2, 0x0F, 0x01, 0xFF
    setc cl
    movzx ecx, cl
    shl rcx, 32
    mov eax, eax
    or rax, rcx
    ret

# (rdi: address, esi: size, rdx: attributes) -> EAX.
__access_rmpadjust:
    mov rax, rdi
    mov ecx, esi
__access_rmpadjust_at:
    .byte 0xF3, 0x0F, 0x01, 0xFE
    mov eax, eax
    ret

__access_refused:
    mov rax, -1
    ret
