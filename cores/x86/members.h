/* What the x86 core adds to engine.h, in the places that the headings name. */

/*INSN_MEMBERS*/
    uint32_t imm;
    uint32_t disp;
    uint32_t start;
    uint32_t next;
    uint32_t eamask;
    uint16_t imm2;
    uint16_t fop;
    uint8_t reg;
    uint8_t rm;
    uint8_t base;
    uint8_t index;
    uint8_t scale;
    uint8_t seg;

/*TYPES*/
struct CpuidLeaf {
    uint32_t leaf, subleaf, eax, ebx, ecx, edx;
};

struct ExceptionRecord {
    uint64_t icount;
    uint32_t vector, error, cs, eip, kind, cr2;
};

/* The state of the local APIC while it is lent to the processor. Times are virtual ns. */
struct ApicLoan {
    uint32_t lent;
    uint32_t moved; /* `armed` is another since the board's clock was told */
    uint64_t base;  /* of the page */
    uint64_t irr[4], isr[4], tmr[4];
    uint32_t tpr, lvt_timer, tmict, divisor, counting;
    int64_t started;
    int64_t armed; /* -1: not */
};

/* A disk's data for a host that polls, while they are lent to the processor: the data port, the status seven ports on, and the
 * alternate status. Each block that has been read is an interrupt pending, which a look at the status ends. */
struct PioLoan {
    const uint8_t *data; /* NULL: not lent */
    uint32_t port, control, at, end, block, status, pending;
};

/* A split ring of a virtio device while it is lent to the processor: where it is, and how far (ring.c). */
struct LentRing {
    uint64_t bell; /* physical address */
    uint64_t desc, driver, device;
    uint32_t size, vector, event_index, indirect, next, used, signalled, fresh;
    int32_t asked; /* the chain for which the driver shall ring, -1: not said yet */
};

struct RingSegment {
    uint64_t address, length;
};

/* A request that the host has performed. `seg` are its writable buffers; the status is the last byte of them. */
struct BlkRequest {
    uint64_t due;
    uint32_t head, kind, room, length, segments; /* kind 0 reads, 1 writes */
    struct RingSegment *seg;
    uint8_t *data;
};

/* The queue of a disk while it is lent to the processor. Times are virtual ns. */
struct BlkLoan {
    uint32_t lent;
    uint32_t moved; /* the first request is another since the board's clock was told */
    int fd;
    uint64_t file_length, write_from; /* bytes; nothing in front of write_from is written here */
    struct LentRing ring;
    uint64_t transfer_end, access, bytes_per_ns;
    uint64_t count; /* requests taken */
    uint64_t moved_by_kind[2][3]; /* of reads and of writes among them: number, bytes, ns */
    uint32_t inflight;
    struct BlkRequest *requests[256]; /* in the order in which they complete */
};

struct Wire;

/* What came from outside; the frame follows, up to a multiple of eight bytes. */
struct NetArrival {
    uint64_t icount, time;
    uint32_t length, spare;
};

/* A network card while it is lent to the processor. Times are virtual ns, -1 for never. */
struct NetLoan {
    uint32_t lent;
    uint32_t moved; /* `sending` is another since the board's clock was told */
    uint32_t stuck; /* what is due is not for the processor */
    uint32_t header, merge, csum, tso, marks, large, promiscuous;
    uint8_t mac[6];
    struct LentRing rx, tx;
    struct Wire *wire;
    int64_t gather;   /* from the bell to the sending */
    int64_t sending;  /* what the driver has rung for */
    int64_t arriving; /* what waits at the wire */
    int64_t look;     /* when to look for more */
    uint8_t *arrivals;
    uint64_t kept, kept_room; /* bytes of them */
    uint8_t frame[65536 + 64];
};

/*CORE_MEMBERS*/
    uint32_t big; /* CS.D */
    int64_t seg_rlim[8]; /* last offset of the fast path, -1 for none */
    int64_t seg_wlim[8];
    struct TlbEntry tlb[1024]; /* 512 for the supervisor, 512 for the user */
    uint32_t ctag[1024];       /* beside each: the page if it is writable RAM, though it may hold code */
    uint32_t frame[1024];      /* and its physical page number */
    uint8_t global[1024];      /* and whether it outlives a new CR3 */
    struct FetchEntry fetch[1024]; /* 512 for the supervisor, 512 for the user */
    uint8_t fetch_global[1024];
    struct FetchEntry fetch_second[1024]; /* beside each the one that was there before: a pair, the last used first */
    uint8_t second_global[1024];
    uint16_t local[2048]; /* entries to go with the next CR3, as far as they fit: of tlb, then of fetch */
    uint32_t local_count;
    uint32_t intr;
    uint32_t nmi_pending;
    uint32_t a20_mask;
    uint32_t ac_check;
    uint32_t data_breaks; /* DR7 watches data or I/O */
    uint32_t code_breaks; /* DR7 watches instructions */
    struct ApicLoan apic;
    struct BlkLoan blk[4];
    uint32_t blk_count;
    struct PioLoan pio[2];
    struct NetLoan net;
    uint64_t outer; /* virtual ns of what is due first and not lent */
    int64_t pace_wall, pace_virtual; /* ns: virtual time must not be ahead of the wall, which had this when that was this; 0: none */
    uint32_t features[4];
    uint32_t cpuid_count;
    struct CpuidLeaf cpuid[64];
    struct ExceptionRecord story[16];

/*FUNCTIONS*/
void emu_reset(Cpu *cpu, uint32_t signature);
void emu_set_intr(Cpu *cpu, uint32_t level);
void emu_nmi(Cpu *cpu);
void emu_blk_free(Cpu *cpu, uint32_t k);
int emu_blk_ring(Cpu *cpu, uint32_t k);
int emu_blk_complete(Cpu *cpu, uint32_t k);
int emu_net_run(Cpu *cpu, int64_t now);
void emu_net_free(Cpu *cpu);
void emu_set_a20(Cpu *cpu, uint32_t enabled);
uint32_t emu_get_eflags(Cpu *cpu);
int emu_decode(Cpu *cpu, const uint8_t *bytes, uint32_t size, uint32_t eip, uint32_t big, struct Insn *out);
