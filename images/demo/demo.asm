; The demo guest: a boot sector, a second stage, a little protected mode. See README.md.
;
; Memory:  0x07c00 boot sector, 0x07e00 second stage, 0x0f000 sector buffer, 0x10000 page directory,
;          0x11000 page table of the first 4 MiB, 0x12000 page table of the second, 0x13000 the page seen twice,
;          0x14000 the page that the fault handler maps, 0x15000 interrupt table, 0x20000 top of the stack.

COM1          equ 0x3f8
BUFFER        equ 0x0f000
DIRECTORY     equ 0x10000
TABLE_LOW     equ 0x11000
TABLE_HIGH    equ 0x12000
SHARED_PAGE   equ 0x13000
SPARE_PAGE    equ 0x14000
IDT           equ 0x15000
STACK_TOP     equ 0x20000
WINDOW        equ 0x400000              ; where SHARED_PAGE appears a second time
HOLE          equ 0x401000              ; not mapped until it is touched
CODE          equ 0x08
DATA          equ 0x10
TICKS         equ 10
PM1_CONTROL   equ 0x604                 ; PIIX4 power management, PMBASE 0x600
SLEEP_S5      equ 0x2000                ; SLP_EN with sleep type 0

              org 0x7c00
              bits 16

; --- boot sector ----------------------------------------------------------------------------------------------------

start:        cli
              xor ax, ax
              mov ds, ax
              mov es, ax
              mov ss, ax
              mov sp, 0x7c00
              sti
              cld
              jmp 0:.flat                ; some firmware starts us at 07c0:0000
.flat:        mov [drive], dl

              mov dx, COM1 + 3           ; 115200 baud, 8 bits, no parity, no interrupts
              mov al, 0x80
              out dx, al
              mov dx, COM1
              mov al, 1
              out dx, al
              inc dx
              mov al, 0
              out dx, al
              mov dx, COM1 + 3
              mov al, 3
              out dx, al
              mov dx, COM1 + 1
              mov al, 0
              out dx, al

              mov ax, 3                  ; text mode 80 x 25
              int 0x10
              mov si, hello
              call puts16
              mov al, [drive]
              call hex8_16
              call newline16

              mov cx, 3                  ; a floppy drive may need some tries
.again:       push cx
              xor ah, ah
              mov dl, [drive]
              int 0x13
              mov ax, 0x0200 + STAGE2_SECTORS
              mov bx, second
              mov cx, 2                  ; cylinder 0, sector 2
              xor dh, dh
              mov dl, [drive]
              int 0x13
              pop cx
              jnc second
              loop .again
              mov si, no_disk
              call puts16
.stop:        hlt
              jmp .stop

; One character of AL, on the screen through the firmware and on COM1.
putc16:       push ax
              push bx
              push dx
              push ax
              mov dx, COM1 + 5
.wait:        in al, dx
              test al, 0x20
              jz .wait
              pop ax
              mov dx, COM1
              out dx, al
              mov ah, 0x0e
              mov bx, 7
              int 0x10
              pop dx
              pop bx
              pop ax
              ret

; The text at SI, up to a zero.
puts16:       lodsb
              test al, al
              jz .done
              call putc16
              jmp puts16
.done:        ret

newline16:    mov al, 13
              call putc16
              mov al, 10
              jmp putc16

; EAX in eight hexadecimal digits; hex8_16 is AL in two.
hex32_16:     push cx
              mov cx, 8
              jmp hex_digits16
hex8_16:      push cx
              shl eax, 24
              mov cx, 2
hex_digits16: rol eax, 4
              push ax
              and al, 15
              cmp al, 10
              jb .digit
              add al, 'A' - 10 - '0'
.digit:       add al, '0'
              call putc16
              pop ax
              loop hex_digits16
              pop cx
              ret

drive:        db 0
hello:        db "Emu demo: boot sector at 0000:7C00, drive ", 0
no_disk:      db "Emu demo: the disk cannot be read.", 13, 10, 0

              times 510 - ($ - $$) db 0
              dw 0xaa55

; --- second stage, still in real mode -------------------------------------------------------------------------------

second:       mov si, loaded
              call puts16

