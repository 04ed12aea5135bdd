/* The slow path of memory: the TLBs written in the spec (mmu440.py, mmu_e500.py) behind a soft TLB that is tagged by address
 * space, so that changing PID forgets nothing. Included by the generated unit before the procedures. */

static int raise_interrupt(Cpu *cpu, uint32_t ivor, uint32_t esr)
{
    cpu->exc_vector = ivor;
    cpu->exc_error = esr;
    return 1;
}

static int raise_at(Cpu *cpu, uint32_t ivor, uint32_t esr, uint32_t ea)
{
    cpu->fault_dear = ea;
    return raise_interrupt(cpu, ivor, esr);
}

static void space_clear(Cpu *cpu, uint32_t space)
{
    for (uint32_t k = space * TLB_SIZE; k < (space + 1) * TLB_SIZE; k++)
        cpu->tlb[k].rtag = cpu->tlb[k].wtag = cpu->ctag[k] = NO_TAG;
    for (uint32_t k = space * FETCH_SIZE; k < (space + 1) * FETCH_SIZE; k++) fetch_drop(&cpu->fetch[k]);
}

static void tlb_clear(Cpu *cpu)
{
    for (uint32_t s = 0; s < SPACES; s++) space_clear(cpu, s);
    cpu->stats.tlb_flushes++;
}

static void tlb_forget(Cpu *cpu, uint32_t ea, uint32_t mask)
{
    const uint32_t pages = (mask >> 12) + 1;
    cpu->page_writes++;
    if (pages > 64) {
        tlb_clear(cpu);
        return;
    }
    for (uint32_t n = 0; n < pages; n++) {
        const uint32_t page = (ea & ~mask & PAGE_MASK) + n * PAGE_SIZE;
        for (uint32_t s = 0; s < SPACES; s++) {
            const uint32_t k = s * TLB_SIZE + ((page >> 12) & (TLB_SIZE - 1));
            if (cpu->tlb[k].rtag == page || cpu->tlb[k].wtag == page || cpu->ctag[k] == page)
                cpu->tlb[k].rtag = cpu->tlb[k].wtag = cpu->ctag[k] = NO_TAG;
            struct FetchEntry *f = &cpu->fetch[s * FETCH_SIZE + ((page >> 12) & (FETCH_SIZE - 1))];
            if (f->tag == page) fetch_drop(f);
        }
    }
}

/* Writes to a page that holds code must be seen: drop the write tags that lead to it. */
static void protect_page(Cpu *cpu, uint64_t offset)
{
    const uint64_t host = (uint64_t)(uintptr_t)cpu->ram + (offset & ~(uint64_t)(PAGE_SIZE - 1));
    for (uint32_t k = 0; k < SPACES * TLB_SIZE; k++) {
        struct TlbEntry *e = &cpu->tlb[k];
        if (e->wtag != NO_TAG && e->addend + e->wtag == host) {
            cpu->ctag[k] = e->wtag;
            e->wtag = NO_TAG;
        }
    }
}

/* The space that MSR and the PIDs of now select; the one used longest ago makes room for a new one. */
static void select_space(Cpu *cpu)
{
    const uint64_t key = (uint64_t)cpu->lpid << 56 | (uint64_t)(cpu->pid[2] & 0xff) << 48 | (uint64_t)(cpu->pid[1] & 0xff) << 40 |
                         (uint64_t)(cpu->pid[0] & 0xffff) << 16 | (cpu->msr >> 14 & 1) << 1 | (cpu->msr >> 4 & 3) << 2 |
                         (cpu->msr >> 28 & 1) << 4 | 1;
    uint32_t s = cpu->space;
    if (cpu->space_key[s] != key) {
        for (s = 0; s < SPACES && cpu->space_key[s] != key; s++) {}
        if (s == SPACES) {
            s = cpu->space_next;
            cpu->space_next = (s + 1) & (SPACES - 1);
            cpu->space_key[s] = key;
            space_clear(cpu, s);
            cpu->space_evictions++;
        }
        cpu->space_switches++;
        cpu->space = s;
    }
    cpu->dfetch = cpu->fetch + s * FETCH_SIZE;
    cpu->dtlb = cpu->debugging & 2 || cpu->watch_count ? cpu->missing : cpu->tlb + s * TLB_SIZE;
}

