/* Which way a trace goes: from a hot block along the transfers taken most often, through calls and back, until it comes
 * round to its beginning, meets a loop that is a trace already, or something that only the interpreter does. */

/* The block at an address if it has been decoded and its page is known to be in place. */
static struct Block *known_block(Cpu *cpu, uint32_t ip)
{
    const uint32_t lin = code_linear(cpu, ip);
    const struct FetchEntry *f = fetch_at(cpu, lin);
    if (f->tag != fetch_tag(lin)) return NULL;
    const uint64_t offset = f->offset + (lin & ~PAGE_MASK);
    const uint32_t key = cpu->lookup_key | page_key(f);
    struct Block *b = cpu->hash[block_hash(offset, ip)];
    while (b && !(b->offset == offset && b->ip == ip && b->key == key && b->limit == code_limit(cpu))) b = b->hash_next;
    return b;
}

static int64_t runs_of(const struct Block *b)
{
    if (!b) return -1;
    if (b->trace) return 1 << 30;
    return (int64_t)b->heat_start - b->heat;
}

/* All slots are at home again, and nothing is known of them. */
static void forget_slots(struct Jit *j)
{
    for (uint32_t k = 0; k < SLOT_COUNT; k++) j->map[k] = -1;
    memset(j->dirty, 0, sizeof j->dirty);
    j->dirty_count = 0;
    j->stores = 0;
    float_unknown(j);
}

static void finish_trace(struct Jit *j, uint8_t op, int32_t a, uint64_t imm)
{
    j->start_snap = -1;
    j->now = j->insns;
    effect(j, op, 32, a, -1, -1, imm, take_snap(j));
    j->finished = 1;
}

/* Whether the page of an address is known to be in place on this path; makes sure of it if not. */
static int page_ready(Cpu *cpu, struct Jit *j, uint32_t ip)
{
    const uint32_t page = code_linear(cpu, ip) & PAGE_MASK;
    for (uint32_t k = 0; k < j->pages; k++)
        if (j->page[k] == page) return 1;
    if (j->pages == JIT_PAGES || !jit_may_cross(j)) return 0;
    j->page[j->pages++] = page;
    j->start_snap = -1;
    j->now = j->insns;
    effect(j, N_GUARD, 32, -1, -1, -1, ip, take_snap(j));
    return 1;
}

/* Who has called the function in hand, as far as this trace has seen it. */
static uint32_t caller_now(const struct Jit *j) { return j->depth ? j->callers[j->depth - 1] : j->head_ip; }

/* An instruction in two pages at `*ip` becomes part of the trace; nonzero if so, and `*ip` is then behind it. */
static int cross_page(Cpu *cpu, struct Jit *j, uint32_t *ip)
{
    uint32_t rest, k;
    if (j->crossed == JIT_PAGES || j->insns + 1 >= JIT_INSNS || j->blocks + 2 >= JIT_BLOCKS) return 0;
    struct Insn *i = &j->cross[j->crossed];
    memset(i, 0, sizeof *i);
    if (!jit_cross(cpu, j, *ip, i, &rest)) return 0;
    i->start = *ip;
    if (!i->form || (i->flags & FORM_LAST) || !template_forms[i->form].at) return 0;
    const uint32_t first = i->len - rest, next = *ip + first;
    const uint64_t from = fetch_at(cpu, *ip)->offset + (*ip & ~PAGE_MASK), to = fetch_at(cpu, next)->offset;
    struct Block *head = code_mark(cpu, from, first), *tail = code_mark(cpu, to, rest);
    if (!head || !tail) return 0;
    for (k = 0; k < j->pages && j->page[k] != next; k++) continue;
    if (k == j->pages) {
        if (j->pages == JIT_PAGES) return 0;
        j->page[j->pages++] = next;
        j->start_snap = -1;
        j->now = j->insns;
        effect(j, N_GUARD, 32, -1, 1, -1, *ip, take_snap(j));
    }
    j->now = j->insns;
    j->insn[j->insns] = i;
    j->block_first[j->insns] = NULL;
    if (expand_insn(j, j->block[0], i)) return 0;
    commit(j);
    j->insns++;
    j->crossed++;
    j->caller[j->blocks] = j->caller[j->blocks + 1] = caller_now(j);
    j->block[j->blocks++] = head;
    j->block[j->blocks++] = tail;
    *ip = i->next;
    return 1;
}

