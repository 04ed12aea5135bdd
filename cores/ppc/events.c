/* Interrupts, timers and reset of the PowerPC (Book III-E, chapter 7): what the run loop asks between instructions. */

#define NEVER (~0ull)

static void record(Cpu *cpu, uint32_t vector, uint32_t error, uint32_t kind)
{
    struct ExceptionRecord *r = &cpu->story[cpu->story_count++ & 15];
    r->icount = cpu->icount_end - (uint64_t)cpu->left;
    r->vector = vector;
    r->error = error;
    r->kind = kind;
    r->pc = cpu->pc;
    r->msr = cpu->msr;
    r->dear = cpu->fault_dear;
}

/* Deliver an interrupt; it counts as one instruction. kind 0: of an instruction, 2: asynchronous. */
static void deliver_event(Cpu *cpu, uint32_t ivor, uint32_t esr, uint32_t kind)
{
    cpu->left--;
    if (kind == 0) cpu->stats.exceptions++;
    else cpu->stats.interrupts++;
    record(cpu, ivor, esr, kind);
    cpu->delivered++;
    if (unlikely(cpu->log_flags)) cpu->event(cpu->handle, 2, ivor | kind << 8, esr);
    set_single(cpu, 1);
    proc_deliver(cpu, ivor, esr, cpu->fault_dear);
    set_single(cpu, 0);
}

/* What ESR tells of the instruction at PC itself: a floating-point or SPE load or store. */
static uint32_t syndrome(Cpu *cpu)
{
    uint64_t at;
    int little;
    const uint32_t dear = cpu->fault_dear;
    uint32_t esr = 0;
    if (!translate(cpu, cpu->pc, ACCESS_FETCH | privilege(cpu), &at, &little)) {
        /* What a device gave ran alone, and is not asked for again. */
        const int known = find_region(cpu, at) != NULL;
        esr = form_table[known ? find_form(cpu, (uint32_t)piece_read(cpu, at, 4, little)) : cpu->scratch[0].form].esr;
    }
    cpu->fault_dear = dear;
    return esr;
}

static void after_fault(Cpu *cpu)
{
    const uint32_t ivor = cpu->exc_vector;
    uint32_t esr = cpu->exc_error;
    if (ivor == IVOR_DATA_STORAGE || ivor == IVOR_ALIGNMENT || ivor == IVOR_DATA_TLB) esr |= syndrome(cpu);
    deliver_event(cpu, ivor, esr, 0);
}

/* The virtual time of the next event of the timers. */
void emu_timers_plan(Cpu *cpu)
{
    const uint64_t ticks = proc_timers_next(cpu);
    const __uint128_t ns = ((__uint128_t)time_base(cpu) + ticks) * cpu->tb_den;
    const __uint128_t due = (ns + cpu->tb_num - 1) / cpu->tb_num;
    cpu->timers_due = ticks == NEVER || due > NEVER ? NEVER : (uint64_t)due;
    cpu->timers_moved = 1;
}

/* Have the run come back when a timer is due. */
static void timers_wait(Cpu *cpu)
{
    const uint64_t icount = emu_icount(cpu), now = icount * NS_PER_INSN + cpu->time_offset;
    uint64_t end = cpu->run_end;
    if (cpu->timers_inner && cpu->timers_due != NEVER) {
        const uint64_t insns = cpu->timers_due > now ? (cpu->timers_due - now + NS_PER_INSN - 1) / NS_PER_INSN : 0;
        if (icount < end && insns < end - icount) end = icount + insns;
    }
    cpu->left += (int64_t)(end - cpu->icount_end);
    cpu->icount_end = end;
}

/* The stretch up to icount_end is over. Nonzero: the run goes on. At the end of the run itself the timers are left to the
 * board's clock, which may have others that are due then. */
static int timers_go_on(Cpu *cpu)
{
    const uint64_t icount = emu_icount(cpu);
    if (icount >= cpu->run_end) return 0;
    if (icount * NS_PER_INSN + cpu->time_offset >= cpu->timers_due) {
        /* Between instructions: none is under way. */
        cpu->running = 0;
        emu_timers_tick(cpu);
        emu_timers_plan(cpu);
        cpu->running = 1;
    }
    timers_wait(cpu);
    return 1;
}