static void mode_changed(Cpu *cpu)
{
    cpu->debugging = proc_debug_mode(cpu);
    select_space(cpu);
    cpu->attention |= ATT_INTR;
}

/* While a debugger outside watches memory, every access takes the slow path. */
static void watches_changed(Cpu *cpu) { select_space(cpu); }

static inline uint32_t privilege(const Cpu *cpu) { return cpu->msr & 1u << 14 ? ACCESS_USER : 0; }

/* External process ID: PR, address space, guest state, partition and PID of the access come from EPLC or EPSC. */
static int translate_external(Cpu *cpu, uint32_t ea, uint32_t access, uint64_t *at, int *little)
{
    const uint32_t context = access & ACCESS_STORE ? cpu->epsc : cpu->eplc;
    const uint32_t msr = cpu->msr, pid = cpu->pid[0], lpid = cpu->lpid;
    uint32_t ok, rights, ivor, esr;
    cpu->msr = (msr & ~(1u << 28 | 1u << 4)) | (context >> 29 & 1) << 28 | (context >> 30 & 1) << 4;
    cpu->pid[0] = context & 0xff;
    cpu->lpid = context >> 16 & 0x3f;
    proc_walk(cpu, ea, (access & ACCESS_STORE) | (context >> 31 ? ACCESS_USER : 0), &ok, at, &rights, &ivor, &esr);
    cpu->msr = msr;
    cpu->pid[0] = pid;
    cpu->lpid = lpid;
    *little = (rights & RIGHT_LITTLE) != 0;
    return ok ? 0 : raise_at(cpu, ivor, esr | ESR_EXTERNAL, ea);
}

/* Effective to physical with the rights of now; fills the soft TLB. *little: the page's E bit. */
static int translate(Cpu *cpu, uint32_t ea, uint32_t access, uint64_t *at, int *little)
{
    uint32_t ok, rights, ivor, esr;
    const uint32_t tag = ea & PAGE_MASK;
    const uint32_t k = cpu->space * TLB_SIZE + ((ea >> 12) & (TLB_SIZE - 1));
    struct TlbEntry *e = &cpu->tlb[k];
    struct FetchEntry *f = fetch_at(cpu, ea);
    *little = 0;
    if (access & ACCESS_EXTERNAL) return translate_external(cpu, ea, access, at, little);
    /* A translation that is known holds until it is forgotten, whichever path asks for it. */
    if (access & ACCESS_FETCH) {
        if (f->tag == tag) {
            *at = (uint64_t)(f->frame & ~LITTLE_FRAME) << 12 | (ea & ~PAGE_MASK);
            *little = (f->frame & LITTLE_FRAME) != 0;
            return 0;
        }
    } else if ((access & ACCESS_STORE ? cpu->ctag[k] : e->rtag) == tag) {
        *at = (uint64_t)cpu->frame[k] << 12 | (ea & ~PAGE_MASK);
        return 0;
    }
    const uint64_t from = clock_start(cpu);
    proc_walk(cpu, ea, access, &ok, at, &rights, &ivor, &esr);
    clock_add(cpu, from, &cpu->stats.fill_ns);
    if (!ok) return raise_at(cpu, ivor, esr, ea);
    *little = (rights & RIGHT_LITTLE) != 0;
    if (rights & RIGHT_SMALL) return 0;
    const uint64_t page = *at & ~(uint64_t)(PAGE_SIZE - 1);
    const struct Region *r = find_region(cpu, page);
    if (!r || page - r->base + PAGE_SIZE > r->size) return 0;
    const uint64_t offset = r->offset + (page - r->base);
    cpu->stats.tlb_fills++;
    if (access & ACCESS_FETCH) {
        f->tag = tag;
        f->frame = (uint32_t)(page >> 12) | (*little ? LITTLE_FRAME : 0);
        f->offset = offset;
        return 0;
    }
    if (*little) return 0;
    const int writable = (rights & RIGHT_STORE) && r->kind == KIND_RAM;
    const uint64_t addend = (uint64_t)(uintptr_t)(cpu->ram + offset) - tag;
    /* A store fills nothing for loads. */
    if (!(access & ACCESS_STORE)) e->rtag = tag;
    else if (e->rtag != tag || e->addend != addend) e->rtag = NO_TAG;
    e->wtag = writable && !cpu->page_code[offset >> 12] ? tag : NO_TAG;
    cpu->ctag[k] = writable ? tag : NO_TAG;
    cpu->frame[k] = (uint32_t)(page >> 12);
    e->addend = addend;
    return 0;
}

