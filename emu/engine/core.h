/* What the handlers, the memory path and the run loop share; C only. */
#include <stdlib.h>
#include <string.h>

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define PAGE_SIZE 4096u
#define PAGE_MASK 0xfffff000u
#define TLB_SIZE 512u
#define FETCH_SIZE 256u
#define JUMP_SIZE 4096u
#define HASH_SIZE 32768u
#define BLOCK_MAX 64
#define NO_TAG 1u
#define NS_PER_INSN 10u

enum { KIND_BUS = 0, KIND_RAM = 1, KIND_ROM = 2 };
enum { ATT_INTR = 1, ATT_NMI = 2, ATT_STOP = 4, ATT_STEP = 8, ATT_SHADOW = 16, ATT_HALT = 32, ATT_DEBUG = 64 };
/* Bits of lookup_key: what blocks are made for, and that one instruction runs alone. */
enum { KEY_BIG = 1, KEY_USER = 2, KEY_ALONE = 4, KEY_FLAT = 8 };
enum { STOP_STOP = 1, STOP_HOOK = 2, STOP_ERROR = 4, STOP_SHUTDOWN = 8 };
/* Exits of emu_run, as emu.cpu.Exit. */
enum { RUN_BUDGET = 0, RUN_HALT, RUN_SHUTDOWN, RUN_HOOK, RUN_STOP, RUN_ERROR };

/* What a handler returns instead of an instruction when control leaves the block. */
#define EXIT_LOOKUP ((const struct Insn *)1)
#define EXIT_LINK ((const struct Insn *)2)
#define EXIT_FAULT ((const struct Insn *)3)
#define EXIT_DONE ((const struct Insn *)4)
#define EXIT_BUDGET ((const struct Insn *)5)
#define IS_EXIT(p) ((uintptr_t)(p) < 16)

/* Overlays an Insn but for its `fn`, `start` and `next`: the slot behind a lone instruction holds both. */
struct Links {
    const void *fn;
    struct Block *next[3]; /* slot 0 and, beyond start and next, slot 1 */
};

struct Block {
    struct Block *hash_next;
    struct Block *page_next;
    uint32_t eip;
    uint32_t cs_limit;
    uint64_t offset; /* of its first byte in the RAM buffer */
    uint32_t key;    /* CS.D */
    uint16_t n;
    uint16_t bytes;
    struct Insn insn[];
};

struct CodePage {
    struct Block *blocks;
    uint64_t granules; /* 64-byte pieces that hold code */
    uint64_t page;
};

typedef const struct Insn *(*Handler)(struct Cpu *cpu, const struct Insn *i);

/* With a trampoline each handler returns the next instruction: for builds without tail calls. */
#ifdef EMU_TRAMPOLINE
#define GO(p) return (p)
#else
#define GO(p) return (p)->fn(cpu, (p))
#endif
#define NEXT GO(i + 1)

static const struct Insn *op_fault(Cpu *cpu, const struct Insn *i) __attribute__((noinline, cold));
static int mem_slow_read(Cpu *cpu, uint32_t seg, uint32_t off, uint32_t size, uint32_t rmw, uint64_t *v)
    __attribute__((noinline));
static int mem_slow_write(Cpu *cpu, uint32_t seg, uint32_t off, uint32_t size, uint64_t v) __attribute__((noinline));
static void seg_changed(Cpu *cpu, uint32_t seg);
static void mode_changed(Cpu *cpu);
static void debug_changed(Cpu *cpu);
static void tlb_flush(Cpu *cpu, uint32_t global);
static void tlb_flush_page(Cpu *cpu, uint32_t lin);
static int raise_fault(Cpu *cpu, uint32_t vector, uint32_t error);
static int lin_probe_w(Cpu *cpu, uint32_t lin, uint32_t user, uint32_t size);
static int mem_probe_r(Cpu *cpu, uint32_t seg, uint32_t off, uint32_t size);
static int mem_probe_w(Cpu *cpu, uint32_t seg, uint32_t off, uint32_t size);
static uint32_t phys_r32(Cpu *cpu, uint64_t address);
static uint64_t phys_r64(Cpu *cpu, uint64_t address);
static void phys_w32(Cpu *cpu, uint64_t address, uint32_t v);
static void phys_w64(Cpu *cpu, uint64_t address, uint64_t v);
static int port_r(Cpu *cpu, uint32_t port, uint32_t size, uint32_t *v);
static int port_w(Cpu *cpu, uint32_t port, uint32_t size, uint32_t v);
static uint64_t virtual_ns(Cpu *cpu);
static void cpuid_leaf(Cpu *cpu, uint32_t leaf, uint32_t sub, uint32_t *a, uint32_t *b, uint32_t *c, uint32_t *d);
static uint32_t feature_word(Cpu *cpu, uint32_t word);
static void unimplemented(Cpu *cpu, uint32_t kind, uint32_t number);
static void ferr(Cpu *cpu);
static void apic_base_changed(Cpu *cpu, uint32_t base);
static void interrupt_taken(Cpu *cpu, uint32_t vector, uint32_t kind, uint32_t error, uint32_t eip);
static uint32_t bulk_movs(Cpu *cpu, uint32_t seg, uint32_t src, uint32_t dst, uint32_t count, uint32_t size, uint32_t asz);
static uint32_t bulk_stos(Cpu *cpu, uint32_t dst, uint32_t v, uint32_t count, uint32_t size, uint32_t asz);
static uint32_t bulk_ins(Cpu *cpu, uint32_t port, uint32_t dst, uint32_t count, uint32_t size, uint32_t asz);
static uint32_t bulk_outs(Cpu *cpu, uint32_t port, uint32_t seg, uint32_t src, uint32_t count, uint32_t size, uint32_t asz);

