/* What a board offers to the programs that run without an operating system; x86.c, bamboo.c and ppce500.c. */
#ifndef BARE_H
#define BARE_H

#include "bench.h"

#define WINDOW 0x50000000u /* where pages are mapped */
#define PAGES 8u

extern volatile u32 traps, interrupts;

/* Map page `page` of the window to a frame, in one of two address spaces. */
void map_page(u32 space, u32 page, u32 frame);
/* The address space that is used from now on. */
void use_space(u32 space);
/* Map nothing in the window, and begin in space 0. */
void prepare_window(void);
/* A system call: the handler counts it in `traps`. */
void call_trap(void);
/* Let the serial port interrupt at once, and wait until the handler has counted it in `interrupts`. */
void prepare_interrupts(void);
void cause_interrupt(void);
void end_interrupts(void);
/* Read a register of the serial port that has no side effect. */
u32 read_port(void);

#endif
