; The Bamboo board: a 440EP. Its devices are mapped at E0000000 when a kernel is entered.

UART    equ     0xEF600300
PCI     equ     0xEEC00000
FRAMES  equ     0x00200000              ; what the miss handler maps

board_init:
        li      r3, 0
        mtmmucr r3                      ; entries are for every TID, in space 0
        blr

; There is no power switch: a system reset, which ends a run with -no-reboot.
finish:
        lis     r3, 0x3000
        mtdbcr0 r3
        b       $

pci_read:                               ; r3 configuration address -> value
        lis     r4, PCI@ha
        addi    r4, r4, PCI@l
        stwbrx  r3, 0, r4
        addi    r4, r4, 4
        lwbrx   r3, 0, r4
        blr

; Data TLB error: map the page to the next frame, in an entry from 32 on, and try again.
        align   16
miss:   mtsprg0 r3
        mtsprg1 r4
        mtsprg2 r5
        mfdear  r3
        lwz     r4, misses@l(0)
        slwi    r5, r4, 2
        stw     r3, seen@l(r5)
        addi    r5, r4, 1
        stw     r5, misses@l(0)
        slwi    r5, r4, 12
        addis   r5, r5, FRAMES@h
        addi    r4, r4, 32
        clrrwi  r3, r3, 12
        ori     r3, r3, 0x210           ; valid, 4 KiB
        tlbwe   r3, r4, 0
        tlbwe   r5, r4, 1
        li      r3, 3                   ; the supervisor reads and writes
        tlbwe   r3, r4, 2
        isync
        mfsprg2 r5
        mfsprg1 r4
        mfsprg0 r3
        rfi