/* Whether an access must wait until its instruction runs alone: it reaches a device, or code that may be running. */
static int must_be_alone(Cpu *cpu, uint64_t at, uint32_t size, uint32_t access)
{
    if (cpu->single) return 0;
    const struct Region *r = find_region(cpu, at);
    if (!r) return 1;
    if (!(access & ACCESS_STORE)) return 0;
    return holds_code(cpu, r->offset + (at - r->base), size);
}

static int alone(Cpu *cpu)
{
    cpu->retry = 1;
    return 1;
}

static uint64_t turned(uint64_t v, uint32_t size) { return __builtin_bswap64(v) >> (64 - 8 * size); }

/* A piece within one page, most significant byte first. Devices speak in numbers, so theirs are not turned. */
static uint64_t piece_read(Cpu *cpu, uint64_t at, uint32_t size, int little)
{
    const struct Region *r = find_region(cpu, at);
    uint64_t v = 0;
    if (r) {
        v = phys_read(cpu, at, size);
        return little ? v : turned(v, size);
    }
    if (size == 8) v = bus_read(cpu, at, 4) << 32 | bus_read(cpu, at + 4, 4);
    else if (at & (size - 1))
        for (uint32_t k = 0; k < size; k++) v = v << 8 | bus_read(cpu, at + k, 1);
    else v = bus_read(cpu, at, size);
    return little ? turned(v, size) : v;
}

static void piece_write(Cpu *cpu, uint64_t at, uint32_t size, int little, uint64_t v)
{
    if (find_region(cpu, at)) {
        phys_write(cpu, at, size, little ? v : turned(v, size));
        return;
    }
    if (little) v = turned(v, size);
    if (size == 8) {
        bus_write(cpu, at, 4, v >> 32);
        bus_write(cpu, at + 4, 4, v & 0xffffffffu);
    } else if (at & (size - 1)) {
        for (uint32_t k = 0; k < size; k++) bus_write(cpu, at + k, 1, v >> (8 * (size - 1 - k)) & 0xff);
    } else {
        bus_write(cpu, at, size, v);
    }
}

static int slow_read(Cpu *cpu, uint32_t ea, uint32_t size, uint64_t *v, uint32_t access)
{
    uint64_t at, second;
    int little, little2;
    const uint32_t room = PAGE_SIZE - (ea & ~PAGE_MASK);
    if (watched_here(cpu, ea, size, 1)) return alone(cpu);
    if (translate(cpu, ea, access, &at, &little)) return 1;
    if (likely(size <= room)) {
        if (must_be_alone(cpu, at, size, access)) return alone(cpu);
        *v = piece_read(cpu, at, size, little);
    } else {
        if (translate(cpu, ea + room, access, &second, &little2)) return 1;
        if (must_be_alone(cpu, at, room, access) || must_be_alone(cpu, second, size - room, access)) return alone(cpu);
        uint64_t x = 0;
        for (uint32_t k = 0; k < size; k++) x = x << 8 | piece_read(cpu, k < room ? at + k : second + (k - room), 1, 0);
        *v = little ? turned(x, size) : x;
    }
    if (unlikely(cpu->debugging & 2)) proc_debug_data(cpu, ea, size, 0, little ? turned(*v, size) : *v);
    watch_met(cpu, ea, size, 1);
    return 0;
}

