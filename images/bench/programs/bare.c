/* What only runs without an operating system: page tables, address spaces, traps, interrupts and device registers. */
#include "bare.h"

volatile u32 traps, interrupts;

static u32 frames[2 * PAGES + 1][1024] __attribute__((aligned(4096)));

static volatile u32 *window(u32 page)
{
	return (volatile u32 *)(WINDOW + page * 4096);
}

/* pages: a page is mapped to another frame, written and read, 1000 times a round. */
u32 pages(u32 rounds)
{
	u32 sum = 0, seed = 31;

	prepare_window();
	while (rounds--) {
		for (u32 k = 0; k < 1000; k++) {
			u32 page = draw(&seed) % PAGES, frame = draw(&seed) % (2 * PAGES);

			map_page(0, page, (u32)frames[frame]);
			window(page)[k] += page + 1;
			sum += window(page)[k];
		}
		for (u32 k = 0; k < 2 * PAGES; k++)
			sum = mixed(sum, frames[k][rounds % 1000]);
	}
	return sum;
}

/* spaces: two address spaces with other frames at the same place take turns, 1000 times a round, as processes do. */
u32 spaces(u32 rounds)
{
	u32 sum = 0;

	prepare_window();
	for (u32 space = 0; space < 2; space++)
		for (u32 page = 0; page < PAGES; page++)
			map_page(space, page, (u32)frames[space * PAGES + page]);
	while (rounds--) {
		for (u32 k = 0; k < 1000; k++) {
			use_space(k & 1);
			for (u32 page = 0; page < PAGES; page++)
				window(page)[page] += page + k;
		}
		use_space(0);
		for (u32 k = 0; k < 2 * PAGES; k++)
			sum = mixed(sum, frames[k][k % PAGES]);
	}
	return sum;
}

/* trap: 1000 system calls a round. */
u32 trap(u32 rounds)
{
	u32 start = traps;

	while (rounds--)
		for (u32 k = 0; k < 1000; k++)
			call_trap();
	return traps - start;
}

/* irq: 1000 interrupts of a device a round, through the interrupt controller and back. */
u32 irq(u32 rounds)
{
	u32 start = interrupts;

	prepare_interrupts();
	while (rounds--)
		for (u32 k = 0; k < 1000; k++)
			cause_interrupt();
	end_interrupts();
	return interrupts - start;
}

/* port: 1000 reads of a device's register a round. */
u32 port(u32 rounds)
{
	u32 sum = 0;

	while (rounds--)
		for (u32 k = 0; k < 1000; k++)
			sum += read_port();
	return sum;
}
