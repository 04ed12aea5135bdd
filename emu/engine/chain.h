/* How control goes from block to block without the run loop; C only, behind the core's own core.h. */

/* Host time in ns, where somebody wants to know where it goes: --stats. */
static inline uint64_t clock_start(const Cpu *cpu)
{
    struct timespec t;
    if (likely(!cpu->timing)) return 0;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline void clock_add(const Cpu *cpu, uint64_t from, uint64_t *sum)
{
    if (unlikely(from)) *sum += clock_start(cpu) - from;
}

/* Where the fetch TLB has the page of an address, if it has it. */
static inline struct FetchEntry *fetch_at(const Cpu *cpu, uint32_t lin) { return &cpu->dfetch[(lin >> 12) & (FETCH_SIZE - 1)]; }
static inline uint32_t fetch_tag(uint32_t lin) { return lin & PAGE_MASK; }
static inline uint64_t fetch_page(const struct FetchEntry *f) { return (uint64_t)f->frame << 32 | f->tag; }

static inline void fetch_drop(struct FetchEntry *f)
{
    f->tag = NO_TAG;
    f->frame = ~0u;
}

/* Enter a block whose instructions fit the budget, unless it has just become hot. */
static inline const struct Insn *enter_block(Cpu *cpu, struct Block *b)
{
    if (unlikely(!--b->heat)) return EXIT_HOT;
    cpu->left -= b->n;
    GO(b->insn);
}

#ifdef FETCH_PAIRS
/* What was there becomes the second of its pair, and the second comes to the front. */
static void fetch_swap(Cpu *cpu, uint32_t k)
{
    const struct FetchEntry first = cpu->fetch[k];
    const uint8_t global = cpu->fetch_global[k];
    cpu->fetch[k] = cpu->fetch_second[k];
    cpu->fetch_global[k] = cpu->second_global[k];
    cpu->fetch_second[k] = first;
    cpu->second_global[k] = global;
}

/* A jump to a page that is the second of its pair. It comes to the front only if the block is entered now. */
static __attribute__((noinline)) const struct Insn *branch_second(Cpu *cpu, const struct JumpEntry *e, uint32_t target)
{
    const uint32_t lin = code_linear(cpu, target), k = (uint32_t)(fetch_at(cpu, lin) - cpu->fetch);
    struct Block *b = e->block;
    if (e->page != fetch_page(&cpu->fetch_second[k]) || b->ip != target || !same_code(cpu, b)) return EXIT_LOOKUP;
    if (cpu->left < b->n || b->heat == 1) return EXIT_LOOKUP;
    fetch_swap(cpu, k);
    return enter_block(cpu, b);
}
#endif

/* Near transfer to a computed place: the jump cache, or the run loop. */
static inline const struct Insn *branch_jump(Cpu *cpu, uint32_t target)
{
    const uint32_t lin = code_linear(cpu, target);
    const struct JumpEntry *e = &cpu->jumps[(lin ^ (lin >> 12)) & (JUMP_SIZE - 1)];
    cpu->IP = target;
    if (likely(e->lin == lin) && likely(e->page == fetch_page(fetch_at(cpu, lin)))) {
        struct Block *b = e->block;
        if (likely(b->ip == target) && likely(same_code(cpu, b))) {
            if (unlikely(cpu->left < b->n)) return EXIT_BUDGET;
            return enter_block(cpu, b);
        }
#ifdef FETCH_PAIRS
    } else if (e->lin == lin && fetch_at(cpu, lin)->tag != fetch_tag(lin)) {
        return branch_second(cpu, e, target);
#endif
    }
    return EXIT_LOOKUP;
}

/* Links lead to blocks of the same page only: the next page may be another one tomorrow. */
static __attribute__((noinline)) const struct Insn *branch_away(Cpu *cpu, uint32_t target) { return branch_jump(cpu, target); }

/* Near transfer to a place known when the block was made: follow the link, or ask the run loop to make one. */
static inline const struct Insn *branch_link(Cpu *cpu, const struct Insn *at, uint32_t start, int slot, uint32_t target)
{
    struct Links *links = (struct Links *)(uintptr_t)at;
    struct Block *b = links->next[2 * slot];
    cpu->IP = target;
    if (likely(b != NULL)) {
        if (unlikely(cpu->left < b->n)) return EXIT_BUDGET;
        return enter_block(cpu, b);
    }
    if (unlikely((code_linear(cpu, target) ^ code_linear(cpu, start)) & PAGE_MASK)) return branch_away(cpu, target);
    cpu->link = &links->next[2 * slot];
    cpu->link_start = start;
    return EXIT_LINK;
}

#define BRANCH(slot, target) return branch_link(cpu, i + 1, i->start, (slot), (target))
#define JUMP(target) return branch_jump(cpu, (target))
#define FALL return branch_link(cpu, i + 1, i->start, 0, i->next)
#define LEAVE_TO(target)                                                                                                       \
    do {                                                                                                                       \
        cpu->IP = (target);                                                                                                   \
        return EXIT_LOOKUP;                                                                                                    \
    } while (0)
#define LEAVE_BLOCK LEAVE_TO(i->next)
#define LEAVE_FAR return EXIT_LOOKUP
