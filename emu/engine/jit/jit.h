/* The JIT's intermediate representation: a trace is one row of nodes. Included behind the core's templates.
 *
 * A node is a pure operation on earlier nodes (T_* of the templates), a leaf, or an effect, in the order of the guest.
 * Values are unsigned and always zero-extended to 64 bits, so that widening costs nothing; `width` is the width in which
 * an operation wraps. */

enum {
    N_CONST = 64,
    N_GET,      /* slot `imm` as it was when the trace began, or behind a handler */
    N_BIT,      /* bit `imm` of a */
    N_LOAD,     /* a: offset; imm: what jit_access says */
    N_STORE,    /* a: offset, b: value */
    N_COMMIT,   /* slot `imm` is a from here on */
    N_EXIT_IF,  /* a: condition; the branch to `imm` is taken, and leaves the trace; c: exit */
    N_RETRY_IF, /* a: condition; the interpreter does this instruction */
    N_GUARD,    /* the page of `imm` must still be where it was; with b = 1 the one behind it */
    N_EXPECT,   /* a: target; leaves the trace unless it is `imm` */
    N_HANDLER,  /* call the interpreter's handler of instruction `imm` */
    N_LOOP,     /* back to the beginning, at `imm` */
    N_GOTO,     /* on to `imm` */
    N_JUMP,     /* on to a */
    N_LEAVE,    /* the interpreter goes on at `imm` */
    N_FLOAT,    /* the guest's floating-point control is in force in unit `imm` of the host */
    N_CALL,     /* function c with the b arguments from `imm` on */
    N_RESULT,   /* result `imm` of call a */
    N_BASE,     /* host address of a + imm, where b bytes from there lie in one page */
};

#define JIT_NODES 6000
#define JIT_SNAPS 24000
#define JIT_INSNS 192
#define JIT_BLOCKS 48
#define JIT_PAGES 8
#define JIT_HASH 2048
#define JIT_UNROLL 48u
#define JIT_ARGS 4096
#define JIT_STORED 16
#define JIT_EXITS 512u
#define JIT_FIXES 4096u
#define JIT_STREAM (1 << 18)
#define JIT_TRACES 65536u
#define JIT_LINKS 262144u
#define JIT_COPIES 65536u
#define SPILLS 96 /* words for values that have no register */
/* What a trace takes for granted: that a group of accesses lies in one page, that the x87 stack is where it was, that what
 * is stored and loaded again is RAM. Of the stack it is given up when it was wrong twice. */
enum { PLAIN_GROUPS = 1, PLAIN_STACK = 2, PLAIN_STACK_ONCE = 4, PLAIN_FORWARD = 8 };
#define NOWHERE (-1)

struct Node {
    uint8_t op, width, source; /* source: width of the operands where it is not the result's */
    uint8_t strong;            /* computed where it stands; else only in exits that want it */
    int32_t a, b, c;
    uint64_t imm;
    uint64_t poss; /* bits that may be set */
    int32_t chain; /* of the hash */
    int32_t snap;  /* effects that may leave: slots to bring home */
    uint32_t insn; /* effects: number of the instruction in the trace */
    int32_t last;  /* position of the last use */
    int32_t commit, commit_slot; /* where it first becomes the value of a pinned slot */
    int32_t host;  /* where its code begins */
    int16_t reg, spill, uses;
    int8_t xmm;
    int32_t passed; /* a condition: the retry that let it pass */
    int32_t wide; /* part of a binary64 (2 * node + 2) or binary32 (2 * node + 3) in 80 bits that is zero or normal */
    uint8_t fold;
    uint8_t sure; /* a store to RAM, for its value was passed on */
    uint8_t late; /* left to the exits that want it: a status word, a commit that another one follows */
};

/* Slots that differ from their homes at one moment. */
struct Snap {
    uint32_t first, count;
};

struct SnapEntry {
    int32_t slot, node;
};

struct Trace {
    struct Trace *next;
    struct Block *head;
    const uint8_t *entry; /* in the executable view */
    uint32_t size;
    uint32_t total; /* instructions; they are paid for at the entry */
    uint8_t dead, loops;
    uint32_t misses;
    uint64_t missed; /* instruction count of the last miss */
    struct JitLink *incoming;
};

/* A store whose bytes nothing has changed since. */
struct Stored {
    int32_t base, at, size; /* a common value and a constant: where; bytes */
    int32_t value, node;
};

/* A code page's list of traces that hold code of it. */
struct PageTrace {
    struct PageTrace *next;
    struct Trace *trace;
};

/* A way out of a trace to a fixed address. The code jumps through `to`: the way to the run loop until the trace of that
 * address is known. */
struct JitLink {
    const uint8_t *to, *unlinked;
    struct JitLink *next; /* of those that lead to the same trace */
    uint32_t ip, cold;
    int32_t at;
};

