/* Floating point of an x86 guest on the host's own units. Formats, rounding, NaNs and exceptions are the same there, so an
 * operation is one instruction of the host under the guest's control words, and its exceptions gather in the host's status.
 *
 * The first operation of a trace sees that the guest's control is in force (N_FLOAT); whatever leaves the traces, and every
 * handler that is called, puts the host's back and the exceptions into MXCSR and the x87 status word. That takes place only
 * while all exceptions are masked. SSE values live in xmm registers; an x87 value is two nodes, significand and exponent,
 * whose spill slots stand side by side, so that it is loaded and stored as ten bytes. */

enum { FLOAT_SSE = 1, FLOAT_X87 = 2 };
enum {
    K_NONE,
    K_BINARY,  /* of two values in xmm registers */
    K_PACKED,  /* the same of two singles in 64 bits: the upper half must not raise anything of its own */
    K_UNARY,
    K_UNARY2,  /* of two singles or integers */
    K_COMPARE, /* into ZF, PF and CF */
    K_HOLDS,   /* compare by a predicate */
    K_HOLDS2,
    K_TO_INT,
    K_FROM_INT,
    K_X87_BINARY, /* from here on of the x87 */
    K_X87_UNARY,
    K_X87_COMPARE,
    K_X87_STORE, /* to memory in another format */
    K_X87_LOAD,
    K_X87_UNSEEN,
    K_X87_WIDEN,
};

struct Native {
    const char *name;
    uint8_t kind, a, b, args;
};

#if JIT_HOST_FLOAT
#define NATIVE_SSE(N, P) \
    {"fx_" N "_add", K_BINARY, P, 0x58, 2}, {"fx_" N "_mul", K_BINARY, P, 0x59, 2}, {"fx_" N "_sub", K_BINARY, P, 0x5C, 2}, \
    {"fx_" N "_min", K_BINARY, P, 0x5D, 2}, {"fx_" N "_div", K_BINARY, P, 0x5E, 2}, {"fx_" N "_max", K_BINARY, P, 0x5F, 2}, \
    {"fx_" N "_sqrt", K_UNARY, P, 0x51, 1}, {"fx_" N "_to_i32", K_TO_INT, P, 0x2D, 1}, \
    {"fx_" N "_to_i32_trunc", K_TO_INT, P, 0x2C, 1}, {"fx_i32_to_" N, K_FROM_INT, P, 0x2A, 1}

static const struct Native natives[] = {
    {NULL, K_NONE, 0, 0, 0},
    NATIVE_SSE("f64", 0xF2),
    NATIVE_SSE("f32", 0xF3),
    {"fx_f64_to_f32", K_UNARY, 0xF2, 0x5A, 1},
    {"fx_f32_to_f64", K_UNARY, 0xF3, 0x5A, 1},
    {"fx_f64_compare", K_COMPARE, 0x66, 0x2F, 2},
    {"fx_f64_compare_quiet", K_COMPARE, 0x66, 0x2E, 2},
    {"fx_f32_compare", K_COMPARE, 0, 0x2F, 2},
    {"fx_f32_compare_quiet", K_COMPARE, 0, 0x2E, 2},
    {"f64_predicate", K_HOLDS, 0xF2, 0xC2, 2},
    {"f32_predicate", K_HOLDS, 0xF3, 0xC2, 2},
    {"f32x2_predicate", K_HOLDS2, 0, 0xC2, 2},
    {"f32x2_add", K_PACKED, 0, 0x58, 2},
    {"f32x2_mul", K_PACKED, 0, 0x59, 2},
    {"f32x2_sub", K_PACKED, 0, 0x5C, 2},
    {"f32x2_min", K_PACKED, 0, 0x5D, 2},
    {"f32x2_div", K_PACKED, 0, 0x5E, 2},
    {"f32x2_max", K_PACKED, 0, 0x5F, 2},
    {"f32x2_sqrt", K_UNARY2, 0, 0x51, 1},
    {"f32x2_from_i32", K_UNARY2, 0, 0x5B, 1},
    {"f32x2_to_i32", K_UNARY2, 0x66, 0x5B, 1},
    {"f32x2_to_i32_trunc", K_UNARY2, 0xF3, 0x5B, 1},
    {"fx_f80_add", K_X87_BINARY, 0xDE, 0xC1, 4},
    {"fx_f80_mul", K_X87_BINARY, 0xDE, 0xC9, 4},
    {"fx_f80_sub", K_X87_BINARY, 0xDE, 0xE9, 4},
    {"fx_f80_div", K_X87_BINARY, 0xDE, 0xF9, 4},
    {"fx_f80_sqrt", K_X87_UNARY, 0xD9, 0xFA, 2},
    {"fx_f80_round_int", K_X87_UNARY, 0xD9, 0xFC, 2},
    {"fx_f80_compare", K_X87_COMPARE, 0xDF, 0xF1, 4},
    {"fx_f80_compare_quiet", K_X87_COMPARE, 0xDF, 0xE9, 4},
    {"fx_f80_to_f32", K_X87_STORE, 0xD9, 3, 2},
    {"fx_f80_to_f64", K_X87_STORE, 0xDD, 3, 2},
    {"fx_f80_to_i16", K_X87_STORE, 0xDF, 3, 2},
    {"fx_f80_to_i32", K_X87_STORE, 0xDB, 3, 2},
    {"fx_f80_to_i64", K_X87_STORE, 0xDF, 7, 2},
    {"fx_f80_to_i16_trunc", K_X87_STORE, 0xDF, 1, 2},
    {"fx_f80_to_i32_trunc", K_X87_STORE, 0xDB, 1, 2},
    {"fx_f80_to_i64_trunc", K_X87_STORE, 0xDD, 1, 2},
    {"fx_i16_to_f80", K_X87_LOAD, 0xDF, 0, 1},
    {"fx_i32_to_f80", K_X87_LOAD, 0xDB, 0, 1},
    {"fx_i64_to_f80", K_X87_LOAD, 0xDF, 5, 1},
    {"x87_unseen", K_X87_UNSEEN, 0, 0, 0},
    {"x87_widen32", K_X87_WIDEN, 0, 0, 0},
    {"x87_widen64", K_X87_WIDEN, 1, 0, 0},
};

