/* The slow path of memory: segment checks and page walks written in the spec (segment.py, paging.py), behind a soft TLB.
 * SDM vol. 3, chapters 4 and 5. Included by the generated unit after the procedures. */

static int raise_fault(Cpu *cpu, uint32_t vector, uint32_t error)
{
    cpu->exc_vector = vector;
    cpu->exc_error = error;
    return 1;
}

static int page_fault(Cpu *cpu, uint32_t lin, uint32_t error)
{
    cpu->cr2 = lin;
    return raise_fault(cpu, 14, error);
}

static inline void data_drop(Cpu *cpu, uint32_t k) { cpu->tlb[k].rtag = cpu->tlb[k].wtag = cpu->ctag[k] = NO_TAG; }

static void tlb_clear(Cpu *cpu)
{
    for (uint32_t k = 0; k < 2 * TLB_SIZE; k++) data_drop(cpu, k);
    for (uint32_t k = 0; k < 2 * FETCH_SIZE; k++) {
        fetch_drop(&cpu->fetch[k]);
        fetch_drop(&cpu->fetch_second[k]);
    }
    cpu->local_count = 0;
    cpu->stats.tlb_flushes++;
}

/* A new CR3: global entries stay. */
static void tlb_clear_local(Cpu *cpu)
{
    const int all = cpu->local_count == LOCALS;
    const uint32_t count = all ? 2 * TLB_SIZE + 2 * FETCH_SIZE : cpu->local_count;
    for (uint32_t n = 0; n < count; n++) {
        const uint32_t k = all ? n : cpu->local[n];
        if (k < 2 * TLB_SIZE) {
            if (!cpu->global[k]) data_drop(cpu, k);
        } else {
            if (!cpu->fetch_global[k - 2 * TLB_SIZE]) fetch_drop(&cpu->fetch[k - 2 * TLB_SIZE]);
            if (!cpu->second_global[k - 2 * TLB_SIZE]) fetch_drop(&cpu->fetch_second[k - 2 * TLB_SIZE]);
        }
    }
    cpu->local_count = 0;
    cpu->stats.tlb_flushes++;
}

static inline void note_local(Cpu *cpu, uint32_t k)
{
    if (cpu->local_count < LOCALS) cpu->local[cpu->local_count++] = (uint16_t)k;
}

static void tlb_flush(Cpu *cpu, uint32_t global)
{
    if (global) tlb_clear(cpu);
    else tlb_clear_local(cpu);
    if (unlikely(cpu->log_flags)) cpu->event(cpu->handle, 7, cpu->cr3, global);
}

static void tlb_flush_page(Cpu *cpu, uint32_t lin)
{
    for (uint32_t k = 0; k < 2; k++) {
        data_drop(cpu, k * TLB_SIZE + ((lin >> 12) & (TLB_SIZE - 1)));
        fetch_drop(&cpu->fetch[k * FETCH_SIZE + ((lin >> 12) & (FETCH_SIZE - 1))]);
        fetch_drop(&cpu->fetch_second[k * FETCH_SIZE + ((lin >> 12) & (FETCH_SIZE - 1))]);
    }
}

/* Writes to a page that holds code must be seen: drop the write tags that lead to it. */
static void protect_page(Cpu *cpu, uint64_t offset)
{
    const uint64_t host = (uint64_t)(uintptr_t)cpu->ram + (offset & ~(uint64_t)(PAGE_SIZE - 1));
    for (uint32_t k = 0; k < 2 * TLB_SIZE; k++) {
        struct TlbEntry *e = &cpu->tlb[k];
        if (e->wtag != NO_TAG && e->addend + e->wtag == host) {
            cpu->ctag[e - cpu->tlb] = e->wtag;
            e->wtag = NO_TAG;
        }
    }
}

/* What blocks depend on: CS.D, the privilege, and whether ES, SS and DS all span the whole address space, the
 * stack is a 32-bit one and CS begins at 0. */
