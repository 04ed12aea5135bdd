/* Memory: a chase through four MiB, and streams over one. */
#include "bench.h"

#define SLOTS (1u << 18)

/* chase: each slot of sixteen bytes says which one comes next: one circle through all, made by Sattolo's shuffle. */
u32 chase(u32 rounds)
{
	static u32 slots[SLOTS][4];
	u32 sum = 0, seed = 21, at = 0;

	for (u32 k = 0; k < SLOTS; k++)
		slots[k][0] = k;
	for (u32 k = SLOTS - 1; k > 0; k--) {
		u32 other = draw(&seed) % k, kept = slots[k][0];

		slots[k][0] = slots[other][0];
		slots[other][0] = kept;
	}
	while (rounds--) {
		for (u32 k = 0; k < 10000; k++)
			at = slots[at][0];
		sum = mixed(sum, at);
	}
	return sum;
}

#define WORDS (1u << 18)

/* stream: copy, scale, add and a triad, as words, bytes and half words. */
u32 stream(u32 rounds)
{
	static u32 a[WORDS], b[WORDS], c[WORDS];
	u32 sum = 0, seed = 22;

	for (u32 k = 0; k < WORDS; k++)
		a[k] = draw(&seed);
	while (rounds--) {
		const u8 *from = (const u8 *)a;
		const u16 *halves = (const u16 *)b;
		u8 *to = (u8 *)c;
		u32 total = 0;

		for (u32 k = 0; k < WORDS; k++)
			c[k] = a[k];
		for (u32 k = 0; k < WORDS; k++)
			b[k] = 3 * c[k];
		for (u32 k = 0; k < WORDS; k++)
			c[k] = a[k] + b[k];
		for (u32 k = 0; k < WORDS; k++)
			a[k] = b[k] + 5 * c[k];
		for (u32 k = 0; k < WORDS / 4; k++)
			to[k] = from[WORDS - 1 - k];
		/* Parts of a word lie the other way round on the other machines: only their sum is the same. */
		for (u32 k = 0; k < WORDS; k += 16)
			total += a[k] ^ ((u32)halves[k] + halves[k + 1]);
		for (u32 k = 0; k < WORDS / 4; k += 4)
			total += (u32)to[k] + to[k + 1] + to[k + 2] + to[k + 3];
		sum = mixed(sum, total);
	}
	return sum;
}