static uint8_t native_of[sizeof jit_calls / sizeof jit_calls[0]];

static void float_names(void)
{
    for (uint32_t c = 0; jit_calls[c].fn; c++)
        for (uint32_t k = 1; k < sizeof natives / sizeof natives[0]; k++)
            if (!strcmp(jit_calls[c].name, natives[k].name)) native_of[c] = (uint8_t)k;
}

/* Where a trace begins, and behind a handler: whose control words are in force is not known. */
static void float_unknown(struct Jit *j) { j->float_ready = 0; }

/* Which units traces may use now. */
static void float_usable(const Cpu *cpu, struct Jit *j)
{
    j->float_usable = 0;
    if ((cpu->mxcsr & 0x1F80) == 0x1F80) j->float_usable |= FLOAT_SSE;
    if ((cpu->fctrl & 0x3F) == 0x3F && !(cpu->fstat & 0x80)) j->float_usable |= FLOAT_X87;
}

static int32_t start_snap(struct Jit *j);
static int32_t effect(struct Jit *j, uint8_t op, uint32_t width, int32_t a, int32_t b, int32_t c, uint64_t imm, int32_t snap);

/* A binary32 or binary64 in 80 bits, as plain operations; the interpreter takes all but zeros and normal numbers. The host
 * reads the value itself as it is, so these are seldom needed. */
static void float_widen(struct Jit *j, int wide, int32_t v, int32_t *out)
{
    const uint32_t w = wide ? 64 : 32, fraction = wide ? 52 : 23, ebits = w - 1 - fraction;
    const int32_t magnitude = make2(j, T_AND, w, v, constant(j, bits_of(w - 1)));
    const int32_t e = make2(j, T_LSHR, w, magnitude, constant(j, fraction));
    const int32_t zero = make(j, T_EQ, 1, w, magnitude, constant(j, 0), -1);
    /* One comparison tells a denormal: it is below the smallest normal number, and not zero. */
    const int32_t less = make2(j, T_SUB, w, magnitude, constant(j, 1));
    retry_if(j, make(j, T_ULT, 1, w, less, constant(j, bits_of(fraction)), -1));
    retry_if(j, make(j, T_EQ, 1, w, e, constant(j, bits_of(ebits)), -1));
    const int32_t top = make2(j, T_SHL, 64, v, constant(j, 63 - fraction));
    const int32_t sig = make2(j, T_OR, 64, top, constant(j, 1ull << 63));
    const int32_t sign = make2(j, T_AND, 32, make2(j, T_LSHR, w, v, constant(j, w - 16)), constant(j, 0x8000));
    const int32_t power = make2(j, T_ADD, 15, e, constant(j, 16383 - (bits_of(ebits) >> 1)));
    const int32_t se = make2(j, T_OR, 32, power, sign);
    out[0] = make(j, T_SELECT, 64, 64, zero, constant(j, 0), sig);
    out[1] = make(j, T_SELECT, 32, 32, zero, sign, se);
    out[2] = constant(j, 0);
    for (int k = 0; k < 2; k++)
        if (out[k] > v) j->node[out[k]].wide = 2 * v + 2 + !wide;
}

