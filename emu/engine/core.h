/* What the handlers, the memory path and the run loop share; C only. The core's own core.h follows and says what its
 * instruction pointer (IP) and its kinds of code are. */
#include <stdlib.h>
#include <string.h>

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define PAGE_SIZE 4096u
#define PAGE_MASK 0xfffff000u
#define JUMP_SIZE 32768u
#define TRACE_JUMPS 8192u
#define HASH_SIZE 131072u
#define BLOCK_MAX 64
#define NO_TAG 1u
#define NS_PER_INSN 10u

enum { KIND_BUS = 0, KIND_RAM = 1, KIND_ROM = 2 };
enum { ATT_INTR = 1, ATT_NMI = 2, ATT_STOP = 4, ATT_STEP = 8, ATT_SHADOW = 16, ATT_HALT = 32, ATT_DEBUG = 64 };
/* The bit of lookup_key that says one instruction runs alone; the others are the core's. No lookup has the key of a block
 * that is forgotten. */
enum { KEY_ALONE = 4 };
#define KEY_FORGOTTEN 0xffffffffu
enum { STOP_STOP = 1, STOP_HOOK = 2, STOP_ERROR = 4, STOP_SHUTDOWN = 8 };
/* Exits of emu_run, as emu.cpu.Exit. */
enum { RUN_BUDGET = 0, RUN_HALT, RUN_SHUTDOWN, RUN_HOOK, RUN_STOP, RUN_ERROR };

/* What a handler returns instead of an instruction when control leaves the block. */
#define EXIT_LOOKUP ((const struct Insn *)1)
#define EXIT_LINK ((const struct Insn *)2)
#define EXIT_FAULT ((const struct Insn *)3)
#define EXIT_DONE ((const struct Insn *)4)
#define EXIT_BUDGET ((const struct Insn *)5)
#define EXIT_COLD ((const struct Insn *)6) /* the block here must be interpreted: the budget is too small for its trace */
#define EXIT_HOT ((const struct Insn *)7)  /* the block here is worth translating */
#define EXIT_JIT ((const struct Insn *)8)  /* a trace ended in a place that may have one */
#define EXIT_MISS ((const struct Insn *)9)  /* a trace took something for granted that is not so */
#define EXITS_OF_RUN 10 /* where in `exits` those of emu_run begin */
#define IS_EXIT(p) ((uintptr_t)(p) < 16)

/* Overlays an Insn but for its `fn`, `start` and `next`: the slot behind a lone instruction holds both. */
struct Links {
    const void *fn;
    struct Block *next[3]; /* slot 0 and, beyond start and next, slot 1 */
};

typedef const struct Insn *(*Handler)(struct Cpu *cpu, const struct Insn *i);

struct Trace;
struct PageTrace;

/* Where the trace of an address begins, for jumps to computed places. Everything that a block depends on lies beside it. */
struct JitJump {
    uint64_t page;
    uint32_t lin, key, limit, base;
    const uint8_t *entry;
};

struct Block {
    struct Block *hash_next;
    struct Block *page_next;
    const uint8_t *entry; /* of its trace */
    struct Trace *trace;
    struct JitJump *jump; /* the place of its trace in the table of jumps, unless another has it now */
    Handler first; /* the handler of its first instruction, which a trace replaces */
    uint32_t plain; /* PLAIN_*: what its trace shall not take for granted */
    uint32_t apart[2]; /* first instructions of groups that its trace shall not make; 0: none */
    uint32_t heat, heat_start; /* it is worth a trace when `heat` has counted down */
    uint32_t ip;
    uint32_t limit; /* of the code segment, where there are such */
    uint64_t offset; /* of its first byte in the RAM buffer */
    uint32_t key;    /* lookup_key when it was made, or KEY_FORGOTTEN */
    uint16_t n;
    uint16_t bytes;
    struct Insn insn[];
};

struct CodePage {
    struct Block *blocks;
    struct PageTrace *traces;
    uint64_t granules; /* 64-byte pieces that hold code */
    uint64_t page;
};

/* With a trampoline each handler returns the next instruction: for builds without tail calls. */
#ifdef EMU_TRAMPOLINE
#define GO(p) return (p)
#else
#define GO(p) return (p)->fn(cpu, (p))
#endif
#define NEXT GO(i + 1)

static const struct Insn *op_fault(Cpu *cpu, const struct Insn *i) __attribute__((noinline, cold));
static void jit_flush(Cpu *cpu);
static void jit_forget_page(struct CodePage *p);
static void jit_free(Cpu *cpu);
static uint64_t virtual_ns(Cpu *cpu);
static void unimplemented(Cpu *cpu, uint32_t kind, uint32_t number);

_Static_assert(offsetof(struct Insn, start) == 16 && offsetof(struct Insn, next) == 20, "struct Links lies over these");
