/* Accesses near one another share one look at the soft TLB: those whose addresses are a common value and constants, in a
 * stack frame or a structure. The first one of a group checks the whole stretch; if that lies in one page, the others need
 * nothing but the host address. If it does not, the interpreter goes on, and a trace that often finds it so is made again
 * without that group; after two of them without any. A group of stores begins with a store, so that no page is marked
 * written that is not. */

#define GROUP_SPAN 512
enum { ALONE = 0, LEADER = 1, MEMBER = 2 };

struct Group {
    int32_t base, leader, node; /* the common value, the first access, the node of the host address */
    int64_t low, high;          /* stretch, from the common value */
    int32_t members, writes;
    int apart; /* found to lie in two pages: its accesses look for themselves */
};

static int joins(const struct Group *g, int32_t base, int32_t at, int32_t size)
{
    if (g->base != base) return 0;
    const int64_t low = at < g->low ? at : g->low, high = (int64_t)at + size > g->high ? (int64_t)at + size : g->high;
    return high - low <= GROUP_SPAN;
}

static void find_groups(struct Jit *j)
{
    struct Group group[64];
    int groups = 0;
    int32_t number[JIT_NODES];
    const int32_t nodes = j->nodes;
    for (int32_t k = 0; k < nodes; k++) {
        struct Node *x = &j->node[k];
        number[k] = -1;
        if (x->op == N_HANDLER)
            for (int g = 0; g < groups; g++) group[g].base = -1;
        if ((x->op != N_LOAD && x->op != N_STORE) || !jit_plain_access(j, (uint32_t)x->imm)) continue;
        int32_t at;
        const int32_t base = common_value(j, x->a, &at), size = x->width / 8;
        const int write = x->op == N_STORE || (x->imm >> 16 & 1);
        int found = -1;
        if (is_const(j, base)) continue;
        for (int g = groups - 1; g >= 0 && found < 0; g--)
            if (joins(&group[g], base, at, size) && (group[g].writes || !write)) found = g;
        if (found < 0) {
            if (groups == 64) continue;
            found = groups++;
            const uint32_t ip = j->insn[x->insn]->start;
            group[found] = (struct Group){base, k, -1, at, (int64_t)at + size, 0, write, ip && (ip == j->apart[0] || ip == j->apart[1])};
        }
        struct Group *g = &group[found];
        if (at < g->low) g->low = at;
        if ((int64_t)at + size > g->high) g->high = (int64_t)at + size;
        g->members++;
        number[k] = found;
    }
    for (int32_t k = 0; k < nodes; k++) {
        struct Node *x = &j->node[k];
        if (number[k] < 0 || group[number[k]].members < 2 || group[number[k]].apart) continue;
        struct Group *g = &group[number[k]];
        if (g->leader == k) {
            int32_t at;
            /* The node stands behind the trace's end, but is made by the first access. */
            g->node = new_node(j, N_BASE, 64, 0, common_value(j, x->a, &at), (int32_t)(g->high - g->low), -1, (uint64_t)g->low);
            if (j->failed) return;
            x->fold = LEADER;
        } else {
            x->fold = MEMBER;
        }
        x->c = g->node;
    }
}