/* A call as an operation of the host: its results in `out`. 0: it is not one. */
static int float_expand(struct Jit *j, uint32_t fn, const int32_t *arg, int always, int32_t *out)
{
    const uint8_t number = native_of[fn];
    const struct Native *t = &natives[number];
    const int unit = t->kind >= K_X87_BINARY ? FLOAT_X87 : FLOAT_SSE, results = jit_calls[fn].results;
    uint64_t predicate = 0;
    if (!number || !always) return 0;
    if (t->kind == K_X87_WIDEN) {
        float_widen(j, t->a, arg[0], out);
        return 1;
    }
    if (t->kind != K_X87_UNSEEN) {
        if (!(j->float_usable & unit)) return 0;
        if (t->kind == K_HOLDS || t->kind == K_HOLDS2) {
            if (!is_const(j, arg[2])) return 0;
            predicate = j->node[arg[2]].imm & 7;
        }
        if (!(j->float_ready & unit)) effect(j, N_FLOAT, 1, -1, -1, -1, (uint64_t)unit, start_snap(j));
        j->float_ready |= (uint8_t)unit;
    }
    const int32_t first = j->args;
    for (int k = 0; k < t->args; k++) j->arg[j->args++] = arg[k];
    /* Of an 80-bit operand that was shorter, the short one is enough: its node, and -2 or -3 for its format. */
    if (t->kind >= K_X87_BINARY && t->kind <= K_X87_STORE)
        for (int k = 0; k + 1 < t->args; k += 2) {
            const int32_t wide = j->node[arg[k]].wide;
            if (!wide || j->node[arg[k + 1]].wide != wide) continue;
            j->arg[first + k] = (wide - 2) >> 1;
            j->arg[first + k + 1] = -2 - (wide & 1);
        }
    const int32_t call = effect(j, N_CALL, (uint32_t)predicate, -1, t->args, (int32_t)fn, (uint64_t)first, NOWHERE);
    j->node[call].source = number;
    for (int k = 0; k < results; k++) {
        out[k] = effect(j, N_RESULT, jit_calls[fn].widths[k], call, -1, -1, (uint64_t)k, NOWHERE);
        struct Node *r = &j->node[out[k]];
        if (t->kind == K_COMPARE || t->kind == K_X87_COMPARE) r->poss = 0x45;
        else if (t->kind == K_X87_UNSEEN) r->poss = 0x3F;
        else if (t->kind == K_X87_STORE && t->a == 0xDF && t->b != 7) r->poss = 0xFFFF;
        else if (k && unit == FLOAT_X87) r->poss = 0xFFFF; /* the exponent, the status word */
    }
    if (t->kind == K_X87_UNSEEN) return 1;
    /* The exceptions are in the host's status; of a result is left whether it was rounded up. */
    const int last = results - 1;
    if (t->kind == K_X87_BINARY || t->kind == K_X87_UNARY || t->kind == K_X87_STORE) {
        j->node[out[last]].late = 1;
        out[last] = make2(j, T_AND, 32, out[last], constant(j, 0x200));
    } else {
        out[last] = constant(j, 0);
    }
    return 1;
}

/* --- values in xmm registers ------------------------------------------------------------------------------------ */

static int in_reg(struct Jit *j, int32_t n);
static int take(struct Jit *j);
static void take_reg(struct Jit *j, int reg);
static void release(struct Jit *j, int reg);
static int32_t spill_slot(struct Jit *j, int32_t n);
static int spill_free(const struct Jit *j, int s);
static void put_result(struct Jit *j, int32_t n, int dst);
static void home_of(uint32_t slot, int32_t *at, int *size);
static void move_to(struct Jit *j, int reg, int32_t n);
static void evict(struct Jit *j, int reg);

static struct Mem spilled(int s) { return mem_at(RSP, 8 * s); }
static struct Mem of_cpu(size_t at) { return mem_at(RBP, (int32_t)at); }

static void xmm_drop(struct Jit *j, int k)
{
    if (j->xmm_owner[k] >= 0 && j->node[j->xmm_owner[k]].xmm == k) j->node[j->xmm_owner[k]].xmm = NOWHERE;
    j->xmm_owner[k] = -1;
}

