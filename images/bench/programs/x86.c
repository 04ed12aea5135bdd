/* The PC: COM1, the interrupt controllers, page tables, and the end by isa-debug-exit or the keyboard controller's reset. */
#include "bare.h"

#define COM1 0x3F8
#define FLAT_CODE 8
#define TRAP_VECTOR 0x40
#define SERIAL_VECTOR 0x24 /* IRQ 4 */
#define LARGE 0x83	   /* present, writable, 4 MiB */
#define SMALL 3		   /* present, writable */

void trap_entry(void);
void serial_entry(void);
void prepare_board(void);
KEPT void serial_handler(void);

static struct {
	u16 low, selector, kind, high;
} idt[TRAP_VECTOR + 1];

static u32 directories[2][1024] __attribute__((aligned(4096)));
static u32 tables[2][1024] __attribute__((aligned(4096)));

static void out(u16 where, u8 value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(where));
}

static u8 in(u16 where)
{
	u8 value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(where));
	return value;
}

void put_text(const char *text)
{
	for (; *text; text++) {
		while (!(in(COM1 + 5) & 0x20))
			;
		out(COM1, (u8)*text);
	}
}

void power_off(void)
{
	while (!(in(COM1 + 5) & 0x40))
		;
	out(0xF4, 0x10);
	out(0x64, 0xFE);
	for (;;)
		__asm__ volatile("cli; hlt");
}

static void gate(u32 vector, void (*entry)(void))
{
	idt[vector].low = (u16)(u32)entry;
	idt[vector].selector = FLAT_CODE;
	idt[vector].kind = 0x8E00;
	idt[vector].high = (u16)((u32)entry >> 16);
}

void prepare_board(void)
{
	struct {
		u16 limit;
		u32 base;
	} __attribute__((packed)) pointer = {sizeof idt - 1, (u32)idt};

	gate(TRAP_VECTOR, trap_entry);
	gate(SERIAL_VECTOR, serial_entry);
	__asm__ volatile("lidt %0" : : "m"(pointer));
	out(0x20, 0x11);
	out(0x21, 0x20);
	out(0x21, 0x04);
	out(0x21, 0x01);
	out(0x21, 0xFF);
	out(0xA1, 0xFF);
	out(COM1 + 3, 0x03);
	out(COM1 + 4, 0x0B);
	out(COM1 + 1, 0);
}

void prepare_window(void)
{
	for (u32 space = 0; space < 2; space++) {
		for (u32 k = 0; k < 1024; k++)
			tables[space][k] = 0;
		for (u32 k = 0; k < 16; k++)
			directories[space][k] = k << 22 | LARGE;
		directories[space][WINDOW >> 22] = (u32)tables[space] | SMALL;
	}
	__asm__ volatile("mov %%cr4, %%eax; or $0x10, %%eax; mov %%eax, %%cr4" : : : "eax");
	use_space(0);
	__asm__ volatile("mov %%cr0, %%eax; or $0x80000000, %%eax; mov %%eax, %%cr0" : : : "eax");
}

void use_space(u32 space)
{
	__asm__ volatile("mov %0, %%cr3" : : "r"(directories[space]) : "memory");
}

void map_page(u32 space, u32 page, u32 frame)
{
	tables[space][page] = frame | SMALL;
	__asm__ volatile("invlpg (%0)" : : "r"(WINDOW + page * 4096) : "memory");
}

void call_trap(void)
{
	__asm__ volatile("int %0" : : "i"(TRAP_VECTOR) : "memory");
}

void prepare_interrupts(void)
{
	while (!(in(COM1 + 5) & 0x40))
		;
	out(0x21, 0xEF);
	__asm__ volatile("sti");
}

/* An empty transmitter interrupts as soon as it may. */
void cause_interrupt(void)
{
	u32 before = interrupts;

	out(COM1 + 1, 2);
	while (interrupts == before)
		;
}

void serial_handler(void)
{
	(void)in(COM1 + 2);
	out(COM1 + 1, 0);
	out(0x20, 0x20);
	interrupts++;
}

void end_interrupts(void)
{
	__asm__ volatile("cli");
	out(0x21, 0xFF);
}

u32 read_port(void)
{
	return in(COM1 + 3);
}
