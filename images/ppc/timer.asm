; Step: five interrupts of the decrementer, which reloads itself; the processor waits between them.

PERIOD  equ     4000000                 ; of the time base: 10 ms

timer:  mflr    r28
        li      r3, timer_text@l
        bl      puts
        lis     r3, PERIOD@h
        ori     r3, r3, PERIOD@l
        mtdecar r3
        mtdec   r3
        lis     r3, 0x0440              ; TCR: DIE, ARE
        mttcr   r3
        li      r14, 0                  ; ticks seen
.again: wrteei  0
        lwz     r3, ticks@l(0)
        cmpw    r3, r14
        bne     .new
        mfmsr   r4
        oris    r4, r4, 0x0004          ; WE
        ori     r4, r4, 0x8000          ; EE
        mtmsr   r4
        isync
        b       .again
.new:   addi    r14, r14, 1
        li      r3, ' '
        bl      putc
        mr      r3, r14
        bl      putdec
        cmpwi   r14, 5
        bne     .again
        li      r3, 0
        mttcr   r3
        li      r3, timer_end@l
        bl      puts
        mtlr    r28
        blr

timer_text: db "PowerPC: decrementer ticks", 0
timer_end:  db " (100 Hz, IVOR10)", 13, 10, 0
        align   4
