/* A network card while it is lent (devices/virtio/net.py): frames between its rings and the wire (emu/engine/wire.h), from the
 * bell to the interrupt. What is out of the ordinary in any way ends the loan, and Python goes on where C has stopped.
 *
 * When something comes from outside is up to the wall; all that follows from it is not, so each arrival is kept for the gate
 * (emu/inputs.py) with its instruction count and time, and a replay of it in Python does the same.
 *
 * VIRTIO 1.2, 5.1 (the rings are those of ring.c); RFC 791, 1071 and 9293. */

enum {
    NET_NEEDS_CSUM = 1, NET_DATA_VALID = 2, NET_GSO_TCP4 = 1,
    NET_ETHERNET = 14, NET_LONGEST = 1518, NET_LARGEST = 65535 + NET_ETHERNET + 4, NET_LEAST = 32,
    NET_CHAINS = 128,
    NET_KEPT = 4 << 20,           /* bytes of arrivals that wait to be told */
    NET_EAGER = 50000000,         /* ns on the wall behind a frame, for which the next one is looked for and waited for here */
    NET_WAIT = 1000000,           /* ns of one wait: others outside want to be asked, too */
    NET_LOOK = 20000,             /* instructions from one look to the next */
    NET_LOOK_NS = 100000,         /* and ns on the wall */
};

static uint32_t net_get16(const uint8_t *at) { return (uint32_t)at[0] << 8 | at[1]; }

static void net_put16(uint8_t *at, uint32_t v)
{
    at[0] = (uint8_t)(v >> 8);
    at[1] = (uint8_t)v;
}

/* The ones' complement sum of big-endian 16-bit words. */
static uint64_t net_sum(const uint8_t *data, uint64_t length)
{
    uint64_t sum = 0;
    while (length >= 8) {
        uint32_t a, b;
        memcpy(&a, data, 4);
        memcpy(&b, data + 4, 4);
        sum += (uint64_t)a + b;
        data += 8;
        length -= 8;
    }
    uint8_t rest[8] = {0};
    memcpy(rest, data, length);
    uint32_t a, b;
    memcpy(&a, rest, 4);
    memcpy(&b, rest + 4, 4);
    sum += (uint64_t)a + b;
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    return (sum & 0xff) << 8 | sum >> 8;
}

static uint32_t net_fold(uint64_t sum)
{
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    return (uint32_t)sum;
}

static uint32_t net_checksum(uint64_t sum) { return 0xffff - net_fold(sum); }

/* Where TCP over IPv4 begins, and its payload; 0 for any other frame. */
static uint32_t net_parse(const uint8_t *f, uint64_t length, uint64_t *payload)
{
    if (length < NET_ETHERNET + 40 || net_get16(f + 12) != 0x0800 || f[14] >> 4 != 4 || f[23] != 6 || f[20] & 0x3f || f[21])
        return 0;
    const uint32_t tcp = NET_ETHERNET + 4 * (f[14] & 15);
    if (tcp < NET_ETHERNET + 20 || length < tcp + 20) return 0;
    *payload = tcp + 4 * (f[tcp + 12] >> 4);
    return *payload < tcp + 20 || *payload > length ? 0 : tcp;
}

static void net_seal_ip(uint8_t *f, uint32_t tcp, uint64_t length)
{
    net_put16(f + 16, (uint32_t)(length - NET_ETHERNET));
    net_put16(f + 24, 0);
    net_put16(f + 24, net_checksum(net_sum(f + NET_ETHERNET, tcp - NET_ETHERNET)));
}

/* See transport_valid in devices/virtio/net.py; -1: ask there. */
static int net_valid(const uint8_t *f, uint64_t length)
{
    const uint32_t kind = net_get16(f + 12);
    uint64_t header, whole, addresses;
    uint32_t protocol;
    if (kind == 0x8100) return -1;
    const uint8_t *ip = f + NET_ETHERNET;
    if (kind == 0x0800 && length >= NET_ETHERNET + 20) {
        header = (ip[0] & 15) * 4;
        whole = net_get16(ip + 2);
        protocol = ip[9];
        if (ip[0] >> 4 != 4 || header < 20 || net_get16(ip + 6) & 0x3fff) return 0;
        addresses = net_sum(ip + 12, 8);
    } else if (kind == 0x86dd && length >= NET_ETHERNET + 40) {
        header = 40;
        whole = 40 + net_get16(ip + 4);
        protocol = ip[6];
        addresses = net_sum(ip + 8, 32);
    } else {
        return 0;
    }
    if (whole < header || whole > length - NET_ETHERNET) return 0;
    const uint64_t size = whole - header;
    if ((protocol != 6 && protocol != 17) || size < (protocol == 6 ? 20 : 8)) return 0;
    const uint8_t *segment = ip + header;
    if (protocol == 17 && !segment[6] && !segment[7]) return 0;
    return net_fold(addresses + protocol + size + net_sum(segment, size)) == 0xffff;
}

