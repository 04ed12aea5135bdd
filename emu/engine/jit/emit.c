/* From nodes to x86-64 code, in one pass over the trace, and where a register is found on the way.
 *
 * rbp holds the processor, rbx what is left of the budget, r8-r15 the pinned slots; rax, rcx, rdx, rsi and rdi are for
 * values, which go to the stack when there are too many. Code that is seldom run (slow accesses, exits) lies behind the
 * trace. An exit brings home what differs from the state, and computes it there if nothing else wanted it. */

enum { TEMPS = 1 << RAX | 1 << RCX | 1 << RDX | 1 << RSI | 1 << RDI };
enum { FIX_HOT, FIX_COLD, FIX_CODE };
#define SITES 32
#define FRAME (SPILLS * 8 + SITES * 16 + 8)
#define IS_TEMP(r) (TEMPS >> (r) & 1)
#define FIELD(member) ((int32_t)offsetof(Cpu, member))

static struct Mem cpu_mem(int32_t at) { return mem_at(RBP, at); }
static struct Mem spill_mem(int s) { return mem_at(RSP, 8 * s); }
/* What an access of a loop found the last time: the page, and behind it the addend. */
static struct Mem site_mem(int s) { return mem_at(RSP, 8 * SPILLS + 16 * s); }
static int in_cold(const struct Jit *j, const struct Emit *e) { return e == &j->cold; }
static int32_t offset_of(const struct Jit *j, const struct Emit *e)
{
    return (int32_t)(e->at - (in_cold(j, e) ? j->cold_base : j->hot_base));
}

/* A jump whose target is known when the trace is put in place. `target`: an offset, or an address for FIX_CODE. */
static void fix_up(struct Jit *j, struct Emit *e, uint8_t *field, int kind, int64_t target)
{
    if (!field || j->fixes == sizeof j->fix / sizeof j->fix[0]) {
        j->failed = __LINE__;
        return;
    }
    j->fix[j->fixes++] = (struct JitFix){target, (int32_t)(field - (in_cold(j, e) ? j->cold_base : j->hot_base)),
                                         (uint8_t)in_cold(j, e), (uint8_t)kind};
}

static void jump_code(struct Jit *j, struct Emit *e, const uint8_t *target)
{
    fix_up(j, e, x_jmp(e), FIX_CODE, (int64_t)(intptr_t)target);
}

/* To the end of the cold code, from the hot. */
static void branch_cold(struct Jit *j, int cc) { fix_up(j, &j->hot, x_jcc(&j->hot, cc), FIX_COLD, offset_of(j, &j->cold)); }

static void home_of(uint32_t slot, int32_t *at, int *size)
{
    for (int r = REG_COUNT - 1;; r--)
        if (jit_registers[r].first <= slot) {
            const uint32_t k = slot - jit_registers[r].first;
            if (jit_registers[r].split) {
                *at = (int32_t)(jit_registers[r].offset + 4 * k);
                *size = 4;
            } else {
                *size = jit_registers[r].size;
                *at = (int32_t)(jit_registers[r].offset + k * jit_registers[r].size);
            }
            return;
        }
}

static void load_home(struct Emit *e, int reg, uint32_t slot)
{
    int32_t at;
    int size;
    home_of(slot, &at, &size);
    if (size >= 4) x_mov_rm(e, size, reg, cpu_mem(at));
    else x_movzx_rm(e, size, reg, cpu_mem(at));
}

/* --- which value is where --------------------------------------------------------------------------------------- */

static void give(struct Jit *j, int reg, int32_t n)
{
    j->owner[reg] = n;
    j->node[n].reg = (int16_t)reg;
}

static int spill_free(const struct Jit *j, int s)
{
    return j->spill_node[s] < 0 || j->node[j->spill_node[s]].last < j->at;
}

static int32_t spill_slot(struct Jit *j, int32_t n)
{
    for (int s = 0; s < SPILLS; s++)
        if (spill_free(j, s)) {
            if (j->spill_node[s] >= 0 && j->node[j->spill_node[s]].spill == s) j->node[j->spill_node[s]].spill = NOWHERE;
            j->spill_node[s] = n;
            return s;
        }
    j->failed = __LINE__;
    return 0;
}

/* Whether a node can be had again without a register of its own. */
static int rematerial(const struct Jit *j, int32_t n)
{
    const struct Node *x = &j->node[n];
    return x->op == N_CONST || (!j->homing && x->op == N_GET && j->slot_pin[x->imm] < 0) || x->spill >= 0 || x->xmm >= 0;
}

/* A value may be followed by what is not its own where fewer bytes tell it. */
static void load_spill(struct Emit *e, int reg, const struct Node *x)
{
    if (x->poss >> 16) x_mov_rm(e, x->poss >> 32 ? 8 : 4, reg, spill_mem(x->spill));
    else x_movzx_rm(e, 2, reg, spill_mem(x->spill));
}

static void evict(struct Jit *j, int reg)
{
    const int32_t n = j->owner[reg];
    if (n < 0) return;
    if (j->node[n].reg == reg) {
        if (j->node[n].last > j->at - 1 && !rematerial(j, n)) {
            const int32_t s = spill_slot(j, n);
            x_mov_mr(&j->hot, 8, spill_mem(s), reg);
            j->node[n].spill = (int16_t)s;
        }
        j->node[n].reg = NOWHERE;
    }
    j->owner[reg] = -1;
}

/* A register for a value; what it held is put elsewhere. */
static int take(struct Jit *j)
{
    int best = -1;
    int32_t furthest = -1;
    static const uint8_t order[5] = {RAX, RDX, RCX, RSI, RDI};
    for (int k = 0; k < 5; k++) {
        const int r = order[k];
        if (j->locked >> r & 1) continue;
        if (j->owner[r] < 0) {
            best = r;
            break;
        }
        int32_t last = j->node[j->owner[r]].last;
        if (rematerial(j, j->owner[r])) last += JIT_NODES;
        if (last > furthest) {
            furthest = last;
            best = r;
        }
    }
    if (best < 0) {
        j->failed = __LINE__;
        return RAX;
    }
    evict(j, best);
    j->locked |= 1u << best;
    return best;
}

/* A certain register, free. */
static void take_reg(struct Jit *j, int reg)
{
    evict(j, reg);
    j->locked |= 1u << reg;
}

static void release(struct Jit *j, int reg) { j->locked &= ~(1u << reg); }

/* The register that holds a value, which is brought there if it must be. */
static int in_reg(struct Jit *j, int32_t n)
{
    struct Node *x = &j->node[n];
    if (x->reg >= 0) {
        j->locked |= 1u << x->reg;
        return x->reg;
    }
    const int r = take(j);
    if (x->op == N_CONST) x_mov_ri(&j->hot, 8, r, x->imm);
    else if (x->xmm >= 0) x_movd_rx(&j->hot, 8, r, x->xmm);
    else if (x->spill >= 0) load_spill(&j->hot, r, x);
    else if (x->op == N_GET && j->slot_pin[x->imm] < 0) load_home(&j->hot, r, (uint32_t)x->imm);
    else j->failed = __LINE__;
    give(j, r, n);
    return r;
}

static void move_to(struct Jit *j, int reg, int32_t n)
{
    struct Node *x = &j->node[n];
    if (x->reg == reg) return;
    if (x->reg >= 0) x_mov_rr(&j->hot, x->poss >> 32 ? 8 : 4, reg, x->reg);
    else if (x->op == N_CONST) x_mov_ri(&j->hot, 8, reg, x->imm);
    else if (x->xmm >= 0) x_movd_rx(&j->hot, 8, reg, x->xmm);
    else if (x->spill >= 0) load_spill(&j->hot, reg, x);
    else if (x->op == N_GET && j->slot_pin[x->imm] < 0) load_home(&j->hot, reg, (uint32_t)x->imm);
    else j->failed = __LINE__;
}

static void sweep_registers(struct Jit *j)
{
    j->locked = 0;
    for (int r = 0; r < 8; r++)
        if (j->owner[r] >= 0 && (j->node[j->owner[r]].last <= j->at || j->node[j->owner[r]].reg != r)) {
            if (j->node[j->owner[r]].reg == r) j->node[j->owner[r]].reg = NOWHERE;
            j->owner[r] = -1;
        }
    xmm_sweep(j);
}

