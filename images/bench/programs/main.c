/* Runs the programs named in `bench_words`, "NAME:ROUNDS" with spaces between, and prints one line for each. The words
   are written into the finished file by images/bench/build.py: no board's way to hand over arguments is needed. */
#include "bench.h"

static const struct {
	const char *name;
	program *run;
} programs[] = {
	{"sort", sort},	      {"crc", crc},	  {"matrix", matrix}, {"list", list},	  {"state", state},
	{"search", search},   {"bignum", bignum}, {"interp", interp}, {"fmatrix", fmatrix}, {"fft", fft},
	{"nbody", nbody},     {"mandel", mandel}, {"chase", chase},   {"stream", stream},
#ifdef BARE
	{"pages", pages},     {"spaces", spaces}, {"trap", trap},     {"irq", irq},	  {"port", port},
#else
	{"mmap", mmap},	      {"fork", fork},	  {"syscall", syscall}, {"pipe", pipe},
#endif
};

KEPT volatile char bench_words[1024] = "bench words: up to 1023 characters here";

void *memcpy(void *to, const void *from, __SIZE_TYPE__ size)
{
	u8 *t = to;
	const u8 *f = from;

	while (size--)
		*t++ = *f++;
	return to;
}

void *memset(void *to, int byte, __SIZE_TYPE__ size)
{
	u8 *t = to;

	while (size--)
		*t++ = (u8)byte;
	return to;
}

static void put_number(u32 value, u32 base, u32 digits)
{
	char text[12];
	char *at = text + sizeof text;

	*--at = 0;
	do {
		u32 digit = value % base;

		*--at = (char)(digit < 10 ? '0' + digit : 'a' + digit - 10);
		value /= base;
	} while (value || text + sizeof text - 1 - at < (long)digits);
	put_text(at);
}

static int same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

static void run(const char *name, u32 rounds)
{
	put_text("bench ");
	put_text(name);
	put_text(" ");
	put_number(rounds, 10, 1);
	put_text(" ");
	for (u32 k = 0; k < COUNT(programs); k++) {
		if (same(name, programs[k].name)) {
			put_number(programs[k].run(rounds), 16, 8);
			put_text("\r\n");
			return;
		}
	}
	put_text("unknown\r\n");
}

void bench_main(void)
{
	volatile char *at = bench_words;

	put_text("bench ready\r\n");
	while (*at) {
		char name[16];
		u32 length = 0, rounds = 0;

		while (*at == ' ')
			at++;
		while (*at && *at != ':' && *at != ' ') {
			if (length < sizeof name - 1)
				name[length++] = *at;
			at++;
		}
		name[length] = 0;
		if (*at == ':')
			at++;
		while (*at >= '0' && *at <= '9')
			rounds = rounds * 10 + (u32)(*at++ - '0');
		while (*at && *at != ' ')
			at++;
		if (length)
			run(name, rounds);
	}
	put_text("bench done\r\n");
	power_off();
}
