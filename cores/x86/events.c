/* Exceptions, interrupts and reset of the x86 (SDM vol. 3, chapter 6): what the run loop asks between instructions. */

static int contributory(uint32_t vector) { return vector == 0 || (vector >= 10 && vector <= 13); }

static void record(Cpu *cpu, uint32_t vector, uint32_t error, uint32_t kind)
{
    struct ExceptionRecord *r = &cpu->story[cpu->story_count++ & 15];
    r->icount = cpu->icount_end - (uint64_t)cpu->left;
    r->vector = vector;
    r->error = error;
    r->kind = kind;
    r->cs = cpu->seg_sel[1];
    r->eip = cpu->eip;
    r->cr2 = cpu->cr2;
}

static void interrupt_taken(Cpu *cpu, uint32_t vector, uint32_t kind, uint32_t error, uint32_t eip)
{
    (void)vector, (void)kind, (void)error, (void)eip;
    cpu->delivered++;
}

/* Inside a block EIP is anything; the log wants the one to return to. */
static void interrupt_coming(Cpu *cpu, uint32_t vector, uint32_t kind, uint32_t error, uint32_t eip)
{
    if (likely(!cpu->log_flags)) return;
    cpu->eip = eip;
    cpu->event(cpu->handle, 2, vector | kind << 8, error);
}

/* VIF and VIP both set: the monitor has to hand over an interrupt first (vol. 3, 20.3.2 and 20.4). */
static int virtual_interrupt_due(const Cpu *cpu)
{
    const uint32_t flags = cpu->eflags, both = 3u << 19;
    return (flags & both) == both && cpu->cpl == 3 && (flags >> 12 & 3) != 3 && (cpu->cr4 & (flags & 1u << 17 ? 1 : 2));
}

/* Deliver a vector, with the rules for faults that meet while another is delivered (vol. 3, table 6-5). */
static void deliver_event(Cpu *cpu, uint32_t vector, uint32_t error, uint32_t kind)
{
    uint32_t first = vector;
    int benign = kind != 0;
    const uint32_t alone_before = cpu->single;
    set_single(cpu, 1);
    cpu->halted = 0;
    cpu->left--;
    if (kind == 0) cpu->stats.exceptions++;
    else cpu->stats.interrupts++;
    record(cpu, vector, error, kind);
    for (int depth = 0; depth < 8; depth++) {
        if (!proc_deliver(cpu, vector, error, kind, cpu->eip)) {
            set_single(cpu, alone_before);
            return;
        }
        const uint32_t next = cpu->exc_vector;
        record(cpu, next, cpu->exc_error, 8);
        if (first == 8) break;
        if (!benign && ((contributory(first) && contributory(next)) || (first == 14 && (contributory(next) || next == 14)))) {
            vector = first = 8;
            error = 0;
            record(cpu, 8, 0, 16);
        } else {
            vector = first = next;
            error = cpu->exc_error;
        }
        kind = 0;
        benign = 0;
    }
    record(cpu, 8, 0, 32);
    set_single(cpu, alone_before);
    cpu->stop_flags |= STOP_SHUTDOWN;
    cpu->attention |= ATT_STOP;
}

static void after_fault(Cpu *cpu) { deliver_event(cpu, cpu->exc_vector, cpu->exc_error, 0); }

/* A device or the pins want something, or a rule asks for single steps. Nonzero: leave emu_run with that number less one. */
static int attend(Cpu *cpu)
{
    if (cpu->attention & ATT_STOP) {
        const int leave = stop_asked(cpu);
        if (leave) return leave;
    }
    if (cpu->debug_pending && cpu->shadow != 2) {
        cpu->dr[6] |= cpu->debug_pending;
        cpu->debug_pending = 0;
        cpu->halted = 0;
        deliver_event(cpu, 1, 0, 0);
        return 0;
    }
    if (!cpu->shadow && !cpu->hold) {
        if (cpu->nmi_pending && !cpu->nmi_blocked) {
            cpu->nmi_pending = 0;
            cpu->nmi_blocked = 1;
            deliver_event(cpu, 2, 0, 3);
            return 0;
        }
        if (cpu->intr && (cpu->eflags & 0x200)) {
            cpu->halted = 0;
            cpu->left--; /* as in any callback, what is under way is already subtracted */
            const uint32_t vector = apic_acknowledge(cpu);
            cpu->left++;
            deliver_event(cpu, vector, 0, 2);
            return 0;
        }
    }
    if (cpu->halted) return apic_idles(cpu) ? 0 : RUN_HALT + 1;
    if (unlikely(virtual_interrupt_due(cpu))) {
        deliver_event(cpu, 13, 0, 0);
        return 0;
    }
    if (break_here(cpu)) return 0;
    const uint32_t breaks = cpu->code_breaks;
    /* TF steps; RF must be cleared by the next instruction; a data breakpoint traps right behind its instruction. */
    if (cpu->shadow || (cpu->eflags & 0x10100) || breaks || cpu->data_breaks || cpu->debug_pending || cpu->hold) {
        if (breaks && !(cpu->eflags & 0x10000)) {
            uint32_t hit = 0;
            const uint32_t lin = cpu->seg_base[1] + cpu->eip;
            for (uint32_t k = 0; k < 4; k++)
                if (((cpu->dr[7] >> (2 * k)) & 3) && ((cpu->dr[7] >> (16 + 4 * k)) & 3) == 0 && cpu->dr[k] == lin) hit |= 1u << k;
            if (hit && cpu->shadow != 2) {
                cpu->dr[6] |= hit;
                deliver_event(cpu, 1, 0, 0);
                return 0;
            }
        }
        const uint32_t shadow = cpu->shadow, step = cpu->eflags & 0x100, resume = cpu->eflags & 0x10000;
        const uint32_t taken = cpu->delivered;
        cpu->eflags &= ~0x10000u;
        const int faulted = run_alone(cpu);
        cpu->shadow &= (uint8_t)~shadow;
        if (faulted) {
            cpu->eflags |= resume;
            after_fault(cpu);
        } else if (step && cpu->delivered == taken && cpu->shadow != 2) {
            /* Behind MOV SS the step is lost, not late: only breakpoints wait. */
            cpu->debug_pending |= 0x4000;
        }
        return 0;
    }
    cpu->attention = 0;
    if (cpu->intr) cpu->attention |= ATT_INTR;
    if (cpu->nmi_pending) cpu->attention |= ATT_NMI;
    if (cpu->stop_flags) cpu->attention |= ATT_STOP;
    return 0;
}

