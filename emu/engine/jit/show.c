/* Traces as text, for tests, for tools and for whoever wants to see what became of the code. */

static const char *const node_names[] = {"const", "get", "bit", "load", "store", "commit", "exit_if", "retry_if", "guard", "expect",
                                         "handler", "loop", "goto", "jump", "leave", "float", "call", "result", "base"};
static const char *const operation_names[] = {
    "add", "sub", "mul", "mulhu", "udiv", "urem", "sdiv", "srem", "and", "or", "xor", "not", "neg", "shl", "lshr", "ashr",
    "rotl", "eq", "ne", "ult", "ule", "slt", "sle", "zext", "sext", "low", "select", "clz", "ctz", "popcount", "bswap"};

struct Text {
    char *at, *end;
};

static void say(struct Text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct Text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int n = t->at < t->end ? vsnprintf(t->at, (size_t)(t->end - t->at), format, args) : 0;
    va_end(args);
    if (n > 0) t->at = n < t->end - t->at ? t->at + n : t->end;
}

static void say_slot(struct Text *t, uint32_t slot)
{
    for (int r = REG_COUNT - 1; r >= 0; r--)
        if (jit_registers[r].first <= slot) {
            const uint32_t k = slot - jit_registers[r].first;
            say(t, "%s", jit_register_names[r]);
            if (jit_registers[r].split) say(t, "[%u]%s", k >> 1, k & 1 ? ".high" : "");
            else if (jit_registers[r].count > 1) say(t, "[%u]", k);
            return;
        }
}

static void say_value(struct Text *t, const struct Jit *j, int32_t n)
{
    if (is_const(j, n)) say(t, " %#llx", (unsigned long long)j->node[n].imm);
    else say(t, " %%%d", n);
}

static int shown(const struct Jit *j, int32_t n)
{
    const struct Node *x = &j->node[n];
    if (x->op == N_CONST) return 0;
    return x->last >= 0 || !(x->op == N_GET || (is_pure(x->op) && !x->strong));
}

static void say_node(struct Text *t, const struct Jit *j, int32_t n)
{
    const struct Node *x = &j->node[n];
    if (!shown(j, n)) return;
    if (x->op <= T_BSWAP || x->op == N_GET || x->op == N_BIT || x->op == N_LOAD || x->op == N_RESULT)
        say(t, "%s%%%d:%u =", is_pure(x->op) && !x->strong ? "  (" : "  ", n, x->width);
    else if (x->op == N_CALL) say(t, "  %%%d =", n);
    else say(t, " ");
    say(t, " %s", x->op <= T_BSWAP ? operation_names[x->op] : node_names[x->op - N_CONST]);
    if (is_compare(x->op) && x->op != N_BIT) say(t, ".%u", x->source);
    if (x->op == N_GET || x->op == N_COMMIT) {
        say(t, " ");
        say_slot(t, (uint32_t)x->imm);
    }
    if (x->op == N_CALL) {
        say(t, " %s", jit_calls[x->c].name);
        for (int32_t k = 0; k < x->b; k++)
            if (j->arg[x->imm + (uint64_t)k] >= 0) say_value(t, j, j->arg[x->imm + (uint64_t)k]);
        say(t, "\n");
        return;
    }
    const int access = x->op == N_LOAD || x->op == N_STORE;
    if (x->op == N_COMMIT && !is_const(j, x->a) && !shown(j, x->a)) say(t, " dead");
    else if (x->a >= 0) say_value(t, j, x->a);
    if (x->op == N_COMMIT && x->late) say(t, " late");
    if (x->b >= 0 && x->op != N_RETRY_IF && x->op != N_HANDLER && x->op != N_COMMIT) say_value(t, j, x->b);
    if (x->c >= 0 && !access && x->op != N_COMMIT) say_value(t, j, x->c);
    if (x->op == N_BIT || x->op >= N_EXIT_IF || access) say(t, " %#llx", (unsigned long long)x->imm);
    if (x->op == N_RETRY_IF && x->b >= 0) say(t, " miss");
    if (access && x->fold == LEADER) {
        say(t, " checks");
        say_value(t, j, j->node[x->c].a);
        say(t, " %+lld, %d bytes", (long long)j->node[x->c].imm, j->node[x->c].b);
    }
    if (access && x->fold == MEMBER) say(t, " checked");
    if (access && x->sure && x->fold == ALONE) say(t, " sure");
    if (is_pure(x->op) && !x->strong) say(t, ")");
    if (x->snap >= 0 && j->snap[x->snap].count && may_leave(x)) {
        say(t, " {");
        for (uint32_t k = 0; k < j->snap[x->snap].count; k++) {
            const struct SnapEntry *s = &j->entry[j->snap[x->snap].first + k];
            say(t, k ? ", " : "");
            say_slot(t, (uint32_t)s->slot);
            say_value(t, j, s->node);
        }
        say(t, "}");
    }
    say(t, "\n");
}