/* The pinned register that a value may be computed in, because it is committed there soon and nobody misses the old one. */
static int commit_pin(const struct Jit *j, int32_t n)
{
    const struct Node *x = &j->node[n];
    if (x->commit < 0 || j->slot_pin[x->commit_slot] < 0 || x->commit - j->at > 64 || j->node[x->commit].late) return -1;
    const int pin = j->slot_pin[x->commit_slot];
    if (j->next_exit[j->at] < x->commit) return -1;
    const int32_t old = j->pin_owner[pin];
    if (old >= 0 && j->node[old].reg == pin && j->node[old].last > j->at) return -1;
    for (int32_t k = j->at + 1; k < x->commit; k++) {
        const uint8_t op = j->node[k].op;
        if ((op == N_GET || op == N_COMMIT) && j->node[k].imm == (uint64_t)x->commit_slot) return -1;
    }
    return pin;
}

static void pin_now(struct Jit *j, int pin, int32_t n)
{
    const int32_t old = j->pin_owner[pin];
    if (old >= 0 && old != n && j->node[old].reg == pin) {
        j->node[old].reg = NOWHERE;
        for (int p = R8; p <= R15; p++)
            if (p != pin && j->pin_owner[p] == old) j->node[old].reg = (int16_t)p;
    }
    j->pin_owner[pin] = n;
}

/* --- operations on registers ------------------------------------------------------------------------------------ */

static int host_size(const struct Node *x) { return x->width > 32 ? 8 : 4; }

static int fits_imm(int size, uint64_t v) { return size < 8 ? 1 : (int64_t)v == (int32_t)v; }

/* Cut a register down to the width of a node, where the operation may have left more. */
static void cut(struct Emit *e, const struct Node *x, int dst)
{
    if (x->width == 8) x_movzx_rr(e, 1, dst, dst);
    else if (x->width == 16) x_movzx_rr(e, 2, dst, dst);
    else if (x->width < 32) x_alu_ri(e, X_AND, 4, dst, (int32_t)bits_of(x->width));
    else if (x->width > 32 && x->width < 64) {
        x_shift_ri(e, X_SHL, 8, dst, 64 - x->width);
        x_shift_ri(e, X_SHR, 8, dst, 64 - x->width);
    }
}

static int sum_fits(const struct Jit *j, const struct Node *x)
{
    if (x->width == 32 || x->width == 64) return 1;
    const uint64_t a = below(j->node[x->a].poss), b = below(j->node[x->b].poss);
    return x->op == T_ADD && a + b >= a && a + b <= bits_of(x->width);
}

static void sign_extend(struct Emit *e, uint32_t source, int size, int dst, int src)
{
    if (source == 8 || source == 16) x_movsx_rr(e, (int)source / 8, size, dst, src);
    else if (source == 32 && size == 8) x_movsx_rr(e, 4, 8, dst, src);
    else {
        if (dst != src) x_mov_rr(e, 8, dst, src);
        x_shift_ri(e, X_SHL, size, dst, size * 8 - (int)source);
        x_shift_ri(e, X_SAR, size, dst, size * 8 - (int)source);
    }
}

/* Compare two values; returns the condition code. `rb` -1: the constant in node b. Clobbers `ra` and `rb` where `scratch`
 * says that they are copies. */
static int compare(struct Jit *j, struct Emit *e, const struct Node *x, int ra, int rb)
{
    static const uint8_t codes[6] = {X_E, X_NE, X_B, X_BE, X_L, X_LE};
    const struct Node *a = &j->node[x->a];
    if (x->op == N_BIT) {
        if (x->imm < 8) x_test_ri(e, 1, ra, 1 << x->imm);
        else if (x->imm < 31) x_test_ri(e, 4, ra, 1 << x->imm);
        else if (x->imm == 31 && !(a->poss >> 32)) {
            x_test_rr(e, 4, ra, ra);
            return X_S;
        } else {
            x_bt_ri(e, 8, ra, (int)x->imm);
            return X_C;
        }
        return X_NZ;
    }
    const int is_signed = x->op == T_SLT || x->op == T_SLE;
    const uint64_t pb = j->node[x->b].poss;
    int size = (a->poss | pb) >> 32 ? 8 : 4;
    if (is_signed) {
        if (x->source == 8 || x->source == 16 || x->source == 32 || x->source == 64) size = x->source / 8;
        else j->failed = __LINE__;
    }
    if (rb >= 0) x_alu_rr(e, X_CMP, size, ra, rb);
    else {
        const uint64_t v = j->node[x->b].imm;
        if (!v && (x->op == T_EQ || x->op == T_NE)) x_test_rr(e, size, ra, ra);
        else x_alu_ri(e, X_CMP, size, ra, (int32_t)v);
    }
    return codes[x->op - T_EQ];
}

/* dst := x of ra and rb (-1: node b is a constant that fits). dst may be ra; it is neither rb nor a register that must
 * live. Selects take their condition in rc as 0 or 1. What needs rcx, rax or rdx is done elsewhere. */
static void operate(struct Jit *j, struct Emit *e, const struct Node *x, int dst, int ra, int rb, int rc)
{
    const int size = host_size(x);
    const uint64_t v = x->b >= 0 ? j->node[x->b].imm : 0;
    static const uint8_t alu[T_XOR + 1] = {[T_ADD] = X_ADD, [T_SUB] = X_SUB, [T_AND] = X_AND, [T_OR] = X_OR, [T_XOR] = X_XOR};
    switch (x->op) {
    case T_ADD:
        if (dst != ra && rb >= 0) x_lea(e, size, dst, mem_index(ra, rb, 1, 0));
        else if (dst != ra) x_lea(e, size, dst, mem_at(ra, (int32_t)v));
        else if (rb >= 0) x_alu_rr(e, X_ADD, size, dst, rb);
        else x_alu_ri(e, X_ADD, size, dst, (int32_t)v);
        if (!sum_fits(j, x)) cut(e, x, dst);
        break;
    case T_SUB:
    case T_AND:
    case T_OR:
    case T_XOR:
        if (x->op == T_AND && rb < 0 && v == 0xff) {
            x_movzx_rr(e, 1, dst, ra);
            break;
        }
        if (x->op == T_AND && rb < 0 && v == 0xffff) {
            x_movzx_rr(e, 2, dst, ra);
            break;
        }
        if (dst != ra) x_mov_rr(e, size, dst, ra);
        if (rb >= 0) x_alu_rr(e, alu[x->op], size, dst, rb);
        else x_alu_ri(e, alu[x->op], size, dst, (int32_t)v);
        if (x->op == T_SUB) cut(e, x, dst);
        break;
    case T_MUL:
        if (rb < 0) x_imul_rri(e, size, dst, ra, (int32_t)v);
        else {
            if (dst != ra) x_mov_rr(e, size, dst, ra);
            x_imul_rr(e, size, dst, rb);
        }
        if (x->poss == bits_of(x->width)) cut(e, x, dst);
        break;
    case T_MULHU:
        if (x->width > 32) {
            j->failed = __LINE__;
            break;
        }
        if (dst != ra) x_mov_rr(e, 8, dst, ra);
        x_imul_rr(e, 8, dst, rb);
        x_shift_ri(e, X_SHR, 8, dst, x->width);
        break;
    case T_NOT:
    case T_NEG:
        if (dst != ra) x_mov_rr(e, size, dst, ra);
        if (x->op == T_NOT && x->width == 1) x_alu_ri(e, X_XOR, 4, dst, 1);
        else {
            if (x->op == T_NOT) x_not(e, size, dst);
            else x_neg(e, size, dst);
            cut(e, x, dst);
        }
        break;
    case T_SHL:
        if (dst != ra) x_mov_rr(e, size, dst, ra);
        x_shift_ri(e, X_SHL, size, dst, (int)v);
        if (x->width != 32 && x->width != 64 && (below(j->node[x->a].poss) << v) & ~bits_of(x->width)) cut(e, x, dst);
        break;
    case T_LSHR:
        if (dst != ra) x_mov_rr(e, j->node[x->a].poss >> 32 ? 8 : 4, dst, ra);
        x_shift_ri(e, X_SHR, j->node[x->a].poss >> 32 ? 8 : 4, dst, (int)v);
        break;
    case T_ASHR: {
        const int wide = x->width > 32 ? 8 : 4;
        if (x->width != 8 * wide) sign_extend(e, x->width, wide, dst, ra);
        else if (dst != ra) x_mov_rr(e, wide, dst, ra);
        x_shift_ri(e, X_SAR, wide, dst, (int)v);
        cut(e, x, dst);
        break;
    }
    case T_ROTL:
        if (x->width < 8) j->failed = __LINE__;
        if (dst != ra) x_mov_rr(e, size, dst, ra);
        x_shift_ri(e, X_ROL, x->width / 8, dst, (int)(v % x->width));
        break;
    case T_EQ: case T_NE: case T_ULT: case T_ULE: case T_SLT: case T_SLE: {
        const int cc = compare(j, e, x, ra, rb);
        x_setcc(e, cc, dst);
        x_movzx_rr(e, 1, dst, dst);
        break;
    }
    case N_BIT:
        if (dst != ra) x_mov_rr(e, x->imm > 31 ? 8 : 4, dst, ra);
        if (x->imm) x_shift_ri(e, X_SHR, x->imm > 31 ? 8 : 4, dst, (int)x->imm);
        if (j->node[x->a].poss >> x->imm >> 1) x_alu_ri(e, X_AND, 4, dst, 1);
        break;
    case T_SEXT:
        sign_extend(e, x->source, size, dst, ra);
        cut(e, x, dst);
        break;
    case T_LOW:
        if (x->width == 32) x_mov_rr(e, 4, dst, ra);
        else if (x->width == 8) x_movzx_rr(e, 1, dst, ra);
        else if (x->width == 16) x_movzx_rr(e, 2, dst, ra);
        else {
            if (dst != ra) x_mov_rr(e, 8, dst, ra);
            cut(e, x, dst);
        }
        break;
    case T_SELECT:
        /* ra: if so, rb: if not */
        if (dst != ra) x_mov_rr(e, 8, dst, ra);
        x_test_rr(e, 4, rc, rc);
        x_cmov(e, X_Z, 8, dst, rb);
        break;
    case T_CLZ:
        if (!(j->features & HOST_LZCNT)) j->failed = __LINE__;
        x_lzcnt(e, size, dst, ra);
        if (x->width != 8 * size) x_alu_ri(e, X_SUB, 4, dst, 8 * size - x->width);
        break;
    case T_CTZ:
        if (!(j->features & HOST_BMI1)) j->failed = __LINE__;
        if (x->width != 8 * size) {
            if (dst != ra) x_mov_rr(e, 8, dst, ra);
            x_alu_ri(e, X_OR, 8, dst, (int32_t)(1u << x->width));
            x_tzcnt(e, 8, dst, dst);
        } else {
            x_tzcnt(e, size, dst, ra);
        }
        break;
    case T_POPCOUNT:
        if (!(j->features & HOST_POPCNT)) j->failed = __LINE__;
        x_popcnt(e, size, dst, ra);
        break;
    case T_BSWAP:
        if (dst != ra) x_mov_rr(e, size, dst, ra);
        if (x->width == 16) {
            x_shift_ri(e, X_ROL, 2, dst, 8);
            x_movzx_rr(e, 2, dst, dst);
        } else {
            x_bswap(e, size, dst);
        }
        break;
    default: j->failed = __LINE__; break;
    }
}