/* Whether attention would do something now, rather than wait for IF or the end of an NMI. */
static inline int attention_now(Cpu *cpu)
{
    if (cpu->attention & ~(uint32_t)(ATT_INTR | ATT_NMI)) return 1;
    if (cpu->shadow || cpu->halted || cpu->debug_pending || (cpu->eflags & 0x10100)) return 1;
    if (cpu->intr && (cpu->eflags & 0x200)) return 1;
    return cpu->nmi_pending && !cpu->nmi_blocked;
}

void emu_set_intr(Cpu *cpu, uint32_t level)
{
    cpu->intr = level;
    if (level) cpu->attention |= ATT_INTR;
}

void emu_nmi(Cpu *cpu)
{
    cpu->nmi_pending = 1;
    cpu->attention |= ATT_NMI;
}

void emu_set_a20(Cpu *cpu, uint32_t enabled)
{
    const uint32_t mask = enabled ? 0xffffffffu : ~(1u << 20);
    if (mask != cpu->a20_mask) {
        cpu->a20_mask = mask;
        tlb_clear(cpu);
    }
}

int emu_translate(Cpu *cpu, uint32_t lin, uint64_t *physical)
{
    uint32_t ok, rights, error;
    uint64_t at;
    /* Looking must not set accessed bits, nor reach a device. */
    cpu->peeking = 1;
    proc_walk(cpu, lin, 0, &ok, &at, &rights, &error);
    cpu->peeking = 0;
    *physical = on_bus(cpu, at);
    return (int)ok;
}

uint32_t emu_get_eflags(Cpu *cpu) { return proc_eflags_image(cpu); }

void emu_refresh(Cpu *cpu)
{
    for (uint32_t s = 0; s < 8; s++) seg_changed(cpu, s);
    mode_changed(cpu);
    debug_changed(cpu);
    tlb_clear(cpu);
    cpu->attention |= ATT_DEBUG | ATT_SHADOW | ATT_HALT;
}

int emu_decode(Cpu *cpu, const uint8_t *bytes, uint32_t size, uint32_t eip, uint32_t big, struct Insn *out)
{
    struct Fetcher f = {cpu, bytes, size, 0, 0};
    return decode(cpu, &f, eip, big, out);
}

void emu_reset(Cpu *cpu, uint32_t signature)
{
    reset_state(cpu);
    for (uint32_t s = 0; s < 6; s++) {
        cpu->seg_sel[s] = 0;
        cpu->seg_base[s] = 0;
        cpu->seg_limit[s] = 0xffff;
        cpu->seg_attr[s] = 0x93;
    }
    cpu->seg_sel[1] = 0xf000;
    cpu->seg_base[1] = 0xffff0000u;
    cpu->seg_attr[1] = 0x9b;
    cpu->seg_limit[6] = cpu->seg_limit[7] = 0xffff;
    cpu->seg_attr[6] = 0x82;
    cpu->seg_attr[7] = 0x8b;
    cpu->gdtr_limit = cpu->idtr_limit = 0xffff;
    cpu->eip = 0xfff0;
    cpu->gpr[2] = signature;
    cpu->cr0 = 0x60000010;
    cpu->dr[6] = 0xffff0ff0u;
    cpu->dr[7] = 0x400;
    cpu->left = 0;
    cpu->icount_end = 0;
    cpu->intr = 0;
    cpu->nmi_pending = 0;
    cpu->attention = 0;
    cpu->stop_flags = 0;
    cpu->story_count = 0;
    cpu->retry = cpu->single = 0;
    cpu->steady_port_count = 0;
    cpu->link = NULL;
    cpu->ac_check = cpu->data_breaks = cpu->code_breaks = 0;
    emu_refresh(cpu);
}

/* What a new processor starts with beside its reset state. */
static void born(Cpu *cpu) { cpu->a20_mask = 0xffffffffu; }
