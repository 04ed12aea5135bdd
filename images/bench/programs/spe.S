/* Double precision for the e500, which has no floating-point registers: the compiler calls these, with a number in a pair of
   general registers, and SPE computes in the 64 bits of one. Names and meaning: GCC Internals, "Routines for floating point
   emulation". */
	.text

	.macro two			/* r3 = first number, r5 = second one, each in 64 bits */
	evmergelo 3, 3, 4
	evmergelo 5, 5, 6
	.endm

	.macro back			/* 64 bits in r3 to the pair r3, r4 */
	mr 4, 3
	evmergehi 3, 3, 3
	blr
	.endm

	.macro operation name, code
	.global \name
\name:
	two
	\code 3, 3, 5
	back
	.endm

	operation __adddf3, efdadd
	operation __subdf3, efdsub
	operation __muldf3, efdmul
	operation __divdf3, efddiv

	.global __negdf2
__negdf2:
	xoris 3, 3, 0x8000
	blr

	.global __floatsidf, __floatunsidf, __fixdfsi
__floatsidf:
	efdcfsi 3, 3
	back
__floatunsidf:
	efdcfui 3, 3
	back
__fixdfsi:
	evmergelo 3, 3, 4
	efdctsiz 3, 3
	blr

	/* -1, 0 or 1 as the first number is less, equal or greater. */
	.global __ltdf2, __ledf2, __gtdf2, __gedf2, __eqdf2, __nedf2
__ltdf2:
__ledf2:
__gtdf2:
__gedf2:
__eqdf2:
__nedf2:
	two
	efdcmpgt 0, 3, 5
	bgt 1f
	efdcmplt 0, 3, 5
	li 3, 0
	blelr
	li 3, -1
	blr
1:	li 3, 1
	blr
	.section .note.GNU-stack, "", @progbits
