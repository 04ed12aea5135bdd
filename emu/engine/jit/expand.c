/* From a decoded instruction and its form's template to nodes. What depends on the instruction alone is decided here:
 * fields are constants, loops over them are unrolled, conditions on them choose a side. A condition known only at run time
 * becomes a predicate: registers are written with what they had before wherever it does not hold. */

struct Expansion {
    struct Jit *j;
    const struct Insn *insn;
    const struct Block *block;
};

/* The node of a slot, as the instruction in hand sees it. */
static int32_t slot_get(struct Jit *j, uint32_t slot, uint32_t width)
{
    if (j->pending[slot] >= 0) return j->pending[slot];
    if (j->map[slot] >= 0) return j->map[slot];
    const int32_t n = pure_node(j, N_GET, (uint8_t)width, 0, j->nodes, -1, -1, slot, bits_of(width));
    if (j->failed) return n;
    j->node[n].a = -1;
    j->map[slot] = n;
    return n;
}

static void slot_set(struct Jit *j, uint32_t slot, int32_t node)
{
    if (j->pending[slot] < 0) j->pending_list[j->pending_count++] = (int32_t)slot;
    j->pending[slot] = node;
}

/* The slots that differ from their homes where the instruction in hand begins. */
static int32_t take_snap(struct Jit *j)
{
    if (j->entries + j->dirty_count > JIT_SNAPS || j->snaps == JIT_NODES) {
        j->failed = __LINE__;
        return 0;
    }
    struct Snap *s = &j->snap[j->snaps];
    s->first = (uint32_t)j->entries;
    s->count = (uint32_t)j->dirty_count;
    for (int32_t k = 0; k < j->dirty_count; k++) {
        const int32_t slot = j->dirty_list[k];
        j->entry[j->entries++] = (struct SnapEntry){slot, j->map[slot]};
    }
    return j->snaps++;
}

static int32_t start_snap(struct Jit *j)
{
    if (j->start_snap < 0) j->start_snap = take_snap(j);
    return j->start_snap;
}

static int32_t effect(struct Jit *j, uint8_t op, uint32_t width, int32_t a, int32_t b, int32_t c, uint64_t imm, int32_t snap)
{
    const int32_t n = new_node(j, op, (uint8_t)width, 0, a, b, c, imm);
    if (!j->failed) j->node[n].snap = snap;
    return n;
}

/* The interpreter takes the instruction wherever `cond` holds. */
static void retry_if(struct Jit *j, int32_t cond)
{
    if (const_is(j, cond, 0)) return;
    if (is_const(j, cond)) {
        j->failed = __LINE__; /* always */
        return;
    }
    /* What has let this trace pass is so for good. */
    const int32_t before = j->node[cond].passed;
    if (before && before < j->nodes && j->node[before].op == N_RETRY_IF && j->node[before].a == cond) return;
    const int32_t n = effect(j, N_RETRY_IF, 1, cond, -1, -1, 0, start_snap(j));
    j->node[cond].passed = n;
}

static int32_t operand(struct Expansion *x, uint32_t word)
{
    if (word >= T_CONSTANTS) return constant(x->j, template_constants[word - T_CONSTANTS]);
    return x->j->value[word];
}

static uint32_t operand_width(struct Expansion *x, uint32_t word)
{
    return word >= T_CONSTANTS ? 64 : x->j->value_width[word];
}

static void define(struct Expansion *x, int32_t node, uint32_t width)
{
    struct Jit *j = x->j;
    if (j->values >= sizeof j->value_width) {
        j->failed = __LINE__;
        return;
    }
    j->value[j->values] = node;
    j->value_width[j->values++] = (uint8_t)width;
}

/* What a predicate makes of a new value. */
static int32_t under(struct Jit *j, int32_t pred, int32_t now, int32_t before)
{
    return const_is(j, pred, 1) ? now : make(j, T_SELECT, 64, 64, pred, now, before);
}

