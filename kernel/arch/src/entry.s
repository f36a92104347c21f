# The first instructions. The CPU is in 32-bit protected mode with flat segments and paging off, where every access is
# private and none reaches beyond 4 GiB. The stub takes the C-bit's position from the CPUID page (never a constant),
# completes the page tables below with it, validates the memory that the image does not fill, and continues at
# 0x4000_0000 in long mode with SSE on. It trusts nothing of the registers' contents.

    .section .low.entry, "ax"
    .code32
    .global __entry32
__entry32:
    cli
    cld

    # CPUID page: u32 count, 12 bytes reserved, then 48-byte entries: eax_in @0, ecx_in @4, ebx @0x1c. At most 64 fit.
    mov esi, offset __cpuid_page
    mov ecx, dword ptr [esi]
    test ecx, ecx
    jz 8f
    cmp ecx, 64
    ja 8f
    add esi, 16
2:  cmp dword ptr [esi], 0x8000001f
    jne 3f
    cmp dword ptr [esi + 4], 0
    je 4f
3:  add esi, 48
    dec ecx
    jnz 2b
    jmp 8f

    # EBX[5:0] is the C-bit's position: in the upper half of an entry, below the no-execute bits.
4:  mov ebx, dword ptr [esi + 0x1c]
    and ebx, 0x3f
    cmp ebx, 32
    jb 8f
    cmp ebx, 51
    ja 8f
    mov ecx, ebx
    sub ecx, 32
    mov edx, 1
    shl edx, cl

    # Every present entry of the four tables gets the C-bit.
    mov edi, offset __early_pml4
    mov ecx, 4 * 512
5:  test dword ptr [edi], 1
    jz 6f
    or dword ptr [edi + 4], edx
6:  add edi, 8
    dec ecx
    jnz 5b

    # CR4: PAE, OSFXSR, OSXMMEXCPT. CR3 without the C-bit: page walks are private whatever it says.
    mov eax, cr4
    or eax, 0x620
    mov cr4, eax
    mov eax, offset __early_pml4
    mov cr3, eax
    # EFER: LME, NXE.
    mov ecx, 0xc0000080
    rdmsr
    or eax, 0x900
    wrmsr
    # CR0: PG, WP, MP, PE on; EM and TS off.
    mov eax, cr0
    or eax, 0x80010003
    and eax, 0xfffffff3
    mov cr0, eax
    lgdt [__early_gdtr]
    # Far jump to the 64-bit code segment; the assembler's Intel syntax has no form for it.
    .byte 0xea
    .long __long_mode
    .word 8

    .code64
__long_mode:
    xor eax, eax
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov fs, eax
    mov gs, eax

    # What the image has no contents for, the stack among it, is private memory that nobody has validated: no page of it
    # may be touched before PVALIDATE, and none may have been validated before (CF). Pages that the host has prepared
    # hold whatever it likes, so all are zeroed.
    movabs rdi, offset __unmeasured
    movabs rsi, offset __firmware_limit
    # PVALIDATE: address, 4 KiB, validate.
    xor ecx, ecx
    mov edx, 1
7:  mov rax, rdi
    .byte 0xf2, 0x0f, 0x01, 0xff
    jc 10f
    test eax, eax
    jnz 10f
    add rdi, 4096
    cmp rdi, rsi
    jb 7b
    movabs rdi, offset __unmeasured
    mov rcx, rsi
    sub rcx, rdi
    shr rcx, 3
    xor eax, eax
    rep stosq
    # The stacks, which lie one behind the other, get a pattern that shows how far down each has been used (stack.rs).
    movabs rdi, offset __stack_bottom
    movabs rcx, offset __vc_stack_top
    sub rcx, rdi
    shr rcx, 3
    movabs rax, {paint}
    rep stosq

    movabs rsp, offset __stack_top
    xor ebp, ebp
    fninit
    push 0x1f80
    ldmxcsr dword ptr [rsp]
    add rsp, 8
    mov edi, ebx
    push 0
    movabs rax, offset kernel_main
    jmp rax

    # A page of the firmware's own cannot be validated, or was: terminate (set 10, code 7).
10: mov ecx, 0xc0010130
    mov eax, 0x0007a100
    xor edx, edx
    wrmsr
    rep vmmcall
11: hlt
    jmp 11b

    # No usable CPUID page, thus no page tables, thus no console: terminate by the MSR protocol alone (set 10, code 1).
    .code32
8:  mov ecx, 0xc0010130
    mov eax, 0x0001a100
    xor edx, edx
    wrmsr
    .byte 0xf3, 0x0f, 0x01, 0xd9
9:  hlt
    jmp 9b
    # Link-time optimisation puts all assembly of the program into one: what follows is not ours.
    .code64

    .section .low.data, "aw"
    .balign 8
__early_gdt:
    .quad 0
    .quad 0x00af9a000000ffff
__early_gdtr:
    .word 15
    .long __early_gdt

    # Present, writable; the lower 2 MiB as they are, and the firmware's 8 MiB from 512 GiB at 1 GiB. Only until the
    # firmware has built its own tables.
    .section .low.tables, "aw"
    .balign 4096
    .global __early_pml4
__early_pml4:
    .quad __early_pdpt + 3
    .fill 511, 8, 0
__early_pdpt:
    .quad __early_pd_low + 3
    .quad __early_pd_firmware + 3
    .fill 510, 8, 0
__early_pd_low:
    .quad 0x83
    .fill 511, 8, 0
__early_pd_firmware:
    .quad 0x8000000083
    .quad 0x8000200083
    .quad 0x8000400083
    .quad 0x8000600083
    .fill 508, 8, 0