#define LIN_ACCESS(W, T)                                                                                                       \
    static int lin_r##W(Cpu *cpu, uint32_t lin, uint32_t user, T *v) __attribute__((unused));                                  \
    static int lin_w##W(Cpu *cpu, uint32_t lin, uint32_t user, T v) __attribute__((unused));
LIN_ACCESS(8, uint32_t)
LIN_ACCESS(16, uint32_t)
LIN_ACCESS(32, uint32_t)
LIN_ACCESS(64, uint64_t)

/* The TLB entry of a linear address at the current privilege; entries are 16 bytes. */
static inline const struct TlbEntry *tlb_at(const Cpu *cpu, uint32_t lin)
{
    return (const struct TlbEntry *)((const char *)cpu->dtlb + ((lin >> 8) & ((TLB_SIZE - 1) << 4)));
}

/* Access through a segment: one compare for the limit, one for the page; an access that crosses pages never matches,
 * because the tag of the next page stands at another index. */
#define MEM_ACCESS(W, T, HOST)                                                                                                 \
    static inline int mem_r##W(Cpu *cpu, uint32_t seg, uint32_t off, T *v)                                                     \
    {                                                                                                                          \
        const uint32_t lin = cpu->seg_base[seg] + off;                                                                         \
        const struct TlbEntry *e = tlb_at(cpu, lin);                                                   \
        if (likely(((lin + (W / 8 - 1)) & PAGE_MASK) == e->rtag) &&                                                            \
            likely((int64_t)((uint64_t)off + (W / 8 - 1)) <= cpu->seg_rlim[seg])) {                                            \
            HOST x;                                                                                                            \
            memcpy(&x, (const void *)(uintptr_t)(e->addend + lin), sizeof x);                                                  \
            *v = x;                                                                                                            \
            return 0;                                                                                                          \
        }                                                                                                                      \
        uint64_t x;                                                                                                            \
        if (mem_slow_read(cpu, seg, off, W / 8, 0, &x)) return 1;                                                              \
        *v = (T)x;                                                                                                             \
        return 0;                                                                                                              \
    }                                                                                                                          \
    static inline int mem_rw##W(Cpu *cpu, uint32_t seg, uint32_t off, T *v)                                                    \
    {                                                                                                                          \
        const uint32_t lin = cpu->seg_base[seg] + off;                                                                         \
        const struct TlbEntry *e = tlb_at(cpu, lin);                                                   \
        if (likely(((lin + (W / 8 - 1)) & PAGE_MASK) == e->wtag) &&                                                            \
            likely((int64_t)((uint64_t)off + (W / 8 - 1)) <= cpu->seg_wlim[seg])) {                                            \
            HOST x;                                                                                                            \
            memcpy(&x, (const void *)(uintptr_t)(e->addend + lin), sizeof x);                                                  \
            *v = x;                                                                                                            \
            return 0;                                                                                                          \
        }                                                                                                                      \
        uint64_t x;                                                                                                            \
        if (mem_slow_read(cpu, seg, off, W / 8, 1, &x)) return 1;                                                              \
        *v = (T)x;                                                                                                             \
        return 0;                                                                                                              \
    }                                                                                                                          \
    static inline int mem_w##W(Cpu *cpu, uint32_t seg, uint32_t off, T v)                                                      \
    {                                                                                                                          \
        const uint32_t lin = cpu->seg_base[seg] + off;                                                                         \
        const struct TlbEntry *e = tlb_at(cpu, lin);                                                   \
        if (likely(((lin + (W / 8 - 1)) & PAGE_MASK) == e->wtag) &&                                                            \
            likely((int64_t)((uint64_t)off + (W / 8 - 1)) <= cpu->seg_wlim[seg])) {                                            \
            const HOST x = (HOST)v;                                                                                            \
            memcpy((void *)(uintptr_t)(e->addend + lin), &x, sizeof x);                                                        \
            return 0;                                                                                                          \
        }                                                                                                                      \
        return mem_slow_write(cpu, seg, off, W / 8, v);                                                                        \
    }
