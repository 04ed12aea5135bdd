/* What the JIT must know of PowerPC: what is constant in a block, the memory fast path, how code is found. */

#define JIT_SEGMENTS 0
#define JIT_HIGH_ZERO 0
#define JIT_HOST_FLOAT 0
#define JIT_GUARD_TEMPS 2
/* What compilers use most, in registers of the host throughout. */
static const uint8_t fixed_pins[8] = {9, 10, 3, 4, 5, 8, 7, 6};

static uint32_t jit_model(const Cpu *cpu) { return cpu->features; }

static uint32_t jit_top(const Cpu *cpu)
{
    (void)cpu;
    return 0;
}

static void jit_assume(struct Jit *j, uint32_t reg) { (void)j, (void)reg; }

static void jit_keep(struct Jit *j) { (void)j; }

/* What the model is does not change. */
static int jit_known(const struct Block *b, uint32_t reg, uint32_t index, uint64_t *v)
{
    (void)b, (void)reg, (void)index, (void)v;
    return 0;
}

static int jit_known_bit(const struct Jit *j, uint64_t slot, uint32_t k, uint64_t *v)
{
    if (slot != SLOT_FEATURES) return 0;
    *v = j->model >> k & 1;
    return 1;
}

static int jit_slow_read(Cpu *cpu, uint32_t ea, uint32_t what, uint64_t *v)
{
    return mem_slow_read(cpu, ea, what >> 11 & 15, v);
}

static int jit_slow_write(Cpu *cpu, uint32_t ea, uint32_t what, uint64_t v)
{
    return mem_slow_write(cpu, ea, what >> 11 & 15, v);
}

/* For one page: an entry in the soft TLB, as an access by the guest makes it. */
static int jit_fill(Cpu *cpu, uint32_t ea, uint32_t write)
{
    uint64_t at;
    int little;
    return translate(cpu, ea, (write ? ACCESS_STORE : 0) | privilege(cpu), &at, &little);
}

static int jit_may_cross(const struct Jit *j)
{
    (void)j;
    return 1;
}

/* Whether an access needs no more than the soft TLB. */
static int jit_plain_access(const struct Jit *j, uint32_t what)
{
    (void)j, (void)what;
    return 1;
}

static int take(struct Jit *j);

/* The TLB entry of an access: t1 becomes what is added to the effective address. */
static int jit_check(struct Jit *j, struct Emit *e, uint32_t what, int size, int write, int ea, int t1, int t2, uint8_t **slow)
{
    (void)what;
    jit_page_index(j, e, t1, ea);
    x_alu_ri(e, X_AND, 4, t1, (TLB_SIZE - 1) << 4);
    x_alu_rm(e, X_ADD, 8, t1, mem_at(RBP, (int32_t)offsetof(Cpu, dtlb)));
    if (size > 1) x_lea(e, 4, t2, mem_at(ea, size - 1));
    else x_mov_rr(e, 4, t2, ea);
    x_alu_ri(e, X_AND, 4, t2, (int32_t)PAGE_MASK);
    x_alu_rm(e, X_CMP, 4, t2, mem_at(t1, write ? 4 : 0));
    slow[0] = x_jcc(e, X_NE);
    x_mov_rm(e, 8, t1, mem_at(t1, 8));
    return ea;
}

/* Nothing here has a fixed address: a base register is zero only in boot code. */
static int jit_check_fixed(const struct Jit *j, struct Emit *e, uint32_t what, int size, int write, uint32_t ea, int t1, uint8_t **slow)
{
    (void)j, (void)e, (void)what, (void)size, (void)write, (void)ea, (void)t1, (void)slow;
    return 0;
}

static void jit_load(struct Jit *j, struct Emit *e, int size, int dst, struct Mem m)
{
    if (size == 1) x_movzx_rm(e, 1, dst, m);
    else if (size == 2) {
        x_movzx_rm(e, 2, dst, m);
        x_shift_ri(e, X_ROL, 2, dst, 8);
    } else if (j->features & HOST_MOVBE) {
        x_movbe_rm(e, size, dst, m);
    } else {
        x_mov_rm(e, size, dst, m);
        x_bswap(e, size, dst);
    }
}

static void jit_store(struct Jit *j, struct Emit *e, int size, struct Mem m, int value, int scratch)
{
    if (size == 1) x_mov_mr(e, 1, m, value);
    else if (j->features & HOST_MOVBE) x_movbe_mr(e, size, m, value);
    else {
        x_mov_rr(e, 8, scratch, value);
        if (size == 2) x_shift_ri(e, X_ROL, 2, scratch, 8);
        else x_bswap(e, size, scratch);
        x_mov_mr(e, size, m, scratch);
    }
}

static void jit_store_const(struct Emit *e, int size, struct Mem m, uint64_t v)
{
    if (size == 8) {
        x_mov_mi(e, 4, m, (int32_t)__builtin_bswap32((uint32_t)(v >> 32)));
        m.disp += 4;
        x_mov_mi(e, 4, m, (int32_t)__builtin_bswap32((uint32_t)v));
    } else {
        x_mov_mi(e, size, m, (int32_t)(__builtin_bswap64(v) >> (64 - 8 * size)));
    }
}

/* The page of an address is still where it is now; the branch taken if not. */
static uint8_t *jit_guard(Cpu *cpu, struct Emit *e, int s, int t, uint32_t pc)
{
    const struct FetchEntry *f = fetch_at(cpu, pc);
    x_mov_rm(e, 8, s, mem_at(RBP, (int32_t)offsetof(Cpu, dfetch)));
    x_mov_ri(e, 8, t, fetch_page(f));
    x_alu_rm(e, X_CMP, 8, t, mem_at(s, (int32_t)((const char *)f - (const char *)cpu->dfetch)));
    return x_jcc(e, X_NE);
}

static void jit_linear(struct Emit *e, int lin, int ip) { x_mov_rr(e, 4, lin, ip); }

/* No instruction lies in two pages. */
static int jit_cross(Cpu *cpu, const struct Jit *j, uint32_t ip, struct Insn *i, uint32_t *rest)
{
    (void)cpu, (void)j, (void)ip, (void)i, (void)rest;
    return 0;
}

static int jit_same_limit(const struct Jit *j, struct Emit *e, int jump, uint8_t **miss)
{
    (void)j, (void)e, (void)jump, (void)miss;
    return 0;
}

/* The same for the page of the address in `lin`, and the page of the entry in `jump`. Clobbers s and t. */
static uint8_t *jit_guard_jump(const struct Jit *j, struct Emit *e, int lin, int jump, int s, int t)
{
    jit_page_index(j, e, t, lin);
    x_alu_ri(e, X_AND, 4, t, (FETCH_SIZE - 1) << 4);
    x_mov_rm(e, 8, s, mem_at(RBP, (int32_t)offsetof(Cpu, dfetch)));
    x_mov_rm(e, 8, t, mem_index(s, t, 1, 0));
    x_alu_rm(e, X_CMP, 8, t, mem_at(jump, offsetof(struct JitJump, page)));
    return x_jcc(e, X_NE);
}

static int jit_same_code(struct Emit *e, int t, int jump, uint8_t **miss)
{
    (void)e, (void)t, (void)jump, (void)miss;
    return 0;
}
