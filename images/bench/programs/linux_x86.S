/* Entry of a static program and the system call of Linux on i386: System V ABI, Intel386 supplement; syscall(2). */
	.text
	.global _start, call
_start:
	fldcw precision
	pop %eax
	mov %esp, %edx
	and $~15, %esp
	sub $8, %esp
	push %edx
	push %eax
	call start

call:
	push %ebx
	push %esi
	push %edi
	push %ebp
	mov 20(%esp), %eax
	mov 24(%esp), %ebx
	mov 28(%esp), %ecx
	mov 32(%esp), %edx
	mov 36(%esp), %esi
	mov 40(%esp), %edi
	mov 44(%esp), %ebp
	int $0x80
	pop %ebp
	pop %edi
	pop %esi
	pop %ebx
	ret

	.section .rodata
	/* As in x86.S: results of 53 bits. */
precision:
	.word 0x27F
	.section .note.GNU-stack, "", @progbits
