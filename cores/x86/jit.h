/* What the JIT must know of x86: what is constant in a block, the memory fast path, how code is found. */

#define JIT_SEGMENTS 1
#define JIT_HIGH_ZERO 1
#define JIT_HOST_FLOAT 1
#define JIT_GUARD_TEMPS 1
static const uint8_t fixed_pins[8] = {0, 1, 2, 3, 4, 5, 6, 7};

static uint32_t jit_model(const Cpu *cpu)
{
    (void)cpu;
    return 0;
}

static uint32_t jit_top(const Cpu *cpu) { return cpu->fstat >> 11 & 7; }

static int32_t slot_get(struct Jit *j, uint32_t slot, uint32_t width);
static void retry_if(struct Jit *j, int32_t cond);

/* The x87 stack is taken to be where it was when the trace was made; so its registers have numbers. */
static void jit_assume(struct Jit *j, uint32_t reg)
{
    if (reg != REG_FSTAT || (j->plain & PLAIN_STACK) || j->pending[SLOT_FSTAT] >= 0 || j->map[SLOT_FSTAT] >= 0) return;
    const int32_t n = slot_get(j, SLOT_FSTAT, 16), top = constant(j, j->top << 11);
    retry_if(j, make(j, T_NE, 1, 16, make2(j, T_AND, 16, n, constant(j, 0x3800)), top, -1));
    if (j->node[j->nodes - 1].op == N_RETRY_IF) j->node[j->nodes - 1].b = 0; /* a miss */
    j->map[SLOT_FSTAT] = make2(j, T_OR, 16, make2(j, T_AND, 16, n, constant(j, 0xc7ff)), top);
}

/* A handler comes; behind it the stack is taken to be where it is now. */
static void jit_keep(struct Jit *j)
{
    const int32_t n = j->map[SLOT_FSTAT];
    if (n < 0) return;
    const int32_t top = make2(j, T_AND, 16, n, constant(j, 0x3800));
    if (j->node[top].op == N_CONST) j->top = (uint32_t)j->node[top].imm >> 11;
}

/* Registers that cannot change while blocks of one kind run. */
static int jit_known(const struct Block *b, uint32_t reg, uint32_t index, uint64_t *v)
{
    if (reg == REG_SEG_LIMIT && index == 1) {
        *v = b->limit;
        return 1;
    }
    if (reg == REG_GPR && index == 16) {
        *v = 0;
        return 1;
    }
    return 0;
}

/* With flat segments the stack is a 32-bit one. */
static int jit_known_bit(const struct Jit *j, uint64_t slot, uint32_t k, uint64_t *v)
{
    *v = 1;
    return (j->key & KEY_FLAT) && slot == SLOT_SEG_ATTR + 2 && k == 14;
}

static int jit_slow_read(Cpu *cpu, uint32_t off, uint32_t what, uint64_t *v)
{
    return mem_slow_read(cpu, what & 7, off, what >> 11 & 15, what >> 16 & 1, v);
}

static int jit_slow_write(Cpu *cpu, uint32_t off, uint32_t what, uint64_t v)
{
    return mem_slow_write(cpu, what & 7, off, what >> 11 & 15, v);
}

/* For one page: an entry in the soft TLB, as an access by the guest makes it. */
static int jit_fill(Cpu *cpu, uint32_t lin, uint32_t write)
{
    uint64_t at;
    return translate(cpu, lin, write | (cpu->cpl == 3 ? 2 : 0), &at);
}

/* Whether a trace may go on in another page: its linear address must be that of now whenever the trace runs. */
static int jit_may_cross(const struct Jit *j) { return (j->key & KEY_FLAT) != 0; }

/* The instruction at `ip` if it goes on in the next page and both pages are in place. Nonzero: it is decoded; `rest` are its
 * bytes in the second page. */
static int jit_cross(Cpu *cpu, const struct Jit *j, uint32_t ip, struct Insn *i, uint32_t *rest)
{
    enum { MOST = 15 };
    uint8_t bytes[2 * MOST];
    const uint32_t first = PAGE_SIZE - (ip & ~PAGE_MASK);
    const struct FetchEntry *a = fetch_at(cpu, ip), *b = fetch_at(cpu, ip + first);
    if (!jit_may_cross(j) || code_limit(cpu) != 0xffffffffu || first >= MOST || ip + first < ip) return 0;
    if (a->tag != fetch_tag(ip) || b->tag != fetch_tag(ip + first) || cpu->break_count) return 0;
    memcpy(bytes, cpu->ram + a->offset + (ip & ~PAGE_MASK), first);
    memcpy(bytes + first, cpu->ram + b->offset, MOST);
    if (decode_at(cpu, bytes, MOST, ip, j->key, i) || i->len <= first) return 0;
    *rest = i->len - first;
    return 1;
}

/* Whether an access needs no more than the soft TLB. */
static int jit_plain_access(const struct Jit *j, uint32_t what)
{
    return (j->key & KEY_FLAT) && ((what & 7) == 0 || (what & 7) == 2 || (what & 7) == 3);
}

static int take(struct Jit *j);