/* What a register holds goes elsewhere, unless it is there already. */
static void xmm_evict(struct Jit *j, int k)
{
    const int32_t n = j->xmm_owner[k];
    if (n < 0) return;
    struct Node *x = &j->node[n];
    if (x->xmm == k && x->last >= j->at && x->reg < 0 && x->spill < 0) {
        const int s = spill_slot(j, n);
        x_movsd_mr(&j->hot, spilled(s), k);
        x->spill = (int16_t)s;
    }
    xmm_drop(j, k);
}

static int xmm_take(struct Jit *j)
{
    int best = -1;
    int32_t furthest = -1;
    for (int k = 0; k < 16; k++) {
        if (j->xmm_locked >> k & 1) continue;
        if (j->xmm_owner[k] < 0) {
            best = k;
            break;
        }
        if (j->node[j->xmm_owner[k]].last > furthest) {
            furthest = j->node[j->xmm_owner[k]].last;
            best = k;
        }
    }
    if (best < 0) {
        j->failed = 1;
        return 0;
    }
    xmm_evict(j, best);
    j->xmm_locked |= 1u << best;
    return best;
}

static void xmm_give(struct Jit *j, int k, int32_t n)
{
    j->xmm_owner[k] = n;
    j->node[n].xmm = (int8_t)k;
}

static int in_xmm(struct Jit *j, int32_t n)
{
    struct Emit *e = &j->hot;
    struct Node *x = &j->node[n];
    if (x->xmm >= 0) {
        j->xmm_locked |= 1u << x->xmm;
        return x->xmm;
    }
    const int k = xmm_take(j);
    if (is_const(j, n) && !x->imm) x_sse_rr(e, 0, 0x57, k, k);
    else if (x->reg >= 0) x_movd_xr(e, 8, k, x->reg);
    else if (x->spill >= 0) x_movsd_rm(e, k, spilled(x->spill));
    else if (x->op == N_GET && !j->homing && j->slot_pin[x->imm] < 0) {
        int32_t at;
        int size;
        home_of((uint32_t)x->imm, &at, &size);
        if (size == 8) x_movsd_rm(e, k, of_cpu((size_t)at));
        else x_movd_xr(e, 8, k, in_reg(j, n));
    } else {
        x_movd_xr(e, 8, k, in_reg(j, n));
    }
    xmm_give(j, k, n);
    return k;
}

/* A copy that may be written over. */
static int xmm_copy(struct Jit *j, int32_t n)
{
    struct Node *x = &j->node[n];
    const int from = in_xmm(j, n);
    if (x->last <= j->at) {
        xmm_drop(j, from);
        return from;
    }
    const int k = xmm_take(j);
    x_movaps_rr(&j->hot, k, from);
    return k;
}

static void xmm_result(struct Jit *j, int k, int32_t n)
{
    /* Singles leave what they found above them. */
    if (j->node[n].width <= 32) {
        const int r = take(j);
        x_movd_rx(&j->hot, 4, r, k);
        put_result(j, n, r);
        return;
    }
    xmm_give(j, k, n);
}

static void xmm_sweep(struct Jit *j)
{
    j->xmm_locked = 0;
    for (int k = 0; k < 16; k++)
        if (j->xmm_owner[k] >= 0 && (j->node[j->xmm_owner[k]].last <= j->at || j->node[j->xmm_owner[k]].xmm != k)) xmm_drop(j, k);
}

/* A function is about to be called. */
static void xmm_flush(struct Jit *j)
{
    for (int k = 0; k < 16; k++) xmm_evict(j, k);
}

static void xmm_forget(struct Jit *j)
{
    for (int k = 0; k < 16; k++) xmm_drop(j, k);
}

/* --- values of the x87 ------------------------------------------------------------------------------------------ */

/* Two spill slots side by side for two nodes; -1: there are none. */
static int spill_pair(struct Jit *j, int32_t a, int32_t b)
{
    for (int s = 0; s + 1 < SPILLS; s += 2)
        if (spill_free(j, s) && spill_free(j, s + 1)) {
            for (int k = 0; k < 2; k++) {
                const int32_t old = j->spill_node[s + k];
                if (old >= 0 && j->node[old].spill == s + k) j->node[old].spill = NOWHERE;
            }
            j->spill_node[s] = a;
            j->spill_node[s + 1] = b;
            j->node[a].spill = (int16_t)s;
            j->node[b].spill = (int16_t)(s + 1);
            return s;
        }
    return -1;
}

