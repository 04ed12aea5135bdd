/* Making nodes: constants are folded, what is known of bits is used, equal nodes are one node. Every rule gives a value
 * equal in all its bits; the values are zero-extended. */

static inline uint64_t bits_of(uint32_t width) { return width >= 64 ? ~0ull : (1ull << width) - 1; }
static inline int64_t signed_of(uint64_t v, uint32_t width) { return (int64_t)(v << (64 - width)) >> (64 - width); }
static inline int is_const(const struct Jit *j, int32_t n) { return j->node[n].op == N_CONST; }
static inline int const_is(const struct Jit *j, int32_t n, uint64_t v) { return is_const(j, n) && j->node[n].imm == v; }

static int32_t new_node(struct Jit *j, uint8_t op, uint8_t width, uint8_t source, int32_t a, int32_t b, int32_t c, uint64_t imm)
{
    if (j->nodes == JIT_NODES) {
        j->failed = __LINE__;
        return 0;
    }
    struct Node *n = &j->node[j->nodes];
    memset(n, 0, sizeof *n);
    n->op = op;
    n->width = width;
    n->source = source;
    n->a = a;
    n->b = b;
    n->c = c;
    n->imm = imm;
    n->poss = bits_of(width);
    n->snap = n->commit = n->commit_slot = NOWHERE;
    n->reg = n->spill = n->xmm = NOWHERE;
    n->insn = j->now;
    return j->nodes++;
}

/* A pure node or a leaf, found again where it was made before. */
static int32_t pure_node(struct Jit *j, uint8_t op, uint8_t width, uint8_t source, int32_t a, int32_t b, int32_t c, uint64_t imm,
                         uint64_t poss)
{
    uint64_t h = (uint64_t)op * 0x9e3779b97f4a7c15ull ^ (uint64_t)width << 8 ^ (uint64_t)source << 16;
    h = (h ^ (uint32_t)a) * 0xff51afd7ed558ccdull;
    h = (h ^ (uint32_t)b) * 0xff51afd7ed558ccdull;
    h = (h ^ (uint32_t)c ^ imm) * 0xff51afd7ed558ccdull;
    const uint32_t at = (uint32_t)(h >> 40) & (JIT_HASH - 1);
    for (int32_t k = j->hash[at]; k >= 0; k = j->node[k].chain) {
        const struct Node *n = &j->node[k];
        if (n->op == op && n->width == width && n->source == source && n->a == a && n->b == b && n->c == c && n->imm == imm)
            return k;
    }
    const int32_t full = j->nodes == JIT_NODES, k = new_node(j, op, width, source, a, b, c, imm);
    if (full) return k;
    j->node[k].poss = poss;
    j->node[k].chain = j->hash[at];
    j->hash[at] = k;
    return k;
}

static int32_t constant(struct Jit *j, uint64_t v) { return pure_node(j, N_CONST, 64, 0, -1, -1, -1, v, v); }