static int swaps(uint8_t op)
{
    return op == T_ADD || op == T_MUL || op == T_MULHU || op == T_AND || op == T_OR || op == T_XOR;
}

/* Whether the constant operand of an operation may stay one. */
static int keeps_constant(const struct Jit *j, const struct Node *x)
{
    if (x->b < 0 || !is_const(j, x->b)) return 0;
    const uint64_t v = j->node[x->b].imm;
    switch (x->op) {
    case T_ADD: case T_SUB: case T_AND: case T_OR: case T_XOR: case T_MUL: return fits_imm(host_size(x), v);
    case T_SHL: case T_LSHR: case T_ASHR: case T_ROTL: return 1;
    case T_EQ: case T_NE: case T_ULT: case T_ULE:
        return fits_imm((j->node[x->a].poss | v) >> 32 ? 8 : 4, v);
    case T_SLT: case T_SLE: return x->source < 64 || (int64_t)v == (int32_t)v;
    default: return 0;
    }
}

/* --- values in exits -------------------------------------------------------------------------------------------- */

/* Registers that hold what a value is made of. */
static uint32_t made_of(const struct Jit *j, int32_t n, int depth)
{
    const struct Node *x = &j->node[n];
    if (x->reg >= 0) return IS_TEMP(x->reg) ? 1u << x->reg : 0;
    if (!is_late(x) || x->spill >= 0 || x->xmm >= 0 || depth > 24) return 0;
    uint32_t found = 0;
    if (x->late) {
        const struct Node *call = &j->node[x->a];
        for (int32_t k = 0; k < call->b; k++)
            if (j->arg[call->imm + (uint64_t)k] >= 0) found |= made_of(j, j->arg[call->imm + (uint64_t)k], depth + 1);
        return found;
    }
    if (x->a >= 0) found |= made_of(j, x->a, depth + 1);
    if (x->b >= 0) found |= made_of(j, x->b, depth + 1);
    if (x->c >= 0) found |= made_of(j, x->c, depth + 1);
    return found;
}

static int stub_take(struct Stub *s)
{
    for (int r = 0; r < 8; r++)
        if (IS_TEMP(r) && !(s->busy >> r & 1)) {
            s->busy |= 1u << r;
            return r;
        }
    s->j->failed = __LINE__;
    return RAX;
}

/* Whether a value need not be computed. */
static int located(const struct Jit *j, int32_t n)
{
    const struct Node *x = &j->node[n];
    return x->reg >= 0 || x->spill >= 0 || x->xmm >= 0 || !is_late(x);
}

/* Test a condition by way of register t; the code under which it holds. */
static int stub_condition(struct Stub *s, int32_t n, int t)
{
    struct Jit *j = s->j;
    const struct Node *x = &j->node[n];
    if (!is_compare(x->op) || located(j, n)) {
        stub_value(s, n, t);
        x_test_rr(&j->cold, 4, t, t);
        return X_NZ;
    }
    stub_value(s, x->a, t);
    if (x->op == N_BIT || keeps_constant(j, x)) return compare(j, &j->cold, x, t, -1);
    const struct Node *y = &j->node[x->b];
    if (y->reg >= 0 && !IS_TEMP(y->reg)) return compare(j, &j->cold, x, t, y->reg);
    const int other = stub_take(s);
    stub_value(s, x->b, other);
    s->busy &= ~(1u << other);
    return compare(j, &j->cold, x, t, other);
}

/* dst := node, in the cold code; clobbers no register but those it takes. */
static void stub_value(struct Stub *s, int32_t n, int dst)
{
    struct Jit *j = s->j;
    struct Emit *e = &j->cold;
    const struct Node *x = &j->node[n];
    if (j->failed) return;
    if (x->reg >= 0) {
        if (IS_TEMP(x->reg)) x_mov_rm(e, 8, dst, spill_mem(s->saved[x->reg]));
        else x_mov_rr(e, 8, dst, x->reg);
        return;
    }
    if (x->xmm >= 0) {
        x_movd_rx(e, 8, dst, x->xmm);
        return;
    }
    if (x->spill >= 0) {
        load_spill(e, dst, x);
        return;
    }
    if (x->op == N_CONST) {
        x_mov_ri(e, 8, dst, x->imm);
        return;
    }
    if (x->op == N_GET && j->slot_pin[x->imm] < 0) {
        load_home(e, dst, (uint32_t)x->imm);
        return;
    }
    if (x->late) {
        x87_status_again(s, n, dst);
        return;
    }
    if (!is_pure(x->op)) {
        j->failed = __LINE__;
        return;
    }
    if (x->op == T_SELECT) {
        const int constant_b = is_const(j, x->b);
        stub_value(s, x->c, dst);
        const int t = stub_take(s);
        const int other = constant_b ? t : stub_take(s);
        if (!constant_b) stub_value(s, x->b, other);
        const int cc = stub_condition(s, x->a, t);
        if (constant_b) x_mov_ri(e, 8, t, j->node[x->b].imm);
        x_cmov(e, cc, 8, dst, other);
        s->busy &= ~(1u << t | 1u << other);
        return;
    }
    int32_t first = x->a, second = x->b;
    if (second >= 0 && swaps(x->op) && !is_const(j, second) && located(j, first) && !located(j, second)) {
        first = x->b;
        second = x->a;
    }
    stub_value(s, first, dst);
    struct Node turned = *x;
    turned.a = first;
    turned.b = second;
    x = &turned;
    if (x->b < 0 || keeps_constant(j, x)) {
        operate(j, e, x, dst, dst, -1, -1);
        return;
    }
    const struct Node *y = &j->node[x->b];
    const int held = y->reg >= 0 && !IS_TEMP(y->reg), other = held ? y->reg : stub_take(s);
    if (!held) stub_value(s, x->b, other);
    if (x->op == T_SHL || x->op == T_LSHR || x->op == T_ASHR || x->op == T_ROTL) {
        if (!(j->features & HOST_BMI2) || x->op == T_ROTL || x->width < 32) j->failed = __LINE__;
        const int size = x->op == T_SHL ? host_size(x) : x->width > 32 ? 8 : 4;
        if (x->op == T_SHL) x_shlx(e, size, dst, dst, other);
        else if (x->op == T_LSHR) x_shrx(e, size, dst, dst, other);
        else x_sarx(e, size, dst, dst, other);
        if (x->width != 32 && x->width != 64) cut(e, x, dst);
    } else {
        operate(j, e, x, dst, dst, other, -1);
    }
    if (!held) s->busy &= ~(1u << other);
}