/* Where a value stands in memory. */
static struct Mem short_of(struct Jit *j, int32_t v)
{
    const struct Node *x = &j->node[v];
    if (x->spill >= 0) return spilled(x->spill);
    struct Mem m = of_cpu(offsetof(Cpu, jit_args));
    const int r = in_reg(j, v);
    if (x->last > j->at && !is_const(j, v)) {
        const int s = spill_slot(j, v);
        j->node[v].spill = (int16_t)s;
        m = spilled(s);
    }
    x_mov_mr(&j->hot, 8, m, r);
    j->locked = 0;
    return m;
}

/* Push a value on the host's stack. */
static void x87_load(struct Jit *j, int32_t sig, int32_t se)
{
    struct Emit *e = &j->hot;
    if (se < 0) {
        const struct Mem m = short_of(j, sig);
        x_x87_m(e, se == -2 ? 0xDD : 0xD9, 0, m);
        return;
    }
    const struct Node *x = &j->node[sig], *y = &j->node[se];
    if (const_is(j, sig, 0) && const_is(j, se, 0)) {
        x_x87_op(e, 0xD9, 0xEE);
        return;
    }
    if (const_is(j, sig, 1ull << 63) && const_is(j, se, 0x3FFF)) {
        x_x87_op(e, 0xD9, 0xE8);
        return;
    }
    if (x->spill >= 0 && y->spill == x->spill + 1) {
        x_x87_m(e, 0xDB, 5, spilled(x->spill));
        return;
    }
    struct Mem at = of_cpu(offsetof(Cpu, jit_args));
    const int a = in_reg(j, sig), b = in_reg(j, se);
    if (x->spill < 0 && y->spill < 0 && !is_const(j, sig) && !is_const(j, se) && x->last > j->at && y->last > j->at) {
        const int s = spill_pair(j, sig, se);
        if (s >= 0) at = spilled(s);
    }
    /* One store of both parts: a load does not wait for the cache behind that. */
    const int k = xmm_take(j), m = xmm_take(j);
    x_movd_xr(e, 8, k, a);
    x_movd_xr(e, 8, m, b);
    x_sse_rr(e, 0x66, 0x6C, k, m);
    x_movdqu_mr(e, at, k);
    x_x87_m(e, 0xDB, 5, at);
    j->xmm_locked &= ~(1u << k | 1u << m);
    j->locked = 0;
}

/* Pop the host's stack into two nodes. */
static void x87_pop(struct Jit *j, int32_t n)
{
    const int s = spill_pair(j, n, n + 1);
    if (s < 0) {
        j->failed = 1;
        return;
    }
    x_x87_m(&j->hot, 0xDB, 7, spilled(s));
}

/* The status word, if somebody asks for C1 here: for exits it is had by doing the operation again. */
static void x87_status(struct Jit *j, int32_t n)
{
    if (!j->node[n].strong) return;
    const int s = spill_slot(j, n);
    x_x87_m(&j->hot, 0xDD, 7, spilled(s));
    j->node[n].spill = (int16_t)s;
}

/* Which form of an operation has its second operand in memory. */
static int x87_digit(const struct Native *t)
{
    static const uint8_t digit[4] = {0, 1, 4, 6};
    return digit[t->b == 0xC1 ? 0 : t->b == 0xC9 ? 1 : t->b == 0xE9 ? 2 : 3];
}

/* An operand on the host's stack, in the code of an exit. */
static void x87_load_again(struct Stub *s, int32_t sig, int32_t se, int t)
{
    struct Emit *e = &s->j->cold;
    const struct Mem at = of_cpu(offsetof(Cpu, jit_args));
    stub_value(s, sig, t);
    x_mov_mr(e, 8, at, t);
    if (se < 0) {
        x_x87_m(e, se == -2 ? 0xDD : 0xD9, 0, at);
        return;
    }
    stub_value(s, se, t);
    x_mov_mr(e, 2, of_cpu(offsetof(Cpu, jit_args) + 8), t);
    x_x87_m(e, 0xDB, 5, at);
}