static uint64_t evaluate(uint8_t op, uint32_t w, uint32_t s, uint64_t a, uint64_t b, uint64_t c)
{
    const uint64_t m = bits_of(w);
    switch (op) {
    case T_ADD: return (a + b) & m;
    case T_SUB: return (a - b) & m;
    case T_MUL: return (a * b) & m;
    case T_MULHU: return (uint64_t)(((unsigned __int128)a * b) >> w) & m;
    case T_UDIV: return b ? a / b : 0;
    case T_UREM: return b ? a % b : 0;
    case T_SDIV: return b ? (b == m ? 0 - a : (uint64_t)(signed_of(a, w) / signed_of(b, w))) & m : 0;
    case T_SREM: return b && b != m ? (uint64_t)(signed_of(a, w) % signed_of(b, w)) & m : 0;
    case T_AND: return a & b;
    case T_OR: return a | b;
    case T_XOR: return a ^ b;
    case T_NOT: return ~a & m;
    case T_NEG: return (0 - a) & m;
    case T_SHL: return b < w ? (a << b) & m : 0;
    case T_LSHR: return b < w ? a >> b : 0;
    case T_ASHR: return (uint64_t)(signed_of(a, w) >> (b < w ? b : w - 1)) & m;
    case T_ROTL: b %= w; return b ? (a << b | a >> (w - b)) & m : a;
    case T_EQ: return a == b;
    case T_NE: return a != b;
    case T_ULT: return a < b;
    case T_ULE: return a <= b;
    case T_SLT: return signed_of(a, s) < signed_of(b, s);
    case T_SLE: return signed_of(a, s) <= signed_of(b, s);
    case T_SEXT: return (uint64_t)signed_of(a, s) & m;
    case T_LOW: return a & m;
    case T_SELECT: return a ? b : c;
    case T_CLZ: return a ? (uint64_t)__builtin_clzll(a) - (64 - w) : w;
    case T_CTZ: return a ? (uint64_t)__builtin_ctzll(a) : w;
    case T_POPCOUNT: return (uint64_t)__builtin_popcountll(a);
    case T_BSWAP: return __builtin_bswap64(a) >> (64 - w);
    case N_BIT: return a >> b & 1;
    default: return 0;
    }
}

/* All ones from the highest possible bit down. */
static uint64_t below(uint64_t poss) { return poss ? ~0ull >> __builtin_clzll(poss) : 0; }

static uint64_t possible(const struct Jit *j, uint8_t op, uint32_t w, uint32_t s, int32_t a, int32_t b, int32_t c)
{
    const uint64_t m = bits_of(w), pa = a >= 0 ? j->node[a].poss : 0, pb = b >= 0 ? j->node[b].poss : 0;
    const int fixed = b >= 0 && is_const(j, b);
    const uint64_t count = fixed ? j->node[b].imm : 0;
    switch (op) {
    case T_ADD: {
        const uint64_t x = below(pa) | below(pb);
        return (x << 1 | x) & m;
    }
    case T_MUL: {
        const int n = (pa ? 64 - __builtin_clzll(pa) : 0) + (pb ? 64 - __builtin_clzll(pb) : 0);
        return bits_of((uint32_t)(n > 64 ? 64 : n < 1 ? 1 : n)) & m;
    }
    case T_UDIV: return below(pa);
    case T_UREM: return below(pa) & below(pb);
    case T_AND: return pa & pb;
    case T_OR:
    case T_XOR: return pa | pb;
    case T_SHL: return fixed ? (count < w ? pa << count & m : 0) : m;
    case T_LSHR: return fixed ? (count < w ? pa >> count : 0) : below(pa);
    case T_EQ: case T_NE: case T_ULT: case T_ULE: case T_SLT: case T_SLE: case N_BIT: return 1;
    case T_SEXT: return pa >> (s - 1) & 1 ? m & (pa | ~bits_of(s)) : pa;
    case T_LOW: return pa & m;
    case T_SELECT: return pb | (c >= 0 ? j->node[c].poss : 0);
    case T_CLZ: case T_CTZ: case T_POPCOUNT: return 0x7f;
    default: return m;
    }
}

static int32_t make(struct Jit *j, uint8_t op, uint32_t w, uint32_t s, int32_t a, int32_t b, int32_t c);
static int32_t bit(struct Jit *j, int32_t x, uint32_t k);

static inline int32_t make2(struct Jit *j, uint8_t op, uint32_t w, int32_t a, int32_t b) { return make(j, op, w, w, a, b, -1); }

static int is_compare(uint8_t op) { return (op >= T_EQ && op <= T_SLE) || op == N_BIT; }

