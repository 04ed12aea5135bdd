/* The wire between a card and libslirp, as host code sees it: who made it (wire.c) and a processor that serves the card
 * (cores/x86/net.c) share this. One thread at a time uses it. */

struct WireFrame {
    uint32_t length, closed; /* closed: no segment may be joined to it */
    uint8_t data[];
};

struct Wire {
    void *handle; /* for callbacks into Python */
    void *stack;  /* libslirp's; NULL once it is closed */
    void (*input)(void *stack, const uint8_t *frame, int length);
    void (*fill)(void *stack, uint32_t *timeout, int (*add)(int, int, void *), void *opaque);
    void (*poll)(void *stack, int failed, int (*revents)(int, void *), void *opaque);

    /* What a processor calls. */
    void (*send)(struct Wire *w, const uint8_t *frame, uint32_t length);
    uint32_t (*look)(struct Wire *w, int64_t wait_ns); /* bring in what has come, after at most that time; frames that wait */
    int64_t (*now)(void);                              /* ns on the wall */
    const struct WireFrame *(*first)(struct Wire *w);
    void (*drop)(struct Wire *w); /* the first */

    /* Frames for the card, in the order of their coming. */
    uint8_t *frames;
    uint64_t start, end, room, last;
    uint32_t count;
    uint32_t joins; /* the card takes large segments */
    uint32_t following, joined, size;

    uint32_t listening; /* descriptors that are always there */
    struct pollfd *polled;
    uint32_t polled_count, polled_room, timeout;
    uint64_t sent, came, lost;
    int64_t active, looked; /* when the last frame passed, either way, and when somebody last looked; on the wall */
};