/* Linear address and TLB entry of an access. Returns the register of the linear address; t1 becomes what is added to it. */
static int jit_check(struct Jit *j, struct Emit *e, uint32_t what, int size, int write, int off, int t1, int t2, uint8_t **slow)
{
    const int seg = (int)(what & 7);
    const int32_t tlb = (int32_t)offsetof(Cpu, tlb) + (j->key & KEY_USER ? (int32_t)(TLB_SIZE * sizeof(struct TlbEntry)) : 0);
    int lin = off;
    if (!((j->key & KEY_FLAT) && (seg == 0 || seg == 2 || seg == 3))) {
        const int32_t limit = (int32_t)(write ? offsetof(Cpu, seg_wlim) : offsetof(Cpu, seg_rlim)) + 8 * seg;
        lin = take(j);
        x_lea(e, 8, t2, mem_at(off, size - 1));
        x_alu_rm(e, X_CMP, 8, t2, mem_at(RBP, limit));
        slow[1] = x_jcc(e, X_G);
        x_mov_rr(e, 4, lin, off);
        x_alu_rm(e, X_ADD, 4, lin, mem_at(RBP, (int32_t)offsetof(Cpu, seg_base) + 4 * seg));
    }
    jit_page_index(j, e, t1, lin);
    x_alu_ri(e, X_AND, 4, t1, (TLB_SIZE - 1) << 4);
    if (size > 1) x_lea(e, 4, t2, mem_at(lin, size - 1));
    else x_mov_rr(e, 4, t2, lin);
    x_alu_ri(e, X_AND, 4, t2, (int32_t)PAGE_MASK);
    x_alu_rm(e, X_CMP, 4, t2, mem_index(RBP, t1, 1, tlb + (write ? 4 : 0)));
    slow[0] = x_jcc(e, X_NE);
    x_mov_rm(e, 8, t1, mem_index(RBP, t1, 1, tlb + 8));
    return lin;
}

/* The same for an address that is fixed: its place in the TLB is, too. 0: not here. */
static int jit_check_fixed(const struct Jit *j, struct Emit *e, uint32_t what, int size, int write, uint32_t lin, int t1, uint8_t **slow)
{
    const int32_t half = j->key & KEY_USER ? (int32_t)(TLB_SIZE * sizeof(struct TlbEntry)) : 0;
    const int32_t tlb = (int32_t)offsetof(Cpu, tlb) + half + (int32_t)((lin >> 12 & (TLB_SIZE - 1)) * sizeof(struct TlbEntry));
    if (!jit_plain_access(j, what) || (lin ^ (lin + (uint32_t)size - 1)) & PAGE_MASK) return 0;
    x_alu_mi(e, X_CMP, 4, mem_at(RBP, tlb + (write ? 4 : 0)), (int32_t)(lin & PAGE_MASK));
    *slow = x_jcc(e, X_NE);
    x_mov_rm(e, 8, t1, mem_at(RBP, tlb + 8));
    return 1;
}

static void jit_load(struct Jit *j, struct Emit *e, int size, int dst, struct Mem m)
{
    (void)j;
    if (size >= 4) x_mov_rm(e, size, dst, m);
    else x_movzx_rm(e, size, dst, m);
}

static void jit_store(struct Jit *j, struct Emit *e, int size, struct Mem m, int value, int scratch)
{
    (void)j, (void)scratch;
    x_mov_mr(e, size, m, value);
}

static void jit_store_const(struct Emit *e, int size, struct Mem m, uint64_t v) { x_mov_mi(e, size, m, (int32_t)v); }

/* The page of an address is still where it is now; the branch taken if not. Clobbers s and t. */
static uint8_t *jit_guard(Cpu *cpu, struct Emit *e, int s, int t, uint32_t ip)
{
    const uint32_t lin = code_linear(cpu, ip);
    const struct FetchEntry *f = fetch_at(cpu, lin);
    (void)s;
    x_mov_ri(e, 8, t, fetch_page(f));
    x_alu_rm(e, X_CMP, 8, t, mem_at(RBP, (int32_t)offsetof(Cpu, fetch) + (int32_t)(f - cpu->fetch) * (int32_t)sizeof *f));
    return x_jcc(e, X_NE);
}

static void jit_linear(struct Emit *e, int lin, int ip)
{
    x_mov_rr(e, 4, lin, ip);
    x_alu_rm(e, X_ADD, 4, lin, mem_at(RBP, (int32_t)offsetof(Cpu, seg_base) + 4));
}

/* The entry in `jump` was made for the limit of CS of this trace. */
static int jit_same_limit(const struct Jit *j, struct Emit *e, int jump, uint8_t **miss)
{
    x_alu_mi(e, X_CMP, 4, mem_at(jump, offsetof(struct JitJump, limit)), (int32_t)j->block[0]->limit);
    miss[0] = x_jcc(e, X_NE);
    return 1;
}

/* The same for the page of the address in `lin`, and the page of the entry in `jump`. Clobbers s and t. */
static uint8_t *jit_guard_jump(const struct Jit *j, struct Emit *e, int lin, int jump, int s, int t)
{
    const int32_t fetch = (int32_t)offsetof(Cpu, fetch) + (j->key & KEY_USER ? (int32_t)(FETCH_SIZE * sizeof(struct FetchEntry)) : 0);
    (void)s;
    jit_page_index(j, e, t, lin);
    x_alu_ri(e, X_AND, 4, t, (FETCH_SIZE - 1) << 4);
    x_mov_rm(e, 8, t, mem_index(RBP, t, 1, fetch));
    x_alu_rm(e, X_CMP, 8, t, mem_at(jump, offsetof(struct JitJump, page)));
    return x_jcc(e, X_NE);
}

static int jit_same_code(struct Emit *e, int t, int jump, uint8_t **miss)
{
    x_mov_rm(e, 4, t, mem_at(RBP, (int32_t)offsetof(Cpu, seg_limit) + 4));
    x_alu_rm(e, X_CMP, 4, t, mem_at(jump, offsetof(struct JitJump, limit)));
    miss[0] = x_jcc(e, X_NE);
    x_mov_rm(e, 4, t, mem_at(RBP, (int32_t)offsetof(Cpu, seg_base) + 4));
    x_alu_rm(e, X_CMP, 4, t, mem_at(jump, offsetof(struct JitJump, base)));
    miss[1] = x_jcc(e, X_NE);
    return 2;
}
