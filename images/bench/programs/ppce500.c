/* The ppce500 board: an e500. Its configuration space is at F_E0000000; an entry of TLB1 maps it here at E0000000. */
#include "ppc.h"

#define CCSR 0xE0000000u
#define UART (CCSR + 0x4500)
#define MPIC (CCSR + 0x40000)
#define GPIO (CCSR + 0xFF000)
#define SPR_MAS0 624
#define SPR_MAS1 625
#define SPR_MAS2 626
#define SPR_MAS3 627
#define SPR_MAS7 944

/* The serial ports are internal interrupt 26. */
#define SOURCE (MPIC + 0x10200 + 26 * 0x20)

static void set(u32 address, u32 value)
{
	*(volatile u32 *)address = value;
	__asm__ volatile("eieio" : : : "memory");
}

static void write_entry(u32 mas0, u32 mas1, u32 mas2, u32 mas3, u32 mas7)
{
	SET_SPR(SPR_MAS0, mas0);
	SET_SPR(SPR_MAS1, mas1);
	SET_SPR(SPR_MAS2, mas2);
	SET_SPR(SPR_MAS3, mas3);
	SET_SPR(SPR_MAS7, mas7);
	__asm__ volatile("isync; tlbwe; isync" : : : "memory");
}

void prepare_board(void)
{
	/* TLB1 entry 1: valid, protected, 1 MiB, inhibited and guarded; the supervisor reads and writes. */
	write_entry(0x10010000, 0xC0000500, CCSR | 0xA, CCSR | 5, 0xF);
	out(UART, 3, 0x03);
	out(UART, 1, 0);
}

void put_text(const char *text)
{
	put(UART, text);
}

/* Pin 0 of the GPIO controller switches the power off: an output that is high. */
void power_off(void)
{
	drain(UART);
	set(GPIO, 0x80000000u);
	set(GPIO + 8, 0x80000000u);
	for (;;)
		;
}

/* Each space has a way of TLB0 for itself. */
static void entry(u32 space, u32 page, u32 valid, u32 frame)
{
	write_entry(space << 16, valid << 31 | (space + 1) << 16 | 0x100, WINDOW + page * 4096, frame | 5, 0);
}

void prepare_window(void)
{
	for (u32 space = 0; space < 2; space++)
		for (u32 page = 0; page < PAGES; page++)
			entry(space, page, 0, 0);
	use_space(0);
}

void use_space(u32 space)
{
	SET_SPR(SPR_PID, space + 1);
	synchronize();
}

void map_page(u32 space, u32 page, u32 frame)
{
	entry(space, page, 1, frame);
}

void call_trap(void)
{
	__asm__ volatile("sc" : : : "memory");
}

void prepare_interrupts(void)
{
	drain(UART);
	set(MPIC + 0x1020, 0x20000000);	      /* mixed mode */
	set(SOURCE + 0x10, 1);		      /* to processor 0 */
	set(SOURCE, 0x00800000 | 8 << 16 | 26); /* high, priority 8, vector 26 */
	set(MPIC + 0x20080, 0);		      /* the processor takes all priorities */
	set_interrupts(1);
}

void cause_interrupt(void)
{
	cause(UART);
}

void serial_handler(void)
{
	(void)*(volatile u32 *)(MPIC + 0x200A0);
	(void)in(UART, 2);
	out(UART, 1, 0);
	set(MPIC + 0x200B0, 0);
	interrupts++;
}

void end_interrupts(void)
{
	set_interrupts(0);
	set(SOURCE, 0x80000000u);
}

u32 read_port(void)
{
	return in(UART, 3);
}