/* -- to the wire */

/* One chain. 0: not here, and nothing has happened. */
static int net_send(Cpu *cpu, struct NetLoan *n, uint32_t head)
{
    struct RingSegment seg[RING_SEGMENTS];
    uint32_t readable, all;
    if (!ring_walk(cpu, &n->tx, head, seg, &readable, &all) || readable != all) return 0;
    uint64_t total = 0;
    for (uint32_t k = 0; k < all; k++) total += seg[k].length;
    if (total < n->header + NET_ETHERNET || total > n->header + NET_LARGEST) return 0;
    uint8_t *at = n->frame;
    for (uint32_t k = 0; k < all; k++) {
        memcpy(at, ring_ram(cpu, seg[k].address, seg[k].length), seg[k].length);
        at += seg[k].length;
    }
    const uint8_t *header = n->frame;
    uint8_t *f = n->frame + n->header;
    const uint64_t length = total - n->header;
    uint16_t size, start, offset;
    memcpy(&size, header + 4, 2);
    memcpy(&start, header + 6, 2);
    memcpy(&offset, header + 8, 2);
    /* Python says why a ping of somebody outside gets no answer. */
    if (net_get16(f + 12) == 0x0800 && length > 23 && f[23] == 1) return 0;
    if (header[1]) {
        uint64_t payload;
        const uint32_t tcp = net_parse(f, length, &payload);
        if (header[1] != NET_GSO_TCP4 || !n->tso || !(header[0] & NET_NEEDS_CSUM) || !tcp || tcp != start || size < NET_LEAST ||
            length - NET_ETHERNET > 65535)
            return 0;
        net_seal_ip(f, tcp, length);
        net_put16(f + tcp + 16, 0);
        net_put16(f + tcp + 16, net_checksum(net_sum(f + 26, 8) + 6 + (length - tcp) + net_sum(f + tcp, length - tcp)));
    } else if (header[0] & NET_NEEDS_CSUM) {
        if (!n->csum || (uint64_t)start + offset + 2 > length) return 0;
        const uint32_t v = net_checksum(net_sum(f + start, length - start));
        net_put16(f + start + offset, v ? v : 0xffff);
    }
    n->wire->send(n->wire, f, (uint32_t)length);
    return 1;
}

/* What the driver has rung for. 0: the rest is not for here. */
static int net_transmit(Cpu *cpu, struct NetLoan *n)
{
    struct LentRing *q = &n->tx;
    uint32_t available;
    if (!ring_available(cpu, q, &available)) return 0;
    while (q->next != available) {
        const uint32_t head = ring_head(cpu, q, q->next);
        if (head >= q->size || !net_send(cpu, n, head)) return 0;
        q->next = (q->next + 1) & 0xffff;
        ring_give_back(cpu, q, head, 0);
    }
    ring_ask(cpu, q);
    n->sending = -1;
    if (ring_wants_interrupt(cpu, q)) apic_request(cpu, q->vector);
    return 1;
}

/* -- from the wire */

