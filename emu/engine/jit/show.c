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

static void say_node(struct Text *t, const struct Jit *j, int32_t n)
{
    const struct Node *x = &j->node[n];
    if (x->op == N_CONST) return;
    if (x->op <= T_BSWAP || x->op == N_GET || x->op == N_BIT || x->op == N_LOAD || x->op == N_RESULT)
        say(t, "%s%%%d:%u =", is_pure(x->op) && !x->strong ? "  (" : "  ", n, x->width);
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
    if (x->a >= 0) say_value(t, j, x->a);
    if (x->b >= 0) say_value(t, j, x->b);
    if (x->c >= 0) say_value(t, j, x->c);
    if (x->op == N_BIT || x->op >= N_EXIT_IF || x->op == N_LOAD || x->op == N_STORE) say(t, " %#llx", (unsigned long long)x->imm);
    if (is_pure(x->op) && !x->strong) say(t, ")");
    if (x->snap >= 0 && j->snap[x->snap].count) {
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

/* The nodes of the trace that would begin at the instruction pointer. Returns the length of the text, 0 for no trace. */
uint64_t emu_jit_nodes(Cpu *cpu, char *out, uint64_t size)
{
    struct Jit *j = cpu->jit;
    int status;
    struct Block *b = j ? find_block(cpu, &status) : NULL;
    cpu->retry = 0;
    if (!b || !size || form_trace(cpu, j, b)) return 0;
    prepare_trace(j);
    struct Text t = {out, out + size};
    uint32_t insn = ~0u;
    for (int32_t k = 0; k < j->steps; k++) {
        if (j->node[k].insn != insn && j->node[k].op != N_CONST) {
            insn = j->node[k].insn;
            if (insn < j->insns) say(&t, "%08x %s\n", j->insn[insn]->start, emu_form_name(j->insn[insn]->form));
        }
        say_node(&t, j, k);
    }
    return (uint64_t)(t.at - out);
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