static void store_home(struct Emit *e, uint32_t slot, int reg)
{
    int32_t at;
    int size;
    home_of(slot, &at, &size);
    x_mov_mr(e, size, cpu_mem(at), reg);
}

static void store_home_const(struct Emit *e, uint32_t slot, uint64_t v)
{
    int32_t at;
    int size;
    home_of(slot, &at, &size);
    if (size == 8 && (int64_t)v != (int32_t)v) {
        x_mov_mi(e, 4, cpu_mem(at), (int32_t)v);
        x_mov_mi(e, 4, cpu_mem(at + 4), (int32_t)(v >> 32));
    } else {
        x_mov_mi(e, size, cpu_mem(at), (int32_t)v);
    }
}

/* What differs from the state goes home, in the cold code. A home may be what another value is made of, so everything is
 * computed before the first is written. */
static void exit_homes(struct Jit *j, int32_t snap)
{
    struct Emit *e = &j->cold;
    struct Stub s = {j, {-1, -1, -1, -1, -1, -1, -1, -1}, 0};
    const struct Snap *t = &j->snap[snap];
    uint32_t needed = 0, held = 0;
    int late = 0, next = SPILLS - 1;
    int16_t place[SLOT_COUNT];
    for (uint32_t k = t->first; k < t->first + t->count; k++) {
        const struct Node *x = &j->node[j->entry[k].node];
        if (j->slot_pin[j->entry[k].slot] >= 0) continue;
        if (x->reg >= 0) held |= IS_TEMP(x->reg) ? 1u << x->reg : 0;
        else if (x->op != N_CONST && x->spill < 0 && x->xmm < 0) {
            late++;
            needed |= made_of(j, j->entry[k].node, 0);
        }
    }
    if (late) needed |= held;
    for (int r = 0; r < 8; r++)
        if (needed >> r & 1) {
            while (next >= 0 && !spill_free(j, next)) next--;
            if (next < 0) {
                j->failed = __LINE__;
                return;
            }
            s.saved[r] = (int8_t)next;
            x_mov_mr(e, 8, spill_mem(next--), r);
        }
    for (uint32_t k = t->first; k < t->first + t->count && !j->failed; k++) {
        const struct Node *x = &j->node[j->entry[k].node];
        if (j->slot_pin[j->entry[k].slot] >= 0 || x->reg >= 0 || x->op == N_CONST || x->spill >= 0 || x->xmm >= 0) continue;
        const int r = stub_take(&s);
        stub_value(&s, j->entry[k].node, r);
        if (late == 1) {
            /* Nothing else is computed: it may go home at once. */
            store_home(e, (uint32_t)j->entry[k].slot, r);
        } else {
            while (next >= 0 && !spill_free(j, next)) next--;
            if (next < 0) {
                j->failed = __LINE__;
                return;
            }
            place[k - t->first] = (int16_t)next;
            x_mov_mr(e, 8, spill_mem(next--), r);
        }
        s.busy &= ~(1u << r);
    }
    for (uint32_t k = t->first; k < t->first + t->count; k++) {
        const uint32_t slot = (uint32_t)j->entry[k].slot;
        const struct Node *x = &j->node[j->entry[k].node];
        if (j->slot_pin[slot] >= 0 || x->reg < 0) continue;
        if (IS_TEMP(x->reg) && late) {
            x_mov_rm(e, 8, RAX, spill_mem(s.saved[x->reg]));
            store_home(e, slot, RAX);
        } else {
            store_home(e, slot, x->reg);
        }
    }
    for (uint32_t k = t->first; k < t->first + t->count; k++) {
        const uint32_t slot = (uint32_t)j->entry[k].slot;
        const struct Node *x = &j->node[j->entry[k].node];
        if (j->slot_pin[slot] >= 0 || x->reg >= 0) continue;
        if (x->op == N_CONST) {
            store_home_const(e, slot, x->imm);
        } else if (x->xmm >= 0 || x->spill >= 0) {
            if (x->xmm >= 0) x_movd_rx(e, 8, RAX, x->xmm);
            else load_spill(e, RAX, x);
            store_home(e, slot, RAX);
        } else if (late > 1) {
            x_mov_rm(e, 8, RAX, spill_mem(place[k - t->first]));
            store_home(e, slot, RAX);
        }
    }
    for (uint32_t k = t->first; k < t->first + t->count; k++) {
        const int pin = j->slot_pin[j->entry[k].slot];
        const int32_t v = j->entry[k].node;
        if (pin < 0 || j->pin_owner[pin] == v || j->node[v].reg == pin) continue;
        if (j->node[v].op != T_ADD || j->node[v].a != j->pin_owner[pin]) j->failed = __LINE__;
        else x_lea(e, 4, pin, mem_at(pin, (int32_t)j->node[j->node[v].b].imm));
    }
}

static void refund(struct Emit *e, uint32_t count)
{
    if (count) x_lea(e, 8, RBX, mem_at(RBX, (int32_t)count));
}

static void set_ip(struct Emit *e, uint32_t ip) { x_mov_mi(e, 4, cpu_mem(FIELD(IP)), (int32_t)ip); }

/* Leave for the run loop with a reason. */
static void leave_with(struct Jit *j, struct Emit *e, const struct Insn *reason)
{
    x_mov_ri(e, 4, RAX, (uint64_t)(uintptr_t)reason);
    jump_code(j, e, j->leave);
}

/* rdx: the entry for a linear address in the table of jumps. `lin` stays. */
static void jump_place(struct Emit *e, int lin)
{
    x_mov_rr(e, 4, RDX, lin);
    x_shift_ri(e, X_SHR, 4, RDX, 12);
    x_alu_rr(e, X_XOR, 4, RDX, lin);
    x_alu_ri(e, X_AND, 4, RDX, TRACE_JUMPS - 1);
    x_shift_ri(e, X_SHL, 4, RDX, 5);
    x_alu_rm(e, X_ADD, 8, RDX, cpu_mem(FIELD(jit)));
}

/* On to the address in eax: what the thunk does, with all that is known here. */
static void jump_to(const Cpu *cpu, struct Jit *j, struct Emit *e)
{
    if (jit_may_cross(j)) {
        uint8_t *miss[3];
        int n = 0;
        jump_place(e, RAX);
        /* Address and key in one comparison. */
        if (cpu->lookup_key) {
            x_mov_ri(e, 8, RCX, (uint64_t)cpu->lookup_key << 32);
            x_alu_rr(e, X_OR, 8, RCX, RAX);
        }
        x_alu_rm(e, X_CMP, 8, cpu->lookup_key ? RCX : RAX, mem_at(RDX, offsetof(struct JitJump, lin)));
        miss[n++] = x_jcc(e, X_NE);
        n += jit_same_limit(j, e, RDX, &miss[n]);
        miss[n++] = jit_guard_jump(j, e, RAX, RDX, RSI, RCX);
        x_jmp_m(e, mem_at(RDX, offsetof(struct JitJump, entry)));
        for (int k = 0; k < n; k++) x_patch(miss[k], e->at);
    }
    jump_code(j, e, j->indirect);
}

