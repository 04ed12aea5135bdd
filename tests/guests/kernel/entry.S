/* Entry of the test kernel: multiboot 1 header, a stack, and one stub for each interrupt vector. */

#define MAGIC 0x1BADB002
#define FLAGS 0x00000003 /* modules on pages, memory information */

        .section .multiboot, "a"
        .balign 4
        .long MAGIC, FLAGS, -(MAGIC + FLAGS)

        .text
        .globl _start
_start:
        cli
        mov $stack_top, %esp
        push $0
        popf
        push %ebx
        push %eax
        call kernel_main
1:      cli
        hlt
        jmp 1b

        .macro stub n
        .if (\n == 8) || (\n >= 10 && \n <= 14) || (\n == 17)
        nop
        nop
        .else
        push $0
        .endif
        push $\n
        jmp common
        .balign 16
        .endm

        .balign 16
        .globl stubs
stubs:
        .set vector, 0
        .rept 64
        stub vector
        .set vector, vector + 1
        .endr

common:
        pusha
        cld
        push 36(%esp) /* error code */
        push 36(%esp) /* vector */
        call interrupt
        add $8, %esp
        popa
        add $8, %esp
        iret

        .bss
        .balign 16
        .skip 16384
stack_top:
        .section .note.GNU-stack, "", @progbits