static int mem_slow_read(Cpu *cpu, uint32_t ea, uint32_t size, uint64_t *v) { return slow_read(cpu, ea, size, v, privilege(cpu)); }

static int slow_write(Cpu *cpu, uint32_t ea, uint32_t size, uint64_t v, uint32_t access)
{
    uint64_t at, second;
    int little = 0, little2;
    const uint32_t room = PAGE_SIZE - (ea & ~PAGE_MASK);
    if (watched_here(cpu, ea, size, 2)) return alone(cpu);
    if (likely(size <= room)) {
        /* A page known to be writable that also holds code needs no walk. */
        const uint32_t n = cpu->space * TLB_SIZE + ((ea >> 12) & (TLB_SIZE - 1));
        if (cpu->ctag[n] == (ea & PAGE_MASK) && !(access & ACCESS_EXTERNAL)) {
            struct TlbEntry *e = &cpu->tlb[n];
            const uint64_t offset = e->addend + ea - (uint64_t)(uintptr_t)cpu->ram;
            if (holds_code(cpu, offset, size)) {
                if (!cpu->single) return alone(cpu);
                page_forget(cpu, cpu->page_code[offset >> 12]);
            }
            if (!cpu->page_code[offset >> 12]) e->wtag = cpu->ctag[n];
            const uint64_t x = turned(v, size);
            memcpy(cpu->ram + offset, &x, size);
        } else {
            if (translate(cpu, ea, access, &at, &little)) return 1;
            if (must_be_alone(cpu, at, size, access)) return alone(cpu);
            piece_write(cpu, at, size, little, v);
        }
    } else {
        /* Both pages are checked before either is written. */
        if (translate(cpu, ea, access, &at, &little) || translate(cpu, ea + room, access, &second, &little2)) return 1;
        if (must_be_alone(cpu, at, room, access) || must_be_alone(cpu, second, size - room, access)) return alone(cpu);
        const uint64_t x = little ? turned(v, size) : v;
        for (uint32_t k = 0; k < size; k++)
            piece_write(cpu, k < room ? at + k : second + (k - room), 1, 0, x >> (8 * (size - 1 - k)) & 0xff);
    }
    if (unlikely(cpu->debugging & 2)) proc_debug_data(cpu, ea, size, 1, little ? turned(v, size) : v);
    watch_met(cpu, ea, size, 2);
    return 0;
}

static int mem_slow_write(Cpu *cpu, uint32_t ea, uint32_t size, uint64_t v)
{
    return slow_write(cpu, ea, size, v, privilege(cpu) | ACCESS_STORE);
}

static int external_read(Cpu *cpu, uint32_t ea, uint32_t size, uint64_t *v) { return slow_read(cpu, ea, size, v, ACCESS_EXTERNAL); }

static int external_write(Cpu *cpu, uint32_t ea, uint32_t size, uint64_t v)
{
    return slow_write(cpu, ea, size, v, ACCESS_EXTERNAL | ACCESS_STORE);
}

static int probe(Cpu *cpu, uint32_t ea, uint32_t access)
{
    uint64_t at;
    int little;
    if (translate(cpu, ea, access, &at, &little)) return 1;
    /* What follows the probe may not be done twice, so running alone is decided here. */
    return must_be_alone(cpu, at, 1, access) || watched_page(cpu, ea) ? alone(cpu) : 0;
}

static int mem_probe_r(Cpu *cpu, uint32_t ea) { return probe(cpu, ea, privilege(cpu)); }
static int mem_probe_w(Cpu *cpu, uint32_t ea) { return probe(cpu, ea, privilege(cpu) | ACCESS_STORE); }
static int external_probe(Cpu *cpu, uint32_t ea) { return probe(cpu, ea, ACCESS_EXTERNAL); }

