/* Whether the nodes in hand are what the passes promise one another; compiled in with EMU_JIT_VERIFY, for the sanitized
 * builds and for whoever writes a pass. What is wrong ends the process, with the trace as text. */

enum { AFTER_TRACE, AFTER_GROUPS, AFTER_LIVES, AFTER_EMIT };

#ifdef EMU_JIT_VERIFY
#include <stdio.h>

static uint64_t nodes_text(const struct Jit *j, char *out, uint64_t size, int with_code);

static void verify_failed(const struct Jit *j, int32_t n, const char *why)
{
    const uint64_t size = 1 << 20;
    char *text = malloc(size);
    const uint64_t length = text ? nodes_text(j, text, size, 0) : 0;
    fprintf(stderr, "%.*snode %d: %s\n", (int)length, text ? text : "", n, why);
    abort();
}

#define PROMISE(condition, why)                                                                                                \
    do {                                                                                                                       \
        if (!(condition)) verify_failed(j, n, why);                                                                            \
    } while (0)

static int gives_value(uint8_t op)
{
    return is_pure(op) || op == N_CONST || op == N_GET || op == N_LOAD || op == N_RESULT;
}

static int needs_snap(uint8_t op)
{
    return op == N_LOAD || op == N_STORE || (op >= N_EXIT_IF && op < N_CALL);
}

/* A value that node n uses: made before it, and after the last handler, which may have changed what it was made of. */
static void verify_operand(const struct Jit *j, int32_t n, int32_t operand, int32_t handler)
{
    PROMISE(operand >= 0 && operand < n, "an operand does not stand before its user");
    PROMISE(gives_value(j->node[operand].op), "an operand has no value");
    PROMISE(operand > handler || is_const(j, operand), "an operand is older than a handler");
}

static void verify_snap(const struct Jit *j, int32_t n, int32_t snap, int32_t handler)
{
    uint8_t seen[SLOT_COUNT];
    memset(seen, 0, sizeof seen);
    PROMISE(snap < j->snaps, "its snapshot does not exist");
    const struct Snap *s = &j->snap[snap];
    PROMISE((int64_t)s->first + s->count <= j->entries, "its snapshot has no such entries");
    for (uint32_t k = s->first; k < s->first + s->count; k++) {
        const int32_t slot = j->entry[k].slot;
        PROMISE(slot >= 0 && slot < SLOT_COUNT && !seen[slot], "its snapshot names a slot that does not exist, or names it twice");
        seen[slot] = 1;
        verify_operand(j, n, j->entry[k].node, handler);
    }
}