/* The path goes on at `ip`, or ends. */
static struct Block *go_on(Cpu *cpu, struct Jit *j, uint32_t ip)
{
    if (ip == j->head_ip && (j->insns * 2 > JIT_UNROLL || j->blocks >= JIT_BLOCKS)) {
        finish_trace(j, N_LOOP, -1, ip);
        return NULL;
    }
    struct Block *b = known_block(cpu, ip);
    if (!b && cross_page(cpu, j, &ip)) return go_on(cpu, j, ip);
    int stop = !b || j->blocks == JIT_BLOCKS || j->insns + b->n > JIT_INSNS || j->nodes > JIT_NODES / 2;
    if (!stop && ip != j->head_ip) {
        if (b->trace && b->trace->loops) stop = 1;
        /* The same code for the same caller is a loop; a small function may be called from many places. */
        for (uint32_t k = 1; k < j->blocks && !stop; k++) stop = j->block[k] == b && j->caller[k] == caller_now(j) && j->insns > 24;
        if (runs_of(b) < 2) stop = 1;
    }
    if (stop || !page_ready(cpu, j, ip)) {
        finish_trace(j, N_GOTO, -1, ip);
        return NULL;
    }
    return b;
}

/* The end of a block: where control goes, as far as the last instruction said. */
static struct Block *follow(Cpu *cpu, struct Jit *j, const struct Insn *last)
{
    const uint32_t role = template_forms[last->form].role;
    if (j->branch_cond < 0 || const_is(j, j->branch_cond, 0)) return go_on(cpu, j, last->next);
    const int32_t cond = j->branch_cond, target = j->branch_target;
    const int always = is_const(j, cond);
    if (role == ROLE_CALLS && always && j->depth < 16) j->callers[j->depth++] = last->next;
    j->start_snap = -1;
    j->now = j->insns;
    if (is_const(j, target)) {
        const uint32_t to = (uint32_t)j->node[target].imm;
        if (role == ROLE_RETURNS && j->depth) j->depth--;
        if (always) return go_on(cpu, j, to);
        const int taken = to == j->head_ip || runs_of(known_block(cpu, to)) > runs_of(known_block(cpu, last->next));
        const int32_t leave = taken ? make(j, T_NOT, 1, 1, cond, -1, -1) : cond;
        effect(j, N_EXIT_IF, 1, leave, -1, -1, taken ? last->next : to, take_snap(j));
        return go_on(cpu, j, taken ? to : last->next);
    }
    if (!always) effect(j, N_EXIT_IF, 1, make(j, T_NOT, 1, 1, cond, -1, -1), -1, -1, last->next, take_snap(j));
    if (role == ROLE_RETURNS && j->depth && known_block(cpu, j->callers[j->depth - 1])) {
        const uint32_t back = j->callers[--j->depth];
        j->start_snap = -1;
        effect(j, N_EXPECT, 32, target, -1, -1, back, take_snap(j));
        return go_on(cpu, j, back);
    }
    finish_trace(j, N_JUMP, target, 0);
    return NULL;
}

/* A handler that asks for a link to what follows goes there itself if that is in another page. */
static int leads_away(const Cpu *cpu, const struct Insn *i)
{
    return template_forms[i->form].handler == HANDLER_AT_END && (code_linear(cpu, i->start) ^ code_linear(cpu, i->next)) & PAGE_MASK;
}

/* Nodes for a trace from `head`. 0: there is something to translate. */
static int form_trace(Cpu *cpu, struct Jit *j, struct Block *head)
{
    j->nodes = j->snaps = j->entries = j->args = 0;
    memset(j->hash, 0xff, sizeof j->hash);
    memset(j->pending, 0xff, sizeof j->pending);
    j->pending_count = 0;
    j->insns = j->blocks = j->depth = j->crossed = 0;
    j->failed = j->finished = 0;
    j->now = 0;
    j->head_ip = head->ip;
    j->key = head->key;
    j->model = jit_model(cpu);
    j->plain = (int)head->plain;
    memcpy(j->apart, head->apart, sizeof j->apart);
    j->top = jit_top(cpu);
    float_usable(cpu, j);
    j->page[0] = code_linear(cpu, head->ip) & PAGE_MASK;
    j->pages = 1;
    forget_slots(j);
    for (struct Block *b = head; b && !j->failed;) {
        j->caller[j->blocks] = caller_now(j);
        j->block[j->blocks++] = b;
        const struct Insn *i = b->insn;
        for (uint32_t k = 0; k < b->n; k++, i++) {
            j->now = j->insns;
            j->insn[j->insns] = i;
            j->block_first[j->insns] = k ? NULL : b->first;
            if (!expand_insn(j, b, i)) {
                commit(j);
            } else if (i->form && template_forms[i->form].handler && !leads_away(cpu, i)) {
                j->branch_cond = -1;
                jit_keep(j);
                effect(j, N_HANDLER, 32, -1, -1, -1, j->insns, take_snap(j));
                if (template_forms[i->form].handler == HANDLER_AT_END) j->node[j->nodes - 1].b = 0;
                forget_slots(j);
                if (template_forms[i->form].role == ROLE_STOPS && k + 1 < b->n) {
                    j->insns++;
                    finish_trace(j, N_GOTO, -1, i->next);
                    break;
                }
            } else {
                finish_trace(j, N_LEAVE, -1, i->start);
                break;
            }
            j->insns++;
            if (j->failed) return 1;
        }
        if (j->finished) break;
        b = follow(cpu, j, i - 1);
    }
    j->total = j->insns;
    return j->failed || !j->insns;
}