static int32_t get_register(struct Expansion *x, uint32_t reg, int32_t index, uint32_t width)
{
    struct Jit *j = x->j;
    uint64_t known;
    if (!is_const(j, index) || j->node[index].imm >= jit_registers[reg].count) {
        j->failed = __LINE__;
        return 0;
    }
    const uint32_t at = (uint32_t)j->node[index].imm;
    jit_assume(j, reg);
    if (jit_known(x->block, reg, at, &known)) return make(j, T_LOW, width, 64, constant(j, known), -1, -1);
    uint32_t first = jit_registers[reg].first;
    if (jit_registers[reg].split) {
        first += 2 * at;
        const int32_t low = slot_get(j, first, 32);
        if (width <= 32) return make(j, T_LOW, width, 32, low, -1, -1);
        return make2(j, T_OR, 64, make2(j, T_SHL, 64, slot_get(j, first + 1, 32), constant(j, 32)), low);
    }
    return make(j, T_LOW, width, jit_registers[reg].width, slot_get(j, first + at, jit_registers[reg].width), -1, -1);
}

/* `width` low bits of a slot of `whole` bits. */
static void set_part(struct Jit *j, int32_t pred, uint32_t slot, uint32_t whole, uint32_t low, uint32_t width, int32_t v)
{
    if (width < whole) {
        const int32_t old = slot_get(j, slot, whole);
        const int32_t kept = make2(j, T_AND, whole, old, constant(j, bits_of(whole) & ~(bits_of(width) << low)));
        v = make2(j, T_OR, whole, kept, make2(j, T_SHL, whole, v, constant(j, low)));
    }
    if (!const_is(j, pred, 1)) v = under(j, pred, v, slot_get(j, slot, whole));
    slot_set(j, slot, v);
}

static void set_register(struct Expansion *x, int32_t pred, uint32_t reg, int32_t index, uint32_t width, int32_t v)
{
    struct Jit *j = x->j;
    if (!is_const(j, index) || j->node[index].imm >= jit_registers[reg].count) {
        j->failed = __LINE__;
        return;
    }
    const uint32_t at = (uint32_t)j->node[index].imm, first = jit_registers[reg].first;
    if (!jit_registers[reg].split) {
        set_part(j, pred, first + at, jit_registers[reg].width, 0, width, v);
        return;
    }
    if (width == 64) {
        const int32_t high = make2(j, T_LSHR, 64, v, constant(j, 32));
        if (!JIT_HIGH_ZERO) set_part(j, pred, first + 2 * at + 1, 32, 0, 32, high);
        v = make(j, T_LOW, 32, 64, v, -1, -1);
        width = 32;
    }
    set_part(j, pred, first + 2 * at, 32, 0, width, v);
}

enum { FLOW_ON, FLOW_BREAK, FLOW_END };