/* The bits that an exclusive or of bits is made of; *odd counts the ones. */
static int bit_leaves(struct Jit *j, int32_t n, int32_t *leaf, int count, int *odd)
{
    if (count < 0) return -1;
    const struct Node *x = &j->node[n];
    if (x->op == N_CONST) {
        *odd ^= (int)(x->imm & 1);
        return count;
    }
    if (x->op == T_XOR && x->poss == 1) {
        const int32_t b = x->b;
        return bit_leaves(j, b, leaf, bit_leaves(j, x->a, leaf, count, odd), odd);
    }
    if (x->op == T_NOT && x->width == 1) {
        *odd ^= 1;
        return bit_leaves(j, x->a, leaf, count, odd);
    }
    for (int k = 0; k < count; k++)
        if (leaf[k] == n) {
            leaf[k] = leaf[count - 1];
            return count - 1;
        }
    if (count == 16) return -1;
    leaf[count] = n;
    return count + 1;
}

/* a ^ b of single bits: what stands twice goes away, and sign bits with a borrow are a signed comparison. */
static int32_t xor_bits(struct Jit *j, int32_t a, int32_t b)
{
    int32_t leaf[16];
    int odd = 0, count = bit_leaves(j, b, leaf, bit_leaves(j, a, leaf, 0, &odd), &odd);
    if (count < 0) return pure_node(j, T_XOR, 1, 1, a, b, -1, 0, 1);
    for (int k = 0; k < count; k++) {
        const struct Node x = j->node[leaf[k]];
        if (x.op != T_ULT || x.source < 8) continue;
        int32_t rest[16], more;
        int odd2 = odd, n = 0;
        for (int i = 0; i < count; i++)
            if (i != k) rest[n++] = leaf[i];
        more = bit(j, x.a, x.source - 1u);
        n = bit_leaves(j, more, rest, n, &odd2);
        more = bit(j, x.b, x.source - 1u);
        n = bit_leaves(j, more, rest, n, &odd2);
        if (n < 0 || n >= count - 1) continue;
        rest[n++] = make(j, T_SLT, 1, x.source, x.a, x.b, -1);
        memcpy(leaf, rest, sizeof rest);
        count = n;
        odd = odd2;
        break;
    }
    if (!count) return constant(j, (uint64_t)odd);
    /* In the order of their making, so that equal sets are equal nodes. */
    for (int i = 1; i < count; i++)
        for (int k = i; k && leaf[k - 1] > leaf[k]; k--) {
            const int32_t t = leaf[k];
            leaf[k] = leaf[k - 1];
            leaf[k - 1] = t;
        }
    int32_t n = leaf[0];
    for (int k = 1; k < count; k++) n = pure_node(j, T_XOR, 1, 1, n, leaf[k], -1, 0, 1);
    return odd ? make(j, T_NOT, 1, 1, n, -1, -1) : n;
}

/* Bit k of a value: where it comes from, if that is known. */
static int32_t bit(struct Jit *j, int32_t x, uint32_t k)
{
    const struct Node n = j->node[x];
    if (!(n.poss >> k & 1)) return constant(j, 0);
    if (n.poss == 1) return x;
    uint64_t known;
    switch (n.op) {
    case N_CONST: return constant(j, n.imm >> k & 1);
    case N_GET:
        if (jit_known_bit(j, n.imm, k, &known)) return constant(j, known);
        break;
    case T_AND:
        if (is_const(j, n.b)) return bit(j, n.a, k);
        break;
    case T_OR:
        if (!(j->node[n.a].poss >> k & 1)) return bit(j, n.b, k);
        if (!(j->node[n.b].poss >> k & 1)) return bit(j, n.a, k);
        if (is_const(j, n.b) && (j->node[n.b].imm >> k & 1)) return constant(j, 1);
        break;
    case T_XOR: {
        const int32_t a = bit(j, n.a, k);
        return xor_bits(j, a, bit(j, n.b, k));
    }
    case T_NOT: return make(j, T_NOT, 1, 1, bit(j, n.a, k), -1, -1);
    case T_SHL:
        if (is_const(j, n.b)) return bit(j, n.a, k - (uint32_t)j->node[n.b].imm);
        break;
    case T_LSHR:
        if (is_const(j, n.b)) return bit(j, n.a, k + (uint32_t)j->node[n.b].imm);
        break;
    case T_SEXT: return bit(j, n.a, k < n.source ? k : n.source - 1u);
    case T_LOW: return bit(j, n.a, k);
    case T_SELECT:
        if (is_const(j, n.b) && is_const(j, n.c)) {
            const uint32_t one = j->node[n.b].imm >> k & 1, other = j->node[n.c].imm >> k & 1;
            if (one == other) return constant(j, one);
            return one ? n.a : make(j, T_NOT, 1, 1, n.a, -1, -1);
        }
        if (is_const(j, n.b)) {
            const int32_t rest = bit(j, n.c, k);
            if (j->node[n.b].imm >> k & 1) return make2(j, T_OR, 1, n.a, rest);
            return make2(j, T_AND, 1, make(j, T_NOT, 1, 1, n.a, -1, -1), rest);
        }
        if (is_const(j, n.c)) {
            const int32_t rest = bit(j, n.b, k);
            if (j->node[n.c].imm >> k & 1) return make2(j, T_OR, 1, make(j, T_NOT, 1, 1, n.a, -1, -1), rest);
            return make2(j, T_AND, 1, n.a, rest);
        }
        break;
    default: break;
    }
    return pure_node(j, N_BIT, 1, 64, x, -1, -1, k, 1);
}

