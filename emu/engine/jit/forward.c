/* What a trace has stored it need not load: a load takes the value of the store before it, as behind a call that only asks
 * for its own address. The bytes must be RAM, so a store whose value is passed on is `sure`: where the soft TLB does not answer
 * for it, the interpreter goes on. Everything that might be told of a load, or write to the same bytes, ends what is known:
 * stores through other values, handlers, and loads of what need not be RAM, for a device that is asked may write. */

/* An address as a common value and a constant. */
static int32_t common_value(const struct Jit *j, int32_t address, int32_t *displacement)
{
    const struct Node *x = &j->node[address];
    *displacement = 0;
    if (x->op == T_ADD && x->width == 32 && is_const(j, x->b)) {
        *displacement = (int32_t)j->node[x->b].imm;
        return x->a;
    }
    return address;
}

/* The value that a load finds, -1 if that is not known. */
static int32_t forwarded(struct Jit *j, uint32_t what, int32_t address, uint32_t width)
{
    int32_t at, low = INT32_MAX, found = -1;
    int64_t high = INT32_MIN;
    const int32_t base = common_value(j, address, &at), size = (int32_t)width / 8;
    if ((j->plain & PLAIN_FORWARD) || !jit_plain_access(j, what)) j->stores = 0;
    if (j->stores && j->stored[0].base != base) j->stores = 0; /* all have the same */
    for (uint32_t k = 0; k < j->stores; k++) {
        const struct Stored *s = &j->stored[k];
        if (s->at == at && s->size == size) found = s->value;
        if (s->at < low) low = s->at;
        if ((int64_t)s->at + s->size > high) high = (int64_t)s->at + s->size;
    }
    /* Between two stores that are sure, and no page apart, lies RAM, too. */
    const int between = at >= low && (int64_t)at + size <= high && high - low <= PAGE_SIZE;
    if (found < 0 && !between) j->stores = 0;
    for (uint32_t k = 0; k < j->stores; k++) j->node[j->stored[k].node].sure = 1;
    return found < 0 ? -1 : make(j, T_LOW, width, 64, found, -1, -1);
}

static void note_store(struct Jit *j, uint32_t what, int32_t address, uint32_t width, int32_t value, int32_t node)
{
    int32_t at;
    const int32_t base = common_value(j, address, &at), size = (int32_t)width / 8;
    uint32_t n = 0;
    if ((j->plain & PLAIN_FORWARD) || !jit_plain_access(j, what)) {
        j->stores = 0;
        return;
    }
    for (uint32_t k = 0; k < j->stores; k++) {
        const struct Stored *s = &j->stored[k];
        if (s->base == base && ((int64_t)s->at + s->size <= at || (int64_t)at + size <= s->at)) j->stored[n++] = *s;
    }
    if (n == JIT_STORED) memmove(j->stored, j->stored + 1, --n * sizeof *j->stored);
    j->stored[n++] = (struct Stored){base, at, size, value, node};
    j->stores = n;
}

/* An expansion is taken back: nodes from `nodes` on do not exist. */
static void forget_stores(struct Jit *j, int32_t nodes)
{
    while (j->stores && j->stored[j->stores - 1].node >= nodes) j->stores--;
}