static int physical(Cpu *cpu, uint32_t ea, uint64_t *at)
{
    int little;
    return translate(cpu, ea, privilege(cpu), at, &little);
}

/* The granule of a reservation is 32 bytes. */
static int still_holds(Cpu *cpu, uint32_t ea, uint64_t granule, uint32_t v, uint32_t *same)
{
    uint64_t at;
    int little;
    if (translate(cpu, ea, privilege(cpu) | ACCESS_STORE, &at, &little)) return 1;
    *same = 0;
    if ((at & ~(uint64_t)31) != granule) return 0;
    if (must_be_alone(cpu, at, 4, ACCESS_STORE)) return alone(cpu);
    *same = piece_read(cpu, at, 4, little) == v;
    return 0;
}

static int slow_zero(Cpu *cpu, uint32_t ea, uint32_t access)
{
    uint64_t at;
    int little;
    if (watched_here(cpu, ea, cpu->line_size, 2)) return alone(cpu);
    if (translate(cpu, ea, access, &at, &little)) return 1;
    /* There is no line to make where nothing is cached. */
    if (!find_region(cpu, at)) return raise_at(cpu, IVOR_ALIGNMENT, ESR_STORE | (access & ACCESS_EXTERNAL ? ESR_EXTERNAL : 0), ea);
    if (must_be_alone(cpu, at, cpu->line_size, ACCESS_STORE)) return alone(cpu);
    for (uint32_t k = 0; k < cpu->line_size; k += 8) phys_write(cpu, at + k, 8, 0);
    if (unlikely(cpu->debugging & 2)) proc_debug_data(cpu, ea, cpu->line_size, 1, 0);
    watch_met(cpu, ea, cpu->line_size, 2);
    return 0;
}

static int zero_line(Cpu *cpu, uint32_t ea)
{
    ea &= ~(cpu->line_size - 1);
    const struct TlbEntry *e = tlb_at(cpu, ea);
    if (likely(e->wtag == (ea & PAGE_MASK))) {
        memset((void *)(uintptr_t)(e->addend + ea), 0, cpu->line_size);
        return 0;
    }
    return slow_zero(cpu, ea, privilege(cpu) | ACCESS_STORE);
}

static int external_zero(Cpu *cpu, uint32_t ea)
{
    return slow_zero(cpu, ea & ~(cpu->line_size - 1), ACCESS_EXTERNAL | ACCESS_STORE);
}

/* Stores to code are seen at once, so the caches' instructions only have their rights to check. */
static int code_line(Cpu *cpu, uint32_t ea) { return probe(cpu, ea, privilege(cpu)); }
static void context_synchronize(Cpu *cpu) { (void)cpu; }

static uint64_t time_base(Cpu *cpu)
{
    const uint64_t ns = virtual_ns(cpu);
    return ns / cpu->tb_den * cpu->tb_num + ns % cpu->tb_den * cpu->tb_num / cpu->tb_den;
}

static void timers_changed(Cpu *cpu)
{
    cpu->attention |= ATT_INTR;
    if (cpu->timers_inner) emu_timers_plan(cpu);
    else cpu->event(cpu->handle, 5, 0, 0);
}

static uint32_t dcr_r(Cpu *cpu, uint32_t number)
{
    cpu->stats.port_reads++;
    return cpu->port_read(cpu->handle, number, 4);
}

static void dcr_w(Cpu *cpu, uint32_t number, uint32_t v)
{
    cpu->stats.port_writes++;
    cpu->port_write(cpu->handle, number, 4, v);
}

static uint32_t acknowledge(Cpu *cpu) { return cpu->acknowledge(cpu->handle); }

static void reset_request(Cpu *cpu, uint32_t kind)
{
    if (kind == 4) {
        cpu->stop_flags |= STOP_SHUTDOWN;
        cpu->attention |= ATT_STOP;
    } else {
        cpu->event(cpu->handle, 6, kind, 0);
    }
}
