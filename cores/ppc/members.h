/* What the PowerPC core adds to engine.h, in the places that the headings name. */

/*INSN_MEMBERS*/
    uint32_t imm; /* the signed or shifted immediate, if the form has one */
    uint32_t word;
    uint32_t start;
    uint32_t next;
    uint8_t a; /* bits 6-10 */
    uint8_t b; /* bits 11-15 */
    uint8_t c; /* bits 16-20 */
    uint8_t d; /* bits 21-25 */
    uint8_t e; /* bits 26-30 */

/*TYPES*/
struct ExceptionRecord {
    uint64_t icount;
    uint32_t vector, error, kind, pc, msr, dear;
};

/*CORE_MEMBERS*/
    /* Soft TLB: 16 spaces of 256 pages. A space is one setting of the PIDs, address space and privilege. */
    uint32_t space;
    uint32_t space_next;
    uint64_t space_key[16];
    struct TlbEntry tlb[4096];
    struct TlbEntry missing[256]; /* never hits: while data accesses are watched */
    uint32_t ctag[4096];  /* beside each entry: the page if it is writable RAM, though it may hold code */
    uint32_t frame[4096]; /* and its physical page number */
    struct FetchEntry fetch[4096]; /* 256 for each space; bit 31 of frame: the page is little-endian */
    uint32_t debugging; /* what proc_debug_mode said */
    uint32_t line_size; /* bytes that dcbz clears */
    uint64_t tb_num, tb_den; /* ticks of the time base per nanosecond */
    uint64_t timers_due; /* virtual ns of the next event of the timers; all ones: none */
    uint32_t timers_inner; /* a board's clock is attached: a run serves the timers by itself */
    uint32_t timers_moved; /* `timers_due` is another since the clock was told */
    uint64_t page_writes; /* translations forgotten because a TLB entry was written */
    uint64_t space_switches, space_evictions; /* of the soft TLB: to another space, and those that had to make one new */
    struct ExceptionRecord story[16];

/*FUNCTIONS*/
void emu_reset(Cpu *cpu);
void emu_set_pins(Cpu *cpu, uint32_t pins);
void emu_timers_tick(Cpu *cpu);
void emu_timers_plan(Cpu *cpu);
void emu_put_msr(Cpu *cpu, uint32_t value);
int emu_stuck(Cpu *cpu);
int emu_decode(Cpu *cpu, uint32_t word, uint32_t pc, struct Insn *out);