static int same_pair(const struct Node *x, const struct Node *y)
{
    return (x->a == y->a && x->b == y->b) || (x->a == y->b && x->b == y->a);
}

/* a | b of single bits: less, or equal. */
static int32_t or_bits(struct Jit *j, int32_t a, int32_t b)
{
    for (int turn = 0; turn < 2; turn++) {
        const struct Node x = j->node[a], y = j->node[b];
        if (y.op == T_EQ) {
            if ((x.op == T_SLT || x.op == T_ULT) && x.source == y.source && same_pair(&x, &y))
                return make(j, x.op == T_SLT ? T_SLE : T_ULE, 1, x.source, x.a, x.b, -1);
            if (x.op == N_BIT && y.a == x.a && const_is(j, y.b, 0) && x.imm + 1 == y.source)
                return make(j, T_SLE, 1, y.source, x.a, y.b, -1);
        }
        const int32_t t = a;
        a = b;
        b = t;
    }
    return -1;
}

/* a & b of single bits: not greater, and equal or not. */
static int32_t and_bits(struct Jit *j, int32_t a, int32_t b)
{
    for (int turn = 0; turn < 2; turn++) {
        const struct Node x = j->node[a], y = j->node[b];
        if (y.op == T_EQ || y.op == T_NE) {
            if ((x.op == T_SLE || x.op == T_ULE) && x.source == y.source && same_pair(&x, &y))
                return y.op == T_EQ ? b : make(j, x.op == T_SLE ? T_SLT : T_ULT, 1, x.source, x.a, x.b, -1);
            if (x.op == T_NOT && const_is(j, y.b, 0)) {
                const struct Node z = j->node[x.a];
                if (z.op == N_BIT && z.a == y.a && z.imm + 1 == y.source)
                    return y.op == T_EQ ? b : make(j, T_SLT, 1, y.source, y.b, y.a, -1);
            }
        }
        const int32_t t = a;
        a = b;
        b = t;
    }
    return -1;
}

