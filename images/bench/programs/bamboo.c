/* The Bamboo board: a 440EP. Its devices are mapped when a program is entered; there is no power switch. */
#include "ppc.h"

#define UART 0xEF600300u
#define FIRST_ENTRY 32u
#define SPR_MMUCR 946
#define SPR_DBCR0 308

/* UIC0 is DCR C0; the first serial port is its first interrupt. */
#define UART_BIT 0x80000000u
#define SET_DCR(number, value) __asm__ volatile("mtdcr %0, %1" : : "i"(number), "r"(value) : "memory")

static void write_entry(u32 entry, u32 first, u32 second, u32 third)
{
	__asm__ volatile("tlbwe %1, %0, 0; tlbwe %2, %0, 1; tlbwe %3, %0, 2"
			 :
			 : "r"(entry), "r"(first), "r"(second), "r"(third)
			 : "memory");
}

/* Some loaders map all there is with the first two entries: leave 256 MiB of memory and of devices, and so the window. */
void prepare_board(void)
{
	SET_SPR(SPR_MMUCR, 0);
	write_entry(0, 0x290, 0, 7);
	write_entry(1, 0xE0000290, 0xE0000000, 0x503);
	synchronize();
	out(UART, 3, 0x03);
	out(UART, 1, 0);
}

void put_text(const char *text)
{
	put(UART, text);
}

void power_off(void)
{
	drain(UART);
	SET_SPR(SPR_DBCR0, 0x30000000u);
	for (;;)
		;
}

void prepare_window(void)
{
	for (u32 entry = FIRST_ENTRY; entry < FIRST_ENTRY + 2 * PAGES; entry++)
		write_entry(entry, 0, 0, 0);
	use_space(0);
}

/* Spaces are the processes 1 and 2; the programs themselves are mapped for all. */
void use_space(u32 space)
{
	SET_SPR(SPR_PID, space + 1);
	synchronize();
}

void map_page(u32 space, u32 page, u32 frame)
{
	SET_SPR(SPR_MMUCR, space + 1);
	write_entry(FIRST_ENTRY + space * PAGES + page, (WINDOW + page * 4096) | 0x210, frame, 3);
	synchronize();
}

void call_trap(void)
{
	__asm__ volatile("sc" : : : "memory");
}

void prepare_interrupts(void)
{
	drain(UART);
	SET_DCR(0xC2, 0u);	 /* enabled: none */
	SET_DCR(0xC3, 0u);	 /* critical: none */
	SET_DCR(0xC4, UART_BIT); /* polarity: high */
	SET_DCR(0xC5, 0u);	 /* by level */
	SET_DCR(0xC0, ~0u);
	SET_DCR(0xC2, UART_BIT);
	set_interrupts(1);
}

void cause_interrupt(void)
{
	cause(UART);
}

void serial_handler(void)
{
	(void)in(UART, 2);
	out(UART, 1, 0);
	SET_DCR(0xC0, UART_BIT);
	interrupts++;
}

void end_interrupts(void)
{
	set_interrupts(0);
	SET_DCR(0xC2, 0u);
}

u32 read_port(void)
{
	return in(UART, 3);
}
