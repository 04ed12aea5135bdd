/* The run loop: blocks while nothing else wants attention, single instructions where it does, exceptions and interrupts
 * between instructions (the core's events.c). */

static int run_loop(Cpu *cpu, int64_t budget)
{
    if (budget < 0) budget = 0;
    const uint64_t start = cpu->icount_end - (uint64_t)cpu->left;
    cpu->left = budget;
    cpu->icount_end = cpu->run_end = start + (uint64_t)budget;
    RUN_BEGINS(cpu);
    cpu->link = NULL;
    cpu->jit_link = NULL;
    const struct Insn *last = NULL;
    for (;;) {
        if (unlikely(attention_now(cpu))) {
            if (cpu->left <= 0 && !(cpu->attention & ATT_STOP)) {
                if (RUN_GOES_ON(cpu)) continue;
                return RUN_BUDGET;
            }
            cpu->link = NULL;
            cpu->jit_link = NULL;
            last = NULL;
            cpu->exits[0]++;
            const int leave = attend(cpu);
            if (leave) return leave - 1;
            continue;
        }
        if (cpu->left <= 0) {
            if (RUN_GOES_ON(cpu)) continue;
            return RUN_BUDGET;
        }
        int status;
        struct Block *b = find_block(cpu, &status);
        const struct Insn *r;
        if (likely(b != NULL)) {
            if (cpu->link) {
                /* Only within one page. What forgets code forgets the link, too. */
                if ((code_linear(cpu, cpu->link_start) & PAGE_MASK) == (code_linear(cpu, cpu->IP) & PAGE_MASK)) *cpu->link = b;
                cpu->link = NULL;
            }
            if (cpu->jit_link) {
                jit_connect(cpu->jit_link, b);
                cpu->jit_link = NULL;
            } else if (b->entry) {
                jit_note(cpu, b);
            }
            if (unlikely(!--b->heat)) jit_hot(cpu, b);
            if (likely(cpu->left >= b->n)) {
                cpu->left -= b->n;
                r = last == EXIT_COLD ? resume(cpu, b->first(cpu, b->insn)) : dispatch(cpu, b->insn);
            } else {
                /* The budget ends inside the block: run a copy of its first instructions. */
                const uint32_t n = (uint32_t)cpu->left;
                memcpy(cpu->scratch, b->insn, n * sizeof(struct Insn));
                cpu->scratch[0].fn = b->first;
                for (uint32_t k = 0; k < n; k++) cpu->scratch[k].rest = (uint16_t)(n - k);
                memset(&cpu->scratch[n], 0, sizeof(struct Insn));
                cpu->scratch[n].fn = op_done;
                cpu->scratch[n].start = cpu->scratch[n - 1].next;
                cpu->left = 0;
                r = dispatch(cpu, cpu->scratch);
                cpu->link = NULL;
            }
        } else {
            cpu->link = NULL;
            if (status == 1) {
                after_fault(cpu);
                continue;
            }
            if (!break_here(cpu) && run_alone(cpu)) after_fault(cpu);
            cpu->link = NULL;
            continue;
        }
        last = r;
        cpu->exits[(uintptr_t)r]++;
        if (r == EXIT_FAULT) {
            cpu->link = NULL;
            if (cpu->retry) {
                cpu->retry = 0;
                cpu->stats.retries++;
                if (run_alone(cpu)) after_fault(cpu);
                cpu->link = NULL;
            } else {
                after_fault(cpu);
            }
        } else if (r == EXIT_MISS) {
            cpu->link = NULL;
            jit_missed(cpu);
            last = EXIT_COLD;
        } else if (r == EXIT_HOT) {
            int found;
            cpu->link = NULL;
            b = find_block(cpu, &found);
            if (b) jit_hot(cpu, b);
            cpu->retry = 0;
        } else if (r != EXIT_LINK) {
            cpu->link = NULL;
        }
    }
}

int emu_run(Cpu *cpu, int64_t budget)
{
    cpu->running = 1;
    const uint64_t from = clock_start(cpu);
    const int reason = run_loop(cpu, budget);
    clock_add(cpu, from, &cpu->stats.run_ns);
    cpu->exits[EXITS_OF_RUN + reason]++;
    cpu->running = 0;
    return reason;
}