/* On to a fixed address: to its trace as soon as there is one, through a word that is filled in later. */
static void link_to(Cpu *cpu, struct Jit *j, struct Emit *e, uint32_t ip)
{
    const uint32_t lin = code_linear(cpu, ip);
    uint8_t *moved = NULL;
    if (j->links == JIT_EXITS) {
        j->failed = __LINE__;
        return;
    }
    if ((lin ^ code_linear(cpu, j->head_ip)) & PAGE_MASK) {
        if (!jit_may_cross(j) || fetch_at(cpu, lin)->tag != fetch_tag(lin)) {
            x_mov_ri(e, 4, RAX, ip);
            jump_code(j, e, j->indirect);
            return;
        }
        moved = jit_guard(cpu, e, RAX, RCX, ip);
    }
    struct JitLink *l = &j->link[j->links++];
    l->ip = ip;
    x_mov_ri(e, 8, RAX, (uint64_t)(uintptr_t)l);
    x_jmp_m(e, mem_at(RAX, 0));
    l->at = offset_of(j, e);
    l->cold = (uint32_t)in_cold(j, e);
    x_mov_mr(e, 8, cpu_mem(FIELD(jit_link)), RAX);
    set_ip(e, ip);
    leave_with(j, e, EXIT_JIT);
    if (moved) {
        x_patch(moved, e->at);
        x_mov_ri(e, 4, RAX, ip);
        jump_code(j, e, j->indirect);
    }
}

/* The interpreter does instruction `insn` of the trace. */
static void retry_stub(struct Jit *j, int32_t snap, uint32_t insn)
{
    struct Emit *e = &j->cold;
    exit_homes(j, snap);
    if (j->float_store == insn + 1) x_mov_mi(e, 4, cpu_mem(FIELD(jit_float_undo)), 1);
    refund(e, j->total - insn);
    set_ip(e, j->insn[insn]->start);
    x_mov_mi(e, 4, cpu_mem(FIELD(retry)), 1);
    leave_with(j, e, EXIT_FAULT);
}

/* --- the trace, node by node ------------------------------------------------------------------------------------ */

/* Test a condition; the code under which it holds. */
static int test_condition(struct Jit *j, int32_t n)
{
    const struct Node *x = &j->node[n];
    if (x->op == T_NOT && x->width == 1 && x->reg < 0) return test_condition(j, x->a) ^ 1;
    if (!is_compare(x->op)) {
        const int r = in_reg(j, n);
        x_test_rr(&j->hot, 4, r, r);
        return X_NZ;
    }
    if (x->op == N_BIT) return compare(j, &j->hot, x, in_reg(j, x->a), -1);
    const int ra = in_reg(j, x->a);
    return compare(j, &j->hot, x, ra, keeps_constant(j, x) ? -1 : in_reg(j, x->b));
}

static void put_result(struct Jit *j, int32_t n, int dst)
{
    if (IS_TEMP(dst)) {
        if (j->owner[dst] >= 0 && j->owner[dst] != n && j->node[j->owner[dst]].reg == dst) j->node[j->owner[dst]].reg = NOWHERE;
        give(j, dst, n);
    } else {
        pin_now(j, dst, n);
        j->node[n].reg = (int16_t)dst;
    }
}

static void divide(struct Jit *j, int32_t n)
{
    struct Emit *e = &j->hot;
    const struct Node x = j->node[n];
    const int is_signed = x.op == T_SDIV || x.op == T_SREM, rest = x.op == T_UREM || x.op == T_SREM;
    const int size = host_size(&x);
    if (x.width != 32 && x.width != 64 && is_signed) {
        j->failed = __LINE__;
        return;
    }
    take_reg(j, RAX);
    take_reg(j, RDX);
    const int rb = take(j);
    move_to(j, rb, x.b);
    move_to(j, RAX, x.a);
    uint8_t *zero, *done, *minus = NULL;
    x_test_rr(e, size, rb, rb);
    zero = x_jcc(e, X_Z);
    if (is_signed) {
        x_alu_ri(e, X_CMP, size, rb, -1);
        minus = x_jcc(e, X_E);
        if (size == 8) x_cqo(e);
        else x_cdq(e);
        x_idiv1(e, size, rb);
    } else {
        x_mov_ri(e, 4, RDX, 0);
        x_div1(e, size, rb);
    }
    if (rest) x_mov_rr(e, size, RAX, RDX);
    done = x_jmp(e);
    if (minus) {
        x_patch(minus, e->at);
        if (rest) x_mov_ri(e, 4, RAX, 0);
        else x_neg(e, size, RAX);
        minus = x_jmp(e);
    }
    x_patch(zero, e->at);
    x_mov_ri(e, 4, RAX, 0);
    x_patch(done, e->at);
    if (minus) x_patch(minus, e->at);
    release(j, RDX);
    release(j, rb);
    put_result(j, n, RAX);
}

static void shift_by(struct Jit *j, int32_t n)
{
    struct Emit *e = &j->hot;
    const struct Node x = j->node[n];
    const int size = x.op == T_ROTL ? x.width / 8 : x.op == T_SHL ? host_size(&x) : x.width > 32 ? 8 : 4;
    if (x.op == T_ROTL && x.width < 8) {
        j->failed = __LINE__;
        return;
    }
    if ((j->features & HOST_BMI2) && x.op != T_ROTL && (x.op != T_ASHR || x.width == 8 * size)) {
        const int ra = in_reg(j, x.a), rb = in_reg(j, x.b);
        int dst = commit_pin(j, n);
        if (dst < 0) dst = take(j);
        if (x.op == T_SHL) x_shlx(e, size, dst, ra, rb);
        else if (x.op == T_LSHR) x_shrx(e, size, dst, ra, rb);
        else x_sarx(e, size, dst, ra, rb);
        if (x.op == T_SHL && x.width != 32 && x.width != 64) cut(e, &x, dst);
        put_result(j, n, dst);
        return;
    }
    take_reg(j, RCX);
    move_to(j, RCX, x.b);
    const int dst = take(j);
    move_to(j, dst, x.a);
    if (x.op == T_ASHR && x.width != 8 * size) sign_extend(e, x.width, size, dst, dst);
    x_shift_rcl(e, x.op == T_SHL ? X_SHL : x.op == T_LSHR ? X_SHR : x.op == T_ASHR ? X_SAR : X_ROL, size, dst);
    if (x.op != T_LSHR && x.op != T_ROTL) cut(e, &x, dst);
    release(j, RCX);
    put_result(j, n, dst);
}

static void pure_value(struct Jit *j, int32_t n)
{
    struct Emit *e = &j->hot;
    const struct Node x = j->node[n];
    if (x.op >= T_UDIV && x.op <= T_SREM) {
        divide(j, n);
        return;
    }
    if ((x.op == T_SHL || x.op == T_LSHR || x.op == T_ASHR || x.op == T_ROTL) && !is_const(j, x.b)) {
        shift_by(j, n);
        return;
    }
    if (x.op == T_MULHU && x.width > 32) {
        take_reg(j, RAX);
        take_reg(j, RDX);
        move_to(j, RAX, x.a);
        const int r = in_reg(j, x.b);
        x_mul1(e, 8, r);
        release(j, RAX);
        put_result(j, n, RDX);
        return;
    }
    if (x.op == T_SELECT) {
        const int rb = in_reg(j, x.b);
        int dst = commit_pin(j, n);
        /* The condition may look at what the pin holds. */
        if (dst >= 0) {
            const struct Node *c = &j->node[x.a];
            while (c->op == T_NOT && c->width == 1 && c->reg < 0) c = &j->node[c->a];
            if (dst == rb || c->reg == dst || (c->a >= 0 && j->node[c->a].reg == dst) || (c->b >= 0 && j->node[c->b].reg == dst))
                dst = -1;
        }
        if (dst < 0) dst = take(j);
        else j->locked |= 1u << dst;
        move_to(j, dst, x.c);
        const int cc = test_condition(j, x.a);
        x_cmov(e, cc, x.poss >> 32 ? 8 : 4, dst, rb);
        put_result(j, n, dst);
        return;
    }
    int32_t a = x.a, b = x.b;
    const int plain = b < 0 || keeps_constant(j, &x);
    if (!plain && swaps(x.op) && j->node[a].reg < 0 && j->node[b].reg >= 0) {
        a = x.b;
        b = x.a;
    }
    const int pin = commit_pin(j, n);
    if (!plain && swaps(x.op) && pin >= 0 && j->node[b].reg == pin) {
        const int32_t t = a;
        a = b;
        b = t;
    }
    const int ra = in_reg(j, a), rb = plain ? -1 : in_reg(j, b);
    int dst = pin;
    if (dst < 0 || dst == rb) {
        if (is_compare(x.op)) dst = take(j);
        else dst = j->node[a].last <= j->at && IS_TEMP(ra) && j->owner[ra] == a ? ra : take(j);
    } else if (is_compare(x.op) && dst == ra) {
        dst = take(j);
    }
    struct Node y = x;
    y.a = a;
    y.b = b;
    operate(j, e, &y, dst, ra, rb, -1);
    put_result(j, n, dst);
}

