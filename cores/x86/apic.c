/* The local APIC while it is lent (devices/lapic.py): its timer, the acknowledge cycle, EOI and the initial count. Kernels ask
 * for these at every tick. Whatever else touches the registers takes the whole state home first.
 *
 * Intel SDM volume 3, 10.5.4 and 10.8; the numbers here are those of the device. */

enum { APIC_EOI = 0xB0, APIC_TMICT = 0x380, APIC_MASKED = 1 << 16, APIC_PERIODIC = 1 << 17, APIC_DEADLINE = 1 << 18, APIC_MIN_PERIOD = 1000 };

static int apic_highest(const uint64_t *bits)
{
    for (int k = 3; k >= 0; k--)
        if (bits[k]) return 64 * k + 63 - __builtin_clzll(bits[k]);
    return -1;
}

/* The vector that the processor would get now, or -1. */
static int apic_pending(const struct ApicLoan *a)
{
    const int wants = apic_highest(a->irr), serves = apic_highest(a->isr);
    const int priority = serves >> 4 > (int)(a->tpr >> 4) ? serves >> 4 : (int)(a->tpr >> 4);
    return wants >= 0 && wants >> 4 > priority ? wants : -1;
}

/* Have the run come back when something that is lent is due. */
static void lent_wait(Cpu *cpu, uint64_t now_icount)
{
    int64_t first = cpu->apic.lent ? cpu->apic.armed : -1;
    for (uint32_t k = 0; k < cpu->blk_count; k++) {
        const struct BlkLoan *b = &cpu->blk[k];
        if (b->lent && b->inflight && (first < 0 || (int64_t)b->requests[0]->due < first)) first = (int64_t)b->requests[0]->due;
    }
    const int64_t net = net_first(cpu);
    if (net >= 0 && (first < 0 || net < first)) first = net;
    uint64_t end = cpu->run_end;
    if (first >= 0) {
        const int64_t wait = first - (int64_t)(now_icount * NS_PER_INSN + cpu->time_offset);
        const uint64_t insns = wait > 0 ? ((uint64_t)wait + NS_PER_INSN - 1) / NS_PER_INSN : 0;
        if (insns < end - now_icount) end = now_icount + insns;
    }
    cpu->left += (int64_t)(end - cpu->icount_end);
    cpu->icount_end = end;
}

static void apic_request(Cpu *cpu, uint32_t vector)
{
    struct ApicLoan *a = &cpu->apic;
    a->irr[vector >> 6] |= 1ull << (vector & 63);
    a->tmr[vector >> 6] &= ~(1ull << (vector & 63));
    emu_set_intr(cpu, apic_pending(a) >= 0);
}

static void apic_arm(struct ApicLoan *a, int64_t when)
{
    a->armed = when;
    a->moved = 1;
}

/* See Lapic._schedule. */
static void apic_schedule(struct ApicLoan *a, int64_t now)
{
    const int64_t period = (int64_t)a->tmict * a->divisor;
    if (!a->counting || !period || (a->lvt_timer & APIC_MASKED)) {
        apic_arm(a, -1);
    } else if (a->lvt_timer & APIC_PERIODIC) {
        const int64_t passed = now > a->started ? now - a->started : 0;
        const int64_t next = a->started + (passed / period + 1) * period;
        apic_arm(a, next > now + APIC_MIN_PERIOD ? next : now + APIC_MIN_PERIOD);
    } else {
        apic_arm(a, a->started + period > now ? a->started + period : -1);
    }
}

static void apic_run(Cpu *cpu)
{
    if (cpu->net.lent) net_ready(&cpu->net, (int64_t)(emu_icount(cpu) * NS_PER_INSN + cpu->time_offset));
    lent_wait(cpu, emu_icount(cpu));
}

/* The stretch up to icount_end is over. Nonzero: the run goes on. At the end of the run itself the timer is left to the
 * board's clock, which may have others that are due then; so are requests of a disk while the APIC is not here. */
