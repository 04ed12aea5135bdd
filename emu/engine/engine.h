/* The whole boundary between Python and C: gcc compiles it, ffi.cdef reads it. Only plain declarations.
 * build.py fills the marked places for one core: the registers of its state.py, and the parts of its members.h. */

struct Cpu;
struct Insn;
struct Block;
struct Jit;
struct JitLink;

/* A decoded instruction. The slot behind the last one of a block holds its links (see struct Links). The members of each
 * core begin with imm and put start and next at bytes 16 and 20. */
struct Insn {
    const struct Insn *(*fn)(struct Cpu *cpu, const struct Insn *i);
    /*INSN_MEMBERS*/
    uint8_t len;
    uint8_t flags;
    uint16_t form;
    uint16_t rest; /* instructions of the block from this one to its end */
};

/* A 32-bit device register that reads the same until the board says otherwise, and does nothing when read. */
struct Steady {
    uint64_t address;
    uint32_t value;
};

/* A byte-wide port of which, until a virtual time, reads give a value and change nothing (1), and writes of that value change
 * nothing (2). Or a double word (4) that counts virtual time: `value` in a second, as far as the mask in `until`. */
struct SteadyPort {
    uint64_t until;
    uint32_t port, value, kind;
};

/* A stretch of guest physical memory: kind 1 RAM, 2 ROM, 0 belongs to the bus. */
struct Region {
    uint64_t base;
    uint64_t size;
    uint64_t offset; /* in the RAM buffer */
    uint32_t kind;
};

/* Soft TLB: a tag is the linear page, 1 where an access must take the slow path. */
struct TlbEntry {
    uint32_t rtag;
    uint32_t wtag;
    uint64_t addend; /* host address minus linear address */
};

/* Tag and frame are also one number, `page`: what code relies on that was made for a place in memory. */
struct FetchEntry {
    uint32_t tag; /* linear page */
    uint32_t frame; /* physical page number, ~0 beside no tag; PowerPC: and the byte order of the page */
    uint64_t offset; /* of the page in the RAM buffer */
};

/* The jump cache. It needs no flush: an entry holds as long as the fetch TLB has its page where it was. */
struct JumpEntry {
    uint64_t page;
    struct Block *block;
    uint32_t lin, spare;
};

/* Memory that a debugger outside watches. */
struct Watch {
    uint32_t at, size;
    uint32_t kind; /* 1 reads, 2 writes */
};

/*TYPES*/

struct Stats {
    uint64_t blocks, decoded, lookups, singles, retries, tlb_fills, tlb_flushes, code_flushes, page_invalidations, interrupts,
        exceptions, mmio_reads, mmio_writes, port_reads, port_writes, jit_traces, jit_insns, jit_bytes, jit_ns, jit_enters,
        jit_deopts, jit_flushes, jit_refused, run_ns, fill_ns;
};

