/* How traces and the rest meet: entry and exits, the table of traces, what is forgotten when code changes. */

/* A stack that is not where it was leads to slow code; a group less costs little. */
enum { SAVED = 6, STACK_DISTANCE = 40000, GROUP_DISTANCE = 1000000, MISS_COUNT = 60 };

/* Put what was emitted in a plain buffer into the code buffer; NULL: no room. */
static const uint8_t *place_code(struct Jit *j, const uint8_t *code, uint64_t size)
{
    const uint64_t at = (j->code.used + 15) & ~15ull;
    if (at + size > j->code.size) return NULL;
    memcpy(j->code.rw + at, code, size);
    j->code.used = at + size;
    return j->code.rx + at;
}

static const uint8_t *make_thunk(struct Jit *j, void (*emit)(struct Jit *, struct Emit *))
{
    uint8_t text[1024];
    struct Emit e = {text, text + sizeof text, 0};
    emit(j, &e);
    return e.overflow ? NULL : place_code(j, text, (uint64_t)(e.at - text));
}

static const uint8_t saved_registers[SAVED] = {RBX, RBP, R12, R13, R14, R15};

/* uint64_t enter(Cpu *, const uint8_t *entry) */
static void thunk_enter(struct Jit *j, struct Emit *e)
{
    (void)j;
    for (int k = 0; k < SAVED; k++) x_push(e, saved_registers[k]);
    x_alu_ri(e, X_SUB, 8, RSP, FRAME);
    x_mov_rr(e, 8, RBP, RDI);
    x_mov_rm(e, 8, RBX, cpu_mem(FIELD(left)));
    for (int k = 0; k < 8; k++) x_mov_rm(e, 4, R8 + k, cpu_mem(FIELD(gpr) + 8 * fixed_pins[k]));
    x_jmp_r(e, RSI);
}

static void leave_frame(struct Emit *e)
{
    x_alu_ri(e, X_ADD, 8, RSP, FRAME);
    for (int k = SAVED - 1; k >= 0; k--) x_pop(e, saved_registers[k]);
    x_ret(e);
}

static void thunk_leave(struct Jit *j, struct Emit *e)
{
    for (int k = 0; k < 8; k++) x_mov_mr(e, 4, cpu_mem(FIELD(gpr) + 8 * fixed_pins[k]), R8 + k);
    x_mov_mr(e, 8, cpu_mem(FIELD(left)), RBX);
    float_leave(e, j->float_off);
    leave_frame(e);
}

static void thunk_leave_plain(struct Jit *j, struct Emit *e)
{
    (void)j;
    leave_frame(e);
}

/* Accesses that the soft TLB does not answer. Nonzero: the interpreter must do the instruction. */
static int miss_read(Cpu *cpu)
{
    uint64_t v;
    if (jit_slow_read(cpu, cpu->jit_offset, cpu->jit_access, &v)) {
        cpu->retry = 0;
        return 1;
    }
    cpu->jit_value = v;
    return 0;
}

static int miss_write(Cpu *cpu)
{
    if (jit_slow_write(cpu, cpu->jit_offset, cpu->jit_access, cpu->jit_value)) {
        cpu->retry = 0;
        return 1;
    }
    return 0;
}

static const uint8_t call_saved[9] = {RAX, RCX, RDX, RSI, RDI, R8, R9, R10, R11};

static void thunk_slow(struct Emit *e, int (*fn)(Cpu *))
{
    for (int k = 0; k < 9; k++) x_push(e, call_saved[k]);
    float_around(e, 0);
    x_mov_rr(e, 8, RDI, RBP);
    x_mov_ri(e, 8, RAX, (uint64_t)(uintptr_t)fn);
    x_call_r(e, RAX);
    float_around(e, 1);
    x_test_rr(e, 4, RAX, RAX);
    for (int k = 8; k >= 0; k--) x_pop(e, call_saved[k]);
    x_ret(e);
}

