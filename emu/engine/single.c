/* Dispatch, and single instructions outside any block. */

/* While one instruction runs alone, or an event is delivered, no lookup key matches: a near transfer then ends in the run
 * loop rather than in the next block. */
static void set_single(Cpu *cpu, uint32_t single)
{
    cpu->single = single;
    cpu->lookup_key = (cpu->lookup_key & ~(uint32_t)KEY_ALONE) | (single ? KEY_ALONE : 0);
}

#ifdef EMU_TRAMPOLINE
static const struct Insn *dispatch(Cpu *cpu, const struct Insn *i)
{
    while (!IS_EXIT(i)) i = i->fn(cpu, i);
    return i;
}
static const struct Insn *resume(Cpu *cpu, const struct Insn *i) { return IS_EXIT(i) ? i : dispatch(cpu, i); }
#else
static inline const struct Insn *dispatch(Cpu *cpu, const struct Insn *i) { return i->fn(cpu, i); }
static inline const struct Insn *resume(Cpu *cpu, const struct Insn *i)
{
    (void)cpu;
    return i;
}
#endif

/* Run exactly one instruction, decoded afresh, with devices and running code within reach. Nonzero: it faulted. */
static int run_alone(Cpu *cpu)
{
    struct Insn *i = cpu->scratch;
    cpu->stats.singles++;
    set_single(cpu, 1);
    cpu->left--; /* before any device is asked, for the bytes too */
    if (decode_alone(cpu, i)) {
        cpu->left++;
        set_single(cpu, 0);
        return 1;
    }
    i->rest = 1;
    memset(&i[1], 0, sizeof i[1]);
    i[1].fn = op_done;
    i[1].start = i->next;
    const struct Insn *r = dispatch(cpu, i);
    set_single(cpu, 0);
    return r == EXIT_FAULT;
}

/* What somebody asked for with emu_stop. Nonzero: leave emu_run with that number less one. */
static int stop_asked(Cpu *cpu)
{
    const uint32_t flags = cpu->stop_flags;
    cpu->stop_flags = 0;
    cpu->attention &= ~(uint32_t)ATT_STOP;
    if (flags & STOP_SHUTDOWN) return RUN_SHUTDOWN + 1;
    if (flags & STOP_ERROR) return RUN_ERROR + 1;
    if (flags & STOP_HOOK) {
        if (flags & STOP_STOP) emu_stop(cpu, STOP_STOP);
        return RUN_HOOK + 1;
    }
    return flags & STOP_STOP ? RUN_STOP + 1 : 0;
}
