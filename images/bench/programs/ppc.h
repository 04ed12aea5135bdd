/* What the two PowerPC boards have in common: special registers, and a 16550 in memory. */
#ifndef PPC_H
#define PPC_H

#include "bare.h"

#define SET_SPR(number, value) __asm__ volatile("mtspr %0, %1" : : "i"(number), "r"(value) : "memory")
#define SPR_PID 48
#define MSR_EE 0x8000u

KEPT void prepare_board(void);
KEPT void serial_handler(void);

static inline void synchronize(void)
{
	__asm__ volatile("isync" : : : "memory");
}

static inline void set_interrupts(u32 on)
{
	u32 msr;

	__asm__ volatile("mfmsr %0" : "=r"(msr));
	msr = on ? msr | MSR_EE : msr & ~MSR_EE;
	__asm__ volatile("mtmsr %0; isync" : : "r"(msr) : "memory");
}

static inline void out(u32 uart, u32 where, u8 value)
{
	*(volatile u8 *)(uart + where) = value;
	__asm__ volatile("eieio" : : : "memory");
}

static inline u8 in(u32 uart, u32 where)
{
	u8 value = *(volatile u8 *)(uart + where);

	__asm__ volatile("eieio" : : : "memory");
	return value;
}

static inline void put(u32 uart, const char *text)
{
	for (; *text; text++) {
		while (!(in(uart, 5) & 0x20))
			;
		out(uart, 0, (u8)*text);
	}
}

static inline void drain(u32 uart)
{
	while (!(in(uart, 5) & 0x40))
		;
}

/* An empty transmitter interrupts as soon as it may. */
static inline void cause(u32 uart)
{
	u32 before = interrupts;

	out(uart, 1, 2);
	while (interrupts == before)
		;
}

#endif