static int32_t make(struct Jit *j, uint8_t op, uint32_t w, uint32_t s, int32_t a, int32_t b, int32_t c)
{
    if (j->failed) return 0;
    const uint64_t m = bits_of(w);
    const int ca = is_const(j, a), cb = b < 0 || is_const(j, b), cc = c < 0 || is_const(j, c);
    if (ca && cb && cc)
        return constant(j, evaluate(op, w, s, j->node[a].imm, b < 0 ? 0 : j->node[b].imm, c < 0 ? 0 : j->node[c].imm));
    if (ca && b >= 0 && (op == T_ADD || op == T_MUL || op == T_AND || op == T_OR || op == T_XOR || op == T_EQ || op == T_NE)) {
        const int32_t t = a;
        a = b;
        b = t;
    }
    const struct Node x = j->node[a];
    const struct Node y = b >= 0 ? j->node[b] : (struct Node){0};
    const int kb = b >= 0 && y.op == N_CONST;
    const uint64_t v = y.imm;
    switch (op) {
    case T_ADD:
        if (kb) {
            if (!v) return make(j, T_LOW, w, w, a, -1, -1);
            if (x.op == T_ADD && x.width == w && is_const(j, x.b))
                return make2(j, T_ADD, w, x.a, constant(j, (j->node[x.b].imm + v) & m));
            if (v == 1 && x.op == T_ADD && x.width == w) {
                /* b + ~a + 1 */
                const struct Node p = j->node[x.a], q = j->node[x.b];
                if (p.op == T_NOT && p.width == w) return make2(j, T_SUB, w, x.b, p.a);
                if (q.op == T_NOT && q.width == w) return make2(j, T_SUB, w, x.a, q.a);
            }
            if (v == 1 && x.op == T_NOT && x.width == w) return make(j, T_NEG, w, w, x.a, -1, -1);
        } else if (a > b) {
            const int32_t t = a;
            a = b;
            b = t;
        }
        break;
    case T_SUB:
        if (a == b) return constant(j, 0);
        if (kb && !v) return make(j, T_LOW, w, w, a, -1, -1);
        if (kb && w >= 8) return make2(j, T_ADD, w, a, constant(j, (0 - v) & m));
        break;
    case T_MUL:
        if (kb && v == 0) return b;
        if (kb && v == 1) return make(j, T_LOW, w, w, a, -1, -1);
        if (kb && !(v & (v - 1))) return make2(j, T_SHL, w, a, constant(j, (uint64_t)__builtin_ctzll(v)));
        break;
    case T_AND:
        if (a == b) return a;
        if (!kb && x.poss == 1 && y.poss == 1) {
            const int32_t n = and_bits(j, a, b);
            if (n >= 0) return n;
        }
        if (kb) {
            if (!(x.poss & v)) return constant(j, 0);
            if (!(x.poss & ~v)) return a;
            if (x.op == T_AND && is_const(j, x.b)) return make2(j, T_AND, w, x.a, constant(j, j->node[x.b].imm & v));
            if (x.op == T_OR) {
                if (!(j->node[x.a].poss & v)) return make2(j, T_AND, w, x.b, b);
                if (!(j->node[x.b].poss & v)) return make2(j, T_AND, w, x.a, b);
                /* What one side has is cut off the other way round too: (p | q) & v = (p & v) | (q & v). */
                if (is_const(j, x.b) || !(j->node[x.b].poss & ~v) || !(j->node[x.a].poss & ~v)) {
                    const int32_t p = make2(j, T_AND, w, x.a, b);
                    return make2(j, T_OR, w, p, make2(j, T_AND, w, x.b, b));
                }
            }
        } else if (!(x.poss & y.poss)) {
            return constant(j, 0);
        } else if (a > b) {
            const int32_t t = a;
            a = b;
            b = t;
        }
        break;
    case T_OR:
        if (a == b) return a;
        if (kb && !v) return a;
        if (w == 1 || (x.poss == 1 && y.poss == 1)) {
            if (kb) return b; /* 1 */
            const int32_t n = or_bits(j, a, b);
            if (n >= 0) return n;
        }
        if (kb && x.op == T_OR && is_const(j, x.b)) return make2(j, T_OR, w, x.a, constant(j, j->node[x.b].imm | v));
        break;
    case T_XOR:
        if (a == b) return constant(j, 0);
        if (kb && !v) return a;
        if (x.poss == 1 && (kb ? v == 1 : y.poss == 1)) return xor_bits(j, a, b);
        if (x.op == T_XOR && (x.a == b || x.b == b)) return x.a == b ? x.b : x.a;
        break;
    case T_NOT:
        if (w == 1) {
            switch (x.op) {
            case T_EQ: return make(j, T_NE, 1, x.source, x.a, x.b, -1);
            case T_NE: return make(j, T_EQ, 1, x.source, x.a, x.b, -1);
            case T_ULT: return make(j, T_ULE, 1, x.source, x.b, x.a, -1);
            case T_ULE: return make(j, T_ULT, 1, x.source, x.b, x.a, -1);
            case T_SLT: return make(j, T_SLE, 1, x.source, x.b, x.a, -1);
            case T_SLE: return make(j, T_SLT, 1, x.source, x.b, x.a, -1);
            default: break;
            }
        }
        if (x.op == T_NOT && x.width == w) return x.a;
        break;
    case T_SHL:
    case T_LSHR:
        if (kb) {
            if (!v) return make(j, T_LOW, w, w, a, -1, -1);
            if (v >= w || !possible(j, op, w, s, a, b, -1)) return constant(j, 0);
            if (op == T_LSHR && x.op == T_SHL && is_const(j, x.b) &&
                !(j->node[x.a].poss & ~bits_of(x.width - (uint32_t)j->node[x.b].imm))) {
                /* Nothing was shifted out. */
                const uint64_t up = j->node[x.b].imm;
                if (up == v) return x.a;
                return v > up ? make2(j, T_LSHR, x.width, x.a, constant(j, v - up)) : make2(j, T_SHL, x.width, x.a, constant(j, up - v));
            }
            if (op == T_LSHR && x.op == T_LSHR && is_const(j, x.b))
                return make2(j, T_LSHR, x.width, x.a, constant(j, j->node[x.b].imm + v));
            if (op == T_LSHR && (possible(j, op, w, s, a, b, -1) == 1)) return bit(j, a, (uint32_t)v);
            if (op == T_LSHR && x.op == T_OR && is_const(j, x.b))
                return make2(j, T_OR, x.width, make2(j, T_LSHR, x.width, x.a, b), constant(j, j->node[x.b].imm >> v));
        } else if (y.poss >= w) {
            /* Counts of the width and more give zeros. */
            const uint32_t wide = y.poss < 64 && w <= 32 ? 64 : w;
            if (wide > w) {
                const int32_t n = make2(j, op, 64, a, b);
                return make(j, T_LOW, w, 64, n, -1, -1);
            }
            const int32_t fits = make(j, T_ULT, 1, 64, b, constant(j, w), -1);
            const int32_t count = make2(j, T_AND, 64, b, constant(j, w - 1));
            return make(j, T_SELECT, w, w, fits, make2(j, op, w, a, count), constant(j, 0));
        }
        break;
    case T_ASHR:
        if (kb && !v) return a;
        if (kb && v >= w) return make2(j, T_ASHR, w, a, constant(j, w - 1));
        if (!(x.poss >> (w - 1) & 1)) return make2(j, T_LSHR, w, a, b);
        if (kb && x.op == T_SHL && x.width == w && is_const(j, x.b)) {
            const struct Node *y = &j->node[x.a];
            const uint64_t up = j->node[x.b].imm;
            if (y->op == T_SEXT && y->width == w && y->source + up <= w && v >= up)
                return make2(j, T_ASHR, w, x.a, constant(j, v - up));
        }
        if (!kb && y.poss >= w) {
            const int32_t fits = make(j, T_ULT, 1, 64, b, constant(j, w), -1);
            return make2(j, T_ASHR, w, a, make(j, T_SELECT, 64, 64, fits, b, constant(j, w - 1)));
        }
        break;
    case T_ROTL:
        if (kb && !(v % w)) return a;
        break;
    case T_EQ:
    case T_NE:
        if (a == b) return constant(j, op == T_EQ);
        if (kb) {
            if (v & ~x.poss) return constant(j, op == T_NE);
            if (x.poss == 1) return (v == 1) == (op == T_EQ) ? a : make(j, T_NOT, 1, 1, a, -1, -1);
            if (!v && !(x.poss & (x.poss - 1))) {
                const int32_t n = bit(j, a, (uint32_t)__builtin_ctzll(x.poss));
                return op == T_NE ? n : make(j, T_NOT, 1, 1, n, -1, -1);
            }
            if (x.op == T_SUB && !v) return make(j, op, 1, x.width, x.a, x.b, -1);
            if (x.op == T_ADD && is_const(j, x.b))
                return make(j, op, 1, x.width, x.a, constant(j, (v - j->node[x.b].imm) & bits_of(x.width)), -1);
            if (x.op == T_SEXT && !v) return make(j, op, 1, x.source, x.a, b, -1);
            if (x.op == T_XOR && !v) return make(j, op, 1, x.width, x.a, x.b, -1);
        } else if (a > b) {
            const int32_t t = a;
            a = b;
            b = t;
        }
        break;
    case T_ULT:
        if (a == b || (kb && !v)) return constant(j, 0);
        if (ca && x.imm >= below(y.poss)) return constant(j, 0);
        if (kb && v > below(x.poss)) return constant(j, 1);
        break;
    case T_ULE:
        if (a == b || (kb && v >= below(x.poss)) || (ca && !x.imm)) return constant(j, 1);
        break;
    case T_SLT:
        if (a == b) return constant(j, 0);
        if (kb && !v) return bit(j, a, s - 1);
        break;
    case T_SLE:
        if (a == b) return constant(j, 1);
        if (ca && !x.imm) return make(j, T_NOT, 1, 1, bit(j, b, s - 1), -1, -1);
        break;
    case T_SEXT:
        if (s == w || !(x.poss >> (s - 1) & 1)) return a;
        if (x.op == T_SEXT) return make(j, T_SEXT, w, x.source, x.a, -1, -1);
        break;
    case T_LOW:
        if (!(x.poss & ~m)) return a;
        if (w == 1) return bit(j, a, 0);
        if (x.op == T_LSHR && is_const(j, x.b) && j->node[x.a].op == T_OR) {
            /* What the shift and the cut leave nothing of goes away. */
            const struct Node o = j->node[x.a];
            const uint64_t n = j->node[x.b].imm;
            const int32_t rest = !(j->node[o.b].poss >> n & m) ? o.a : !(j->node[o.a].poss >> n & m) ? o.b : -1;
            if (rest >= 0) return make(j, T_LOW, w, x.width, make2(j, T_LSHR, x.width, rest, x.b), -1, -1);
        }
        if (x.op == T_SEXT && x.source >= w) return make(j, T_LOW, w, x.source, x.a, -1, -1);
        if (x.op == T_LOW) return make(j, T_LOW, w, x.width, x.a, -1, -1);
        if (x.op == T_AND && is_const(j, x.b)) return make2(j, T_AND, w, x.a, constant(j, j->node[x.b].imm & m));
        if ((x.op == T_ADD || x.op == T_SUB || x.op == T_MUL) && x.width > w && w >= 8) {
            /* The low bits of a sum need the low bits only. */
            const int32_t p = make(j, T_LOW, w, x.width, x.a, -1, -1);
            return make2(j, x.op, w, p, make(j, T_LOW, w, x.width, x.b, -1, -1));
        }
        if (x.op == T_OR || x.op == T_XOR) {
            if (!(j->node[x.b].poss & m)) return make(j, T_LOW, w, x.width, x.a, -1, -1);
            if (!(j->node[x.a].poss & m)) return make(j, T_LOW, w, x.width, x.b, -1, -1);
        }
        break;
    case T_SELECT:
        if (ca) return x.imm ? b : c;
        if (b == c) return b;
        if (kb && v == 1 && const_is(j, c, 0)) return a;
        if (kb && v == 0 && const_is(j, c, 1)) return make(j, T_NOT, 1, 1, a, -1, -1);
        break;
    default: break;
    }
    const uint64_t poss = possible(j, op, w, s, a, b, c);
    if (!poss) return constant(j, 0);
    return pure_node(j, op, (uint8_t)w, (uint8_t)s, a, b, c, 0, poss);
}
