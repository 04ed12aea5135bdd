/* What must be computed where it stands, and how long it is wanted. A value that only exits want (flags that nothing reads,
 * a condition register that a branch has looked through) is left to the code of those exits. */

static int is_pure(uint8_t op) { return op <= T_BSWAP || op == N_BIT; }

/* Whether only exits want it, and can have it from what it is made of. */
static int is_late(const struct Node *x) { return !x->strong && (is_pure(x->op) || (x->op == N_RESULT && x->late)); }

static void want(struct Jit *j, int32_t n, int32_t at)
{
    if (n < 0) return;
    j->node[n].strong = 1;
    if (j->node[n].last < at) j->node[n].last = at;
}

/* A condition that is tested at once needs its operands, not itself. */
static void want_condition(struct Jit *j, int32_t n, int32_t at)
{
    const struct Node *x = &j->node[n];
    if (is_compare(x->op)) {
        want(j, x->a, at);
        want(j, x->b, at);
        if (j->node[n].last < at) j->node[n].last = at;
    } else if (x->op == T_NOT && x->width == 1) {
        want_condition(j, x->a, at);
        if (j->node[n].last < at) j->node[n].last = at;
    } else {
        want(j, n, at);
    }
}

/* An address that is a sum is put together where it is used. address() in emit.c follows the same shape. */
static void want_address(struct Jit *j, int32_t n, int32_t at)
{
    struct Node *x = &j->node[n];
    if (x->op != T_ADD || x->width != 32) {
        want(j, n, at);
        return;
    }
    if (x->last < at) x->last = at;
    int32_t parts[2] = {x->a, x->b};
    if (is_const(j, x->b) && j->node[x->a].op == T_ADD && j->node[x->a].width == 32 && !is_const(j, j->node[x->a].b)) {
        struct Node *y = &j->node[x->a];
        if (y->last < at) y->last = at;
        parts[0] = y->a;
        parts[1] = y->b;
    }
    for (int k = 0; k < 2; k++) {
        struct Node *y = &j->node[parts[k]];
        if (y->op == T_SHL && y->width == 32 && is_const(j, y->b) && j->node[y->b].imm <= 3) {
            if (y->last < at) y->last = at;
            want(j, y->a, at);
            /* Only one of two can be scaled. */
            if (k == 0 && j->node[parts[1]].op == T_SHL) want(j, parts[0], at);
        } else {
            want(j, parts[k], at);
        }
    }
}

/* Where an access goes: a sum, or a group's host address. */
static void want_place(struct Jit *j, const struct Node *x, int32_t at)
{
    if (x->fold == ALONE) want_address(j, x->a, at);
    else if (x->fold == LEADER) want(j, j->node[x->c].a, at);
    if (x->fold != ALONE) want(j, x->c, at);
}

/* What the first access of a group has checked does not leave. */
static int may_leave(const struct Node *x)
{
    if (x->op == N_LOAD || x->op == N_STORE) return x->fold != MEMBER;
    return x->op >= N_EXIT_IF && x->op < N_CALL;
}

/* The registers that stay in host registers from trace to trace: fixed_pins of the core. */
static void choose_pins(struct Jit *j)
{
    memset(j->slot_pin, 0xff, sizeof j->slot_pin);
    memset(j->pin_slot, 0xff, sizeof j->pin_slot);
    for (int k = 0; k < 8; k++) {
        j->pin_slot[R8 + k] = (int16_t)(jit_registers[REG_GPR].first + 2 * fixed_pins[k]);
        j->slot_pin[j->pin_slot[R8 + k]] = (int8_t)(R8 + k);
    }
}

/* A register that is counted up and down (a stack pointer) keeps what it has until the last of its values in a row; exits
 * between add what is missing. Such a commit holds in b what the register has, and in c the commit that follows. */
static void find_late_commits(struct Jit *j)
{
    int32_t follows[16], next[JIT_NODES], held[16];
    memset(follows, 0xff, sizeof follows);
    for (int32_t k = j->steps - 1; k >= 0; k--) {
        const struct Node *n = &j->node[k];
        if (n->op == N_HANDLER || k == j->steps - 1) memset(follows, 0xff, sizeof follows);
        if (n->op != N_COMMIT || j->slot_pin[n->imm] < 0) continue;
        next[k] = follows[j->slot_pin[n->imm]];
        follows[j->slot_pin[n->imm]] = k;
    }
    memset(held, 0xff, sizeof held);
    for (int32_t k = 0; k < j->steps; k++) {
        struct Node *n = &j->node[k];
        if (n->op == N_HANDLER) memset(held, 0xff, sizeof held);
        if ((n->op != N_GET && n->op != N_COMMIT) || j->slot_pin[n->imm] < 0) continue;
        int32_t *has = &held[j->slot_pin[n->imm]];
        if (n->op == N_GET) {
            if (*has < 0) *has = k;
            continue;
        }
        const struct Node *v = &j->node[n->a];
        const int sum = *has >= 0 && v->op == T_ADD && v->width == 32 && v->a == *has && is_const(j, v->b);
        if (next[k] < 0 || !(sum || n->a == *has)) {
            *has = n->a;
            continue;
        }
        n->late = 1;
        n->b = *has;
        n->c = next[k];
    }
}