static void verify_node(const struct Jit *j, int32_t n, int32_t handler)
{
    const struct Node *x = &j->node[n];
    /* The width of a call says how it compares. */
    PROMISE((x->width >= 1 || x->op == N_CALL) && x->width <= 64, "its width is not one of 1 to 64");
    PROMISE(x->op == N_CALL || !(x->poss & ~bits_of(x->width)), "bits may be set that it does not have");
    PROMISE(!needs_snap(x->op) == (x->snap < 0), "it has a snapshot and cannot leave, or the other way round");
    if (x->snap >= 0) verify_snap(j, n, x->snap, handler);
    if (is_pure(x->op)) {
        const int arity = x->op == N_BIT ? 1 : template_arity[x->op];
        const int32_t operands[3] = {x->a, x->b, x->c};
        uint64_t value[3] = {0};
        int constants = 1;
        for (int k = 0; k < 3; k++) {
            PROMISE((operands[k] >= 0) == (k < arity), "it has too many operands, or too few");
            if (k >= arity) continue;
            verify_operand(j, n, operands[k], handler);
            value[k] = j->node[operands[k]].imm;
            constants &= is_const(j, operands[k]);
        }
        if (x->op == N_BIT) {
            PROMISE(x->imm < 64, "it is a bit that no value has");
            value[1] = x->imm;
        }
        if (constants) PROMISE(!(evaluate(x->op, x->width, x->source, value[0], value[1], value[2]) & ~x->poss), "its possible bits do not hold its value");
        if (is_compare(x->op) || x->op == T_SEXT) PROMISE(x->op == N_BIT || (x->source >= 1 && x->source <= 64), "its operands have no width");
        if (x->op == T_ADD || x->op == T_SUB || x->op == T_OR || x->op == T_XOR)
            PROMISE(!((j->node[x->a].poss | j->node[x->b].poss) & ~bits_of(x->width)), "an operand is wider than the operation");
        return;
    }
    switch (x->op) {
    case N_CONST: PROMISE(x->poss == x->imm, "the possible bits of a constant are not the constant"); break;
    case N_GET: PROMISE(x->imm < SLOT_COUNT, "there is no such slot"); break;
    case N_COMMIT:
        PROMISE(x->imm < SLOT_COUNT, "there is no such slot");
        verify_operand(j, n, x->a, handler);
        break;
    case N_STORE: verify_operand(j, n, x->b, handler); /* fall through */
    case N_LOAD:
        verify_operand(j, n, x->a, handler);
        PROMISE(x->width == 8 || x->width == 16 || x->width == 32 || x->width == 64, "no access has this width");
        PROMISE((x->imm >> 8 & 0xff) == x->width, "it says two widths");
        PROMISE(!x->sure || (x->op == N_STORE && jit_plain_access(j, (uint32_t)x->imm)), "nothing can make sure of it");
        break;
    case N_EXIT_IF:
    case N_RETRY_IF:
        PROMISE(j->node[x->a].poss <= 1, "a condition has more than one bit"); /* fall through */
    case N_EXPECT:
    case N_JUMP: verify_operand(j, n, x->a, handler); break;
    case N_CALL:
        PROMISE(jit_calls[x->c].fn && x->b <= jit_calls[x->c].args, "it calls something else");
        for (int32_t k = 0; k < x->b; k++) {
            PROMISE(x->imm + (uint64_t)k < (uint64_t)j->args, "there is no such argument");
            /* Less than nothing is the format of the argument before. */
            if (j->arg[x->imm + (uint64_t)k] >= 0) verify_operand(j, n, j->arg[x->imm + (uint64_t)k], handler);
        }
        break;
    case N_RESULT:
        PROMISE(x->a >= 0 && x->a < n && j->node[x->a].op == N_CALL, "it is the result of no call");
        PROMISE(x->imm < jit_calls[j->node[x->a].c].results, "the call has no such result");
        break;
    case N_GUARD: case N_HANDLER: case N_LOOP: case N_GOTO: case N_LEAVE: case N_FLOAT: break;
    default: PROMISE(0, "no pass makes this here");
    }
}

/* Every access of a group lies in what its first one checks. */
static void verify_groups(const struct Jit *j)
{
    int32_t handler = -1;
    for (int32_t n = 0; n < j->steps; n++) {
        const struct Node *x = &j->node[n];
        if (x->op == N_HANDLER) handler = n;
        if (x->fold == ALONE) continue;
        PROMISE(x->op == N_LOAD || x->op == N_STORE, "it is no access and yet in a group");
        PROMISE(x->c >= j->steps && x->c < j->nodes && j->node[x->c].op == N_BASE, "its group has no host address");
        const struct Node *g = &j->node[x->c];
        int32_t at;
        PROMISE(common_value(j, x->a, &at) == g->a, "its group has another base");
        const int64_t low = (int64_t)g->imm;
        PROMISE(g->b <= GROUP_SPAN && at >= low && (int64_t)at + x->width / 8 <= low + g->b, "it is not in the stretch that was checked");
        if (x->fold == LEADER) continue;
        int32_t leader = n - 1;
        while (leader > handler && (j->node[leader].fold != LEADER || j->node[leader].c != x->c)) leader--;
        PROMISE(leader > handler, "the check of its group does not hold any more here");
        const int writes = j->node[leader].op == N_STORE || (j->node[leader].imm >> 16 & 1);
        PROMISE(writes || (x->op == N_LOAD && !(x->imm >> 16 & 1)), "it writes where its group checked for reading");
    }
}

static void verify_wanted(const struct Jit *j, int32_t n, int32_t operand)
{
    if (operand >= 0 && !is_const(j, operand)) PROMISE(j->node[operand].last >= n, "an operand is given up too early");
}

