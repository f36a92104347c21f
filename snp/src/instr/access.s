# The accesses to memory of the guest's, which may fault at any moment: the host may have taken the page away.
# `instr::access` knows by their labels the instructions that reach the page, and no others. Where one of them faults,
# the exception handler goes on at `__access_refused` with every register as it is: no stack is used here, so the return
# address is on top of it. RDI says there how far a row of pages has come.

    .section .text.access, "ax"
    .balign 16
    .global __access_copy, __access_copy_at, __access_copy_rest_at, __access_exchange, __access_exchange_at
    .global __access_zero, __access_zero_at, __access_zero_end
    .global __access_pvalidate, __access_pvalidate_at, __access_rmpadjust, __access_rmpadjust_at, __access_refused

# (rdi: to, rsi: from, rdx: bytes) -> 0. Each byte is read once.
__access_copy:
    mov rcx, rdx
    shr rcx, 3
__access_copy_at:
    rep movsq
    mov ecx, edx
    and ecx, 7
__access_copy_rest_at:
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

# (rdi: first byte, aligned to 256, rsi: bytes, a multiple of 256) -> RAX: 0, RDX: the byte that was reached, if it is
# refused. Twice as fast as `rep stosq` where that is emulated, where it is also the number of instructions that counts.
__access_zero:
    add rsi, rdi
    xorps xmm0, xmm0
__access_zero_at:
    movaps [rdi], xmm0
    movaps [rdi + 16], xmm0
    movaps [rdi + 32], xmm0
    movaps [rdi + 48], xmm0
    movaps [rdi + 64], xmm0
    movaps [rdi + 80], xmm0
    movaps [rdi + 96], xmm0
    movaps [rdi + 112], xmm0
    movaps [rdi + 128], xmm0
    movaps [rdi + 144], xmm0
    movaps [rdi + 160], xmm0
    movaps [rdi + 176], xmm0
    movaps [rdi + 192], xmm0
    movaps [rdi + 208], xmm0
    movaps [rdi + 224], xmm0
    movaps [rdi + 240], xmm0
    add rdi, 256
    cmp rdi, rsi
    jne __access_zero_at
__access_zero_end:
    xor eax, eax
    ret

# (rdi: first page, rsi: end, edx: size, ecx: validate) -> RAX: EAX and, in bit 32, CF of the last page that was tried,
# 0 if all have changed; RDX: that page, or the end. A row is of pages of 4 KiB, or one of 2 MiB.
__access_pvalidate:
    xchg ecx, edx
2:  mov rax, rdi
__access_pvalidate_at:
    .byte 0xF2, 0x0F, 0x01, 0xFF
    jc 3f
    test eax, eax
    jnz 3f
    add rdi, 4096
    cmp rdi, rsi
    jb 2b
    # Here TEST and CMP have left CF clear.
3:  setc cl
    movzx ecx, cl
    shl rcx, 32
    mov eax, eax
    or rax, rcx
    mov rdx, rdi
    ret

# (rdi: first page, rsi: end, edx: size, rcx: attributes) -> RAX: EAX of the last page that was tried; RDX as above.
__access_rmpadjust:
    xchg rcx, rdx
2:  mov rax, rdi
__access_rmpadjust_at:
    .byte 0xF3, 0x0F, 0x01, 0xFE
    test eax, eax
    jnz 3f
    add rdi, 4096
    cmp rdi, rsi
    jb 2b
3:  mov eax, eax
    mov rdx, rdi
    ret

__access_refused:
    mov rdx, rdi
    mov rax, -1
    ret