/* A halted processor that one of its timers can wake: time jumps there, if nothing else is due before. 0: not here. */
static int timers_idle(Cpu *cpu)
{
    const uint64_t due = cpu->timers_due;
    if (!cpu->timers_inner || !(cpu->msr & (1u << 15 | 1u << 17)) || due >= cpu->idle_until) return 0;
    const uint64_t icount = emu_icount(cpu), now = icount * NS_PER_INSN + cpu->time_offset;
    if (due > now) {
        cpu->time_offset += due - now;
        const uint64_t insns = (cpu->idle_until - due + NS_PER_INSN - 1) / NS_PER_INSN;
        if (insns < cpu->run_end - icount) cpu->run_end = icount + insns;
    }
    return timers_go_on(cpu);
}

static int attend(Cpu *cpu)
{
    if (cpu->attention & ATT_STOP) {
        const int leave = stop_asked(cpu);
        if (leave) return leave;
    }
    if (cpu->timers_moved) {
        timers_wait(cpu);
        if (cpu->left <= 0) return 0;
    }
    const uint32_t ivor = cpu->hold ? IVOR_NONE : proc_pending(cpu);
    if (ivor != IVOR_NONE) {
        deliver_event(cpu, ivor, 0, 2);
        return 0;
    }
    if (cpu->halted) return timers_idle(cpu) ? 0 : RUN_HALT + 1;
    if (cpu->debugging & 1 || cpu->hold) {
        if (break_here(cpu)) return 0;
        if (cpu->debugging & 1 && proc_debug_fetch(cpu)) {
            deliver_event(cpu, IVOR_DEBUG, 0, 2);
            return 0;
        }
        /* What debug_done records is an interrupt that waits: pending names it next, in this run or the one after. */
        if (run_alone(cpu)) after_fault(cpu);
        else if (cpu->debugging & 1) proc_debug_done(cpu);
        cpu->attention |= ATT_STEP;
        return 0;
    }
    cpu->attention = cpu->stop_flags ? ATT_STOP : 0;
    return 0;
}

static inline int attention_now(Cpu *cpu) { return cpu->attention != 0; }

void emu_set_pins(Cpu *cpu, uint32_t pins)
{
    cpu->pins = (uint8_t)pins;
    if (pins) cpu->attention |= ATT_INTR;
}

void emu_timers_tick(Cpu *cpu)
{
    proc_timers_tick(cpu);
    cpu->attention |= ATT_INTR;
}

void emu_put_msr(Cpu *cpu, uint32_t value) { proc_msr_load(cpu, value); }

/* Whether the processor runs in place with its external interrupts masked: a branch to itself, or the wait state. */
int emu_stuck(Cpu *cpu)
{
    uint64_t at;
    int little;
    if (cpu->msr & 1u << 15) return 0;
    if (cpu->halted) return 1;
    const uint32_t dear = cpu->fault_dear;
    if (translate(cpu, cpu->pc, ACCESS_FETCH | privilege(cpu), &at, &little) || !find_region(cpu, at)) {
        cpu->fault_dear = dear;
        return 0;
    }
    return piece_read(cpu, at, 4, little) == 0x48000000u;
}

int emu_translate(Cpu *cpu, uint32_t ea, uint64_t *at)
{
    uint32_t ok = 0, rights, ivor, esr;
    /* Whoever looks from outside may see what anybody may read or run. */
    for (uint32_t access = 0; access < 8 && !ok; access += ACCESS_USER) proc_walk(cpu, ea, access, &ok, at, &rights, &ivor, &esr);
    return (int)ok;
}

void emu_refresh(Cpu *cpu)
{
    tlb_clear(cpu);
    mode_changed(cpu);
}

void emu_reset(Cpu *cpu)
{
    reset_state(cpu);
    cpu->left = 0;
    cpu->icount_end = 0;
    cpu->attention = 0;
    cpu->stop_flags = 0;
    cpu->story_count = 0;
    cpu->retry = cpu->single = 0;
    cpu->lookup_key = 0;
    cpu->link = NULL;
    emu_refresh(cpu);
}

/* What a new processor starts with beside its reset state. */
static void born(Cpu *cpu)
{
    for (uint32_t k = 0; k < TLB_SIZE; k++) cpu->missing[k].rtag = cpu->missing[k].wtag = NO_TAG;
    cpu->line_size = 32;
    cpu->tb_num = 2;
    cpu->tb_den = 5;
    cpu->dtlb = cpu->missing;
    cpu->dfetch = cpu->fetch;
}