; The CPU: CPUID is there if bit 21 of EFLAGS can be changed.
              pushfd
              pop eax
              mov ebx, eax
              xor eax, 1 << 21
              push eax
              popfd
              pushfd
              pop eax
              xor eax, ebx
              test eax, 1 << 21
              jnz has_cpuid
              mov si, cpu_486
              call puts16
              jmp memory

has_cpuid:    xor eax, eax
              cpuid
              mov [name], ebx
              mov [name + 4], edx
              mov [name + 8], ecx
              mov byte [name + 12], 0
              mov si, cpu_is
              call puts16
              mov si, name
              call puts16
              mov eax, 1
              cpuid
              mov [signature_eax], eax
              mov [features], edx
              mov si, cpu_family
              call puts16
              mov eax, [signature_eax]
              shr eax, 8
              and eax, 15
              call decimal16
              mov si, cpu_model
              call puts16
              mov eax, [signature_eax]
              shr eax, 4
              and eax, 15
              call decimal16
              mov si, cpu_stepping
              call puts16
              mov eax, [signature_eax]
              and eax, 15
              call decimal16
              call newline16

              mov eax, 0x80000000
              cpuid
              cmp eax, 0x80000004
              jb .no_brand
              mov edi, name
              mov ebp, 0x80000002
.brand:       mov eax, ebp
              cpuid
              mov [edi], eax
              mov [edi + 4], ebx
              mov [edi + 8], ecx
              mov [edi + 12], edx
              add edi, 16
              inc ebp
              cmp ebp, 0x80000004
              jbe .brand
              mov byte [edi], 0
              mov si, cpu_is
              call puts16
              mov si, name
.blanks:      cmp byte [si], ' '
              jne .trimmed
              inc si
              jmp .blanks
.trimmed:     call puts16
              call newline16
.no_brand:    mov si, cpu_features
              call puts16
              mov bx, feature_names
.feature:     movzx ecx, byte [bx]
              cmp cl, 0xff
              je .features_done
              lea si, [bx + 1]
              bt [features], ecx
              jnc .skip
              mov al, ' '
              call putc16
              call puts16
.skip:        inc bx                     ; past the text and its zero
              cmp byte [bx], 0
              jne .skip
              inc bx
              jmp .feature
.features_done:
              call newline16

; Memory, as INT 15h E820 tells it.
memory:       mov si, map_title
              call puts16
              xor ebx, ebx
.range:       mov eax, 0xe820
              mov ecx, 24
              mov edx, 0x534d4150        ; 'SMAP'
              mov di, BUFFER
              mov dword [di + 20], 1
              int 0x15
              jc .end
              cmp eax, 0x534d4150
              jne .end
              push ebx
              mov al, ' '
              call putc16
              call putc16
              mov eax, [BUFFER + 4]
              call hex32_16
              mov eax, [BUFFER]
              call hex32_16
              mov si, dash
              call puts16
              mov eax, [BUFFER]
              mov edx, [BUFFER + 4]
              add eax, [BUFFER + 8]
              adc edx, [BUFFER + 12]
              sub eax, 1
              sbb edx, 0
              xchg eax, edx
              call hex32_16
              mov eax, edx
              call hex32_16
              mov si, reserved
              mov eax, [BUFFER + 16]
              cmp eax, 3
              jne .not_acpi
              mov si, acpi_data
.not_acpi:    cmp eax, 4
              jne .not_nvs
              mov si, acpi_nvs
.not_nvs:     cmp eax, 1
              jne .kind
              mov si, usable
              mov eax, [BUFFER + 8]
              add [total], eax
              mov eax, [BUFFER + 12]
              adc [total + 4], eax
.kind:        call puts16
              pop ebx
              test ebx, ebx
              jnz .range
.end:         mov si, memory_is
              call puts16
              mov eax, [total]
              mov edx, [total + 4]
              shrd eax, edx, 10
              call decimal16
              mov si, kib_usable
              call puts16

; Address line 20: ask the firmware, then port 92h, then look.
              mov ax, 0x2401
              int 0x15
              in al, 0x92
              or al, 2
              and al, 0xfe
              out 0x92, al