static void make_key(Cpu *cpu)
{
    uint32_t flat = (cpu->seg_attr[2] & 1u << 14) && !cpu->seg_base[1] ? KEY_FLAT : 0;
    for (uint32_t s = 0; s < 4; s++)
        if (s != 1 && (cpu->seg_base[s] || cpu->seg_rlim[s] != 0xffffffffll || cpu->seg_wlim[s] != 0xffffffffll)) flat = 0;
    cpu->lookup_key = (cpu->big ? KEY_BIG : 0) | (cpu->cpl == 3 ? KEY_USER : 0) | (cpu->single ? KEY_ALONE : 0) | flat;
}

/* Where accesses may take the fast path: data segments that grow up, with the rights the access needs. */
static void seg_changed(Cpu *cpu, uint32_t seg)
{
    const uint32_t attr = cpu->seg_attr[seg];
    const int slow = cpu->ac_check || cpu->data_breaks || cpu->watch_count;
    int64_t r = -1, w = -1;
    if (!slow && attr && (attr & 0x90) == 0x90) {
        const int code = attr & 8;
        const int flat = cpu->seg_limit[seg];
        (void)flat;
        const int down = !code && (attr & 4);
        if (!down) {
            if (!code || (attr & 2)) r = (int64_t)(uint64_t)cpu->seg_limit[seg];
            if (!code && (attr & 2)) w = (int64_t)(uint64_t)cpu->seg_limit[seg];
        }
    }
    cpu->seg_rlim[seg] = r;
    cpu->seg_wlim[seg] = w;
    make_key(cpu);
}

/* PE, PG, VM86, the size of code, and the privilege level as one number, to whoever wants to hear of changes. */
static void tell_mode(Cpu *cpu)
{
    const uint32_t mode = (cpu->cr0 & 1) | (cpu->cr0 >> 31) << 1 | (cpu->eflags >> 17 & 1) << 2
        | (cpu->seg_attr[1] >> 14 & 1) << 3 | cpu->cpl << 4;
    const uint32_t before = cpu->mode_told;
    cpu->mode_told = mode;
    if (mode != before) cpu->event(cpu->handle, 8, mode, before);
}

static void mode_changed(Cpu *cpu)
{
    cpu->big = (cpu->seg_attr[1] >> 14) & 1;
    const uint32_t user = cpu->cpl == 3;
    make_key(cpu);
    cpu->dtlb = cpu->tlb + (user ? TLB_SIZE : 0);
    cpu->dfetch = cpu->fetch + (user ? FETCH_SIZE : 0);
    const uint32_t ac = user && (cpu->cr0 & 1u << 18) && (cpu->eflags & 1u << 18);
    if (ac != cpu->ac_check) {
        cpu->ac_check = ac;
        for (uint32_t s = 0; s < 6; s++) seg_changed(cpu, s);
    }
    /* Real mode and V86 leave attributes alone that protected mode set, so the fast limits follow every change. */
    seg_changed(cpu, 1);
    if (cpu->eflags & (0x100 | 1u << 20)) cpu->attention |= ATT_STEP; /* TF, VIP */
    if (unlikely(cpu->tell_modes)) tell_mode(cpu);
}

static void debug_changed(Cpu *cpu)
{
    uint32_t code = 0, data = 0;
    for (uint32_t k = 0; k < 4; k++) {
        if (!((cpu->dr[7] >> (2 * k)) & 3)) continue;
        if (((cpu->dr[7] >> (16 + 4 * k)) & 3) == 0) code = 1;
        else data = 1;
    }
    cpu->code_breaks = code;
    if (code || data) cpu->attention |= ATT_STEP;
    if (data != cpu->data_breaks) {
        cpu->data_breaks = data;
        for (uint32_t s = 0; s < 6; s++) seg_changed(cpu, s);
    }
}

/* While a debugger outside watches memory, every access takes the slow path. */
static void watches_changed(Cpu *cpu)
{
    for (uint32_t s = 0; s < 6; s++) seg_changed(cpu, s);
}

