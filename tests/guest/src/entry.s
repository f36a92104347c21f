# From 32-bit protected mode with paging off to Rust in long mode.

.set CR0_LONG, 0x80010033         # PG, WP, NE, ET, MP, PE; EM off: Rust uses SSE registers
.set CR4_LONG, 0x6E0              # OSXMMEXCPT, OSFXSR, PGE, MCE, PAE
.set MSR_EFER, 0xC0000080
.set EFER_LME, 0x100
.set MSR_GHCB, 0xC0010130

.section .text.entry, "ax"
.code32
.global __entry32
__entry32:
    cld
    mov esp, offset __stack_top
    # ebp = upper half of an address's C-bit: leaf 0x8000001F, EBX[5:0], of our own CPUID page.
    mov esi, offset __cpuid_page
    mov ecx, [esi]
    cmp ecx, 64
    ja 9f
    add esi, 0x10
1:  test ecx, ecx
    jz 9f
    cmp dword ptr [esi], 0x8000001F
    je 2f
    add esi, 48
    dec ecx
    jmp 1b
2:  mov ecx, [esi + 0x1C]
    and ecx, 63
    sub ecx, 32
    jb 9f
    xor ebp, ebp
    bts ebp, ecx
    mov [__c_bit_high], ebp

    # Five tables: PML4, PDPT of the first 512 GiB, PDPT of the next, PD of the first GiB, PT of the first 2 MiB.
    mov edi, offset __page_tables
    lea eax, [edi + 0x1003]
    mov [edi], eax
    mov [edi + 4], ebp
    lea eax, [edi + 0x2003]
    mov [edi + 8], eax
    mov [edi + 12], ebp
    # First 512 GiB by 1 GiB pages, but the first GiB by its PD.
    xor ecx, ecx
3:  mov eax, ecx
    shl eax, 30
    or eax, 0x83
    mov [edi + 0x1000 + ecx * 8], eax
    mov eax, ecx
    shr eax, 2
    or eax, ebp
    mov [edi + 0x1004 + ecx * 8], eax
    mov eax, ecx
    shl eax, 21
    or eax, 0x83
    mov [edi + 0x3000 + ecx * 8], eax
    mov [edi + 0x3004 + ecx * 8], ebp
    mov eax, ecx
    shl eax, 12
    or eax, 3
    mov [edi + 0x4000 + ecx * 8], eax
    mov [edi + 0x4004 + ecx * 8], ebp
    inc ecx
    cmp ecx, 512
    jb 3b
    lea eax, [edi + 0x3003]
    mov [edi + 0x1000], eax
    mov [edi + 0x1004], ebp
    lea eax, [edi + 0x4003]
    mov [edi + 0x3000], eax
    mov [edi + 0x3004], ebp
    # The GiB at 512 GiB, where the firmware is.
    mov dword ptr [edi + 0x2000], 0x83
    mov eax, 0x80
    or eax, ebp
    mov [edi + 0x2004], eax
    # The GHCBs, of two vCPUs, and the pages of guest messages behind them are shared with the host.
    mov ecx, offset __ghcb
    shr ecx, 12
    mov dword ptr [edi + 0x4004 + ecx * 8], 0
    mov dword ptr [edi + 0x400C + ecx * 8], 0
    mov dword ptr [edi + 0x4014 + ecx * 8], 0
    mov dword ptr [edi + 0x401C + ecx * 8], 0

    mov cr3, edi
    mov eax, CR4_LONG
    mov cr4, eax
    mov ecx, MSR_EFER
    rdmsr
    or eax, EFER_LME
    wrmsr
    mov eax, CR0_LONG
    mov cr0, eax
    lgdt [__gdt_pointer]
    push 8
    mov eax, offset __entry64
    push eax
    retf
    # No C-bit: ask the host to end us, if it listens (set 0, code 0).
9:  mov ecx, MSR_GHCB
    mov eax, 0x100
    xor edx, edx
    wrmsr
    rep vmmcall
    hlt
    jmp 9b

.code64
__entry64:
    mov eax, 0x10
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    lea rsp, [rip + __stack_top]
    # CR3 with the C-bit, which its 32-bit form could not hold.
    mov rax, cr3
    or rax, [rip + __c_bit]
    mov cr3, rax
    xor ebp, ebp
    call {start}
    ud2

# Exceptions. An access that may fault is made between __probe_start and __probe_end: there the handler resumes at
# __probe_fault with the vector in RAX. Anywhere else an exception is a fault of our own.
.macro vector number, has_error
vector_\number:
    .if \has_error == 0
    push 0
    .endif
    push \number
    jmp common