/* A stretch of memory in one page gets its entry in the soft TLB. Nonzero: it has none that serves. */
static int fill_page(Cpu *cpu)
{
    const uint32_t lin = cpu->jit_offset, size = cpu->jit_access & 0xffff, write = cpu->jit_access >> 16;
    if ((lin ^ (lin + size - 1)) & PAGE_MASK) return 1;
    const int bad = jit_fill(cpu, lin, write);
    cpu->retry = 0;
    if (bad) return 1;
    const struct TlbEntry *e = tlb_at(cpu, lin);
    return (write ? e->wtag : e->rtag) != (lin & PAGE_MASK);
}

static void thunk_fill(struct Jit *j, struct Emit *e)
{
    (void)j;
    thunk_slow(e, fill_page);
}

static void thunk_slow_read(struct Jit *j, struct Emit *e)
{
    (void)j;
    thunk_slow(e, miss_read);
}

static void thunk_slow_write(struct Jit *j, struct Emit *e)
{
    (void)j;
    thunk_slow(e, miss_write);
}

/* Call the function in rax; the pinned registers survive. */
static void thunk_call(struct Jit *j, struct Emit *e)
{
    (void)j;
    for (int r = R8; r <= R11; r++) x_push(e, r);
    x_alu_ri(e, X_SUB, 8, RSP, 8);
    x_mov_rr(e, 8, RDI, RBP);
    x_call_r(e, RAX);
    x_alu_ri(e, X_ADD, 8, RSP, 8);
    for (int r = R11; r >= R8; r--) x_pop(e, r);
    x_ret(e);
}

#define JUMP_FIELD(f) mem_at(RDX, offsetof(struct JitJump, f))

/* On to the address in eax, by the entry in rdx; what follows if it is another's. */
static void indirect_by(struct Emit *e)
{
    uint8_t *miss[8];
    int n = 0;
    jit_linear(e, RCX, RAX);
    x_alu_rm(e, X_CMP, 4, RCX, JUMP_FIELD(lin));
    miss[n++] = x_jcc(e, X_NE);
    x_shift_ri(e, X_SHR, 4, RCX, 8);
    x_alu_ri(e, X_AND, 4, RCX, (FETCH_SIZE - 1) << 4);
    x_alu_rm(e, X_ADD, 8, RCX, cpu_mem(FIELD(dfetch)));
    x_mov_rm(e, 8, RCX, mem_at(RCX, 0));
    x_alu_rm(e, X_CMP, 8, RCX, JUMP_FIELD(page));
    miss[n++] = x_jcc(e, X_NE);
    x_mov_rm(e, 4, RCX, cpu_mem(FIELD(lookup_key)));
    x_alu_rm(e, X_CMP, 4, RCX, JUMP_FIELD(key));
    miss[n++] = x_jcc(e, X_NE);
    n += jit_same_code(e, RCX, RDX, &miss[n]);
    x_jmp_m(e, JUMP_FIELD(entry));
    for (int k = 0; k < n; k++) x_patch(miss[k], e->at);
}

/* On to the address in eax. */
static void thunk_indirect(struct Jit *j, struct Emit *e)
{
    jit_linear(e, RCX, RAX);
    jump_place(e, RCX);
    indirect_by(e);
    x_alu_ri(e, X_XOR, 8, RDX, (int32_t)sizeof(struct JitJump));
    indirect_by(e);
    x_mov_mr(e, 4, cpu_mem(FIELD(IP)), RAX);
    x_mov_ri(e, 4, RAX, (uint64_t)(uintptr_t)EXIT_LOOKUP);
    x_mov_ri(e, 8, RCX, (uint64_t)(uintptr_t)j->leave);
    x_jmp_r(e, RCX);
}

/* The table's two entries of a place are told apart by one bit of their address. */
#define PLACE (2 * sizeof(struct JitJump))
_Static_assert(sizeof(struct JitJump) == 32 && offsetof(struct Jit, jump) == 0, "thunk_indirect relies on it");