/* The offset of an access: the register of a value that is there anyway, or the sum put together here. */
static int address(struct Jit *j, int32_t n, int *own)
{
    struct Node *x = &j->node[n];
    *own = 0;
    if (x->reg >= 0 || x->strong || x->op != T_ADD) return in_reg(j, n);
    int32_t disp = 0;
    if (is_const(j, x->b)) {
        disp = (int32_t)j->node[x->b].imm;
        const struct Node *y = &j->node[x->a];
        if (y->op == T_ADD && !y->strong && y->reg < 0 && y->width == 32) x = &j->node[x->a];
        else if (y->op == T_SHL && !y->strong && y->reg < 0 && y->width == 32 && is_const(j, y->b)) {
            const int r = in_reg(j, y->a), t = take(j);
            x_lea(&j->hot, 4, t, mem_index(-1, r, 1 << j->node[y->b].imm, disp));
            *own = 1;
            return t;
        } else {
            const int r = in_reg(j, x->a), t = take(j);
            x_lea(&j->hot, 4, t, mem_at(r, disp));
            *own = 1;
            return t;
        }
    }
    int32_t base = x->a, index = x->b;
    int scale = 1;
    if (is_const(j, index)) {
        /* Two constants in a row do not stay. */
        j->failed = __LINE__;
        return RAX;
    }
    for (int turn = 0; turn < 2 && scale == 1; turn++) {
        const struct Node *y = &j->node[index];
        if (y->op == T_SHL && !y->strong && y->reg < 0 && y->width == 32 && is_const(j, y->b) && j->node[y->b].imm <= 3) {
            scale = 1 << j->node[y->b].imm;
            index = y->a;
        } else if (!turn) {
            const int32_t t = base;
            base = index;
            index = t;
        }
    }
    const int rb = in_reg(j, base), ri = in_reg(j, index), t = take(j);
    x_lea(&j->hot, 4, t, mem_index(rb, ri, scale, disp));
    *own = 1;
    return t;
}

static void access_slow(struct Jit *j, int32_t n, int off, int value, int back, int32_t back_at)
{
    /* In the cold code, its address already taken by the branch here. */
    struct Emit *e = &j->cold;
    const struct Node *x = &j->node[n];
    x_mov_mr(e, 4, cpu_mem(FIELD(jit_offset)), off);
    x_mov_mi(e, 4, cpu_mem(FIELD(jit_access)), (int32_t)x->imm);
    if (x->op == N_STORE) {
        if (value >= 0) x_mov_mr(e, 8, cpu_mem(FIELD(jit_value)), value);
        else {
            const uint64_t v = j->node[x->b].imm;
            x_mov_mi(e, 4, cpu_mem(FIELD(jit_value)), (int32_t)v);
            x_mov_mi(e, 4, cpu_mem(FIELD(jit_value) + 4), (int32_t)(v >> 32));
        }
    }
    if (!x_room(e)) return;
    x_byte(e, 0xe8);
    fix_up(j, e, e->at, FIX_CODE, (int64_t)(intptr_t)(x->op == N_STORE ? j->slow_write : j->slow_read));
    x_imm(e, 4, 0);
    uint8_t *good = x_jcc(e, X_Z);
    retry_stub(j, x->snap, x->insn);
    x_patch(good, e->at);
    if (x->op == N_LOAD) x_mov_rm(e, x->width > 32 ? 8 : 4, back, cpu_mem(FIELD(jit_value)));
    fix_up(j, e, x_jmp(e), FIX_HOT, back_at);
}

/* Whether an access looks in the soft TLB; in a loop most of them find the page of the turn before. */
static int has_site(const struct Jit *j, const struct Node *x)
{
    return (x->op == N_LOAD || x->op == N_STORE) && x->fold != MEMBER && !is_const(j, x->a) && jit_plain_access(j, (uint32_t)x->imm);
}

/* Look up `size` bytes at `off`: the register to add to the result, with what is added in t1. The way of a miss goes on
 * at the end of the cold code. */
static int look_up(struct Jit *j, const struct Node *x, int size, int write, int off, int t1, int t2)
{
    struct Emit *e = &j->hot, *c = &j->cold;
    uint8_t *slow[2] = {NULL, NULL};
    if (is_const(j, x->a) && jit_check_fixed(j, e, (uint32_t)x->imm, size, write, (uint32_t)j->node[x->a].imm, t1, slow)) {
        fix_up(j, e, slow[0], FIX_COLD, offset_of(j, c));
        return off;
    }
    if (!has_site(j, x) || j->site >= j->sites) {
        const int lin = jit_check(j, e, (uint32_t)x->imm, size, write, off, t1, t2, slow);
        for (int k = 0; k < 2; k++)
            if (slow[k]) fix_up(j, e, slow[k], FIX_COLD, offset_of(j, c));
        return lin;
    }
    const struct Mem tag = site_mem(j->site), addend = mem_at(RSP, tag.disp + 8);
    j->site++;
    /* Both ends in that page. */
    x_mov_rr(e, 4, t2, off);
    x_alu_rm(e, X_SUB, 8, t2, tag);
    x_alu_ri(e, X_CMP, 8, t2, (int32_t)PAGE_SIZE - size);
    branch_cold(j, X_A);
    x_mov_rm(e, 8, t1, addend);
    const int32_t back = offset_of(j, e);
    jit_check(j, c, (uint32_t)x->imm, size, write, off, t1, t2, slow);
    x_mov_mr(c, 8, tag, t2);
    x_mov_mr(c, 8, addend, t1);
    fix_up(j, c, x_jmp(c), FIX_HOT, back);
    for (int k = 0; k < 2; k++)
        if (slow[k]) fix_up(j, c, slow[k], FIX_COLD, offset_of(j, c));
    return off;
}

/* What was taken for granted does not hold: the interpreter goes on, and it is noted. */
static void miss_stub(struct Jit *j, int32_t snap, uint32_t insn, int what)
{
    struct Emit *e = &j->cold;
    exit_homes(j, snap);
    if (j->float_store == insn + 1) x_mov_mi(e, 4, cpu_mem(FIELD(jit_float_undo)), 1);
    refund(e, j->total - insn);
    set_ip(e, j->insn[insn]->start);
    x_mov_mi(e, 4, cpu_mem(FIELD(jit_offset)), (int32_t)j->trace_count);
    x_mov_mi(e, 4, cpu_mem(FIELD(jit_access)), what);
    leave_with(j, e, EXIT_MISS);
}

/* The cold way of a look-up that must find RAM: the soft TLB gets an entry for `size` bytes at `off`, and the look-up at
 * `again` is repeated; without one it is a miss. */
static void fill_or_miss(struct Jit *j, const struct Node *x, int off, uint32_t size, int write, int32_t again, int what)
{
    struct Emit *c = &j->cold;
    x_mov_mr(c, 4, cpu_mem(FIELD(jit_offset)), off);
    x_mov_mi(c, 4, cpu_mem(FIELD(jit_access)), (int32_t)(size | (uint32_t)write << 16));
    if (!x_room(c)) return;
    x_byte(c, 0xe8);
    fix_up(j, c, c->at, FIX_CODE, (int64_t)(intptr_t)j->fill);
    x_imm(c, 4, 0);
    fix_up(j, c, x_jcc(c, X_Z), FIX_HOT, again);
    miss_stub(j, x->snap, x->insn, what);
}

/* The host address of a group, made by its first access. */
static int lead_group(struct Jit *j, const struct Node *x)
{
    struct Emit *e = &j->hot;
    const struct Node *g = &j->node[x->c];
    const int write = x->op == N_STORE || (x->imm >> 16 & 1);
    const int rb = in_reg(j, g->a), off = take(j);
    x_lea(e, 4, off, mem_at(rb, (int32_t)g->imm));
    const int t1 = take(j), t2 = take(j);
    const int32_t again = offset_of(j, e);
    look_up(j, x, g->b, write, off, t1, t2);
    x_alu_rr(e, X_ADD, 8, t1, off);
    fill_or_miss(j, x, off, (uint32_t)g->b, write, again, PLAIN_GROUPS);
    release(j, off);
    release(j, t2);
    if (!(j->locked >> rb & 1) || IS_TEMP(rb)) release(j, rb);
    return t1;
}