struct JitFix {
    int64_t target;
    int32_t at;
    uint8_t cold, kind;
};

struct Jit {
    struct JitJump jump[TRACE_JUMPS];
    struct CodeBuffer code;
    const uint8_t *enter, *leave, *leave_plain, *float_on[2], *float_off, *slow_read, *slow_write, *indirect, *call, *fill;
    struct Trace *traces;
    struct PageTrace *page_traces;
    uint32_t trace_count, page_trace_count;
    struct JitLink *link_pool, *link;
    struct Insn *copy_pool, *copy;
    uint32_t link_used, copy_used;
    uint32_t features; /* of the host */
    uint64_t code_start;

    /* The trace being made. */
    struct Node node[JIT_NODES];
    int32_t hash[JIT_HASH];
    struct Snap snap[JIT_NODES];
    struct SnapEntry entry[JIT_SNAPS];
    int32_t nodes, steps, snaps, entries; /* steps: nodes of the trace proper */
    int plain; /* PLAIN_*: what is not taken for granted */
    uint32_t apart[2]; /* the head's */
    int32_t map[SLOT_COUNT]; /* node of each slot, -1: not known */
    uint8_t dirty[SLOT_COUNT];
    int32_t dirty_list[SLOT_COUNT], dirty_count;
    int32_t pending[SLOT_COUNT], pending_list[SLOT_COUNT], pending_count;
    const struct Insn *insn[JIT_INSNS];
    uint32_t insns;
    struct Insn cross[JIT_PAGES]; /* instructions that lie in two pages, and so in no block */
    uint32_t crossed;
    struct Block *block[JIT_BLOCKS];
    uint32_t caller[JIT_BLOCKS];
    uint32_t blocks, total, head_ip, key, model;
    uint32_t callers[16], depth; /* return addresses of calls within the trace */
    uint32_t page[JIT_PAGES]; /* linear pages known to be in place */
    uint32_t page_index[JIT_PAGES];
    uint32_t pages;
    int32_t arg[JIT_ARGS], args;
    uint32_t top; /* of the x87 stack when the trace was made */
    uint8_t float_ready, float_usable; /* units: in force here, of use to this trace */
    struct Stored stored[JIT_STORED]; /* oldest first, all of one base */
    uint32_t stores;
    int32_t start_snap; /* of the instruction in hand, -1: not made yet */
    uint32_t now;       /* number of the instruction in hand */
    int failed;

    /* One instruction's expansion. */
    int32_t value[1024];
    uint8_t value_width[1024];
    uint32_t values;
    int32_t var[64];
    int32_t branch_cond, branch_target;
    int branch_fixed, finished;

    /* Emission. */
    struct Emit hot, cold;
    uint8_t *hot_base, *cold_base;
    int32_t next_exit[JIT_NODES];
    int32_t owner[16];  /* node in each host register, -1: free */
    int16_t pin_slot[16]; /* slot that a host register is pinned to, -1: none */
    int8_t slot_pin[SLOT_COUNT];
    int32_t pin_owner[16];
    uint32_t locked; /* registers that must not be taken now */
    int32_t spill_node[SPILLS];
    int32_t xmm_owner[16]; /* node in each xmm register, -1: free */
    uint32_t xmm_locked;
    uint32_t float_store; /* 1 + instruction that converts what it stores */
    int32_t at; /* position */
    struct JitFix fix[JIT_FIXES];
    uint32_t fixes, links, copies;
    int32_t loop_top, site, sites;
    int homing;
    Handler block_first[JIT_INSNS];
};

/* The code of an exit while it is made. */
struct Stub {
    struct Jit *j;
    int8_t saved[8]; /* spill slot of what a register held, -1 */
    uint32_t busy;
};

static void stub_value(struct Stub *s, int32_t n, int dst);
static int32_t new_node(struct Jit *j, uint8_t op, uint8_t width, uint8_t source, int32_t a, int32_t b, int32_t c, uint64_t imm);
static int32_t constant(struct Jit *j, uint64_t v);
static int32_t make(struct Jit *j, uint8_t op, uint32_t w, uint32_t s, int32_t a, int32_t b, int32_t c);
static inline int32_t make2(struct Jit *j, uint8_t op, uint32_t w, int32_t a, int32_t b);

/* An address eight bits down: its page number above, what the mask of the TLB cuts off below. */
static void jit_page_index(const struct Jit *j, struct Emit *e, int dst, int address)
{
    if (j->features & HOST_BMI2) {
        x_rorx(e, 4, dst, address, 8);
    } else {
        x_mov_rr(e, 4, dst, address);
        x_shift_ri(e, X_SHR, 4, dst, 8);
    }
}