/* Put a frame with its header into buffers. 0: there is no room, or this is not for here, and nothing has happened. */
static int net_store(Cpu *cpu, struct NetLoan *n, const uint8_t *header, const uint8_t *f, uint64_t length)
{
    struct LentRing *q = &n->rx;
    struct RingSegment seg[RING_SEGMENTS];
    uint32_t heads[NET_CHAINS], ends[NET_CHAINS], readable, all, available, chains = 0, segments = 0;
    const uint64_t wanted = n->header + length;
    uint64_t room = 0;
    if (!ring_available(cpu, q, &available)) return 0;
    while (room < wanted) {
        if (chains == NET_CHAINS || ((q->next + chains) & 0xffff) == available || (chains && !n->merge)) return 0;
        const uint32_t head = ring_head(cpu, q, q->next + chains);
        if (head >= q->size) return 0;
        for (uint32_t k = 0; k < chains; k++)
            if (heads[k] == head) return 0;
        struct RingSegment mine[RING_SEGMENTS];
        if (!ring_walk(cpu, q, head, mine, &readable, &all) || readable ||
            all > RING_SEGMENTS - segments)
            return 0;
        uint64_t here = 0;
        for (uint32_t k = 0; k < all; k++) {
            here += mine[k].length;
            seg[segments++] = mine[k];
        }
        if (!chains && here < n->header) return 0;
        heads[chains] = head;
        ends[chains++] = segments;
        room += here;
    }
    uint8_t whole[12];
    memcpy(whole, header, 10);
    whole[10] = (uint8_t)(n->merge ? chains : 1);
    whole[11] = 0;
    uint64_t at = 0;
    for (uint32_t k = 0, s = 0; k < chains; k++) {
        const uint64_t from = at;
        for (; s < ends[k]; s++) {
            uint64_t piece = seg[s].length < wanted - at ? seg[s].length : wanted - at, to = seg[s].address;
            if (at < n->header) {
                const uint64_t part = n->header - at < piece ? n->header - at : piece;
                ring_store(cpu, to, whole + at, part);
                at += part;
                to += part;
                piece -= part;
            }
            if (piece) ring_store(cpu, to, f + (at - n->header), piece);
            at += piece;
        }
        q->next = (q->next + 1) & 0xffff;
        ring_give_back(cpu, q, heads[k], (uint32_t)(at - from));
    }
    if (ring_wants_interrupt(cpu, q)) apic_request(cpu, q->vector);
    return 1;
}

/* A frame from outside. 0: as net_store. */
static int net_receive(Cpu *cpu, struct NetLoan *n, const uint8_t *f, uint64_t length)
{
    static const uint8_t broadcast[6] = {255, 255, 255, 255, 255, 255};
    uint8_t header[10] = {0};
    if (length < NET_ETHERNET || length > NET_LARGEST || net_get16(f + 12) == 0x8100) return 0;
    if (!n->promiscuous && memcmp(f, n->mac, 6) && memcmp(f, broadcast, 6)) return 0;
    if (length <= NET_LONGEST) {
        const int valid = n->marks ? net_valid(f, length) : 0;
        if (valid < 0) return 0;
        header[0] = valid ? NET_DATA_VALID : 0;
        return net_store(cpu, n, header, f, length);
    }
    /* Joined segments: the guest learns how long each was. */
    uint64_t payload;
    const uint32_t tcp = net_parse(f, length, &payload);
    if (!tcp || !n->large || length - NET_ETHERNET > 65535) return 0;
    const uint32_t before = net_get16(f + 16);
    if (before < payload - NET_ETHERNET + NET_LEAST) return 0;
    const uint16_t fields[4] = {(uint16_t)payload, (uint16_t)(before - (payload - NET_ETHERNET)), (uint16_t)tcp, 16};
    header[0] = NET_NEEDS_CSUM;
    header[1] = NET_GSO_TCP4;
    memcpy(header + 2, fields, 8);
    memcpy(n->frame, f, length);
    net_seal_ip(n->frame, tcp, length);
    net_put16(n->frame + tcp + 16, net_fold(net_sum(f + 26, 8) + 6 + (length - tcp)));
    return net_store(cpu, n, header, n->frame, length);
}

/* Keep an arrival for the gate. 0: no memory. */
static int net_keep(Cpu *cpu, struct NetLoan *n, const struct WireFrame *frame)
{
    const struct NetArrival a = {emu_icount(cpu), (uint64_t)n->arriving, frame->length, 0};
    const uint64_t size = sizeof a + ((frame->length + 7) & ~7u);
    if (n->kept + size > n->kept_room) {
        const uint64_t room = 2 * n->kept_room + size;
        uint8_t *more = realloc(n->arrivals, room);
        if (!more) return 0;
        n->arrivals = more;
        n->kept_room = room;
    }
    memcpy(n->arrivals + n->kept, &a, sizeof a);
    memcpy(n->arrivals + n->kept + sizeof a, frame->data, frame->length);
    n->kept += size;
    return 1;
}

/* The time of what has come is here. 0: what is left at the wire has arrived, and is not for here. */
static int net_arrive(Cpu *cpu, struct NetLoan *n)
{
    struct Wire *w = n->wire;
    const struct WireFrame *frame;
    while ((frame = w->first(w)) != NULL) {
        if (n->kept > NET_KEPT) return 0;
        if (!net_receive(cpu, n, frame->data, frame->length)) return 0;
        /* A frame that cannot be kept is lost to a replay, which says so. */
        (void)net_keep(cpu, n, frame);
        w->drop(w);
    }
    n->arriving = -1;
    return 1;
}

/* -- when */

static void net_ready(struct NetLoan *n, int64_t now)
{
    if (n->arriving < 0 && n->wire->count) n->arriving = now + 1;
}

