/* The PowerPC core's part of core.h: where code is, the memory fast path, and what bodies call. C only. */

#define IP pc
#define SPACES 16u
#define TLB_SIZE 256u
#define FETCH_SIZE 256u
#define LITTLE_FRAME 0x80000000u
#define RUN_BEGINS(cpu) timers_wait(cpu)
#define RUN_GOES_ON(cpu) timers_go_on(cpu)

/* Bits of lookup_key beside KEY_ALONE. */
enum { KEY_LITTLE = 8 };
enum { RIGHT_STORE = 1, RIGHT_LITTLE = 2, RIGHT_INHIBITED = 4, RIGHT_SMALL = 16 };
/* External: in the context of EPLC or EPSC; the privilege is theirs, too. */
enum { ACCESS_STORE = 1, ACCESS_USER = 2, ACCESS_FETCH = 4, ACCESS_EXTERNAL = 8 };
enum { ESR_STORE = 1 << 23, ESR_EXTERNAL = 1 << 16 };
enum { IVOR_EXTERNAL = 4, IVOR_ALIGNMENT = 5, IVOR_PROGRAM = 6, IVOR_MACHINE_CHECK = 1, IVOR_DATA_STORAGE = 2, IVOR_DATA_TLB = 13, IVOR_DEBUG = 15, IVOR_NONE = 0xff };

static inline uint64_t on_bus(const Cpu *cpu, uint64_t address)
{
    (void)cpu;
    return address;
}
static inline uint32_t code_linear(const Cpu *cpu, uint32_t pc)
{
    (void)cpu;
    return pc;
}
static inline uint32_t code_limit(const Cpu *cpu)
{
    (void)cpu;
    return 0xffffffffu;
}
static inline int same_code(const Cpu *cpu, const struct Block *b) { return b->key == cpu->lookup_key; }
static inline uint32_t page_key(const struct FetchEntry *f) { return f->frame & LITTLE_FRAME ? KEY_LITTLE : 0; }

static int mem_slow_read(Cpu *cpu, uint32_t ea, uint32_t size, uint64_t *v) __attribute__((noinline));
static int mem_slow_write(Cpu *cpu, uint32_t ea, uint32_t size, uint64_t v) __attribute__((noinline));
static int mem_probe_r(Cpu *cpu, uint32_t ea);
static int mem_probe_w(Cpu *cpu, uint32_t ea);
static int physical(Cpu *cpu, uint32_t ea, uint64_t *at);
static int still_holds(Cpu *cpu, uint32_t ea, uint64_t granule, uint32_t v, uint32_t *same);
static int zero_line(Cpu *cpu, uint32_t ea);
static int code_line(Cpu *cpu, uint32_t ea);
static int external_read(Cpu *cpu, uint32_t ea, uint32_t size, uint64_t *v);
static int external_write(Cpu *cpu, uint32_t ea, uint32_t size, uint64_t v);
static int external_probe(Cpu *cpu, uint32_t ea);
static int external_zero(Cpu *cpu, uint32_t ea);
static void context_synchronize(Cpu *cpu);
static int raise_interrupt(Cpu *cpu, uint32_t ivor, uint32_t esr);
static void mode_changed(Cpu *cpu);
static void tlb_forget(Cpu *cpu, uint32_t ea, uint32_t mask);
static uint64_t time_base(Cpu *cpu);
static void timers_changed(Cpu *cpu);
static uint32_t dcr_r(Cpu *cpu, uint32_t number);
static void dcr_w(Cpu *cpu, uint32_t number, uint32_t v);
static uint32_t acknowledge(Cpu *cpu);
static void reset_request(Cpu *cpu, uint32_t kind);

static inline const struct TlbEntry *tlb_at(const Cpu *cpu, uint32_t ea)
{
    return (const struct TlbEntry *)((const char *)cpu->dtlb + ((ea >> 8) & ((TLB_SIZE - 1) << 4)));
}

#define SWAP8(x) (x)
#define SWAP16(x) __builtin_bswap16(x)
#define SWAP32(x) __builtin_bswap32(x)
#define SWAP64(x) __builtin_bswap64(x)

/* One compare for the page; an access that crosses pages never matches, because the tag of the next page stands at another
 * index. Little-endian pages have no tags. */
#define MEM_ACCESS(W, T)                                                                                                       \
    static inline int mem_r##W(Cpu *cpu, uint32_t ea, T *v)                                                                    \
    {                                                                                                                          \
        const struct TlbEntry *e = tlb_at(cpu, ea);                                                                            \
        if (likely(((ea + (W / 8 - 1)) & PAGE_MASK) == e->rtag)) {                                                             \
            uint##W##_t x;                                                                                                     \
            memcpy(&x, (const void *)(uintptr_t)(e->addend + ea), sizeof x);                                                   \
            *v = SWAP##W(x);                                                                                                   \
            return 0;                                                                                                          \
        }                                                                                                                      \
        uint64_t x;                                                                                                            \
        if (mem_slow_read(cpu, ea, W / 8, &x)) return 1;                                                                       \
        *v = (T)x;                                                                                                             \
        return 0;                                                                                                              \
    }                                                                                                                          \
    static inline int mem_w##W(Cpu *cpu, uint32_t ea, T v)                                                                     \
    {                                                                                                                          \
        const struct TlbEntry *e = tlb_at(cpu, ea);                                                                            \
        if (likely(((ea + (W / 8 - 1)) & PAGE_MASK) == e->wtag)) {                                                             \
            const uint##W##_t x = SWAP##W((uint##W##_t)v);                                                                     \
            memcpy((void *)(uintptr_t)(e->addend + ea), &x, sizeof x);                                                         \
            return 0;                                                                                                          \
        }                                                                                                                      \
        return mem_slow_write(cpu, ea, W / 8, v);                                                                              \
    }
MEM_ACCESS(8, uint32_t)
MEM_ACCESS(16, uint32_t)
MEM_ACCESS(32, uint32_t)
MEM_ACCESS(64, uint64_t)