; A floppy cannot be read without the firmware, so its sector is fetched now.
              test byte [drive], 0x80
              jnz protect
              mov ax, 0x0201
              mov bx, BUFFER
              mov cx, MESSAGE_SECTOR + 1
              xor dh, dh
              mov dl, [drive]
              int 0x13

protect:      cli
              lgdt [gdt_pointer]
              mov eax, cr0
              or al, 1
              mov cr0, eax
              jmp dword CODE:protected

; EAX as a decimal number.
decimal16:    push ebx
              push cx
              push edx
              mov ebx, 10
              xor cx, cx
.divide:      xor edx, edx
              div ebx
              push dx
              inc cx
              test eax, eax
              jnz .divide
.print:       pop ax
              add al, '0'
              call putc16
              loop .print
              pop edx
              pop cx
              pop ebx
              ret

; --- protected mode -------------------------------------------------------------------------------------------------

              bits 32

protected:    mov ax, DATA
              mov ds, ax
              mov es, ax
              mov fs, ax
              mov gs, ax
              mov ss, ax
              mov esp, STACK_TOP
              movzx eax, byte [0x451]    ; where the firmware left the cursor: row, column
              imul eax, eax, 80
              movzx edx, byte [0x450]
              add eax, edx
              mov [cursor], eax

              mov esi, protected_is
              call puts
              mov eax, cr0
              call hex32
              mov esi, cs_is
              call puts
              mov eax, cs
              call hex16
              call newline

; The interrupt table: every vector to a stub that pushes its number.
              mov edi, IDT
              mov eax, stubs
              mov ecx, 48
.gate:        mov [edi], ax
              mov word [edi + 2], CODE
              mov word [edi + 4], 0x8e00 ; 32-bit interrupt gate
              mov edx, eax
              shr edx, 16
              mov [edi + 6], dx
              add edi, 8
              add eax, STUB_SIZE
              loop .gate
              lidt [idt_pointer]

; Paging: the first 4 MiB as they are, then a window onto one page of them.
              mov edi, DIRECTORY
              mov ecx, 3 * 1024
              xor eax, eax
              rep stosd
              mov dword [DIRECTORY], TABLE_LOW + 3
              mov dword [DIRECTORY + 4], TABLE_HIGH + 3
              mov edi, TABLE_LOW
              mov eax, 3                 ; present, writable
              mov ecx, 1024
.page:        stosd
              add eax, 4096
              loop .page
              mov dword [TABLE_HIGH], SHARED_PAGE + 3
              mov eax, DIRECTORY
              mov cr3, eax
              mov eax, cr0
              or eax, 0x80000000
              mov cr0, eax
              jmp .paged
.paged:       mov esi, paging_is
              call puts
              mov eax, cr3
              call hex32
              call newline

; A text written through one address is read through the other.
              mov esi, shared_text
              mov edi, SHARED_PAGE
              mov ecx, shared_end - shared_text
              rep movsb
              mov esi, page_at
              call puts
              mov eax, WINDOW
              call hex32
              mov esi, shows
              call puts
              mov eax, SHARED_PAGE
              call hex32
              mov esi, says
              call puts
              mov esi, WINDOW
              call puts
              call newline

; A page that is not there: the fault handler maps it and the instruction is tried again.
              mov esi, fault_at
              call puts
              mov dword [HOLE + 0x123], 0x600d600d
              mov eax, [fault_address]
              call hex32
              mov esi, mapped
              call puts
              mov eax, [SPARE_PAGE + 0x123]
              call hex32
              call newline

; Interrupt controllers: vectors 32 to 47, only the timer let through; then the timer at 100 Hz.
              mov al, 0x11
              out 0x20, al
              out 0xa0, al
              mov al, 32
              out 0x21, al
              mov al, 40
              out 0xa1, al
              mov al, 4
              out 0x21, al
              mov al, 2
              out 0xa1, al
              mov al, 1
              out 0x21, al
              out 0xa1, al
              mov al, 0xfe
              out 0x21, al
              mov al, 0xff
              out 0xa1, al
              mov al, 0x34               ; channel 0, both bytes, rate generator
              out 0x43, al
              mov al, 11932 & 0xff       ; 1193182 Hz / 100
              out 0x40, al
              mov al, 11932 >> 8
              out 0x40, al
              mov esi, timer_is
              call puts
              xor ebx, ebx
              sti