.endm

vector 6, 0
vector 8, 1
vector 12, 1
vector 13, 1
vector 14, 1
vector 29, 1

# An interrupt: the controllers need no word of its end, and the code that waits looks for what it was.
interrupt:
    iretq

# Interrupts that are noted, one after the other, by their vectors.
.macro noted number
noted_\number:
    push rax
    push rcx
    mov eax, 1
    lock xadd [rip + __taken_count], rax
    and eax, 0xFF
    lea rcx, [rip + __taken]
    mov byte ptr [rcx + rax], \number
    pop rcx
    pop rax
    iretq
.endm

noted 0x02
noted 0x41
noted 0x55
noted 0x62
noted 0x63
noted 0x70

common:                            # vector, error code, RIP, CS, RFLAGS, RSP, SS
    push rax
    lea rax, [rip + __probe_start]
    cmp [rsp + 24], rax
    jb 1f
    lea rax, [rip + __probe_end]
    cmp [rsp + 24], rax
    jae 1f
    lea rax, [rip + __probe_fault]
    mov [rsp + 24], rax
    mov rax, [rsp + 8]
    add rsp, 24
    iretq
1:  mov rdi, [rsp + 8]
    mov rsi, [rsp + 16]
    mov rdx, [rsp + 24]
    and rsp, -16
    call {fault}
    ud2

# extern "sysv64" fn(destination: *mut u8, source: *const u8, length: usize) -> u64: 0, or the vector of the fault.
.global __probe_copy
.global __probe_pvalidate
.global __probe_rmpadjust
__probe_start:
__probe_copy:
    mov rcx, rdx
    rep movsb
    xor eax, eax
    ret
# extern "sysv64" fn(address: u64, validate: u64) -> u64: EAX of the instruction plus 0x100, or the vector of the fault.
__probe_pvalidate:
    mov rax, rdi
    mov rdx, rsi
    xor ecx, ecx
    .byte 0xF2, 0x0F, 0x01, 0xFF
    mov eax, eax
    or rax, 0x100
    ret
# extern "sysv64" fn(address: u64, attributes: u64) -> u64: EAX of the instruction plus 0x100, or the vector of the
# fault.
__probe_rmpadjust:
    mov rax, rdi
    mov rdx, rsi
    xor ecx, ecx
    .byte 0xF3, 0x0F, 0x01, 0xFE
    mov eax, eax
    or rax, 0x100
    ret
__probe_end:
__probe_fault:
    ret

# What the compiler takes for granted.
.global memcpy
memcpy:
    mov rax, rdi
    mov rcx, rdx
    rep movsb
    ret
.global memmove
memmove:
    mov rax, rdi
    mov rcx, rdx
    mov r8, rdi
    sub r8, rsi
    cmp r8, rdx
    jb 1f
    rep movsb
    ret
1:  lea rdi, [rdi + rcx - 1]
    lea rsi, [rsi + rcx - 1]
    std
    rep movsb
    cld
    ret
.global memset
memset:
    mov r8, rdi
    mov eax, esi
    mov rcx, rdx
    rep stosb
    mov rax, r8
    ret
.global memcmp
.global bcmp
memcmp:
bcmp:
    xor eax, eax
1:  test rdx, rdx
    jz 2f
    movzx eax, byte ptr [rdi]
    movzx ecx, byte ptr [rsi]
    inc rdi
    inc rsi
    dec rdx
    sub eax, ecx
    jz 1b
2:  ret

.section .rodata
.balign 8
__gdt:
    .quad 0
    .quad 0x00AF9B000000FFFF       # 0x08: 64-bit code
    .quad 0x00CF93000000FFFF       # 0x10: data
__gdt_pointer:
    .word 23
    .long __gdt
.global __vectors
.balign 8
__vectors:                         # number, handler
    .quad 6, vector_6
    .quad 8, vector_8
    .quad 12, vector_12
    .quad 13, vector_13
    .quad 14, vector_14
    .quad 29, vector_29
    .quad 0x23, interrupt          # COM2
    .quad 0x27, interrupt          # spurious
    .quad 0x2F, interrupt
    .quad 0x02, noted_0x02
    .quad 0x41, noted_0x41
    .quad 0x55, noted_0x55
    .quad 0x62, noted_0x62
    .quad 0x63, noted_0x63
    .quad 0x70, noted_0x70
    .quad 0, 0

.section .data
.balign 8
.global __taken, __taken_count
__taken_count:
    .quad 0
__taken:
    .fill 256, 1, 0
.global __c_bit
__c_bit:
    .long 0
__c_bit_high:
    .long 0