/* DR6 bits of the data breakpoints that an access meets (vol. 3, 17.2.4). */
static void watch_data(Cpu *cpu, uint32_t lin, uint32_t size, int write)
{
    for (uint32_t k = 0; k < 4; k++) {
        const uint32_t kind = (cpu->dr[7] >> (16 + 4 * k)) & 3;
        if (!((cpu->dr[7] >> (2 * k)) & 3) || kind == 0 || kind == 2 || (kind == 1 && !write)) continue;
        const uint32_t len = (cpu->dr[7] >> (18 + 4 * k)) & 3;
        const uint32_t bytes = len == 2 ? 8 : len + 1;
        const uint32_t at = cpu->dr[k] & ~(bytes - 1);
        if (lin - at < bytes || at - lin < size) {
            cpu->debug_pending |= 1u << k;
            cpu->attention |= ATT_DEBUG;
        }
    }
}

/* Linear to physical with the rights of `user`; fills the TLB. access: 1 write, 2 user, 4 fetch. */
static int translate(Cpu *cpu, uint32_t lin, uint32_t access, uint64_t *physical)
{
    uint32_t ok, rights, error;
    uint64_t at;
    const uint32_t tag = lin & PAGE_MASK;
    struct FetchEntry *f = &cpu->fetch[(access & 2 ? FETCH_SIZE : 0) + ((lin >> 12) & (FETCH_SIZE - 1))];
    struct TlbEntry *e = &cpu->tlb[(access & 2 ? TLB_SIZE : 0) + ((lin >> 12) & (TLB_SIZE - 1))];
    if (access & 4 && f->tag != tag && cpu->fetch_second[f - cpu->fetch].tag == tag) fetch_swap(cpu, (uint32_t)(f - cpu->fetch));
    /* A translation that is known holds until it is flushed, whichever path asks for it: the reference does the same. */
    if (access & 4 ? f->tag == tag : (access & 1 ? cpu->ctag[e - cpu->tlb] : e->rtag) == tag) {
        *physical = (uint64_t)(access & 4 ? f->frame : cpu->frame[e - cpu->tlb]) << 12 | (lin & ~PAGE_MASK);
        return 0;
    }
    cpu->walking = !cpu->single;
    const uint64_t from = clock_start(cpu);
    proc_walk(cpu, lin, access, &ok, &at, &rights, &error);
    clock_add(cpu, from, &cpu->stats.fill_ns);
    cpu->walking = 0;
    if (unlikely(cpu->retry)) return 1;
    if (!ok) return page_fault(cpu, lin, error);
    at = on_bus(cpu, at);
    *physical = at;
    const uint64_t page = at & ~(uint64_t)(PAGE_SIZE - 1);
    const struct Region *r = find_region(cpu, page);
    if (!r || page - r->base + PAGE_SIZE > r->size) return 0;
    const uint64_t offset = r->offset + (page - r->base);
    cpu->stats.tlb_fills++;
    const uint8_t global = rights >> 2 & 1;
    if (access & 4) {
        fetch_swap(cpu, (uint32_t)(f - cpu->fetch));
        f->tag = tag;
        f->frame = (uint32_t)(at >> 12);
        f->offset = offset;
        cpu->fetch_global[f - cpu->fetch] = global;
        if (!global) note_local(cpu, 2 * TLB_SIZE + (uint32_t)(f - cpu->fetch));
        return 0;
    }
    cpu->global[e - cpu->tlb] = global;
    if (!global) note_local(cpu, (uint32_t)(e - cpu->tlb));
    e->rtag = tag;
    cpu->frame[e - cpu->tlb] = (uint32_t)(at >> 12);
    const int writable = (rights & 1) && r->kind == KIND_RAM;
    e->wtag = writable && !cpu->page_code[offset >> 12] ? tag : NO_TAG;
    cpu->ctag[e - cpu->tlb] = writable ? tag : NO_TAG;
    e->addend = (uint64_t)(uintptr_t)(cpu->ram + offset) - tag;
    return 0;
}