/* `pred`: whether control is here. Returns how the words end. */
static int expand_words(struct Expansion *x, const uint16_t *w, const uint16_t *end, int32_t *pred)
{
    struct Jit *j = x->j;
    while (w < end) {
        if (j->failed) return FLOW_END;
        const uint32_t op = *w & 0xff, width = *w >> 8;
        w++;
        if (op <= T_BSWAP) {
            const uint32_t n = template_arity[op];
            const int32_t a = operand(x, w[0]), b = n > 1 ? operand(x, w[1]) : -1, c = n > 2 ? operand(x, w[2]) : -1;
            uint32_t source = width;
            if (op >= T_EQ && op <= T_LOW) {
                source = operand_width(x, w[0]);
                if (n > 1 && operand_width(x, w[1]) < source) source = operand_width(x, w[1]);
            }
            int32_t node;
            if (op == T_ZEXT) node = a;
            else node = make(j, (uint8_t)op, width, source, a, b, c);
            define(x, node, width);
            w += n;
            continue;
        }
        switch (op) {
        case T_FIELD: define(x, constant(j, template_field(x->insn, w[0]) & bits_of(width)), width); w += 1; break;
        case T_GET: define(x, get_register(x, w[0], operand(x, w[1]), width), width); w += 2; break;
        case T_GETBYTE: {
            const int32_t index = operand(x, w[1]);
            if (!is_const(j, index)) {
                j->failed = __LINE__;
                return FLOW_END;
            }
            const uint32_t k = (uint32_t)j->node[index].imm;
            const int32_t v = get_register(x, w[0], constant(j, k >> 3), 32);
            define(x, make(j, T_LOW, 8, 32, make2(j, T_LSHR, 32, v, constant(j, 8 * (k & 7))), -1, -1), 8);
            w += 2;
            break;
        }
        case T_GETVAR: define(x, j->var[w[0] & 63], width); w += 1; break;
        case T_SETALL:
        case T_SETPART: set_register(x, *pred, w[0], operand(x, w[1]), width, operand(x, w[2])); w += 3; break;
        case T_SETBYTE: {
            const int32_t index = operand(x, w[1]);
            if (!is_const(j, index) || !jit_registers[w[0]].split || (j->node[index].imm & 7) > 3) {
                j->failed = __LINE__;
                return FLOW_END;
            }
            const uint32_t k = (uint32_t)j->node[index].imm;
            set_part(j, *pred, jit_registers[w[0]].first + 2 * (k >> 3), 32, 8 * (k & 7), 8, operand(x, w[2]));
            w += 3;
            break;
        }
        case T_SETVAR: {
            const int32_t v = operand(x, w[1]);
            j->var[w[0] & 63] = j->var[w[0] & 63] < 0 ? v : under(j, *pred, v, j->var[w[0] & 63]);
            w += 2;
            break;
        }
        case T_IF: {
            const int32_t cond = operand(x, w[0]), before = *pred;
            const uint16_t *then = w + 5, *orelse = then + w[1], *behind = orelse + w[2];
            const uint32_t middle = j->values + w[3], after = middle + w[4];
            if (is_const(j, cond)) {
                int flow;
                if (j->node[cond].imm) {
                    flow = expand_words(x, then, orelse, pred);
                } else {
                    j->values = middle;
                    flow = expand_words(x, orelse, behind, pred);
                }
                if (flow != FLOW_ON) return flow;
            } else {
                int32_t yes = make2(j, T_AND, 1, before, cond);
                int32_t no = make2(j, T_AND, 1, before, make(j, T_NOT, 1, 1, cond, -1, -1));
                const int32_t yes_before = yes, no_before = no;
                const int first = expand_words(x, then, orelse, &yes);
                j->values = middle;
                const int second = expand_words(x, orelse, behind, &no);
                if (first == FLOW_BREAK || second == FLOW_BREAK) j->failed = __LINE__;
                if (j->failed || (first == FLOW_END && second == FLOW_END)) return FLOW_END;
                if (first == FLOW_END) *pred = no;
                else if (second == FLOW_END) *pred = yes;
                else if (yes != yes_before || no != no_before) *pred = make2(j, T_OR, 1, yes, no);
            }
            j->values = after;
            w = behind;
            break;
        }
        case T_LOOP: {
            const uint16_t *body = w + 2, *behind = body + w[0];
            const uint32_t values = j->values, after = values + w[1];
            int flow = FLOW_ON;
            for (int turns = 0; flow == FLOW_ON; turns++) {
                if (turns == 64 || j->failed) {
                    j->failed = __LINE__;
                    return FLOW_END;
                }
                j->values = values;
                flow = expand_words(x, body, behind, pred);
            }
            if (flow == FLOW_END) return flow;
            j->values = after;
            w = behind;
            break;
        }
        case T_BREAK: return FLOW_BREAK;
        case T_RETURN: return FLOW_END;
        case T_BRANCH:
            if (j->branch_cond >= 0) {
                j->failed = __LINE__;
                return FLOW_END;
            }
            j->branch_cond = *pred;
            j->branch_fixed = w[1];
            j->branch_target = operand(x, w[2]);
            return FLOW_END;
        case T_MEM_R:
        case T_MEM_RW:
        case T_MEM_W: {
            if (!const_is(j, *pred, 1)) {
                j->failed = __LINE__;
                return FLOW_END;
            }
            int32_t seg = -1, off, v = -1;
            if (JIT_SEGMENTS) seg = operand(x, *w++);
            off = operand(x, *w++);
            if (op == T_MEM_W) v = operand(x, *w++);
            if (seg >= 0 && !is_const(j, seg)) {
                j->failed = __LINE__;
                return FLOW_END;
            }
            const uint32_t what = (seg >= 0 ? (uint32_t)j->node[seg].imm : 0) | width << 8 | (op == T_MEM_RW ? 1u << 16 : 0);
            if (op == T_MEM_W) {
                note_store(j, what, off, width, v, effect(j, N_STORE, width, off, v, -1, what, start_snap(j)));
                break;
            }
            const int32_t known = op == T_MEM_R ? forwarded(j, what, off, width) : -1;
            if (op == T_MEM_RW) j->stores = 0;
            define(x, known < 0 ? effect(j, N_LOAD, width, off, -1, -1, what, start_snap(j)) : known, width);
            break;
        }
        case T_CALL: {
            const uint32_t fn = w[0], count = jit_calls[fn].args;
            if (j->args + (int32_t)count > JIT_ARGS) {
                j->failed = __LINE__;
                return FLOW_END;
            }
            int32_t given[8], out[8];
            for (uint32_t k = 0; k < count; k++) given[k] = operand(x, w[1 + k]);
            if (float_expand(j, fn, given, const_is(j, *pred, 1), out)) {
                for (uint32_t k = 0; k < jit_calls[fn].results; k++) define(x, out[k], jit_calls[fn].widths[k]);
                w += 1 + count;
                break;
            }
            const int32_t first = j->args;
            for (uint32_t k = 0; k < count; k++) j->arg[j->args++] = given[k];
            const int32_t call = effect(j, N_CALL, 64, -1, (int32_t)count, (int32_t)fn, (uint64_t)first, NOWHERE);
            for (uint32_t k = 0; k < jit_calls[fn].results; k++) {
                const int32_t r = effect(j, N_RESULT, jit_calls[fn].widths[k], call, -1, -1, k, NOWHERE);
                define(x, r, jit_calls[fn].widths[k]);
            }
            w += 1 + count;
            break;
        }
        case T_RAISE: retry_if(j, *pred); return FLOW_END;
        case T_RAISE_IF: retry_if(j, make2(j, T_AND, 1, *pred, operand(x, w[0]))); w += 1; break;
        case T_END: return FLOW_ON;
        default: j->failed = __LINE__; return FLOW_END;
        }
    }
    return FLOW_ON;
}

