; Step: what answers on PCI bus 0.

pci:    mflr    r28
        li      r14, 0
.slot:  slwi    r15, r14, 11
        oris    r15, r15, 0x8000
        mr      r3, r15
        bl      pci_read                ; vendor and device
        cmpwi   r3, -1
        beq     .next
        mr      r16, r3
        li      r3, pci_text@l
        bl      puts
        mr      r3, r14
        bl      putdec
        li      r3, pci_vendor@l
        bl      puts
        clrlwi  r3, r16, 16
        li      r4, 4
        bl      puthex
        li      r3, ':'
        bl      putc
        srwi    r3, r16, 16
        li      r4, 4
        bl      puthex
        li      r3, pci_class@l
        bl      puts
        addi    r3, r15, 8
        bl      pci_read
        srwi    r3, r3, 8
        li      r4, 6
        bl      puthex
        bl      newline
.next:  addi    r14, r14, 1
        cmpwi   r14, 32
        bne     .slot
        mtlr    r28
        blr

pci_text:   db "PowerPC: PCI slot ", 0
pci_vendor: db " is ", 0
pci_class:  db ", class ", 0
        align   4