/* Whether an access must wait until its instruction runs alone: it reaches a device, or code that may be running. */
static int must_be_alone(Cpu *cpu, uint64_t physical, uint32_t size, int write)
{
    if (cpu->single) return 0;
    const struct Region *r = find_region(cpu, physical);
    if (!r) return 1;
    if (!write) return 0;
    return holds_code(cpu, r->offset + (physical - r->base), size);
}

static int alone(Cpu *cpu)
{
    cpu->retry = 1;
    return 1;
}

static int lin_read(Cpu *cpu, uint32_t lin, uint32_t size, uint32_t access, uint64_t *v)
{
    uint64_t at;
    const uint32_t room = PAGE_SIZE - (lin & ~PAGE_MASK);
    if (likely(size <= room)) {
        if (translate(cpu, lin, access, &at)) return 1;
        if (size == 4 && !(access & 1) && steady_read(cpu, at, v)) return 0;
        if (must_be_alone(cpu, at, size, access & 1)) return alone(cpu);
        *v = phys_read(cpu, at, size);
        return 0;
    }
    uint64_t second;
    if (translate(cpu, lin, access, &at) || translate(cpu, lin + room, access, &second)) return 1;
    if (must_be_alone(cpu, at, room, access & 1) || must_be_alone(cpu, second, size - room, access & 1)) return alone(cpu);
    uint64_t x = 0;
    for (uint32_t k = 0; k < size; k++) x |= phys_read(cpu, k < room ? at + k : second + (k - room), 1) << (8 * k);
    *v = x;
    return 0;
}

static int lin_write(Cpu *cpu, uint32_t lin, uint32_t size, uint32_t access, uint64_t v)
{
    uint64_t at;
    const uint32_t room = PAGE_SIZE - (lin & ~PAGE_MASK);
    if (likely(size <= room)) {
        /* A page known to be writable that also holds code needs no walk. */
        struct TlbEntry *e = &cpu->tlb[(access & 2 ? TLB_SIZE : 0) + ((lin >> 12) & (TLB_SIZE - 1))];
        if (cpu->ctag[e - cpu->tlb] == (lin & PAGE_MASK)) {
            const uint64_t offset = e->addend + lin - (uint64_t)(uintptr_t)cpu->ram;
            if (holds_code(cpu, offset, size)) {
                if (!cpu->single) return alone(cpu);
                page_forget(cpu, cpu->page_code[offset >> 12]);
            }
            if (!cpu->page_code[offset >> 12]) e->wtag = cpu->ctag[e - cpu->tlb];
            memcpy(cpu->ram + offset, &v, size);
            return 0;
        }
        if (translate(cpu, lin, access | 1, &at)) return 1;
        if (must_be_alone(cpu, at, size, 1)) return alone(cpu);
        phys_write(cpu, at, size, v);
        return 0;
    }
    uint64_t second;
    /* Both pages are checked before either is written. */
    if (translate(cpu, lin, access | 1, &at) || translate(cpu, lin + room, access | 1, &second)) return 1;
    if (must_be_alone(cpu, at, room, 1) || must_be_alone(cpu, second, size - room, 1)) return alone(cpu);
    for (uint32_t k = 0; k < size; k++) phys_write(cpu, k < room ? at + k : second + (k - room), 1, (v >> (8 * k)) & 0xff);
    return 0;
}

static int aligned(Cpu *cpu, uint32_t lin, uint32_t size)
{
    if (unlikely(cpu->ac_check) && (lin & (size - 1))) return raise_fault(cpu, 17, 0);
    return 0;
}

static int mem_slow_read(Cpu *cpu, uint32_t seg, uint32_t off, uint32_t size, uint32_t rmw, uint64_t *v)
{
    uint32_t lin;
    const uint32_t user = cpu->cpl == 3 ? 2 : 0;
    if (proc_segment_access(cpu, seg, off, size, rmw, &lin) || aligned(cpu, lin, size)) return 1;
    /* A write that follows its read cannot be put off any more. */
    if (watched_here(cpu, lin, size, rmw ? 3 : 1)) return alone(cpu);
    if (lin_read(cpu, lin, size, user | rmw, v)) return 1;
    if (unlikely(cpu->data_breaks)) watch_data(cpu, lin, size, 0);
    watch_met(cpu, lin, size, 1);
    return 0;
}