/* t := the status word of an operation, in the code of an exit. It raises nothing that it has not raised before. */
static void x87_status_again(struct Stub *s, int32_t n, int t)
{
    struct Jit *j = s->j;
    struct Emit *e = &j->cold;
    const struct Node *call = &j->node[j->node[n].a];
    const struct Native *o = &natives[call->source];
    const int32_t *arg = &j->arg[call->imm];
    const struct Mem at = of_cpu(offsetof(Cpu, jit_args));
    x87_load_again(s, arg[0], arg[1], t);
    if (o->kind == K_X87_STORE) {
        x_x87_m(e, o->a, o->b, at);
    } else {
        if (o->kind == K_X87_BINARY) x87_load_again(s, arg[2], arg[3], t);
        x_x87_op(e, o->a, o->b);
    }
    x_x87_m(e, 0xDD, 7, at);
    if (o->kind != K_X87_STORE) x_x87_op(e, 0xDD, 0xD8);
    x_movzx_rm(e, 2, t, at);
}

/* ZF, PF and CF as a number. */
static void order_of_flags(struct Jit *j, int32_t n)
{
    struct Emit *e = &j->hot;
    if (!x_room(e)) return;
    x_byte(e, 0x9F); /* lahf */
    x_byte(e, 0x0F), x_byte(e, 0xB6), x_byte(e, 0xC4); /* movzx eax, ah */
    x_alu_ri(e, X_AND, 4, RAX, 0x45);
    put_result(j, n, RAX);
}

/* --- code ------------------------------------------------------------------------------------------------------- */

static void double_up(struct Jit *j, int k) { x_sse_rr(&j->hot, 0x66, 0x6C, k, k); }

static void float_call(struct Jit *j, int32_t n)
{
    struct Emit *e = &j->hot;
    const struct Node x = j->node[n];
    const struct Native *t = &natives[x.source];
    const int32_t *arg = &j->arg[x.imm], r = n + 1;
    switch (t->kind) {
    case K_BINARY:
    case K_HOLDS: {
        const int b = in_xmm(j, arg[1]);
        int a = xmm_copy(j, arg[0]);
        if (a == b) { /* the same value twice, for the last time */
            j->xmm_locked |= 1u << a;
        }
        if (t->kind == K_HOLDS) x_sse_rri(e, t->a, t->b, a, b, x.width);
        else x_sse_rr(e, t->a, t->b, a, b);
        xmm_result(j, a, r);
        break;
    }
    case K_PACKED:
    case K_HOLDS2: {
        const int from = in_xmm(j, arg[1]), b = xmm_take(j);
        x_movaps_rr(e, b, from);
        const int a = xmm_copy(j, arg[0]);
        double_up(j, a);
        double_up(j, b);
        if (t->kind == K_HOLDS2) x_sse_rri(e, t->a, t->b, a, b, x.width);
        else x_sse_rr(e, t->a, t->b, a, b);
        xmm_result(j, a, r);
        break;
    }
    case K_UNARY: {
        const int a = in_xmm(j, arg[0]), k = xmm_take(j);
        x_sse_rr(e, 0, 0x57, k, k);
        x_sse_rr(e, t->a, t->b, k, a);
        xmm_result(j, k, r);
        break;
    }
    case K_UNARY2: {
        const int a = xmm_copy(j, arg[0]);
        double_up(j, a);
        x_sse_rr(e, t->a, t->b, a, a);
        xmm_result(j, a, r);
        break;
    }
    case K_COMPARE: {
        const int a = in_xmm(j, arg[0]), b = in_xmm(j, arg[1]);
        take_reg(j, RAX);
        x_sse_rr(e, t->a, t->b, a, b);
        order_of_flags(j, r);
        break;
    }
    case K_TO_INT: {
        const int a = in_xmm(j, arg[0]), k = take(j);
        x_sse_size_rr(e, t->a, t->b, 4, k, a);
        put_result(j, r, k);
        break;
    }
    case K_FROM_INT: {
        const int a = in_reg(j, arg[0]), k = xmm_take(j);
        x_sse_rr(e, 0, 0x57, k, k);
        x_sse_size_rr(e, t->a, t->b, 4, k, a);
        xmm_result(j, k, r);
        break;
    }
    case K_X87_BINARY:
        x87_load(j, arg[0], arg[1]);
        if (arg[3] < -1) {
            /* The same with the operand in memory. */
            x_x87_m(e, arg[3] == -2 ? 0xDC : 0xD8, x87_digit(t), short_of(j, arg[2]));
        } else {
            if (arg[2] == arg[0] && arg[3] == arg[1]) x_x87_op(e, 0xD9, 0xC0); /* fld st0 */
            else x87_load(j, arg[2], arg[3]);
            x_x87_op(e, t->a, t->b);
        }
        x87_status(j, r + 2);
        x87_pop(j, r);
        break;
    case K_X87_UNARY:
        x87_load(j, arg[0], arg[1]);
        x_x87_op(e, t->a, t->b);
        x87_status(j, r + 2);
        x87_pop(j, r);
        break;
    case K_X87_COMPARE:
        take_reg(j, RAX);
        release(j, RAX);
        x87_load(j, arg[2], arg[3]);
        x87_load(j, arg[0], arg[1]);
        take_reg(j, RAX);
        x_x87_op(e, t->a, t->b);
        x_x87_op(e, 0xDD, 0xD8);
        order_of_flags(j, r);
        break;
    case K_X87_STORE: {
        /* The store may still fault, and then nothing was raised. */
        x_x87_m(e, 0xDD, 7, of_cpu(offsetof(Cpu, jit_fsw)));
        j->float_store = x.insn + 1;
        x87_load(j, arg[0], arg[1]);
        const int s = spill_slot(j, r);
        j->node[r].spill = (int16_t)s;
        x_x87_m(e, t->a, t->b, spilled(s));
        x87_status(j, r + 1);
        break;
    }
    case K_X87_LOAD: {
        const int a = in_reg(j, arg[0]);
        const struct Mem m = of_cpu(offsetof(Cpu, jit_args));
        x_mov_mr(e, 8, m, a);
        x_x87_m(e, t->a, t->b, m);
        x87_pop(j, r);
        break;
    }
    case K_X87_UNSEEN: {
        take_reg(j, RAX);
        x_mov_ri(e, 4, RAX, 0);
        x_test_mi(e, 1, of_cpu(offsetof(Cpu, jit_float)), FLOAT_X87);
        uint8_t *none = x_jcc(e, X_Z);
        x_x87_op(e, 0xDF, 0xE0); /* fnstsw ax */
        x_alu_ri(e, X_AND, 4, RAX, 0x3F);
        x_patch(none, e->at);
        put_result(j, r, RAX);
        break;
    }
    default: j->failed = 1; break;
    }
}