.wait:        hlt
              cmp ebx, [ticks]
              je .wait
              inc ebx
              mov al, ' '
              call putc
              mov eax, ebx
              call decimal
              cmp ebx, TICKS
              jb .wait
              cli
              mov esi, ticks_are
              call puts

; The disk: one sector by programmed I/O, or what the firmware has read from the floppy.
              mov esi, disk_is
              call puts
              mov eax, MESSAGE_SECTOR
              call decimal
              mov esi, by_firmware
              test byte [drive], 0x80
              jz .show
              call read_sector
              mov esi, by_pio
              jnc .show
              mov esi, no_drive
              call puts
              jmp .finish
.show:        call puts
              mov esi, BUFFER
              call puts
              call newline

.finish:      mov esi, all_done
              call puts
              mov dx, PM1_CONTROL
              mov ax, SLEEP_S5
              out dx, ax
              cli
.stop:        hlt
              jmp .stop

; Read MESSAGE_SECTOR of the first IDE disk to BUFFER; carry if it does not answer.
read_sector:  mov dx, 0x1f6
              mov al, 0xe0               ; linear addresses, first drive
              out dx, al
              mov dx, 0x1f2
              mov al, 1
              out dx, al
              inc dx
              mov al, MESSAGE_SECTOR
              out dx, al
              inc dx
              xor al, al
              out dx, al
              inc dx
              out dx, al
              mov dx, 0x1f7
              mov al, 0x20               ; read sectors
              out dx, al
              mov ecx, 1000000
.busy:        in al, dx
              test al, 0x80
              jnz .not_yet
              test al, 0x01
              jnz .failed
              test al, 0x08
              jnz .ready
.not_yet:     loop .busy
.failed:      stc
              ret
.ready:       mov dx, 0x1f0
              mov edi, BUFFER
              mov ecx, 256
              rep insw
              clc
              ret

; One character of AL, on the screen by hand and on COM1.
putc:         pushad
              mov ah, al
              mov dx, COM1 + 5
.wait:        in al, dx
              test al, 0x20
              jz .wait
              mov al, ah
              mov dx, COM1
              out dx, al
              mov ecx, [cursor]
              cmp al, 13
              je .return
              cmp al, 10
              je .line
              mov ah, 7
              mov [0xb8000 + ecx * 2], ax
              inc ecx
              jmp .scroll
.return:      mov eax, ecx
              xor edx, edx
              mov ebx, 80
              div ebx
              sub ecx, edx
              jmp .scroll
.line:        add ecx, 80
.scroll:      cmp ecx, 80 * 25
              jb .placed
              sub ecx, 80
              push ecx
              mov esi, 0xb8000 + 160
              mov edi, 0xb8000
              mov ecx, 80 * 24 / 2
              rep movsd
              mov eax, 0x07200720
              mov ecx, 80 / 2
              rep stosd
              pop ecx
.placed:      mov [cursor], ecx
              mov dx, 0x3d4
              mov al, 0x0f
              mov ah, cl
              out dx, ax
              mov al, 0x0e
              mov ah, ch
              out dx, ax
              popad
              ret

puts:         lodsb
              test al, al
              jz .done
              call putc
              jmp puts
.done:        ret

newline:      mov al, 13
              call putc
              mov al, 10
              jmp putc

; EAX in eight digits, or AX in four.
hex32:        mov ecx, 8
              jmp hex_digits
hex16:        shl eax, 16
              mov ecx, 4
hex_digits:   rol eax, 4
              push eax
              and al, 15
              cmp al, 10
              jb .digit
              add al, 'A' - 10 - '0'
.digit:       add al, '0'
              call putc
              pop eax
              loop hex_digits
              ret

decimal:      push ebx
              xor ecx, ecx
              mov ebx, 10
.divide:      xor edx, edx
              div ebx
              push edx
              inc ecx
              test eax, eax
              jnz .divide
.print:       pop eax
              add al, '0'
              call putc
              loop .print
              pop ebx
              ret

