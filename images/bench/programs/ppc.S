/* Start of the bare programs on PowerPC boards: interrupt vectors, the floating-point unit or SPE, and the entries of the
   two interrupts. The board's loader has mapped the first megabytes as they are. */
	.section .start, "ax"
	.global _start
_start:
	lis 1, stack_end@ha
	addi 1, 1, stack_end@l
	li 0, 0
	stwu 0, -16(1)
	lis 3, vectors@ha
	addi 3, 3, vectors@l
	mtspr 63, 3			/* IVPR */
	li 4, (external - vectors)
	mtspr 404, 4			/* IVOR4 */
	li 4, (system_call - vectors)
	mtspr 408, 4			/* IVOR8 */
	mfmsr 3
#ifdef SPE
	oris 3, 3, 0x0200		/* MSR.SPE */
#else
	ori 3, 3, 0x2000		/* MSR.FP */
#endif
	mtmsr 3
	isync
#ifndef SPE
	/* FPSCR is zero from reset: nearest, no exceptions. */
	lis 3, zero@ha
	lfd 0, zero@l(3)
	mtfsf 0xFF, 0
#endif
	bl prepare_board
	b bench_main

	/* IVPR has no low half. */
	.section .vectors, "ax"
	.align 16
vectors:
	.align 4
system_call:
	mtspr 272, 3			/* SPRG0 */
	mtspr 273, 4
	lis 3, traps@ha
	lwz 4, traps@l(3)
	addi 4, 4, 1
	stw 4, traps@l(3)
	mfspr 4, 273
	mfspr 3, 272
	rfi

	.align 4
external:
	stwu 1, -144(1)
	stmw 2, 16(1)
	stw 0, 8(1)
	mflr 31
	mfctr 30
	mfxer 29
	mfcr 28
	bl serial_handler
	mtcr 28
	mtxer 29
	mtctr 30
	mtlr 31
	lwz 0, 8(1)
	lmw 2, 16(1)
	addi 1, 1, 144
	rfi

	.section .rodata
	.align 3
zero:	.quad 0

	.section .bss
	.align 4
	.skip 16384
stack_end:
	.skip 16
	.section .note.GNU-stack, "", @progbits