static void grouped_access(struct Jit *j, int32_t n)
{
    struct Emit *e = &j->hot;
    const struct Node x = j->node[n];
    const int size = x.width / 8, write = x.op == N_STORE;
    int32_t at;
    common_value(j, x.a, &at);
    int host, value = -1;
    if (x.fold == LEADER) {
        host = lead_group(j, &x);
        give(j, host, x.c);
        j->locked |= 1u << host;
    } else {
        host = in_reg(j, x.c);
    }
    const struct Mem m = mem_at(host, at - (int32_t)j->node[x.c].imm);
    if (write) {
        const uint64_t v = is_const(j, x.b) ? j->node[x.b].imm : 0;
        if (is_const(j, x.b) && (size < 8 || (int64_t)v == (int32_t)v)) jit_store_const(e, size, m, v);
        else {
            value = in_reg(j, x.b);
            jit_store(j, e, size, m, value, j->features & HOST_MOVBE ? -1 : take(j));
        }
        return;
    }
    int dst = commit_pin(j, n);
    if (dst < 0) dst = j->node[x.c].last <= j->at ? host : take(j);
    jit_load(j, e, size, dst, m);
    if (j->node[n].last < 0) j->node[n].last = j->at;
    put_result(j, n, dst);
}

static void memory_access(struct Jit *j, int32_t n)
{
    if (j->node[n].fold != ALONE) {
        grouped_access(j, n);
        return;
    }
    struct Emit *e = &j->hot;
    const struct Node x = j->node[n];
    const int write = x.op == N_STORE, size = x.width / 8;
    int own, value = -1;
    const int off = address(j, x.a, &own);
    const uint64_t constant_value = write && is_const(j, x.b) ? j->node[x.b].imm : 0;
    const int as_constant = write && is_const(j, x.b) && (size < 8 || (int64_t)constant_value == (int32_t)constant_value);
    if (write && !as_constant) value = in_reg(j, x.b);
    const int t1 = take(j), t2 = take(j);
    const int32_t again = offset_of(j, e);
    const int lin = look_up(j, &x, size, write || (x.imm >> 16 & 1), off, t1, t2);
    const struct Mem m = mem_index(t1, lin, 1, 0);
    int dst = -1;
    if (write) {
        if (as_constant) jit_store_const(e, size, m, constant_value);
        else jit_store(j, e, size, m, value, t2);
    } else {
        release(j, t2);
        dst = commit_pin(j, n);
        if (dst < 0) dst = t2;
        jit_load(j, e, size, dst, m);
    }
    if (!write && j->node[n].last < 0) j->node[n].last = j->at;
    if (x.sure) fill_or_miss(j, &x, off, (uint32_t)size, 1, again, PLAIN_FORWARD);
    else access_slow(j, n, off, value, dst, offset_of(j, e));
    if (!write) put_result(j, n, dst);
}

static void commit_slot(struct Jit *j, const struct Node *x)
{
    const int pin = j->slot_pin[x->imm];
    if (pin < 0 || x->late) return;
    const int32_t v = x->a, old = j->pin_owner[pin];
    if (old == v && j->node[v].reg >= 0) {
        if (j->node[v].reg == pin || j->pin_owner[pin] == v) return;
    }
    if (old >= 0 && old != v && j->node[old].reg == pin && j->node[old].last > j->at) {
        int other = -1;
        for (int p = R8; p <= R15; p++)
            if (p != pin && j->pin_owner[p] == old) other = p;
        if (other < 0) {
            if (j->node[v].reg >= 0) j->locked |= 1u << j->node[v].reg;
            const int t = take(j);
            x_mov_rr(&j->hot, 4, t, pin);
            j->node[old].reg = NOWHERE;
            give(j, t, old);
        }
    }
    move_to(j, pin, v);
    pin_now(j, pin, v);
    const int was = j->node[v].reg;
    if (was < 0 || IS_TEMP(was)) {
        if (was >= 0) j->owner[was] = -1;
        j->node[v].reg = (int16_t)(j->node[v].op != N_CONST ? pin : NOWHERE);
    }
}

/* Everything home, on the way itself. */
static void all_home(struct Jit *j, int32_t snap)
{
    struct Emit *e = &j->hot;
    const struct Snap *t = &j->snap[snap];
    j->homing = 1;
    for (int pass = 0; pass < 2; pass++)
        for (uint32_t k = t->first; k < t->first + t->count; k++) {
            const uint32_t slot = (uint32_t)j->entry[k].slot;
            const int32_t v = j->entry[k].node;
            if (j->slot_pin[slot] >= 0) continue;
            /* First whatever is read from the homes of other slots. */
            if (!pass) {
                if (j->node[v].op == N_GET && j->slot_pin[j->node[v].imm] < 0 && j->node[v].reg < 0) {
                    in_reg(j, v);
                    j->locked = 0;
                }
                continue;
            }
            if (is_const(j, v)) store_home_const(e, slot, j->node[v].imm);
            else {
                store_home(e, slot, in_reg(j, v));
                j->locked = 0;
            }
        }
    j->homing = 0;
}

/* A handler within a trace comes back here. */
static const struct Insn *op_back(Cpu *cpu, const struct Insn *i)
{
    (void)cpu, (void)i;
    return EXIT_DONE;
}

#ifdef EMU_TRAMPOLINE
static uint64_t jit_dispatch(Cpu *cpu, const struct Insn *i) { return (uint64_t)(uintptr_t)dispatch(cpu, i); }
static void *jit_handler(const struct Insn *i)
{
    (void)i;
    return (void *)jit_dispatch;
}
#else
static void *jit_handler(const struct Insn *i) { return (void *)i->fn; }
#endif

static void call_handler(Cpu *cpu, struct Jit *j, const struct Node *x)
{
    struct Emit *e = &j->hot;
    struct Insn *copy = &j->copy[2 * j->copies];
    (void)cpu;
    if (j->copies == JIT_INSNS) {
        j->failed = __LINE__;
        return;
    }
    j->copies++;
    copy[0] = *j->insn[x->imm];
    if (j->block_first[x->imm]) copy[0].fn = j->block_first[x->imm];
    copy[0].rest = (uint16_t)(j->total - (uint32_t)x->imm);
    memset(&copy[1], 0, sizeof copy[1]);
    copy[1].fn = op_back;
    all_home(j, x->snap);
    for (int r = R8; r <= R15; r++) store_home(e, (uint32_t)j->pin_slot[r], r);
    x_mov_mr(e, 8, cpu_mem(FIELD(left)), RBX);
    float_leave(e, j->float_off);
    x_mov_rr(e, 8, RDI, RBP);
    x_mov_ri(e, 8, RSI, (uint64_t)(uintptr_t)copy);
    x_mov_ri(e, 8, RAX, (uint64_t)(uintptr_t)jit_handler(copy));
    x_call_r(e, RAX);
    if (x->b < 0) {
        x_alu_ri(e, X_CMP, 4, RAX, (int32_t)(uintptr_t)EXIT_DONE);
        fix_up(j, e, x_jcc(e, X_NE), FIX_CODE, (int64_t)(intptr_t)j->leave_plain);
    } else {
        /* It asks for a link to where it goes: on the way of the trace, or elsewhere. */
        struct Emit *c = &j->cold;
        x_alu_ri(e, X_CMP, 4, RAX, (int32_t)(uintptr_t)EXIT_LINK);
        fix_up(j, e, x_jcc(e, X_NE), FIX_CODE, (int64_t)(intptr_t)j->leave_plain);
        x_mov_mi(e, 8, cpu_mem(FIELD(link)), 0);
        x_alu_mi(e, X_CMP, 4, cpu_mem(FIELD(IP)), (int32_t)copy[0].next);
        branch_cold(j, X_NE);
        x_alu_mi(c, X_ADD, 8, cpu_mem(FIELD(left)), (int32_t)(j->total - (uint32_t)x->imm - 1));
        x_mov_ri(c, 4, RAX, (uint64_t)(uintptr_t)EXIT_LOOKUP);
        jump_code(j, c, j->leave_plain);
        /* Several turns of a string instruction count. */
        x_mov_rm(e, 8, RBX, cpu_mem(FIELD(left)));
    }
    for (int r = 0; r < 16; r++) {
        if (j->owner[r] >= 0) j->node[j->owner[r]].reg = NOWHERE;
        if (j->pin_owner[r] >= 0) j->node[j->pin_owner[r]].reg = NOWHERE;
        j->owner[r] = j->pin_owner[r] = -1;
    }
    xmm_forget(j);
    for (int r = R8; r <= R15; r++)
        if (j->pin_slot[r] >= 0) load_home(e, r, (uint32_t)j->pin_slot[r]);
}