; --- interrupts -----------------------------------------------------------------------------------------------------

; 48 calls, five bytes each: the return address tells the vector.
STUB_SIZE     equ 5
stubs:        times 48 call interrupt

interrupt:    xchg eax, [esp]
              push ecx
              push edx
              sub eax, stubs + STUB_SIZE
              xor edx, edx
              mov ecx, STUB_SIZE
              div ecx
              cmp eax, 32
              je timer
              cmp eax, 14
              je page_fault
              jmp unexpected

timer:        inc dword [ticks]
              mov al, 0x20
              out 0x20, al
              pop edx
              pop ecx
              pop eax
              iret

page_fault:   mov eax, cr2
              mov [fault_address], eax
              shr eax, 12
              sub eax, WINDOW >> 12
              cmp eax, 1024
              jae .elsewhere
              mov dword [TABLE_HIGH + eax * 4], SPARE_PAGE + 3
              pop edx
              pop ecx
              pop eax
              add esp, 4                 ; the error code
              iret
.elsewhere:   mov eax, 14
unexpected:   push eax
              mov esi, surprise
              call puts
              pop eax
              call decimal
              call newline
.stop:        cli
              hlt
              jmp .stop

; --- data -----------------------------------------------------------------------------------------------------------

              align 8, db 0
gdt:          dq 0
              dq 0x00cf9b000000ffff      ; code, 4 GiB
              dq 0x00cf93000000ffff      ; data, 4 GiB
gdt_end:
gdt_pointer:  dw gdt_end - gdt - 1
              dd gdt
idt_pointer:  dw 48 * 8 - 1
              dd IDT

total:        dq 0
signature_eax: dd 0
features:     dd 0
cursor:       dd 0
ticks:        dd 0
fault_address: dd 0
name:         times 52 db 0

loaded:       db "Second stage: loaded through INT 13h", 13, 10, 0
cpu_486:      db "CPU: a 486 without CPUID", 13, 10, 0
cpu_is:       db "CPU: ", 0
cpu_family:   db ", family ", 0
cpu_model:    db " model ", 0
cpu_stepping: db " stepping ", 0
cpu_features: db "CPU features:", 0
feature_names: db 0, "fpu", 0, 3, "pse", 0, 4, "tsc", 0, 5, "msr", 0, 6, "pae", 0, 8, "cx8", 0, 9, "apic", 0
              db 11, "sep", 0, 13, "pge", 0, 15, "cmov", 0, 23, "mmx", 0, 24, "fxsr", 0, 25, "sse", 0, 26, "sse2", 0, 0xff
map_title:    db "Memory map from INT 15h E820:", 13, 10, 0
dash:         db " - ", 0
usable:       db " usable", 13, 10, 0
reserved:     db " reserved", 13, 10, 0
acpi_data:    db " ACPI data", 13, 10, 0
acpi_nvs:     db " ACPI non-volatile", 13, 10, 0
memory_is:    db "Memory: ", 0
kib_usable:   db " KiB usable", 13, 10, 0
protected_is: db "Protected mode: CR0 ", 0
cs_is:        db ", CS ", 0
paging_is:    db "Paging: page directory at ", 0
page_at:      db "Paging: ", 0
shows:        db " shows ", 0
says:         db ": ", 0
fault_at:     db "Page fault at ", 0
mapped:       db ": mapped, tried again, reads back ", 0
timer_is:     db "Timer ticks:", 0
ticks_are:    db " (100 Hz, IRQ 0)", 13, 10, 0
disk_is:      db "Disk sector ", 0
by_pio:       db ", by programmed I/O: ", 0
by_firmware:  db ", read by the firmware: ", 0
no_drive:     db ": the drive does not answer", 13, 10, 0
surprise:     db "Unexpected interrupt ", 0
all_done:     db "Emu demo: all done.", 13, 10, 0
shared_text:  db "one page, two addresses", 0
shared_end:

              align 512, db 0
STAGE2_SECTORS equ ($ - second) / 512

message:      db "every sector has a story; this one was read.", 0
              align 512, db 0
MESSAGE_SECTOR equ (message - $$) / 512
