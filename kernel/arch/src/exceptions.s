# One 16-byte stub for each vector: error code (or 0 in its place) and vector onto the stack, then the common part,
# which keeps every register, x87 and SSE included, and calls exception_entry with a pointer to arch::exceptions::Frame.

    .section .text.exceptions, "ax"
    .balign 16
    .global __exception_stubs
__exception_stubs:
    .set vector, 0
    .rept 256
    .balign 16
    .if (vector == 8) || (vector == 10) || (vector == 11) || (vector == 12) || (vector == 13) || (vector == 14) || (vector == 17) || (vector == 21) || (vector == 29) || (vector == 30)
    .else
    push 0
    .endif
    push vector
    jmp exception_common
    .set vector, vector + 1
    .endr

    # #HV, where VMPL0 has restricted injection, on a stack of its own: the last 256 bytes of #VC's. It notes that it
    # was here (hv.rs) and goes back, with nothing else changed, to whatever it has interrupted. Only within itself it
    # cannot: where its frame was overwritten by another one's. A host that minds "no further signal" does not do that.
    .balign 16
    .global __hv_entry
__hv_entry:
    push rax
    mov byte ptr [rsp + 48 - {hv_note}], 1
    lea rax, [rsp + 48]
    # The interrupted RSP.
    sub rax, [rsp + 32]
    cmp rax, {hv_stack}
    jb 2f
    # On its way to run the guest, which is not to be run now (snp::instr, msr_call_unless).
    mov rax, [rsp + 8]
    cmp rax, offset __hv_window
    jb 3f
    cmp rax, offset __hv_window_end
    jae 3f
    mov qword ptr [rsp + 8], offset __hv_window_end
3:  pop rax
    iretq
    # To the stack of what ends the firmware.
2:  int3
    .global __hv_within_hv
__hv_within_hv:
    hlt

    .balign 16
exception_common:
    push rax
    push rcx
    push rdx
    push rbx
    push rbp
    push rsi
    push rdi
    push r8
    push r9
    push r10
    push r11
    push r12
    push r13
    push r14
    push r15
    cld
    mov rdi, rsp
    # A host that makes up a vector without its error code leaves the stack askew, and FXSAVE would fault.
    mov rbx, rsp
    and rsp, -16
    sub rsp, 512
    fxsave64 [rsp]
    call exception_entry
    fxrstor64 [rsp]
    mov rsp, rbx
    pop r15
    pop r14
    pop r13
    pop r12
    pop r11
    pop r10
    pop r9
    pop r8
    pop rdi
    pop rsi
    pop rbp
    pop rbx
    pop rdx
    pop rcx
    pop rax
    add rsp, 16
    iretq
