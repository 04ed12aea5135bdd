/*
 * Boot sector for the test kernel, in the way of teaching systems: A20 by the keyboard controller, protected mode, then
 * the ELF file from sector 1 on by programmed I/O on the first IDE disk, without asking the BIOS for anything.
 */

        .set BUFFER, 0x10000
        .set SECTORS, 64

        .text
        .code16
        .globl _start
_start: cli
        cld
        xor %ax, %ax
        mov %ax, %ds
        mov $0xD1, %bl
1:      in $0x64, %al
        test $2, %al
        jnz 1b
        mov %bl, %al
        out %al, $0x64
2:      in $0x64, %al
        test $2, %al
        jnz 2b
        mov $0xDF, %al
        out %al, $0x60
        lgdt table
        mov %cr0, %eax
        or $1, %al
        mov %eax, %cr0
        ljmp $8, $protected

        .code32
protected:
        mov $16, %ax
        mov %ax, %ds
        mov %ax, %es
        mov %ax, %ss
        mov $_start, %esp

        mov $BUFFER, %edi
        mov $1, %ebx
3:      call ready
        mov $0x1F2, %dx
        mov $1, %al
        out %al, %dx
        mov %ebx, %eax
        inc %dx
        out %al, %dx
        inc %dx
        mov %ah, %al
        out %al, %dx
        inc %dx
        xor %al, %al
        out %al, %dx
        inc %dx
        mov $0xE0, %al
        out %al, %dx
        inc %dx
        mov $0x20, %al
        out %al, %dx
        call ready
        mov $0x1F0, %dx
        mov $128, %ecx
        rep insl
        inc %ebx
        cmp $SECTORS, %ebx
        jbe 3b

        mov $BUFFER, %ebp
        movzwl 44(%ebp), %ebx /* e_phnum */
        mov 28(%ebp), %edx    /* e_phoff */
        add %ebp, %edx
4:      cmpl $1, (%edx)       /* PT_LOAD */
        jne 5f
        mov 4(%edx), %esi     /* p_offset */
        add %ebp, %esi
        mov 12(%edx), %edi    /* p_paddr */
        mov 20(%edx), %ecx    /* p_memsz */
        xor %al, %al
        push %edi
        rep stosb
        pop %edi
        mov 16(%edx), %ecx    /* p_filesz */
        rep movsb
5:      add $32, %edx
        dec %ebx
        jnz 4b
        xor %eax, %eax
        jmp *24(%ebp)         /* e_entry */

ready:  mov $0x1F7, %dx
6:      in %dx, %al
        and $0xC0, %al
        cmp $0x40, %al
        jne 6b
        ret

        .balign 4
descriptors:
        .quad 0, 0x00CF9A000000FFFF, 0x00CF92000000FFFF
table:  .word 23
        .long descriptors

        .org 510
        .word 0xAA55
        .section .note.GNU-stack, "", @progbits