typedef struct Cpu {
    /*STATE_MEMBERS*/

    /* Run control. Retired instructions = icount_end - left. */
    int64_t left;
    uint64_t icount_end;
    uint64_t time_offset;
    uint64_t run_end; /* the instruction count at which emu_run ends at the latest */
    uint64_t idle_until; /* virtual ns up to which a halted processor may jump by itself to what it serves itself */
    uint32_t attention;
    uint32_t running; /* within emu_run */
    uint32_t single; /* running one instruction outside any block */
    uint32_t lookup_key; /* what blocks depend on beside their address, and whether one instruction runs alone */
    struct TlbEntry *dtlb; /* the part of the soft TLB that serves now */
    struct FetchEntry *dfetch;
    struct JumpEntry jumps[32768];
    /*CORE_MEMBERS*/
    uint32_t retry;
    uint32_t exc_vector;
    uint32_t exc_error;
    uint32_t stop_flags; /* 1 stop, 2 hook, 4 error in a callback, 8 shutdown */
    uint32_t hook_value;
    uint32_t delivered;   /* vectors delivered so far */
    uint32_t peeking;     /* a walk that must leave no trace */
    uint32_t walking;     /* a walk for an instruction that does not run alone */
    uint32_t link_start;
    struct Block **link;
    uint32_t story_count;
    uint32_t log_flags; /* 1: report exceptions, interrupts and TLB flushes to on_event */

    uint8_t *ram;
    uint64_t ram_size;
    struct Region regions[64];
    uint32_t region_count;
    struct Steady steady[8];
    uint32_t steady_count;
    struct SteadyPort steady_ports[4];
    uint32_t steady_port_count;
    uint32_t *page_code; /* for each page of the RAM buffer: 0, or 1 + number in code_pages */
    uint64_t page_count;
    struct CodePage *code_pages;
    uint32_t code_page_count;
    uint32_t code_page_limit;
    uint32_t code_page_free; /* 1 + number of the first code page that holds no code any more; `granules` links them */
    struct Block **hash;
    uint8_t *arena;
    uint64_t arena_size;
    uint64_t arena_used;
    struct Insn scratch[68];
    struct Stats stats;
    uint64_t exits[16]; /* 0: something to attend to; 1 to 9: what ended a chain of blocks (EXIT_*); 10 on: what ended emu_run */
    uint32_t timing;    /* measure where the time goes */
    uint32_t block_limit; /* instructions of a block at most, for tests; 0: as many as usual */

    /* A debugger outside, which the guest cannot notice. Addresses are linear. */
    uint32_t breaks[256];
    uint32_t break_count;
    uint32_t magic_break; /* XCHG BX,BX is a breakpoint, too (the x86) */
    uint32_t tell_modes;  /* report each new mode of the processor to on_event, and what it was */
    uint32_t mode_told;
    struct Watch watches[32];
    uint32_t watch_count;
    uint32_t hold;       /* an instruction runs without interrupts */
    uint32_t debug_stop; /* 1: before the instruction of a breakpoint, 2 + n: behind one that met watch n */
    uint64_t break_pass; /* instruction count at which a breakpoint does not stop */

    /* The JIT: none, or on and off. Blocks are translated when they have run jit_threshold times. */
    struct Jit *jit;
    uint32_t jit_on;
    uint32_t jit_threshold;
    uint32_t jit_perf; /* name the code for perf(1) */
    uint64_t jit_size; /* bytes of code; 0: as many as usual */
    struct JitLink *jit_link;
    uint64_t jit_args[6], jit_results[4]; /* of a function that a trace calls */
    uint64_t jit_value; /* of an access that takes the slow path, with its place and kind */
    uint32_t jit_offset;
    uint32_t jit_access;
    /* Traces with the guest's floating-point control: units in force, the host's control, a word to work with, the x87
     * status before a conversion, and whether that conversion was for nothing. */
    uint32_t jit_float, jit_host_mxcsr, jit_host_fcw, jit_float_word, jit_fsw, jit_float_undo;

    void *handle;
    uint32_t (*port_read)(void *handle, uint32_t port, uint32_t size);
    void (*port_write)(void *handle, uint32_t port, uint32_t size, uint32_t value);
    uint32_t (*mmio_read)(void *handle, uint64_t address, uint32_t size);
    void (*mmio_write)(void *handle, uint64_t address, uint32_t size, uint32_t value);
    uint32_t (*acknowledge)(void *handle);
    uint32_t (*port_read_block)(void *handle, uint32_t port, uint32_t size, uint32_t count, uint8_t *data);
    uint32_t (*port_write_block)(void *handle, uint32_t port, uint32_t size, uint32_t count, const uint8_t *data);
    void (*event)(void *handle, uint32_t kind, uint32_t a, uint32_t b);
} Cpu;

Cpu *emu_new(uint64_t arena_size);
void emu_free(Cpu *cpu);
int emu_attach_ram(Cpu *cpu, uint8_t *ram, uint64_t size);
void emu_remap(Cpu *cpu);
int emu_run(Cpu *cpu, int64_t budget);
uint64_t emu_icount(const Cpu *cpu);
uint64_t emu_now(Cpu *cpu);
void emu_stop(Cpu *cpu, uint32_t flags);
void emu_stop_at(Cpu *cpu, uint64_t deadline);
int emu_step(Cpu *cpu);
int emu_jit(Cpu *cpu, uint32_t on);
uint64_t emu_jit_nodes(Cpu *cpu, char *out, uint64_t size, uint8_t *code, uint64_t room, uint64_t *lengths);
int emu_jit_perf(Cpu *cpu);
uint32_t emu_jit_heads(Cpu *cpu, uint32_t *out, uint32_t room);
const uint8_t *emu_jit_code(Cpu *cpu, uint64_t *size);
void emu_debug_changed(Cpu *cpu);
void emu_invalidate(Cpu *cpu, uint64_t address, uint64_t size);
int emu_translate(Cpu *cpu, uint32_t lin, uint64_t *physical);
void emu_refresh(Cpu *cpu);
const char *emu_form_name(uint32_t form);
const char *emu_build_digest(void);
/*FUNCTIONS*/
