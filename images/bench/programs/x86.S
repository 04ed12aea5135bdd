/* Start of the bare programs on a PC: a multiboot header, our own descriptor table, the floating-point unit, and the
   entries of the two interrupts. Multiboot Specification 0.6.96, section 3. */
#define MAGIC 0x1BADB002

	.section .start, "ax"
	.align 4
	.long MAGIC, 0, -MAGIC
	.global _start
_start:
	cli
	mov $stack_end, %esp
	lgdt gdt_pointer
	ljmp $8, $1f
1:	mov $16, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	mov %eax, %fs
	mov %eax, %gs
	/* A floating-point unit is there and is not emulated; SSE is used by us. */
	mov %cr0, %eax
	and $~0xC, %eax
	or $0x22, %eax
	mov %eax, %cr0
	mov %cr4, %eax
	or $0x600, %eax
	mov %eax, %cr4
	fninit
	fldcw precision
	call prepare_board
	call bench_main

	.global trap_entry, serial_entry
trap_entry:
	incl traps
	iret

serial_entry:
	push %eax
	push %ecx
	push %edx
	call serial_handler
	pop %edx
	pop %ecx
	pop %eax
	iret

	.section .rodata
	.align 8
gdt:	.quad 0, 0x00CF9A000000FFFF, 0x00CF92000000FFFF
gdt_pointer:
	.word . - gdt - 1
	.long gdt
	/* Results of 53 bits, rounded to nearest, no exceptions: what a double has on all other machines. */
precision:
	.word 0x27F

	.section .bss
	.align 16
	.skip 16384
stack_end:
	.section .note.GNU-stack, "", @progbits