static int net_live(const struct NetLoan *n)
{
    const struct Wire *w = n->wire;
    return w->polled_count > w->listening && w->now() - w->active < NET_EAGER;
}

/* When the card wants to be asked first; -1: not at all. */
static int64_t net_first(const Cpu *cpu)
{
    const struct NetLoan *n = &cpu->net;
    if (!n->lent) return -1;
    int64_t first = n->sending;
    if (n->arriving >= 0 && (first < 0 || n->arriving < first)) first = n->arriving;
    if (n->look >= 0 && (first < 0 || n->look < first)) first = n->look;
    return first;
}

/* Do what is due. 0: Python has to go on. */
static int net_goes_on(Cpu *cpu, int64_t now)
{
    struct NetLoan *n = &cpu->net;
    if (!n->lent) return 1;
    if (n->look >= 0 && now >= n->look) {
        n->look = net_live(n) ? now + NET_LOOK * NS_PER_INSN : -1;
        if (n->look >= 0 && n->wire->now() - n->wire->looked > NET_LOOK_NS) n->wire->look(n->wire, 0);
    }
    net_ready(n, now);
    while ((n->sending >= 0 && now >= n->sending) || (n->arriving >= 0 && now >= n->arriving)) {
        if (!cpu->apic.lent) return 0;
        const int send = n->sending >= 0 && (n->arriving < 0 || n->sending <= n->arriving);
        if (send) n->moved = 1;
        if (!(send ? net_transmit(cpu, n) : net_arrive(cpu, n))) {
            n->stuck = 1;
            return 0;
        }
        if (send && n->look < 0) n->look = now + NET_LOOK * NS_PER_INSN;
        net_ready(n, now);
    }
    return 1;
}

/* The processor has halted: what waits to be sent is sent, and what has come arrives. Else, for a while behind the last frame,
 * wait for the next. 0: not here. `first` is when something else of what is lent is due. */
static int net_idles(Cpu *cpu, int64_t first)
{
    struct NetLoan *n = &cpu->net;
    if (!n->lent || n->stuck) return 0;
    const uint64_t icount = emu_icount(cpu);
    int64_t now = (int64_t)(icount * NS_PER_INSN + cpu->time_offset), then = now;
    int64_t last = (int64_t)cpu->outer - 1;
    if (first >= 0 && first < last) last = first;
    if (n->sending >= 0) {
        if (n->sending > now) n->sending = now;
    } else {
        net_ready(n, now);
        if (n->arriving < 0) {
            struct Wire *w = n->wire;
            if (last <= now || !net_live(n)) return 0;
            const int64_t began = w->now();
            int64_t wait = cpu->pace_wall ? last - cpu->pace_virtual - (began - cpu->pace_wall) : last - now;
            if (wait > NET_WAIT) wait = NET_WAIT;
            if (wait <= 0 || !w->look(w, wait)) return 0;
            const int64_t ended = w->now();
            then = cpu->pace_wall ? cpu->pace_virtual + (ended - cpu->pace_wall) : now + (ended - began);
            if (then > last - 1) then = last - 1;
            if (then < now) then = now;
            net_ready(n, then);
        }
        if (n->arriving > then) then = n->arriving;
        if (then > last) return 0;
    }
    if (then > now) {
        cpu->time_offset += (uint64_t)(then - now);
        const uint64_t insns = (cpu->outer - (uint64_t)then + NS_PER_INSN - 1) / NS_PER_INSN;
        if (insns < cpu->run_end - icount) cpu->run_end = icount + insns;
    }
    return 1;
}

/* A register is written. 0: not here. */
static int net_write(Cpu *cpu, uint64_t address, uint32_t size, uint64_t v)
{
    struct NetLoan *n = &cpu->net;
    if (!n->lent || size != 2 || !cpu->single) return 0;
    /* New buffers for what comes: nothing waits for them. */
    if (address == n->rx.bell && v == 0) return 1;
    if (address != n->tx.bell || v != 1) return 0;
    if (n->sending < 0) {
        n->sending = (int64_t)virtual_ns(cpu) + n->gather;
        n->moved = 1;
        lent_wait(cpu, emu_icount(cpu));
    }
    return 1;
}

/* For tests: do what is due at a time. 0: Python has to go on. */
int emu_net_run(Cpu *cpu, int64_t now) { return net_goes_on(cpu, now); }

void emu_net_free(Cpu *cpu)
{
    free(cpu->net.arrivals);
    cpu->net.arrivals = NULL;
    cpu->net.kept = cpu->net.kept_room = 0;
}
