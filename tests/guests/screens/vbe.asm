; VBE: 1024 x 768 x 32 through the linear frame buffer, written in protected mode.
              org 0x7c00
              bits 16
INFO          equ 0x8000
start:        cli
              xor ax, ax
              mov ds, ax
              mov es, ax
              mov ss, ax
              mov sp, 0x7c00
              cld
              mov ax, 0x4f01
              mov cx, 0x144
              mov di, INFO
              int 0x10
              cmp ax, 0x004f
              jne stop
              mov ax, 0x4f02
              mov bx, 0x4144
              int 0x10
              cmp ax, 0x004f
              jne stop
              cli
              lgdt [table]
              mov eax, cr0
              or al, 1
              mov cr0, eax
              jmp 8:protected
stop:         hlt
              bits 32
protected:    mov ax, 0x10
              mov ds, ax
              mov es, ax
              mov edi, [INFO + 40]
              xor edx, edx               ; the row
.row:         xor ecx, ecx
.dot:         mov eax, ecx               ; red from left to right, green from top to bottom, blue in squares
              shr eax, 2
              shl eax, 8
              mov ebx, edx
              imul ebx, ebx, 85
              shr ebx, 8
              or eax, ebx
              shl eax, 8
              mov ebx, ecx
              xor ebx, edx
              and ebx, 0x40
              or eax, ebx
              stosd
              inc ecx
              cmp ecx, 1024
              jne .dot
              inc edx
              cmp edx, 768
              jne .row
              hlt
              align 8
gdt:          dq 0, 0x00cf9a000000ffff, 0x00cf92000000ffff
table:        dw 23
              dd gdt
              times 510 - ($ - $$) db 0
              dw 0xaa55
