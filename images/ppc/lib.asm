; Start, output and interrupts of the small PowerPC guests. Raw code, entered at address 0 with the first megabytes
; mapped as they are. The board's file follows, then the steps, then `main`, which the recipe makes of them.
; r31 is the serial port, r29 belongs to `main`; a step may use all others.

start:
        lis     r31, UART@ha
        addi    r31, r31, UART@l
        li      r3, 0
        mtivpr  r3
        li      r3, tick@l
        mtivor10 r3
        li      r3, miss@l
        mtivor13 r3
        bl      board_init
        bl      main
        b       finish

; --- output: r3 is a character, a text that ends in 0, or a number; r0 and r3 to r8 are lost

putc:
.wait:  lbz     r0, 5(r31)              ; line status: is the transmitter empty?
        andi.   r0, r0, 0x20
        beq     .wait
        stb     r3, 0(r31)
        blr

puts:   mflr    r5
        mr      r4, r3
.next:  lbz     r3, 0(r4)
        cmpwi   r3, 0
        beq     .end
        bl      putc
        addi    r4, r4, 1
        b       .next
.end:   mtlr    r5
        blr

puthex: mflr    r5                      ; r4 digits
        mr      r6, r3
        slwi    r7, r4, 2
        subfic  r7, r7, 32
        slw     r6, r6, r7
        mtctr   r4
.next:  srwi    r3, r6, 28
        slwi    r6, r6, 4
        cmpwi   r3, 10
        blt     .digit
        addi    r3, r3, 'a' - '0' - 10
.digit: addi    r3, r3, '0'
        bl      putc
        bdnz    .next
        mtlr    r5
        blr

putdec: mflr    r5                      ; below 100
        li      r7, 10
        divwu   r6, r3, r7
        mullw   r7, r6, r7
        sub     r7, r3, r7
        cmpwi   r6, 0
        beq     .last
        addi    r3, r6, '0'
        bl      putc
.last:  addi    r3, r7, '0'
        bl      putc
        mtlr    r5
        blr

newline:
        li      r3, end_of_line@l
        b       puts

; --- the decrementer's interrupt: count it, and leave the wait state

        align   16
tick:   mtsprg0 r3
        lis     r3, 0x0800              ; TSR.DIS
        mttsr   r3
        lwz     r3, ticks@l(0)
        addi    r3, r3, 1
        stw     r3, ticks@l(0)
        mfsrr1  r3
        rlwinm  r3, r3, 0, 14, 12       ; all but MSR.WE
        mtsrr1  r3
        mfsprg0 r3
        rfi

ticks:  .long   0
misses: .long   0
seen:   .long   0, 0, 0, 0, 0, 0, 0, 0
end_of_line:
        db      13, 10, 0
        align   4
