/* What the programs share. A program does its work `rounds` times and returns a sum over all results, the same on every
   machine: no program reads a clock, and floating point is double precision without contraction, each step rounded. */
#ifndef BENCH_H
#define BENCH_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef int i32;
typedef unsigned long long u64;

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define KEPT __attribute__((used))

/* Numbers that look drawn at random: a linear congruential generator. */
static inline u32 draw(u32 *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

static inline u32 mixed(u32 sum, u32 value)
{
	sum = (sum << 5 | sum >> 27) ^ value;
	return sum * 0x9E3779B1u;
}

/* The bits of a number, high word first on every machine. */
static inline u32 mixed_double(u32 sum, double value)
{
	union {
		double d;
		u64 bits;
	} u = {value};

	return mixed(mixed(sum, (u32)(u.bits >> 32)), (u32)u.bits);
}

typedef u32 program(u32 rounds);

/* integer.c and list.c, text.c, bignum.c, machine.c */
program sort, crc, matrix, list, state, search, bignum, interp;
/* floating.c */
program fmatrix, fft, nbody, mandel;
/* memory.c */
program chase, stream;
/* bare.c */
program pages, spaces, trap, irq, port;
/* linux.c */
program mmap, fork, syscall, pipe;

/* What each start-up offers (bare.h and linux.c). */
void put_text(const char *text);
void power_off(void) __attribute__((noreturn));

void *memcpy(void *to, const void *from, __SIZE_TYPE__ size);
void *memset(void *to, int byte, __SIZE_TYPE__ size);

void bench_main(void) __attribute__((noreturn));

#endif