/* Whether the code of an exit can compute it. */
static int stub_can(const struct Jit *j, const struct Node *n)
{
    if ((n->op >= T_UDIV && n->op <= T_SREM) || (n->op == T_MULHU && n->width > 32)) return 0;
    if ((n->op == T_SHL || n->op == T_LSHR || n->op == T_ASHR || n->op == T_ROTL) && !is_const(j, n->b))
        return (j->features & HOST_BMI2) && n->op != T_ROTL && n->width >= 32;
    return 1;
}

static void find_lives(struct Jit *j)
{
    int32_t exit_at = j->steps;
    for (int32_t k = 0; k < j->nodes; k++) {
        struct Node *n = &j->node[k];
        n->last = -1;
        n->strong = 0;
    }
    /* Strong wants, from the end: users stand behind what they use. */
    for (int32_t k = j->steps - 1; k >= 0; k--) {
        struct Node *n = &j->node[k];
        j->next_exit[k] = exit_at;
        if (may_leave(n)) exit_at = k;
        switch (n->op) {
        case N_CONST:
        case N_GET: break;
        case N_LOAD:
            n->strong = 1;
            want_place(j, n, k);
            break;
        case N_STORE:
            want_place(j, n, k);
            want(j, n->b, k);
            break;
        case N_COMMIT:
            if (n->late) {
                if (j->node[n->b].last < n->c - 1) j->node[n->b].last = n->c - 1;
            } else if (j->slot_pin[n->imm] >= 0) {
                want(j, n->a, k);
            }
            break;
        case N_EXIT_IF:
        case N_RETRY_IF: want_condition(j, n->a, k); break;
        case N_CALL:
            for (int32_t a = 0; a < n->b; a++) want(j, j->arg[n->imm + (uint64_t)a], k);
            break;
        case N_EXPECT:
        case N_JUMP: want(j, n->a, k); break;
        default:
            if (!stub_can(j, n)) n->strong = 1;
            if (is_pure(n->op) && n->strong) {
                if (n->op == T_SELECT) want_condition(j, n->a, k);
                else want(j, n->a, k);
                want(j, n->b, k);
                want(j, n->c, k);
            }
            break;
        }
        if (n->op == N_HANDLER || n->op == N_LOOP || n->op == N_GOTO || n->op == N_JUMP || n->op == N_LEAVE) {
            /* Everything goes home here, on the way itself. */
            const struct Snap *s = &j->snap[n->snap];
            for (uint32_t e = s->first; e < s->first + s->count; e++)
                if (j->slot_pin[j->entry[e].slot] < 0) want(j, j->entry[e].node, k);
        }
    }
    /* What exits want: as long as the value, or what it is made of, can still be had. */
    for (int32_t k = 0; k < j->nodes; k++) {
        const struct Node *n = &j->node[k];
        if (n->snap < 0 || ((n->op == N_LOAD || n->op == N_STORE) && n->fold == MEMBER)) continue;
        const struct Snap *s = &j->snap[n->snap];
        for (uint32_t e = s->first; e < s->first + s->count; e++) {
            struct Node *v = &j->node[j->entry[e].node];
            if (j->slot_pin[j->entry[e].slot] < 0 && v->last < k) v->last = k;
        }
    }
    for (int32_t k = j->nodes - 1; k >= 0; k--) {
        const struct Node *n = &j->node[k];
        if (!is_late(n) || n->last < 0) continue;
        if (n->late) {
            const struct Node *call = &j->node[n->a];
            for (int32_t a = 0; a < call->b; a++) {
                const int32_t v = j->arg[call->imm + (uint64_t)a];
                if (v >= 0 && j->node[v].last < n->last) j->node[v].last = n->last;
            }
            continue;
        }
        const int32_t operands[3] = {n->a, n->b, n->c};
        for (int o = 0; o < 3; o++)
            if (operands[o] >= 0 && j->node[operands[o]].last < n->last) j->node[operands[o]].last = n->last;
    }
}