/* Control is about to enter a block that may have a trace. */
static void jit_note(Cpu *cpu, struct Block *b)
{
    if (!b->entry) return;
    const uint32_t lin = code_linear(cpu, b->ip);
    const uint32_t place = (lin ^ (lin >> 12)) & (TRACE_JUMPS - 1);
    struct JitJump *e = &cpu->jit->jump[place];
    /* One that is in use moves over, unless the other one is, too. */
    if (e->page != ~0ull && e->entry != b->entry && cpu->jit->jump[place ^ 1].page == ~0ull) e = &cpu->jit->jump[place ^ 1];
    /* A trace has one entry at most, which goes with it. */
    struct JitJump *old = b->jump;
    if (old && old != e && old->entry == b->entry) old->page = ~0ull;
    b->jump = e;
    *e = (struct JitJump){fetch_page(fetch_at(cpu, lin)), lin, b->key, b->limit, lin - b->ip, b->entry};
}

/* --- the table of traces ---------------------------------------------------------------------------------------- */

static void kill_trace(struct Trace *t)
{
    if (t->dead) return;
    t->dead = 1;
    for (struct JitLink *l = t->incoming; l; l = l->next) l->to = l->unlinked;
    t->incoming = NULL;
    if (t->head->jump && t->head->jump->entry == t->entry) t->head->jump->page = ~0ull;
    if (t->head->trace == t) {
        t->head->trace = NULL;
        t->head->entry = NULL;
        t->head->insn[0].fn = t->head->first;
        t->head->heat = t->head->heat_start;
    }
}

/* The code buffer is empty again. */
static void jit_flush(Cpu *cpu)
{
    struct Jit *j = cpu->jit;
    if (!j) return;
    for (uint32_t k = 0; k < j->trace_count; k++) kill_trace(&j->traces[k]);
    for (uint32_t k = 0; k < cpu->code_page_count; k++) cpu->code_pages[k].traces = NULL;
    j->trace_count = j->page_trace_count = j->link_used = j->copy_used = 0;
    j->code.used = j->code_start;
    code_perf_clear(&j->code);
    memset(j->jump, 0xff, sizeof j->jump);
    cpu->jit_link = NULL;
    cpu->stats.jit_flushes++;
}

static void jit_forget_page(struct CodePage *p)
{
    for (struct PageTrace *t = p->traces; t; t = t->next) kill_trace(t->trace);
    p->traces = NULL;
}

/* The trace of a block begins where a link leads. */
static void jit_connect(struct JitLink *l, struct Block *b)
{
    if (!b->trace || b->ip != l->ip || l->to != l->unlinked) return;
    l->to = b->trace->entry;
    l->next = b->trace->incoming;
    b->trace->incoming = l;
}

static const struct Insn *op_jit(Cpu *cpu, const struct Insn *i)
{
    struct Block *b = (struct Block *)(uintptr_t)((const char *)i - offsetof(struct Block, insn));
    if (unlikely(cpu->left + b->n < (int64_t)b->trace->total)) return b->first(cpu, i);
    cpu->left += b->n;
    cpu->stats.jit_enters++;
    uint64_t (*const enter)(Cpu *, const uint8_t *) = (uint64_t(*)(Cpu *, const uint8_t *))(uintptr_t)cpu->jit->enter;
    return (const struct Insn *)(uintptr_t)enter(cpu, b->entry);
}

static void settle(struct Jit *j, uint8_t *rw, const uint8_t *rx, uint64_t hot)
{
    for (uint32_t k = 0; k < j->fixes; k++) {
        const struct JitFix *f = &j->fix[k];
        const uint64_t at = (f->cold ? hot : 0) + (uint64_t)f->at;
        const uint8_t *target = f->kind == FIX_HOT    ? rx + f->target
                                : f->kind == FIX_COLD ? rx + hot + f->target
                                                      : (const uint8_t *)(intptr_t)f->target;
        const int32_t distance = (int32_t)(target - (rx + at + 4));
        memcpy(rw + at, &distance, 4);
    }
    for (uint32_t k = 0; k < j->links; k++) {
        struct JitLink *l = &j->link[k];
        l->unlinked = l->to = rx + (l->cold ? hot : 0) + l->at;
        l->next = NULL;
    }
}