/* The pending writes of an instruction become its outcome. */
static void commit(struct Jit *j)
{
    for (int32_t k = 0; k < j->pending_count; k++) {
        const int32_t slot = j->pending_list[k], node = j->pending[slot];
        j->pending[slot] = -1;
        if (j->map[slot] == node) continue;
        const int32_t at = effect(j, N_COMMIT, 32, node, -1, -1, (uint64_t)slot, NOWHERE);
        if (j->node[node].commit < 0) {
            j->node[node].commit = at;
            j->node[node].commit_slot = slot;
        }
        j->map[slot] = node;
        if (!j->dirty[slot]) {
            j->dirty[slot] = 1;
            j->dirty_list[j->dirty_count++] = slot;
        }
    }
    j->pending_count = 0;
}

/* One instruction. 0: it is nodes now, 1: it cannot be, and nothing is left of it. */
static int expand_insn(struct Jit *j, const struct Block *block, const struct Insn *i)
{
    struct Expansion x = {j, i, block};
    const uint32_t at = template_forms[i->form].at;
    if (!at) return 1;
    const int32_t nodes = j->nodes, snaps = j->snaps, entries = j->entries;
    j->values = 0;
    j->branch_cond = -1;
    j->start_snap = -1;
    memset(j->var, 0xff, sizeof j->var);
    int32_t pred = constant(j, 1);
    expand_words(&x, template_words + at, template_words + sizeof template_words / sizeof template_words[0], &pred);
    if (!j->failed) return 0;
    /* Take everything back; nodes are found through the hash, newest first. */
    for (uint32_t k = 0; k < JIT_HASH; k++)
        while (j->hash[k] >= nodes) j->hash[k] = j->node[j->hash[k]].chain;
    for (int32_t k = 0; k < j->pending_count; k++) j->pending[j->pending_list[k]] = -1;
    j->pending_count = 0;
    for (uint32_t k = 0; k < SLOT_COUNT; k++)
        if (j->map[k] >= nodes) j->map[k] = -1;
    forget_stores(j, nodes);
    j->nodes = nodes;
    j->snaps = snaps;
    j->entries = entries;
    j->failed = 0;
    return 1;
}