/* The nodes in hand, each instruction with its address and form. Values in parentheses are computed in exits only; those
 * that nobody wants are left out, and where one is committed it says `dead`; a commit that only exits make is `late`. */
static uint64_t nodes_text(const struct Jit *j, char *out, uint64_t size, int with_code)
{
    struct Text t = {out, out + size};
    uint32_t insn = ~0u;
    for (int32_t k = 0; k < j->steps; k++) {
        if (j->node[k].insn != insn && shown(j, k)) {
            insn = j->node[k].insn;
            if (insn < j->insns) say(&t, "%08x %s", j->insn[insn]->start, emu_form_name(j->insn[insn]->form));
            if (insn < j->insns) say(&t, with_code ? " +%#x\n" : "\n", (unsigned)j->node[k].host);
        }
        say_node(&t, j, k);
    }
    return (uint64_t)(t.at - out);
}

/* The nodes of the trace that would begin at the instruction pointer. Returns the length of the text, 0 for no trace.
 * With room for it also its host code: `lengths` become those of the trace proper and of all, and the address that
 * it would have; each instruction in the text says where its part begins. */
uint64_t emu_jit_nodes(Cpu *cpu, char *out, uint64_t size, uint8_t *code, uint64_t room, uint64_t *lengths)
{
    struct Jit *j = cpu->jit;
    int status;
    struct Block *b = j ? find_block(cpu, &status) : NULL;
    cpu->retry = 0;
    if (!b || !size || form_trace(cpu, j, b)) return 0;
    prepare_trace(j);
    if (!room) return nodes_text(j, out, size, 0);
    if (j->link_used + JIT_EXITS > JIT_LINKS || j->copy_used + 2 * JIT_INSNS > JIT_COPIES) return 0;
    /* In places that the next trace takes. */
    j->link = j->link_pool + j->link_used;
    j->copy = j->copy_pool + j->copy_used;
    for (int32_t k = 0; k < j->nodes; k++) j->node[k].reg = j->node[k].spill = NOWHERE;
    if (emit_trace(cpu, j)) return 0;
    lengths[0] = (uint64_t)(j->hot.at - j->hot_base);
    lengths[1] = lengths[0] + (uint64_t)(j->cold.at - j->cold_base);
    if (lengths[1] > room) return 0;
    memcpy(code, j->hot_base, lengths[0]);
    memcpy(code + lengths[0], j->cold_base, lengths[1] - lengths[0]);
    settle(j, code, j->code.rx, lengths[0]);
    lengths[2] = (uint64_t)(uintptr_t)j->code.rx;
    return nodes_text(j, out, size, 1);
}

/* Where the traces begin that are in use. Returns how many there are; as many as there is room for are written. */
uint32_t emu_jit_heads(Cpu *cpu, uint32_t *out, uint32_t room)
{
    const struct Jit *j = cpu->jit;
    uint32_t n = 0;
    for (uint32_t k = 0; j && k < j->trace_count; k++) {
        if (j->traces[k].dead) continue;
        if (n < room) out[n] = j->traces[k].head->ip;
        n++;
    }
    return n;
}

/* Name the code for perf(1) from now on. Nonzero: there is no JIT, or its file cannot be written. */
int emu_jit_perf(Cpu *cpu)
{
    if (!cpu->jit) return 1;
    code_flush(cpu);
    return code_perf_open(&cpu->jit->code);
}

/* The host code of the trace that begins at the instruction pointer, in the executable view; NULL for none. */
const uint8_t *emu_jit_code(Cpu *cpu, uint64_t *size)
{
    int status;
    struct Block *b = cpu->jit ? find_block(cpu, &status) : NULL;
    cpu->retry = 0;
    if (!b || !b->trace) return NULL;
    *size = b->trace->size;
    return b->entry;
}