/* A function of its arguments alone; they and its results pass through the processor. */
static void call_function(struct Jit *j, const struct Node *x)
{
    struct Emit *e = &j->hot;
    xmm_flush(j);
    for (int32_t k = 0; k < x->b; k++) {
        const int32_t a = j->arg[x->imm + (uint64_t)k];
        const struct Mem m = cpu_mem(FIELD(jit_args) + 8 * k);
        if (is_const(j, a) && (int64_t)j->node[a].imm == (int32_t)j->node[a].imm) x_mov_mi(e, 8, m, (int32_t)j->node[a].imm);
        else x_mov_mr(e, 8, m, in_reg(j, a));
        j->locked = 0;
    }
    for (int r = 0; r < 8; r++)
        if (IS_TEMP(r) && j->owner[r] >= 0) {
            if (j->node[j->owner[r]].last > j->at) evict(j, r);
            else {
                if (j->node[j->owner[r]].reg == r) j->node[j->owner[r]].reg = NOWHERE;
                j->owner[r] = -1;
            }
        }
    x_mov_ri(e, 8, RAX, (uint64_t)(uintptr_t)jit_calls[x->c].fn);
    if (!x_room(e)) return;
    x_byte(e, 0xe8);
    fix_up(j, e, e->at, FIX_CODE, (int64_t)(intptr_t)j->call);
    x_imm(e, 4, 0);
}

static void emit_node(Cpu *cpu, struct Jit *j, int32_t n)
{
    struct Emit *e = &j->hot;
    struct Node *x = &j->node[n];
    switch (x->op) {
    case N_CONST: return;
    case N_GET: {
        const int pin = j->slot_pin[x->imm];
        if (pin >= 0 && x->last >= 0) {
            x->reg = (int16_t)pin;
            j->pin_owner[pin] = n;
        }
        return;
    }
    case N_LOAD:
    case N_STORE: memory_access(j, n); return;
    case N_COMMIT: commit_slot(j, x); return;
    case N_EXIT_IF: {
        const int cc = test_condition(j, x->a);
        branch_cold(j, cc);
        exit_homes(j, x->snap);
        refund(&j->cold, j->total - x->insn);
        link_to(cpu, j, &j->cold, (uint32_t)x->imm);
        return;
    }
    case N_RETRY_IF: {
        const int cc = test_condition(j, x->a);
        branch_cold(j, cc);
        if (x->b >= 0) miss_stub(j, x->snap, x->insn, PLAIN_STACK);
        else retry_stub(j, x->snap, x->insn);
        return;
    }
    case N_GUARD: {
        const int t = take(j);
        uint8_t *other = jit_guard(cpu, e, JIT_GUARD_TEMPS > 1 ? take(j) : t, t, (uint32_t)x->imm + (x->b > 0 ? PAGE_SIZE : 0));
        fix_up(j, e, other, FIX_COLD, offset_of(j, &j->cold));
        exit_homes(j, x->snap);
        refund(&j->cold, j->total - x->insn);
        set_ip(&j->cold, (uint32_t)x->imm);
        leave_with(j, &j->cold, EXIT_LOOKUP);
        return;
    }
    case N_EXPECT: {
        const int r = in_reg(j, x->a);
        x_alu_ri(e, X_CMP, 4, r, (int32_t)x->imm);
        branch_cold(j, X_NE);
        /* The target first, where no exit code touches it. */
        x_mov_mr(&j->cold, 4, cpu_mem(FIELD(jit_offset)), r);
        exit_homes(j, x->snap);
        refund(&j->cold, j->total - x->insn);
        x_mov_rm(&j->cold, 4, RAX, cpu_mem(FIELD(jit_offset)));
        jump_to(cpu, j, &j->cold);
        return;
    }
    case N_FLOAT: {
        x_test_mi(e, 1, cpu_mem(FIELD(jit_float)), (int32_t)x->imm);
        branch_cold(j, X_Z);
        if (!x_room(&j->cold)) return;
        x_byte(&j->cold, 0xe8);
        fix_up(j, &j->cold, j->cold.at, FIX_CODE, (int64_t)(intptr_t)j->float_on[x->imm >> 1]);
        x_imm(&j->cold, 4, 0);
        uint8_t *good = x_jcc(&j->cold, X_Z);
        retry_stub(j, x->snap, x->insn);
        x_patch(good, j->cold.at);
        fix_up(j, &j->cold, x_jmp(&j->cold), FIX_HOT, offset_of(j, e));
        return;
    }
    case N_CALL:
        if (x->source) float_call(j, n);
        else call_function(j, x);
        return;
    case N_RESULT:
        if (x->last >= 0 && !j->node[x->a].source) {
            const int r = take(j);
            x_mov_rm(e, x->width > 32 ? 8 : 4, r, cpu_mem(FIELD(jit_results) + 8 * (int32_t)x->imm));
            give(j, r, n);
        }
        return;
    case N_HANDLER: call_handler(cpu, j, x); return;
    case N_LOOP:
        all_home(j, x->snap);
        x_alu_ri(e, X_SUB, 8, RBX, (int32_t)j->total);
        branch_cold(j, X_L);
        fix_up(j, e, x_jmp(e), FIX_HOT, j->loop_top);
        refund(&j->cold, j->total);
        set_ip(&j->cold, (uint32_t)x->imm);
        leave_with(j, &j->cold, EXIT_COLD);
        return;
    case N_GOTO:
        all_home(j, x->snap);
        link_to(cpu, j, e, (uint32_t)x->imm);
        return;
    case N_JUMP:
        if (j->node[x->a].reg >= 0 && IS_TEMP(j->node[x->a].reg)) {
            x_mov_mr(e, 4, cpu_mem(FIELD(jit_offset)), j->node[x->a].reg);
        } else {
            const int r = in_reg(j, x->a);
            x_mov_mr(e, 4, cpu_mem(FIELD(jit_offset)), r);
            j->locked = 0;
        }
        all_home(j, x->snap);
        x_mov_rm(e, 4, RAX, cpu_mem(FIELD(jit_offset)));
        jump_to(cpu, j, e);
        return;
    case N_LEAVE:
        all_home(j, x->snap);
        set_ip(e, (uint32_t)x->imm);
        leave_with(j, e, EXIT_LOOKUP);
        return;
    default:
        if (is_pure(x->op) && x->strong) pure_value(j, n);
        return;
    }
}

/* The code of the trace in hand, in j->hot and j->cold. Nonzero: it does not fit. */
static int emit_trace(Cpu *cpu, struct Jit *j)
{
    struct Emit *e = &j->hot;
    j->hot = (struct Emit){j->hot_base, j->hot_base + JIT_STREAM, 0};
    j->cold = (struct Emit){j->cold_base, j->cold_base + JIT_STREAM, 0};
    j->fixes = j->links = j->copies = 0;
    memset(j->owner, 0xff, sizeof j->owner);
    memset(j->pin_owner, 0xff, sizeof j->pin_owner);
    memset(j->spill_node, 0xff, sizeof j->spill_node);
    memset(j->xmm_owner, 0xff, sizeof j->xmm_owner);
    j->xmm_locked = j->float_store = 0;
    j->locked = 0;
    j->at = -1;
    const int loops = j->node[j->steps - 1].op == N_LOOP;
    x_alu_ri(e, X_SUB, 8, RBX, (int32_t)j->total);
    branch_cold(j, X_L);
    refund(&j->cold, j->total);
    set_ip(&j->cold, j->head_ip);
    leave_with(j, &j->cold, EXIT_COLD);
    j->site = j->sites = 0;
    if (loops)
        for (int32_t k = 0; k < j->steps && j->sites < SITES; k++)
            if (has_site(j, &j->node[k])) x_mov_mi(e, 8, site_mem(j->sites++), INT32_MIN); /* far from every address */
    j->loop_top = offset_of(j, e);
    for (int32_t k = 0; k < j->steps && !j->failed; k++) {
        j->at = k;
        j->node[k].host = offset_of(j, e);
        emit_node(cpu, j, k);
        sweep_registers(j);
        if (e->overflow || j->cold.overflow) j->failed = __LINE__;
    }
    return j->failed;
}
