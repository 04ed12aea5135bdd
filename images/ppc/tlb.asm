; Step: store to three pages that no entry of the TLB maps. The handler of the board maps each to a frame, and the text
; tells what is found there at its physical address.

PAGES   equ     0x70000000
STRIDE  equ     0x5008                  ; another page each time, and another word in it

tlb:    mflr    r28
        lis     r14, PAGES@h
        lis     r15, FRAMES@h
        lis     r16, 0x600D
        li      r17, 0
.store: stw     r16, 0(r14)
        li      r3, tlb_text@l
        bl      puts
        slwi    r4, r17, 2
        lwz     r3, seen@l(r4)
        li      r4, 8
        bl      puthex
        li      r3, tlb_mapped@l
        bl      puts
        clrlwi  r18, r14, 20            ; the same word of the frame
        add     r18, r18, r15
        mr      r3, r18
        li      r4, 8
        bl      puthex
        li      r3, tlb_reads@l
        bl      puts
        lwz     r3, 0(r18)
        li      r4, 8
        bl      puthex
        bl      newline
        addi    r14, r14, STRIDE
        addi    r15, r15, 0x1000
        addi    r16, r16, 1
        addi    r17, r17, 1
        cmpwi   r17, 3
        bne     .store
        lwz     r3, misses@l(0)
        bl      putdec
        li      r3, tlb_end@l
        bl      puts
        mtlr    r28
        blr

tlb_text:   db "PowerPC: TLB miss at ", 0
tlb_mapped: db ": mapped to ", 0
tlb_reads:  db ", which holds ", 0
tlb_end:    db " TLB misses in all", 13, 10, 0
        align   4
