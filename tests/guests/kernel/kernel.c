/*
 * The test kernel: prints on COM1 what it was given and finds, one line each, and leaves through port 0xF4.
 *
 * It does what small teaching kernels and bare-metal test suites do: multiboot information, MP table, local APIC timer,
 * I/O APIC routing of COM1, keyboard and IDE, IDE sectors by interrupt, fw_cfg. The words of its command line choose the
 * parts: mb mp timer disk write echo keys lines fwcfg pci off reboot. A boot sector that starts it with EAX = 0 gets the
 * parts of BOOTED.
 *
 * Multiboot 1 specification, 3.3; Intel MultiProcessor Specification 1.4, chapter 4; SDM vol. 3, chapter "APIC";
 * 82093AA data sheet; ATA-2; QEMU's fw_cfg specification.
 */

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;

#define COM1 0x3F8
#define MEMORY(type, address) (*(volatile type *)(address))

static inline void outb(u16 port, u8 value) { __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port)); }
static inline void outw(u16 port, u16 value) { __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port)); }
static inline void outl(u16 port, u32 value) { __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port)); }
static inline u8 inb(u16 port)
{
    u8 value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
static inline u32 inl(u16 port)
{
    u32 value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
static inline void insl(u16 port, void *to, u32 count)
{
    __asm__ volatile("rep insl" : "+D"(to), "+c"(count) : "d"(port) : "memory");
}
static inline void outsl(u16 port, const void *from, u32 count)
{
    __asm__ volatile("rep outsl" : "+S"(from), "+c"(count) : "d"(port) : "memory");
}
static inline void sleep_until_interrupt(void) { __asm__ volatile("sti; hlt; cli" : : : "memory"); }

/* Output */

static void put(char c)
{
    while (!(inb(COM1 + 5) & 0x20)) {
    }
    outb(COM1, c);
}

static void text(const char *s)
{
    while (*s) put(*s++);
}

static void hex(u32 value, int digits)
{
    while (digits--) put("0123456789abcdef"[value >> 4 * digits & 15]);
}

static void line(const char *name, u32 value)
{
    text(name);
    put(' ');
    hex(value, 8);
    put('\n');
}

static void leave(u8 status)
{
    outb(0xF4, status);
    for (;;) __asm__ volatile("cli; hlt");
}

static void fail(const char *why)
{
    text("FAIL ");
    text(why);
    put('\n');
    leave(0x7F);
}

static void screen(const char *s)
{
    volatile u16 *cell = (volatile u16 *)0xB8000;
    for (int i = 0; i < 80 * 25; i++) cell[i] = 0x0720;
    while (*s) *cell++ = 0x0700 | (u8)*s++;
}

static int same(const void *a, const void *b, u32 length)
{
    const u8 *x = a, *y = b;
    while (length--)
        if (*x++ != *y++) return 0;
    return 1;
}

#define BOOTED "mp timer disk echo"
static const char *command_line = BOOTED;

static int asked(const char *word)
{
    u32 length = 0;
    while (word[length]) length++;
    for (const char *at = command_line; *at; at++)
        if ((at == command_line || at[-1] == ' ') && same(at, word, length) && (at[length] == ' ' || !at[length]))
            return 1;
    return 0;
}

/* Multiboot */

static void multiboot(u32 magic, u32 info)
{
    line("magic", magic);
    u32 flags = MEMORY(u32, info);
    line("flags", flags & 0x4F);
    if (flags & 1) {
        line("lower", MEMORY(u32, info + 4));
        line("upper", MEMORY(u32, info + 8));
    }
    text("cmdline ");
    text(command_line);
    put('\n');
    if (flags & 8) {
        u32 at = MEMORY(u32, info + 24);
        for (u32 n = MEMORY(u32, info + 20); n--; at += 16) {
            u32 start = MEMORY(u32, at), end = MEMORY(u32, at + 4);
            text(start & 0xFFF ? "unaligned" : "module ");
            text((const char *)MEMORY(u32, at + 8));
            put(' ');
            hex(end - start, 8);
            put(' ');
            for (u32 k = start; k < end && k < start + 16; k++) put(MEMORY(char, k));
            put('\n');
        }
    }
    if (flags & 0x40) {
        u32 at = MEMORY(u32, info + 48), end = at + MEMORY(u32, info + 44);
        for (; at < end; at += MEMORY(u32, at) + 4) {
            text("map ");
            hex(MEMORY(u32, at + 4), 8);
            put(' ');
            hex(MEMORY(u32, at + 12), 8);
            put(' ');
            hex(MEMORY(u32, at + 20), 8);
            put('\n');
        }
    }
}

/* MP table */

static u8 sum(u32 at, u32 length)
{
    u8 total = 0;
    while (length--) total += MEMORY(u8, at++);
    return total;
}

static u32 search(u32 at, u32 length)
{
    for (u32 end = at + length; at < end; at += 16)
        if (same((void *)at, "_MP_", 4) && sum(at, 16) == 0) return at;
    return 0;
}

static u32 lapic, ioapic, ioapic_id = 0xFF;
static u8 irq_pin[16];

static void mp_table(int show)
{
    u32 ebda = (u32)MEMORY(u16, 0x40E) << 4, base = (u32)MEMORY(u16, 0x413) << 10, at = 0;
    const char *where = "ebda";
    if (ebda) at = search(ebda, 1024);
    if (!at) where = "base", at = search(base - 1024, 1024);
    if (!at) where = "rom", at = search(0xF0000, 0x10000);
    if (!at) fail("no MP table");
    u32 table = MEMORY(u32, at + 4);
    u8 imcr = MEMORY(u8, at + 12);
    if (!same((void *)table, "PCMP", 4) || sum(table, MEMORY(u16, table + 4))) fail("MP configuration");
    u8 version = MEMORY(u8, table + 6);
    if (version != 1 && version != 4) fail("MP version");
    lapic = MEMORY(u32, table + 36);
    for (int i = 0; i < 16; i++) irq_pin[i] = i;
    u32 cpus = 0, buses = 0, isa = 0xFF;
    for (u32 e = table + 44, end = table + MEMORY(u16, table + 4); e < end;) {
        switch (MEMORY(u8, e)) {
        case 0:
            cpus++;
            e += 20;
            break;
        case 1:
            buses++;
            if (same((void *)(e + 2), "ISA   ", 6)) isa = MEMORY(u8, e + 1);
            e += 8;
            break;
        case 2:
            ioapic_id = MEMORY(u8, e + 1);
            ioapic = MEMORY(u32, e + 4);
            e += 8;
            break;
        case 3:
            if (MEMORY(u8, e + 1) == 0 && MEMORY(u8, e + 4) == isa && MEMORY(u8, e + 5) < 16)
                irq_pin[MEMORY(u8, e + 5)] = MEMORY(u8, e + 7);
            e += 8;
            break;
        case 4:
            e += 8;
            break;
        default:
            fail("MP entry");
        }
    }
    if (imcr & 0x80) {
        outb(0x22, 0x70);
        outb(0x23, inb(0x23) | 1);
    }
    if (!show) return;
    text("mp ");
    text(where);
    put('\n');
    line("cpus", cpus);
    line("buses", buses);
    line("lapic", lapic);
    line("ioapic", ioapic);
    line("ioapic-id", ioapic_id);
    line("timer-pin", irq_pin[0]);
}

/* Interrupts */

#define LAPIC(register) MEMORY(u32, lapic + (register))
#define VECTOR_TIMER 32
#define VECTOR_KEYBOARD 33
#define VECTOR_COM1 36
#define VECTOR_IDE 46
#define VECTOR_LINE 37
#define VECTOR_ERROR 51
#define VECTOR_SPURIOUS 63

static struct {
    u16 low, selector, attributes, high;
} idt[64];
static u32 gdt[6] = {0, 0, 0x0000FFFF, 0x00CF9A00, 0x0000FFFF, 0x00CF9200};
extern u8 stubs[];
static volatile u32 ticks, ide_interrupts, com_interrupts, line_interrupts;
static volatile u8 received[64], scancodes[64];
static volatile u32 received_count, scancode_count;

void interrupt(u32 vector, u32 error)
{
    switch (vector) {
    case VECTOR_TIMER:
        ticks++;
        break;
    case VECTOR_KEYBOARD:
        while (inb(0x64) & 1) scancodes[scancode_count++ & 63] = inb(0x60);
        break;
    case VECTOR_COM1:
        com_interrupts++;
        while (inb(COM1 + 5) & 1) received[received_count++ & 63] = inb(COM1);
        break;
    case VECTOR_IDE:
        ide_interrupts++;
        break;
    case VECTOR_LINE:
        line_interrupts++;
        break;
    case VECTOR_SPURIOUS:
        return;
    default:
        line("vector", vector);
        line("error", error);
        fail("unexpected interrupt");
    }
    LAPIC(0xB0) = 0;
}

static void load_tables(void)
{
    struct {
        u16 limit;
        u32 base;
    } __attribute__((packed)) g = {sizeof gdt - 1, (u32)gdt}, i = {sizeof idt - 1, (u32)idt};
    for (u32 n = 0; n < 64; n++) {
        u32 to = (u32)stubs + 16 * n;
        idt[n].low = to;
        idt[n].selector = 8;
        idt[n].attributes = 0x8E00;
        idt[n].high = to >> 16;
    }
    __asm__ volatile("lgdt %0; ljmp $8, $1f; 1: mov %1, %%ds; mov %1, %%es; mov %1, %%ss; lidt %2"
                     :
                     : "m"(g), "r"(16), "m"(i)
                     : "memory");
}

static u32 ioapic_read(u32 index)
{
    MEMORY(u32, ioapic) = index;
    return MEMORY(u32, ioapic + 16);
}

static void ioapic_write(u32 index, u32 value)
{
    MEMORY(u32, ioapic) = index;
    MEMORY(u32, ioapic + 16) = value;
}

static void route(u32 irq, u32 vector)
{
    ioapic_write(0x10 + 2 * irq_pin[irq] + 1, LAPIC(0x20) & 0xFF000000);
    ioapic_write(0x10 + 2 * irq_pin[irq], vector);
}

static void start_interrupts(void)
{
    load_tables();
    outb(0x21, 0xFF);
    outb(0xA1, 0xFF);
    LAPIC(0xF0) = 0x100 | VECTOR_SPURIOUS;
    LAPIC(0x3E0) = 0xB;
    LAPIC(0x320) = 0x20000 | VECTOR_TIMER;
    LAPIC(0x380) = 1000000;
    LAPIC(0x350) = 0x10000;
    LAPIC(0x360) = 0x10000;
    if ((LAPIC(0x30) >> 16 & 0xFF) >= 4) LAPIC(0x340) = 0x10000;
    LAPIC(0x370) = VECTOR_ERROR;
    LAPIC(0x280) = 0;
    LAPIC(0x280) = 0;
    LAPIC(0xB0) = 0;
    LAPIC(0x310) = 0;
    LAPIC(0x300) = 0x88500; /* INIT, level de-assert, to all: synchronise arbitration */
    while (LAPIC(0x300) & 0x1000) {
    }
    LAPIC(0x80) = 0;
    u32 last = ioapic_read(1) >> 16 & 0xFF;
    if (ioapic_read(0) >> 24 != ioapic_id) fail("I/O APIC id");
    for (u32 pin = 0; pin <= last; pin++) ioapic_write(0x10 + 2 * pin, 0x10000 | (32 + pin));
    outb(COM1 + 2, 0);
    outb(COM1 + 3, 3);
    outb(COM1 + 4, 0); /* no OUT2: nothing of today gates the interrupt with it */
    outb(COM1 + 1, 1);
    inb(COM1 + 2);
    inb(COM1);
    route(4, VECTOR_COM1);
    route(1, VECTOR_KEYBOARD);
    route(14, VECTOR_IDE);
}

/* IDE */

static u8 sector[512] __attribute__((aligned(4)));

static int ide_wait(void)
{
    u8 status;
    while (((status = inb(0x1F7)) & 0xC0) != 0x40) {
    }
    return status & 0x21;
}

static void ide_command(u32 drive, u32 at, u8 command)
{
    ide_wait();
    outb(0x3F6, 0);
    outb(0x1F2, 1);
    outb(0x1F3, at);
    outb(0x1F4, at >> 8);
    outb(0x1F5, at >> 16);
    outb(0x1F6, 0xE0 | drive << 4 | (at >> 24 & 0xF));
    outb(0x1F7, command);
}

static void ide_finish(u32 before)
{
    while (ide_interrupts == before) sleep_until_interrupt();
    if (ide_wait()) fail("disk error");
}

static void ide_read(u32 drive, u32 at)
{
    u32 before = ide_interrupts;
    ide_command(drive, at, 0x20);
    ide_finish(before);
    insl(0x1F0, sector, 128);
}

static void ide_write(u32 drive, u32 at)
{
    u32 before = ide_interrupts;
    ide_command(drive, at, 0x30);
    ide_wait();
    outsl(0x1F0, sector, 128);
    ide_finish(before);
}

static int ide_present(u32 drive)
{
    ide_wait();
    outb(0x1F6, 0xE0 | drive << 4);
    int found = 0;
    for (int i = 0; i < 1000 && !found; i++) found = inb(0x1F7) != 0;
    outb(0x1F6, 0xE0);
    return found;
}

static void disks(void)
{
    for (u32 drive = 0; drive < 2; drive++) {
        if (!ide_present(drive)) continue;
        for (u32 at = 0; at < 3; at++) {
            ide_read(drive, at);
            text("sector ");
            hex(drive, 1);
            put(' ');
            hex(at, 1);
            put(' ');
            for (int i = 0; i < 16; i++) put(sector[i]);
            put('\n');
        }
    }
    line("ide-interrupts", ide_interrupts);
}

static void rewrite(void)
{
    ide_read(1, 7);
    for (int i = 0; i < 512; i++) sector[i] ^= 0xFF;
    ide_write(1, 7);
    for (int i = 0; i < 512; i++) sector[i] = 0;
    ide_read(1, 7);
    line("rewritten", *(u32 *)sector);
}

/* The rest */

static void timer(void)
{
    u32 last = ticks;
    while (ticks < last + 5) sleep_until_interrupt();
    text("timer ok\n");
}

static void echo(void)
{
    text("type> ");
    u32 done = 0;
    for (;;) {
        while (done == received_count) sleep_until_interrupt();
        u8 c = received[done++ & 63];
        if (c == '\r' || c == '\n') break;
        put(c - ('a' <= c && c <= 'z' ? 32 : 0));
    }
    text(com_interrupts ? " echoed\n" : " polled\n");
}

static void keys(void)
{
    screen("press a key");
    while (scancode_count < 2) sleep_until_interrupt();
    text("keys ");
    hex(scancodes[0], 2);
    put(' ');
    hex(scancodes[1], 2);
    put('\n');
}

static void lines(void)
{
    route(5, VECTOR_LINE);
    outb(0x2005, 1);
    outb(0x2005, 0);
    timer();
    line("line", line_interrupts);
}

static u32 fw_cfg(u16 key, u32 width)
{
    u32 value = 0;
    outw(0x510, key);
    for (u32 i = 0; i < width; i++) value |= (u32)inb(0x511) << 8 * i;
    return value;
}

static u32 pci(u32 slot, u32 function, u32 at)
{
    outl(0xCF8, 0x80000000 | slot << 11 | function << 8 | at);
    return inl(0xCFC);
}

void kernel_main(u32 magic, u32 info)
{
    if (magic == 0x2BADB002) command_line = MEMORY(u32, info) & 4 ? (const char *)MEMORY(u32, info + 16) : "";
    if (asked("mb")) multiboot(magic, info);
    mp_table(asked("mp"));
    start_interrupts();
    if (asked("timer")) timer();
    if (asked("disk")) disks();
    if (asked("write")) rewrite();
    if (asked("echo")) echo();
    if (asked("keys")) keys();
    if (asked("lines")) lines();
    if (asked("fwcfg")) {
        line("signature", fw_cfg(0, 4));
        line("memory", fw_cfg(3, 4));
        line("processors", fw_cfg(5, 2));
    }
    if (asked("pci"))
        for (u32 slot = 0; slot < 32; slot++)
            for (u32 function = 0; function < 8; function++)
                if (pci(slot, function, 0) != 0xFFFFFFFF) line("pci", pci(slot, function, 0));
    text("done\n");
    if (asked("reboot")) outb(0x64, 0xFE);
    if (asked("off")) {
        u32 pm = pci(1, 3, 0x40) & 0xFFC0;
        if (pm) outw(pm + 4, 0x2000);
    }
    leave(0x10);
}
