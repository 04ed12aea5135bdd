; Step: say which processor this is.

hello:  mflr    r28
        li      r3, hello_text@l
        bl      puts
        mfpvr   r3
        li      r4, 8
        bl      puthex
        mfpvr   r14
        srwi    r14, r14, 16
        li      r15, hello_names@l
.next:  lwz     r3, 0(r15)
        lwz     r4, 4(r15)
        addi    r15, r15, 8
        cmpwi   r3, 0                   ; the last one fits all
        beq     .found
        cmpw    r3, r14
        bne     .next
.found: mr      r3, r4
        bl      puts
        bl      newline
        mtlr    r28
        blr

hello_names:
        .long   0x4222, hello_440ep, 0x1302, hello_460ex, 0x8020, hello_v1, 0x8021, hello_v2, 0x8023, hello_mc
        .long   0, hello_other
hello_text:  db "PowerPC: hello from PVR ", 0
hello_440ep: db ", a PowerPC 440EP", 0
hello_460ex: db ", a PowerPC 460EX", 0
hello_v1:    db ", an e500v1", 0
hello_v2:    db ", an e500v2", 0
hello_mc:    db ", an e500mc", 0
hello_other: db ", a processor without a name here", 0
        align   4