MEM_ACCESS(8, uint32_t, uint8_t)
MEM_ACCESS(16, uint32_t, uint16_t)
MEM_ACCESS(32, uint32_t, uint32_t)
MEM_ACCESS(64, uint64_t, uint64_t)

/* The same for flat segments, inside a handler: a miss starts the general handler from the beginning. */
#define FLAT_ENTRY(W, off)                                                                                                     \
    const uint32_t lin = (off);                                                                                                \
    const struct TlbEntry *e = tlb_at(cpu, lin)
#define FLAT_R(W, tag, general, seg, off, v)                                                                                   \
    do {                                                                                                                       \
        FLAT_ENTRY(W, off);                                                                                                    \
        (void)(seg);                                                                                                           \
        if (unlikely(((lin + (W / 8 - 1)) & PAGE_MASK) != e->tag)) return general(cpu, i);                                     \
        uint##W##_t x;                                                                                                         \
        memcpy(&x, (const void *)(uintptr_t)(e->addend + lin), sizeof x);                                                      \
        (v) = x;                                                                                                               \
    } while (0)
#define FLAT_W(W, general, seg, off, v)                                                                                        \
    do {                                                                                                                       \
        FLAT_ENTRY(W, off);                                                                                                    \
        (void)(seg);                                                                                                           \
        if (unlikely(((lin + (W / 8 - 1)) & PAGE_MASK) != e->wtag)) return general(cpu, i);                                    \
        const uint##W##_t x = (uint##W##_t)(v);                                                                                \
        memcpy((void *)(uintptr_t)(e->addend + lin), &x, sizeof x);                                                            \
    } while (0)

/* Enter a block whose instructions fit the budget. */
static inline const struct Insn *enter_block(Cpu *cpu, struct Block *b)
{
    cpu->left -= b->n;
    GO(b->insn);
}

/* Near transfer to a place known when the block was made: follow the link, or ask the run loop to make one. */
static inline const struct Insn *branch_link(Cpu *cpu, const struct Insn *at, uint32_t start, int slot, uint32_t target)
{
    struct Links *links = (struct Links *)(uintptr_t)at;
    struct Block *b = links->next[2 * slot];
    cpu->eip = target;
    if (likely(b != NULL)) {
        if (unlikely(cpu->left < b->n)) return EXIT_BUDGET;
        return enter_block(cpu, b);
    }
    cpu->link = &links->next[2 * slot];
    cpu->link_start = start;
    return EXIT_LINK;
}

/* Near transfer to a computed place: the jump cache, or the run loop. */
static inline const struct Insn *branch_jump(Cpu *cpu, uint32_t target)
{
    const uint32_t lin = cpu->seg_base[1] + target;
    const struct JumpEntry *e = &cpu->jumps[(lin ^ (lin >> 12)) & (JUMP_SIZE - 1)];
    cpu->eip = target;
    if (likely(e->lin == lin) && likely(e->generation == cpu->generation)) {
        struct Block *b = e->block;
        if (likely(b->eip == target) && likely(b->key == cpu->lookup_key) && likely(b->cs_limit == cpu->seg_limit[1])) {
            if (unlikely(cpu->left < b->n)) return EXIT_BUDGET;
            return enter_block(cpu, b);
        }
    }
    return EXIT_LOOKUP;
}

#define BRANCH(slot, target) return branch_link(cpu, i + 1, i->start, (slot), (target))
#define JUMP(target) return branch_jump(cpu, (target))
#define FALL return branch_link(cpu, i + 1, i->start, 0, i->next)
#define LEAVE_TO(target)                                                                                                       \
    do {                                                                                                                       \
        cpu->eip = (target);                                                                                                   \
        return EXIT_LOOKUP;                                                                                                    \
    } while (0)
#define LEAVE_BLOCK LEAVE_TO(i->next)
#define LEAVE_FAR return EXIT_LOOKUP