static void prepare_trace(struct Jit *j)
{
    j->steps = j->nodes;
    verify(j, AFTER_TRACE);
    if (!(j->plain & PLAIN_GROUPS)) find_groups(j);
    verify(j, AFTER_GROUPS);
    choose_pins(j);
    find_late_commits(j);
    find_lives(j);
    verify(j, AFTER_LIVES);
}

/* Translate from a block. Nonzero: not this one. */
static int translate_block(Cpu *cpu, struct Jit *j, struct Block *b)
{
    if (form_trace(cpu, j, b)) return 1;
    prepare_trace(j);
    for (int turn = 0; turn < 2; turn++) {
        if (j->link_used + JIT_EXITS > JIT_LINKS || j->copy_used + 2 * JIT_INSNS > JIT_COPIES || j->trace_count == JIT_TRACES ||
            j->page_trace_count + JIT_BLOCKS > 4 * JIT_TRACES)
            jit_flush(cpu);
        j->link = j->link_pool + j->link_used;
        j->copy = j->copy_pool + j->copy_used;
        for (int32_t k = 0; k < j->nodes; k++) j->node[k].reg = j->node[k].spill = j->node[k].xmm = NOWHERE;
        if (emit_trace(cpu, j)) return 1;
        verify(j, AFTER_EMIT);
        const uint64_t hot = (uint64_t)(j->hot.at - j->hot_base), cold = (uint64_t)(j->cold.at - j->cold_base);
        const uint64_t at = (j->code.used + 15) & ~15ull;
        if (at + hot + cold > j->code.size) {
            if (turn) return 1;
            jit_flush(cpu);
            continue;
        }
        if (code_open(&j->code)) return 1;
        uint8_t *rw = j->code.rw + at;
        const uint8_t *rx = j->code.rx + at;
        memcpy(rw, j->hot_base, hot);
        memcpy(rw + hot, j->cold_base, cold);
        settle(j, rw, rx, hot);
        code_close(&j->code);
        j->code.used = at + hot + cold;
        struct Trace *t = &j->traces[j->trace_count++];
        *t = (struct Trace){.head = b, .entry = rx, .size = (uint32_t)(hot + cold), .total = j->total};
        t->loops = j->node[j->steps - 1].op == N_LOOP;
        j->link_used += j->links;
        j->copy_used += 2 * j->copies;
        for (uint32_t k = 0; k < j->blocks; k++) {
            struct CodePage *p = &cpu->code_pages[cpu->page_code[j->block[k]->offset >> 12] - 1];
            if (p->traces && p->traces->trace == t) continue;
            struct PageTrace *pt = &j->page_traces[j->page_trace_count++];
            pt->trace = t;
            pt->next = p->traces;
            p->traces = pt;
        }
        b->trace = t;
        b->entry = rx;
        b->insn[0].fn = op_jit;
        if (j->code.perf) {
            char name[32];
            snprintf(name, sizeof name, "guest_%08x%s", b->ip, t->loops ? "_loop" : "");
            code_perf_add(&j->code, rx, hot + cold, name);
        }
        cpu->stats.jit_traces++;
        cpu->stats.jit_insns += j->total;
        cpu->stats.jit_bytes += hot + cold;
        return 0;
    }
    return 1;
}