/* Values live as long as somebody uses them, and what is not computed where it stands can be computed in exits. */
static void verify_lives(const struct Jit *j)
{
    int32_t exit_at = j->steps;
    for (int32_t n = j->steps - 1; n >= 0; n--) {
        const struct Node *x = &j->node[n];
        PROMISE(j->next_exit[n] == exit_at, "the next exit is another one");
        if (may_leave(x)) exit_at = n;
        if (x->snap >= 0 && may_leave(x)) {
            const struct Snap *s = &j->snap[x->snap];
            for (uint32_t k = s->first; k < s->first + s->count; k++)
                if (j->slot_pin[j->entry[k].slot] < 0) verify_wanted(j, n, j->entry[k].node);
        }
        if (x->op == N_STORE) verify_wanted(j, n, x->b);
        if (x->op == N_EXIT_IF || x->op == N_RETRY_IF || x->op == N_EXPECT || x->op == N_JUMP) verify_wanted(j, n, x->a);
        if (x->op == N_COMMIT && j->slot_pin[x->imm] >= 0) {
            if (!x->late) verify_wanted(j, n, x->a);
            else PROMISE(x->b >= 0 && j->node[x->b].last >= x->c - 1 && j->node[x->c].op == N_COMMIT && j->node[x->c].imm == x->imm, "a register does not keep what exits add to");
        }
        if ((x->op == N_LOAD || x->op == N_STORE) && x->fold == ALONE) verify_wanted(j, n, x->a);
        if (x->fold != ALONE) verify_wanted(j, n, x->c);
        if (x->fold == LEADER) verify_wanted(j, n, j->node[x->c].a);
        for (int32_t k = 0; x->op == N_CALL && k < x->b; k++) verify_wanted(j, n, j->arg[x->imm + (uint64_t)k]);
        if (!is_pure(x->op) || x->last < 0) continue;
        PROMISE(x->strong || stub_can(j, x), "no exit can compute it");
        const int32_t operands[3] = {x->a, x->b, x->c}, until = x->strong ? n : x->last;
        for (int k = 0; k < 3; k++)
            if (operands[k] >= 0 && !is_const(j, operands[k])) PROMISE(j->node[operands[k]].last >= until, "what it is made of is given up too early");
    }
    for (int32_t n = 0; n < SLOT_COUNT; n++)
        if (j->slot_pin[n] >= 0) PROMISE(j->slot_pin[n] >= R8 && j->slot_pin[n] <= R15 && j->pin_slot[j->slot_pin[n]] == n, "a slot and its register do not agree");
}

/* Everything that is filled in later lies within the code. */
static void verify_code(const struct Jit *j)
{
    const int64_t hot = j->hot.at - j->hot_base, cold = j->cold.at - j->cold_base;
    const int32_t n = j->steps;
    for (uint32_t k = 0; k < j->fixes; k++) {
        const struct JitFix *f = &j->fix[k];
        PROMISE(f->at >= 0 && f->at + 4 <= (f->cold ? cold : hot), "a jump is not in the code");
        PROMISE(f->kind != FIX_HOT || (f->target >= 0 && f->target < hot), "a jump leads out of the trace");
        PROMISE(f->kind != FIX_COLD || (f->target >= 0 && f->target < cold), "a jump leads behind the exits");
    }
    for (uint32_t k = 0; k < j->links; k++) {
        const struct JitLink *l = &j->link[k];
        PROMISE(l->at > 0 && l->at < (l->cold ? cold : hot), "a link leads out of the code");
    }
}

static void verify(const struct Jit *j, int stage)
{
    int32_t handler = -1, n;
    if (j->failed) return;
    for (n = 0; n < j->nodes; n++) {
        const struct Node *x = &j->node[n];
        const int ends = x->op == N_LOOP || x->op == N_GOTO || x->op == N_JUMP || x->op == N_LEAVE;
        PROMISE(ends == (n == j->steps - 1), "a trace ends with the first of loop, goto, jump and leave");
        PROMISE(n == 0 || x->insn >= j->node[n - 1].insn, "it belongs to an earlier instruction");
        PROMISE(x->insn <= j->insns, "it belongs to no instruction of the trace");
        if (n < j->steps) verify_node(j, n, handler);
        else PROMISE(x->op == N_BASE && x->a >= 0 && x->a < j->steps, "behind the end stand only groups");
        if (x->op == N_HANDLER) handler = n;
    }
    if (stage >= AFTER_GROUPS) verify_groups(j);
    if (stage >= AFTER_LIVES) verify_lives(j);
    if (stage >= AFTER_EMIT) verify_code(j);
}

#undef PROMISE
#else

static inline void verify(const struct Jit *j, int stage) { (void)j, (void)stage; }

#endif
