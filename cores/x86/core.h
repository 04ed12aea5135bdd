/* The x86 core's part of core.h: where code is, the memory fast path, and what bodies call. C only. */

#define IP eip
#define TLB_SIZE 512u
#define FETCH_SIZE 512u
#define FETCH_PAIRS 1
#define LOCALS 2048u
#define LENT_DEVICE 1
#define RUN_BEGINS(cpu) apic_run(cpu)
#define RUN_GOES_ON(cpu) apic_goes_on(cpu)

/* Bits of lookup_key beside KEY_ALONE. */
enum { KEY_BIG = 1, KEY_USER = 2, KEY_FLAT = 8 };

/* The address that leaves the processor: bit 20 may be gated. */
static inline uint64_t on_bus(const Cpu *cpu, uint64_t address)
{
    return address & (cpu->a20_mask | 0xffffffff00000000ull);
}

static inline uint32_t code_linear(const Cpu *cpu, uint32_t eip) { return cpu->seg_base[1] + eip; }
static inline uint32_t code_limit(const Cpu *cpu) { return cpu->seg_limit[1]; }
/* Whether a block was made for the mode of now. */
static inline int same_code(const Cpu *cpu, const struct Block *b)
{
    return b->key == cpu->lookup_key && b->limit == cpu->seg_limit[1];
}
/* What blocks of this page are told apart by beside lookup_key. */
static inline uint32_t page_key(const struct FetchEntry *f)
{
    (void)f;
    return 0;
}

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
static void cpuid_leaf(Cpu *cpu, uint32_t leaf, uint32_t sub, uint32_t *a, uint32_t *b, uint32_t *c, uint32_t *d);
static uint32_t feature_word(Cpu *cpu, uint32_t word);
static int apic_write(Cpu *cpu, uint64_t address, uint32_t size, uint64_t v);
static int blk_write(Cpu *cpu, uint64_t address, uint32_t size, uint64_t v);
static int net_write(Cpu *cpu, uint64_t address, uint32_t size, uint64_t v);
static void apic_request(Cpu *cpu, uint32_t vector);
static void lent_wait(Cpu *cpu, uint64_t now_icount);
static void ferr(Cpu *cpu);
static inline uint32_t x87_unseen(void) { return 0; }
static void apic_base_changed(Cpu *cpu, uint32_t base);
static void tsc_deadline_changed(Cpu *cpu, uint64_t deadline);
static void interrupt_coming(Cpu *cpu, uint32_t vector, uint32_t kind, uint32_t error, uint32_t eip);
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
