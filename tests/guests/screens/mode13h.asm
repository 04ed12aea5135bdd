; Mode 13h: 320 x 200 in 256 colours of its own palette, x xor y.
              org 0x7c00
              bits 16
start:        cli
              xor ax, ax
              mov ds, ax
              mov ss, ax
              mov sp, 0x7c00
              cld
              mov ax, 0x13
              int 0x10
              mov dx, 0x3c8
              xor ax, ax
              out dx, al
              inc dx
              xor cx, cx
.colour:      mov al, cl                 ; red as the number, green the other way, blue in steps
              shr al, 2
              out dx, al
              mov al, cl
              not al
              shr al, 2
              out dx, al
              mov al, cl
              and al, 0x30
              out dx, al
              inc cl
              jnz .colour
              mov ax, 0xa000
              mov es, ax
              xor di, di
              xor bx, bx
.row:         xor cx, cx
.dot:         mov al, cl
              xor al, bl
              add al, ch
              stosb
              inc cx
              cmp cx, 320
              jne .dot
              inc bx
              cmp bx, 200
              jne .row
              hlt
              times 510 - ($ - $$) db 0
              dw 0xaa55