/* A trace left because something was not as it took for granted; if that happens often it is made again without. */
static void jit_missed(Cpu *cpu)
{
    struct Trace *t = &cpu->jit->traces[cpu->jit_offset];
    const uint32_t what = cpu->jit_access;
    cpu->stats.jit_deopts++;
    if (t->dead) return;
    /* Now and then a stretch ends in the next page; that is no reason. */
    const uint64_t now = emu_icount(cpu), since = now - t->missed;
    t->missed = now;
    if (since > (what == PLAIN_STACK ? STACK_DISTANCE : GROUP_DISTANCE)) t->misses -= t->misses > 0;
    else t->misses++;
    if (t->misses < MISS_COUNT) return;
    kill_trace(t);
    uint32_t *apart = &t->head->apart[t->head->apart[0] != 0];
    if (what == PLAIN_GROUPS && !*apart && cpu->IP) *apart = cpu->IP;
    else if (what != PLAIN_STACK || (t->head->plain & PLAIN_STACK_ONCE)) t->head->plain |= what;
    else t->head->plain |= PLAIN_STACK_ONCE;
    t->head->heat = 2;
}

/* A block ran often enough. */
static void jit_hot(Cpu *cpu, struct Block *b)
{
    struct timespec from, to;
    b->heat = ~0u;
    if (!cpu->jit || !cpu->jit_on || cpu->single || b->trace) return;
    clock_gettime(CLOCK_MONOTONIC, &from);
    if (translate_block(cpu, cpu->jit, b)) cpu->stats.jit_refused++;
    clock_gettime(CLOCK_MONOTONIC, &to);
    cpu->stats.jit_ns += (uint64_t)((to.tv_sec - from.tv_sec) * 1000000000ll + to.tv_nsec - from.tv_nsec);
}

static void jit_free(Cpu *cpu)
{
    struct Jit *j = cpu->jit;
    if (!j) return;
    code_free(&j->code);
    free(j->traces);
    free(j->page_traces);
    free(j->link_pool);
    free(j->copy_pool);
    free(j->hot_base);
    free(j->cold_base);
    free(j);
    cpu->jit = NULL;
}

static int jit_new(Cpu *cpu)
{
    struct Jit *j = aligned_alloc(PLACE, (sizeof *j + PLACE - 1) & ~(size_t)(PLACE - 1));
    cpu->jit = j;
    if (!j) return 1;
    memset(j, 0, sizeof *j);
    j->traces = malloc(JIT_TRACES * sizeof *j->traces);
    j->page_traces = malloc(4 * JIT_TRACES * sizeof *j->page_traces);
    j->link_pool = malloc(JIT_LINKS * sizeof *j->link_pool);
    j->copy_pool = malloc(JIT_COPIES * sizeof *j->copy_pool);
    j->hot_base = malloc(JIT_STREAM);
    j->cold_base = malloc(JIT_STREAM);
    const uint64_t size = cpu->jit_size ? cpu->jit_size : 32u << 20;
    if (!j->traces || !j->page_traces || !j->link_pool || !j->copy_pool || !j->hot_base || !j->cold_base ||
        code_new(&j->code, size)) {
        jit_free(cpu);
        return 1;
    }
    if (cpu->jit_perf) code_perf_open(&j->code);
    j->features = host_features();
    if (code_open(&j->code)) {
        jit_free(cpu);
        return 1;
    }
    float_new(cpu, j);
    j->enter = make_thunk(j, thunk_enter);
    j->leave = make_thunk(j, thunk_leave);
    j->leave_plain = make_thunk(j, thunk_leave_plain);
    j->slow_read = make_thunk(j, thunk_slow_read);
    j->slow_write = make_thunk(j, thunk_slow_write);
    j->indirect = make_thunk(j, thunk_indirect);
    j->call = make_thunk(j, thunk_call);
    j->fill = make_thunk(j, thunk_fill);
    code_close(&j->code);
    j->code_start = j->code.used;
    return 0;
}

/* Turn the JIT on or off; whether it is on now. */
int emu_jit(Cpu *cpu, uint32_t on)
{
    if (on && !cpu->jit && jit_new(cpu)) return 0;
    if (!cpu->jit_threshold) cpu->jit_threshold = 1000;
    cpu->jit_on = on && cpu->jit;
    code_flush(cpu);
    return (int)cpu->jit_on;
}