/* The guest's control words in force. Z: they are; else an exception is not masked, and the interpreter must work. */
static void thunk_float(struct Emit *e, int unit)
{
    uint8_t *bad, *bad2 = NULL;
    x_push(e, RAX);
    if (unit == FLOAT_SSE) {
        x_mov_rm(e, 4, RAX, of_cpu(offsetof(Cpu, mxcsr)));
        x_alu_ri(e, X_AND, 4, RAX, 0x1F80);
        x_alu_ri(e, X_CMP, 4, RAX, 0x1F80);
        bad = x_jcc(e, X_NE);
        x_ldmxcsr(e, of_cpu(offsetof(Cpu, mxcsr)));
    } else {
        x_movzx_rm(e, 2, RAX, of_cpu(offsetof(Cpu, fctrl)));
        x_alu_ri(e, X_AND, 4, RAX, 0x3F);
        x_alu_ri(e, X_CMP, 4, RAX, 0x3F);
        bad = x_jcc(e, X_NE);
        x_test_mi(e, 1, of_cpu(offsetof(Cpu, fstat)), 0x80);
        bad2 = x_jcc(e, X_NE);
        x_x87_op(e, 0xDB, 0xE2); /* fnclex */
        x_x87_m(e, 0xD9, 5, of_cpu(offsetof(Cpu, fctrl)));
    }
    x_alu_mi(e, X_OR, 1, of_cpu(offsetof(Cpu, jit_float)), unit);
    x_alu_rr(e, X_CMP, 4, RAX, RAX);
    x_patch(bad, e->at);
    if (bad2) x_patch(bad2, e->at);
    x_pop(e, RAX);
    x_ret(e);
}

static void thunk_float_sse(struct Jit *j, struct Emit *e)
{
    (void)j;
    thunk_float(e, FLOAT_SSE);
}

static void thunk_float_x87(struct Jit *j, struct Emit *e)
{
    (void)j;
    thunk_float(e, FLOAT_X87);
}