static int mem_slow_write(Cpu *cpu, uint32_t seg, uint32_t off, uint32_t size, uint64_t v)
{
    uint32_t lin;
    const uint32_t user = cpu->cpl == 3 ? 2 : 0;
    if (proc_segment_access(cpu, seg, off, size, 1, &lin) || aligned(cpu, lin, size)) return 1;
    if (watched_here(cpu, lin, size, 2)) return alone(cpu);
    if (lin_write(cpu, lin, size, user, v)) return 1;
    if (unlikely(cpu->data_breaks)) watch_data(cpu, lin, size, 1);
    watch_met(cpu, lin, size, 2);
    return 0;
}

static int probe(Cpu *cpu, uint32_t lin, uint32_t size, uint32_t access)
{
    uint64_t at, second;
    if (!size) return 0;
    if (translate(cpu, lin, access, &at)) return 1;
    const uint32_t last = lin + size - 1;
    const int crosses = (last & PAGE_MASK) != (lin & PAGE_MASK);
    if (crosses && translate(cpu, last & PAGE_MASK, access, &second)) return 1;
    /* What follows the probe may not be done twice, so running alone is decided here. */
    const uint32_t room = PAGE_SIZE - (lin & ~PAGE_MASK);
    if (must_be_alone(cpu, at, crosses ? room : size, access & 1)) return alone(cpu);
    if (crosses && must_be_alone(cpu, second, size - room, access & 1)) return alone(cpu);
    return watched_page(cpu, lin) || watched_page(cpu, last) ? alone(cpu) : 0;
}

static int mem_probe_r(Cpu *cpu, uint32_t seg, uint32_t off, uint32_t size)
{
    uint32_t lin;
    return proc_segment_access(cpu, seg, off, size, 0, &lin) || probe(cpu, lin, size, cpu->cpl == 3 ? 2 : 0);
}

static int mem_probe_w(Cpu *cpu, uint32_t seg, uint32_t off, uint32_t size)
{
    uint32_t lin;
    return proc_segment_access(cpu, seg, off, size, 1, &lin) || probe(cpu, lin, size, cpu->cpl == 3 ? 3 : 1);
}

static int lin_probe_w(Cpu *cpu, uint32_t lin, uint32_t user, uint32_t size)
{
    return probe(cpu, lin, size, user ? 3 : 1);
}

#define LIN_BODY(W, T)                                                                                                         \
    static int lin_r##W(Cpu *cpu, uint32_t lin, uint32_t user, T *v)                                                           \
    {                                                                                                                          \
        uint64_t x = 0;                                                                                                        \
        if (watched_here(cpu, lin, W / 8, 1)) return alone(cpu);                                                               \
        const int bad = lin_read(cpu, lin, W / 8, user ? 2 : 0, &x);                                                           \
        *v = (T)x;                                                                                                             \
        if (!bad) watch_met(cpu, lin, W / 8, 1);                                                                               \
        return bad;                                                                                                            \
    }                                                                                                                          \
    static int lin_w##W(Cpu *cpu, uint32_t lin, uint32_t user, T v)                                                            \
    {                                                                                                                          \
        if (watched_here(cpu, lin, W / 8, 2)) return alone(cpu);                                                               \
        const int bad = lin_write(cpu, lin, W / 8, user ? 2 : 0, v);                                                           \
        if (!bad) watch_met(cpu, lin, W / 8, 2);                                                                               \
        return bad;                                                                                                            \
    }
LIN_BODY(8, uint32_t)
LIN_BODY(16, uint32_t)
LIN_BODY(32, uint32_t)
LIN_BODY(64, uint64_t)
