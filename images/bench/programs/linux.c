/* Under Linux, as the first process and without a library: system calls, and what only an operating system has. The numbers
   used are the same on i386 and PowerPC. */
#include "bench.h"

enum {
	EXIT = 1, FORK = 2, READ = 3, WRITE = 4, WAITPID = 7, EXECVE = 11, PIPE = 42, GETPPID = 64, REBOOT = 88, MUNMAP = 91,
	MMAP2 = 192,
};

#define LEAF_STATUS 7
#define READ_WRITE 3
#define PRIVATE_ANONYMOUS 0x22

/* linux_x86.S, linux_ppc.S */
long call(long number, long a, long b, long c, long d, long e, long f);
KEPT void start(long count, char **words) __attribute__((noreturn));

static char *leaf_words[] = {"/init", "leaf", 0};
static char *no_words[] = {0};

void put_text(const char *text)
{
	u32 length = 0;

	while (text[length])
		length++;
	call(WRITE, 1, (long)text, (long)length, 0, 0, 0);
}

/* A restart, which all boards can; -no-reboot makes it the end. */
void power_off(void)
{
	call(REBOOT, (long)0xFEE1DEAD, 672274793, 0x01234567, 0, 0, 0);
	for (;;)
		;
}

void start(long count, char **words)
{
	if (count == 2 && words[1][0] == 'l' && words[1][1] == 'e')
		call(EXIT, LEAF_STATUS, 0, 0, 0, 0, 0);
	bench_main();
}

/* syscall: 1000 calls a round. The first process has no parent. */
u32 syscall(u32 rounds)
{
	u32 sum = 0;

	while (rounds--)
		for (u32 k = 0; k < 1000; k++)
			sum += call(GETPPID, 0, 0, 0, 0, 0, 0) == 0;
	return sum;
}

/* fork: a process that becomes this program again and ends, and the wait for it. */
u32 fork(u32 rounds)
{
	u32 sum = 0;

	while (rounds--) {
		int status = 0;
		long child = call(FORK, 0, 0, 0, 0, 0, 0);

		if (child == 0) {
			call(EXECVE, (long)leaf_words[0], (long)leaf_words, (long)no_words, 0, 0, 0);
			call(EXIT, 99, 0, 0, 0, 0, 0);
		}
		if (call(WAITPID, child, (long)&status, 0, 0, 0, 0) != child)
			return 0xBAD;
		sum += (u32)status >> 8;
	}
	return sum;
}

/* pipe: two processes hand a word to and fro, 100 times a round. */
u32 pipe(u32 rounds)
{
	int there[2], back[2], status;
	u32 word = 1, sum = 0;
	long child;

	if (call(PIPE, (long)there, 0, 0, 0, 0, 0) || call(PIPE, (long)back, 0, 0, 0, 0, 0))
		return 0xBAD;
	child = call(FORK, 0, 0, 0, 0, 0, 0);
	if (child == 0) {
		do {
			call(READ, there[0], (long)&word, 4, 0, 0, 0);
			word++;
			call(WRITE, back[1], (long)&word, 4, 0, 0, 0);
		} while (word);
		call(EXIT, 0, 0, 0, 0, 0, 0);
	}
	while (rounds--) {
		for (u32 k = 0; k < 100; k++) {
			call(WRITE, there[1], (long)&word, 4, 0, 0, 0);
			call(READ, back[0], (long)&word, 4, 0, 0, 0);
		}
		sum = mixed(sum, word);
	}
	word = ~0u;
	call(WRITE, there[1], (long)&word, 4, 0, 0, 0);
	call(WAITPID, child, (long)&status, 0, 0, 0, 0);
	return sum;
}

/* mmap: 64 pages are mapped, touched and given back. */
u32 mmap(u32 rounds)
{
	u32 sum = 0;

	while (rounds--) {
		long at = call(MMAP2, 0, 64 * 4096, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0);
		volatile u32 *words = (volatile u32 *)at;

		if (at & 0xFFF)
			return 0xBAD;
		for (u32 k = 0; k < 64; k++) {
			words[k * 1024] += k;
			sum = mixed(sum, words[k * 1024 + 5] + words[k * 1024]);
		}
		call(MUNMAP, at, 64 * 4096, 0, 0, 0, 0);
	}
	return sum;
}