/* The host's control words in force, and what was raised in the guest's registers. Clobbers rcx. */
static void thunk_float_off(struct Jit *j, struct Emit *e)
{
    (void)j;
    const struct Mem mode = of_cpu(offsetof(Cpu, jit_float)), word = of_cpu(offsetof(Cpu, jit_float_word));
    x_test_mi(e, 1, mode, FLOAT_SSE);
    uint8_t *none = x_jcc(e, X_Z);
    x_stmxcsr(e, word);
    x_ldmxcsr(e, of_cpu(offsetof(Cpu, jit_host_mxcsr)));
    x_mov_rm(e, 4, RCX, word);
    x_alu_ri(e, X_AND, 4, RCX, 0x3F);
    x_alu_mr(e, X_OR, 4, of_cpu(offsetof(Cpu, mxcsr)), RCX);
    x_patch(none, e->at);
    x_test_mi(e, 1, mode, FLOAT_X87);
    none = x_jcc(e, X_Z);
    x_x87_m(e, 0xDD, 7, word);
    x_x87_m(e, 0xD9, 5, of_cpu(offsetof(Cpu, jit_host_fcw)));
    x_alu_mi(e, X_CMP, 4, of_cpu(offsetof(Cpu, jit_float_undo)), 0);
    uint8_t *done = x_jcc(e, X_E);
    x_movzx_rm(e, 2, RCX, of_cpu(offsetof(Cpu, jit_fsw)));
    x_mov_mr(e, 4, word, RCX);
    x_mov_mi(e, 4, of_cpu(offsetof(Cpu, jit_float_undo)), 0);
    x_patch(done, e->at);
    x_movzx_rm(e, 1, RCX, word);
    x_alu_ri(e, X_AND, 4, RCX, 0x3F);
    x_alu_mr(e, X_OR, 2, of_cpu(offsetof(Cpu, fstat)), RCX);
    x_patch(none, e->at);
    x_mov_mi(e, 4, mode, 0);
    x_ret(e);
}

/* On every way out of the traces. `off`: the thunk above. */
static void float_leave(struct Emit *e, const uint8_t *off)
{
    x_alu_mi(e, X_CMP, 4, of_cpu(offsetof(Cpu, jit_float)), 0);
    uint8_t *none = x_jcc(e, X_E);
    x_mov_ri(e, 8, RCX, (uint64_t)(uintptr_t)off);
    x_call_r(e, RCX);
    x_patch(none, e->at);
}

#define FLOAT_AREA 272

/* Around a function that may do anything, within the traces: the xmm registers stay, and nothing it raises is seen. */
static void float_around(struct Emit *e, int behind)
{
    if (!behind) x_lea(e, 8, RSP, mem_at(RSP, -FLOAT_AREA));
    x_test_mi(e, 1, of_cpu(offsetof(Cpu, jit_float)), FLOAT_SSE);
    uint8_t *none = x_jcc(e, X_Z);
    for (int k = 0; k < 16; k++) {
        if (behind) x_movdqu_rm(e, k, mem_at(RSP, 16 * k));
        else x_movdqu_mr(e, mem_at(RSP, 16 * k), k);
    }
    if (behind) {
        x_ldmxcsr(e, mem_at(RSP, 256));
    } else {
        x_stmxcsr(e, mem_at(RSP, 256));
        x_ldmxcsr(e, of_cpu(offsetof(Cpu, jit_host_mxcsr)));
    }
    x_patch(none, e->at);
    if (behind) x_lea(e, 8, RSP, mem_at(RSP, FLOAT_AREA));
}

static const uint8_t *make_thunk(struct Jit *j, void (*emit)(struct Jit *, struct Emit *));

static void float_new(Cpu *cpu, struct Jit *j)
{
    float_names();
    cpu->jit_float = cpu->jit_float_undo = 0;
    cpu->jit_host_mxcsr = 0x1F80;
    cpu->jit_host_fcw = 0x37F;
    j->float_on[0] = make_thunk(j, thunk_float_sse);
    j->float_on[1] = make_thunk(j, thunk_float_x87);
    j->float_off = make_thunk(j, thunk_float_off);
}
#else
static void float_unknown(struct Jit *j) { (void)j; }
static void float_usable(const Cpu *cpu, struct Jit *j) { (void)cpu, (void)j; }
static int float_expand(struct Jit *j, uint32_t fn, const int32_t *arg, int always, int32_t *out)
{
    (void)j, (void)fn, (void)arg, (void)always, (void)out;
    return 0;
}
static void xmm_sweep(struct Jit *j) { (void)j; }
static void xmm_flush(struct Jit *j) { (void)j; }
static void xmm_forget(struct Jit *j) { (void)j; }
static void float_call(struct Jit *j, int32_t n) { (void)n, j->failed = 1; }
static void x87_status_again(struct Stub *s, int32_t n, int t) { (void)n, (void)t, s->j->failed = 1; }
static void float_leave(struct Emit *e, const uint8_t *off) { (void)e, (void)off; }
static void float_around(struct Emit *e, int behind) { (void)e, (void)behind; }
static void float_new(Cpu *cpu, struct Jit *j) { (void)cpu, (void)j; }
#endif
