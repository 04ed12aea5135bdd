; The ppce500 board: an e500. Its configuration space is at F_E0000000; entry 1 of TLB1 maps it at E0000000.

CCSR    equ     0xE0000000
UART    equ     CCSR + 0x4500
PCI     equ     CCSR + 0x8000
GPIO    equ     CCSR + 0xFF000
FRAMES  equ     0x00200000              ; what the miss handler maps

board_init:
        lis     r3, 0x1001              ; TLB1, entry 1
        mtmas0  r3
        lis     r3, 0xC000              ; valid, protected, TID 0, space 0,
        ori     r3, r3, 0x500           ; 1 MiB
        mtmas1  r3
        lis     r3, CCSR@h
        ori     r3, r3, 0xA             ; inhibited, guarded
        mtmas2  r3
        lis     r3, CCSR@h
        ori     r3, r3, 5               ; the supervisor reads and writes
        mtmas3  r3
        li      r3, 0xF
        mtmas7  r3
        tlbwe
        isync
        mfhid0  r3
        oris    r3, r3, 0x0080          ; DOZE: MSR.WE waits
        mthid0  r3
        li      r3, 0x100               ; a miss prepares a page of 4 KiB in TLB0
        mtmas4  r3
        blr

; Pin 0 of the GPIO controller switches the power off.
finish:
        lis     r4, GPIO@ha
        addi    r4, r4, GPIO@l
        lis     r3, 0x8000
        stw     r3, 0(r4)               ; an output
        stw     r3, 8(r4)               ; that is high
        b       $

pci_read:                               ; r3 configuration address -> value
        lis     r4, PCI@ha
        addi    r4, r4, PCI@l
        stw     r3, 0(r4)
        addi    r4, r4, 4
        lwbrx   r3, 0, r4
        blr

; Data TLB error: the processor has prepared MAS0 to MAS2; what is left is where the page is.
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
        ori     r5, r5, 5
        mtmas3  r5
        li      r3, 0
        mtmas7  r3
        tlbwe
        isync
        mfsprg2 r5
        mfsprg1 r4
        mfsprg0 r3
        rfi