/* One instruction, interrupts and breakpoints held off. */
int emu_step(Cpu *cpu)
{
    cpu->hold = 1;
    cpu->attention |= ATT_STEP;
    const int reason = emu_run(cpu, 1);
    cpu->hold = 0;
    return reason;
}

/* `breaks` or `watches` are others now. */
void emu_debug_changed(Cpu *cpu)
{
    code_flush(cpu);
    watches_changed(cpu);
}

uint64_t emu_icount(const Cpu *cpu) { return cpu->icount_end - (uint64_t)cpu->left; }

void emu_stop(Cpu *cpu, uint32_t flags)
{
    cpu->stop_flags |= flags;
    cpu->attention |= ATT_STOP;
}

/* Virtual time in ns; within a callback that of the instruction's beginning. */
uint64_t emu_now(Cpu *cpu) { return virtual_ns(cpu); }

/* Leave emu_run when virtual time reaches `deadline`, if not before. An instruction alone has all of the budget that is left
 * at hand, so nothing has to be left for it now. */
void emu_stop_at(Cpu *cpu, uint64_t deadline)
{
    if (!cpu->running || !cpu->single) {
        emu_stop(cpu, STOP_STOP);
        return;
    }
    if (deadline < cpu->idle_until) cpu->idle_until = deadline;
#ifdef LENT_DEVICE
    if (deadline < cpu->outer) cpu->outer = deadline;
#endif
    const uint64_t now = emu_icount(cpu) * NS_PER_INSN + cpu->time_offset;
    const int64_t left = deadline > now ? (int64_t)((deadline - now + NS_PER_INSN - 1) / NS_PER_INSN) : 0;
    const uint64_t end = emu_icount(cpu) + (uint64_t)left;
    if (end < cpu->run_end) cpu->run_end = end;
    if (left >= cpu->left) return;
    cpu->icount_end -= (uint64_t)(cpu->left - left);
    cpu->left = left;
}

void emu_remap(Cpu *cpu)
{
    tlb_clear(cpu);
    code_flush(cpu);
}

void emu_invalidate(Cpu *cpu, uint64_t address, uint64_t size)
{
    for (uint32_t k = 0; k < cpu->region_count; k++) {
        const struct Region *r = &cpu->regions[k];
        if (r->kind == KIND_BUS) continue;
        uint64_t from = address > r->base ? address : r->base;
        uint64_t to = address + size < r->base + r->size ? address + size : r->base + r->size;
        while (from < to) {
            const uint64_t offset = r->offset + (from - r->base);
            uint64_t piece = PAGE_SIZE - (offset & (PAGE_SIZE - 1));
            if (piece > to - from) piece = to - from;
            code_written(cpu, offset, (uint32_t)piece);
            from += piece;
        }
    }
}

Cpu *emu_new(uint64_t arena_size)
{
    Cpu *cpu = calloc(1, sizeof *cpu);
    if (!cpu) return NULL;
    born(cpu);
    cpu->arena_size = arena_size;
    cpu->arena = malloc(arena_size);
    cpu->hash = calloc(HASH_SIZE, sizeof *cpu->hash);
    memset(cpu->jumps, 0xff, sizeof cpu->jumps);
    cpu->code_page_limit = 16384;
    cpu->code_pages = calloc(cpu->code_page_limit, sizeof *cpu->code_pages);
    if (!cpu->arena || !cpu->hash || !cpu->code_pages) {
        emu_free(cpu);
        return NULL;
    }
    return cpu;
}

int emu_attach_ram(Cpu *cpu, uint8_t *ram, uint64_t size)
{
    cpu->ram = ram;
    cpu->ram_size = size;
    cpu->page_count = (size + PAGE_SIZE - 1) / PAGE_SIZE;
    cpu->page_code = calloc(cpu->page_count, sizeof *cpu->page_code);
    return cpu->page_code ? 0 : -1;
}

void emu_free(Cpu *cpu)
{
    if (!cpu) return;
    jit_free(cpu);
    free(cpu->arena);
    free(cpu->hash);
    free(cpu->code_pages);
    free(cpu->page_code);
    free(cpu);
}