static int apic_goes_on(Cpu *cpu)
{
    struct ApicLoan *a = &cpu->apic;
    const uint64_t icount = emu_icount(cpu);
    if (icount >= cpu->run_end) return 0;
    const int64_t now = (int64_t)(icount * NS_PER_INSN + cpu->time_offset);
    if (a->lent && a->armed >= 0 && now >= a->armed) {
        apic_arm(a, -1);
        if (a->lvt_timer & APIC_DEADLINE) cpu->msr_misc[4] = 0;
        if (a->lvt_timer & APIC_PERIODIC) apic_schedule(a, now);
        if (!(a->lvt_timer & APIC_MASKED)) apic_request(cpu, a->lvt_timer & 0xff);
    }
    for (uint32_t k = 0; k < cpu->blk_count; k++) {
        struct BlkLoan *b = &cpu->blk[k];
        while (b->lent && b->inflight && now >= (int64_t)b->requests[0]->due) {
            if (!a->lent) return 0;
            if (blk_complete(cpu, b)) apic_request(cpu, b->ring.vector);
        }
    }
    if (!net_goes_on(cpu, now)) return 0;
    lent_wait(cpu, icount);
    return 1;
}

/* A halted processor that its APIC's timer or a disk at work can wake: time jumps to what is due first. 0: not here. Nothing
 * else may be due by then; a timer that is armed meanwhile ends the run. */
static int apic_idles(Cpu *cpu)
{
    const struct ApicLoan *a = &cpu->apic;
    if (!a->lent || !(cpu->eflags & 0x200) || cpu->attention & ATT_STOP) return 0;
    int64_t first = -1;
    for (uint32_t k = 0; k < cpu->blk_count; k++) {
        const struct BlkLoan *b = &cpu->blk[k];
        if (b->lent && b->inflight && (first < 0 || (int64_t)b->requests[0]->due < first)) first = (int64_t)b->requests[0]->due;
    }
    if (a->armed >= 0 && (first < 0 || a->armed < first)) first = a->armed;
    if (net_idles(cpu, first)) return apic_goes_on(cpu);
    if (first < 0 || first >= (int64_t)cpu->idle_until) return 0;
    const uint64_t icount = emu_icount(cpu);
    const int64_t now = (int64_t)(icount * NS_PER_INSN + cpu->time_offset);
    if (first > now) {
        cpu->time_offset += (uint64_t)(first - now);
        const uint64_t insns = (cpu->idle_until - (uint64_t)first + NS_PER_INSN - 1) / NS_PER_INSN;
        if (insns < cpu->run_end - icount) cpu->run_end = icount + insns;
    }
    return apic_goes_on(cpu);
}

/* A 32-bit register is written. 0: not here. */
static int apic_write(Cpu *cpu, uint64_t address, uint32_t size, uint64_t v)
{
    struct ApicLoan *a = &cpu->apic;
    if (!a->lent || size != 4 || (address & ~0xfffull) != a->base || !cpu->single) return 0;
    if ((address & 0xfff) == APIC_EOI) {
        const int vector = apic_highest(a->isr);
        if (vector >= 0) {
            if (a->tmr[vector >> 6] >> (vector & 63) & 1) return 0;
            a->isr[vector >> 6] &= ~(1ull << (vector & 63));
        }
        emu_set_intr(cpu, apic_pending(a) >= 0);
        return 1;
    }
    if ((address & 0xfff) == APIC_TMICT && !(a->lvt_timer & APIC_DEADLINE)) {
        const int64_t now = (int64_t)virtual_ns(cpu);
        a->tmict = (uint32_t)v;
        a->counting = v != 0;
        a->started = now;
        apic_schedule(a, now);
        lent_wait(cpu, emu_icount(cpu));
        return 1;
    }
    return 0;
}

/* The processor takes an interrupt. */
static uint32_t apic_acknowledge(Cpu *cpu)
{
    struct ApicLoan *a = &cpu->apic;
    const int vector = a->lent ? apic_pending(a) : -1;
    if (vector < 0) return cpu->acknowledge(cpu->handle) & 0xff;
    a->irr[vector >> 6] &= ~(1ull << (vector & 63));
    a->isr[vector >> 6] |= 1ull << (vector & 63);
    emu_set_intr(cpu, apic_pending(a) >= 0);
    return (uint32_t)vector;
}
