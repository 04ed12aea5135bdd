/* Entry of a static program and the system call of Linux on PowerPC: System V ABI, PowerPC supplement; syscall(2). */
	.text
	.global _start, call
_start:
	lwz 3, 0(1)
	addi 4, 1, 4
	clrrwi 1, 1, 4
	li 0, 0
	stwu 0, -16(1)
	b start

	/* CR0.SO tells of an error, and r3 is its number. */
call:
	mr 0, 3
	mr 3, 4
	mr 4, 5
	mr 5, 6
	mr 6, 7
	mr 7, 8
	mr 8, 9
	sc
	bnslr
	neg 3, 3
	blr
	.section .note.GNU-stack, "", @progbits
