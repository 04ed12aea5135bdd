; Mode X: 320 x 240 in four planes, wider than the screen, panned by two dots, with a split screen below line 160.
              org 0x7c00
              bits 16
WIDE          equ 88                     ; bytes of a row in each plane
start:        cli
              xor ax, ax
              mov ds, ax
              mov ss, ax
              mov sp, 0x7c00
              cld
              mov ax, 0x13
              int 0x10
              mov dx, 0x3c4
              mov ax, 0x0604             ; no chain-4
              out dx, ax
              mov dx, 0x3c2              ; 480 lines
              mov al, 0xe3
              out dx, al
              mov dx, 0x3d4
              mov al, 0x11
              out dx, al
              inc dx
              in al, dx
              and al, 0x7f
              out dx, al
              dec dx
              mov si, crtc
              mov cx, 14
.crtc:        lodsw
              out dx, ax
              loop .crtc
              mov dx, 0x3da              ; panning: two dots, only above the split
              in al, dx
              mov dx, 0x3c0
              mov al, 0x33
              out dx, al
              mov al, 4
              out dx, al
              mov al, 0x30
              out dx, al
              mov al, 0x61
              out dx, al
              mov ax, 0xa000
              mov es, ax
              mov dx, 0x3c4
              mov bl, 0                  ; the plane
.plane:       mov cl, bl
              mov ax, 0x0102
              shl ah, cl
              out dx, ax
              xor di, di
              mov bp, 360                ; rows
.row:         xor cx, cx
.byte:        mov ax, cx                 ; the dot's column
              shl ax, 2
              add al, bl
              xor ax, bp
              and al, 0x38
              shr al, 1
              add al, 0x20
              add al, ah
              stosb
              inc cx
              cmp cx, WIDE
              jne .byte
              dec bp
              jnz .row
              inc bl
              cmp bl, 4
              jne .plane
              hlt
crtc:         dw 0x0d06, 0x3e07, 0x0109, 0xea10, 0xac11, 0xdf12, 0x0014, 0xe715, 0x0616, 0xe317
              dw WIDE / 2 << 8 | 0x13, 0x230c, 0x450d, 0x3f18
              times 510 - ($ - $$) db 0
              dw 0xaa55
